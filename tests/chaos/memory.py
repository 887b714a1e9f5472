"""What the clients were told, and every promise that was seen broken.

Decides: what is remembered of a campaign for its last look. Must never: ask the engine again: a client's memory is one
of the three witnesses, beside the database and the chain's ledger.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_TOLD_MAX: Final = 12
"""Violations of one invariant that are told in words."""


@dataclass
class Findings:
    """Broken promises, by the invariant's name; and what is worth a count without being one."""

    counts: Counter[str] = field(default_factory=Counter)
    words: dict[str, list[str]] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def violate(self, invariant: str, what: str) -> None:
        self.counts[invariant] += 1
        told = self.words.setdefault(invariant, [])
        if len(told) < _TOLD_MAX:
            told.append(what)


@dataclass(frozen=True)
class Wish:
    """A request that a client repeats, unchanged, until it is acknowledged. It has one name at least."""

    number: int
    body: dict[str, object]
    key: str | None
    client_order_id: str | None

    @property
    def path(self) -> str:
        return "/v1/brackets" if "exits" in self.body else "/v1/orders"


@dataclass
class Memory:
    """Frames are kept as order -> seq -> (status, cause)."""

    findings: Findings = field(default_factory=Findings)
    asked: list[Wish] = field(default_factory=list)
    acknowledged: dict[int, str] = field(default_factory=dict)
    """By the wish's number: the order, or the entry of a bracket."""
    exits: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By the wish's number: those of a bracket."""
    canceled: set[str] = field(default_factory=set)
    """Orders of which a client was told that they are canceled."""
    frames: dict[str, dict[int, tuple[str, str]]] = field(default_factory=dict)
    followed: dict[str, int] = field(default_factory=dict)
    """The last seq that a follower of one order had when it saw the end."""

    def acknowledge(self, wish: Wish, order_id: str, exits: tuple[str, ...] = ()) -> None:
        """Every answer to one wish must name one order, or one bracket."""
        known = self.acknowledged.setdefault(wish.number, order_id)
        if known != order_id:
            self.findings.violate("I7", f"wish {wish.number} was acknowledged as {known} and as {order_id}")
        if self.exits.setdefault(wish.number, exits) != exits:
            self.findings.violate("I7", f"wish {wish.number} has the exits {self.exits[wish.number]} and {exits}")

    def saw(self, order_id: str, seq: int, status: str, cause: str) -> None:
        """Every telling of one event must be the same."""
        known = self.frames.setdefault(order_id, {}).setdefault(seq, (status, cause))
        if known != (status, cause):
            self.findings.violate("I9", f"{order_id}/{seq} was told as {known} and as {(status, cause)}")
