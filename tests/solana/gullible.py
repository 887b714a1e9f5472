"""The engine without its doubts: `python -m tests.solana.gullible serve --live`, a control that must settle twice.

Decides: which safeguards are switched off. Must never: change anything else.
"""

import sys
from typing import Any

from fillwright import landing
from fillwright.adapters.solana.node import Node
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.vitals import Vitals
from fillwright.cli import main
from fillwright.order import SignedTx
from fillwright.ports import Sighting


def _believe(_: Node, vitals: Vitals, before: Vitals | None) -> None:
    """Whatever it says, beside whatever it said before."""


def _lapsed(tx: SignedTx, sighting: Sighting) -> bool:
    """By the height alone, even one that the chain cannot have reached."""
    return sighting.outcome is None and sighting.height > tx.last_valid_height


class _Anybody(frozenset[Any]):
    def __contains__(self, _: object) -> bool:
        return True


def believe_everything() -> None:
    patches: list[tuple[Any, str, Any]] = [
        (landing, "proves_lapse", _lapsed),
        (Node, "hear", _believe),
        (Rpc, "_witnesses", lambda _: _Anybody()),
        (Rpc, "nodes", property(lambda _: 1)),
    ]
    for where, name, instead in patches:
        setattr(where, name, instead)


if __name__ == "__main__":
    believe_everything()
    sys.exit(main())
