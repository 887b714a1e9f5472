"""How the simulated world behaves: delays in milliseconds and fault rates between 0 and 1."""

from collections.abc import Mapping
from typing import Final

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What may go wrong, each drawn from the seed."""

    drop: float = 0.0
    """A broadcast that nobody receives."""
    late: float = 0.0
    """A broadcast that lands only after up to 1.4 times its validity: most of these still land."""
    revert: float = 0.0
    """A transaction that the chain executes and undoes for a passing reason."""
    lost_answer: float = 0.0
    """A call that has its effect, and fails for the caller."""
    lying_height: float = 0.0
    """A node that tells its slot where it was asked for its block height."""
    quote_failure: float = 0.0
    """A venue that answers a quote with an error."""


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    quote_ms: tuple[int, int] = (0, 0)
    build_ms: tuple[int, int] = (0, 0)
    execute_ms: tuple[int, int] = (0, 0)
    """From broadcast to block; (0, 0): in the block of the moment."""
    faults: Faults = Faults()


PRESETS: Final[Mapping[str, Preset]] = {
    "classic": Preset(quote_ms=(100, 400), build_ms=(50, 150), execute_ms=(2_000, 3_000), faults=Faults(revert=0.08)),
    "instant": Preset(),
}
"""`classic`: the delays and the failure rate of the older engines' mocks. `instant`: no waiting at all."""
