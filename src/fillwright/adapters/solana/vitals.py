"""Where several nodes say that the chain stands, and whom to believe. Pure.

Decides: which statements about slots and heights contradict each other, who lags, who lies. Must never: ask anybody.
"""

from collections.abc import Hashable, Mapping
from typing import Final, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)
LAG_SLOTS: Final = 32
"""A node so many slots behind the others is left alone: about 13 seconds, a fifth of what a blockhash is good for."""


class Vitals(msgspec.Struct, frozen=True):
    """Slot and block height of one bank, as one answer told them."""

    slot: int
    height: int


def agree(one: Vitals, other: Vitals) -> bool:
    """Whether both can be of one chain, which makes at most one block a slot and undoes no finalized one."""
    early, late = sorted((one, other), key=lambda vitals: vitals.slot)
    return 0 <= late.height - early.height <= late.slot - early.slot


def believed(told: Mapping[K, Vitals]) -> frozenset[K]:
    """Who is not contradicted by more nodes than agree with it.

    Where they stand against each other evenly, a height nearer to its slot is the one that is not believed: a height
    that is too high makes live transactions look dead.
    """
    return frozenset(key for key, vitals in told.items() if vitals.height <= vitals.slot and _stands(vitals, told))


def _stands(vitals: Vitals, told: Mapping[K, Vitals]) -> bool:
    against = [other for other in told.values() if not agree(vitals, other)]
    supporters = len(told) - len(against)
    if len(against) != supporters:
        return len(against) < supporters
    return all(vitals.slot - vitals.height > other.slot - other.height for other in against)


def behind(told: Mapping[K, Vitals]) -> frozenset[K]:
    """Who lags the upper middle of all: one node alone cannot make the others look old."""
    if not told:
        return frozenset()
    middle = sorted(vitals.slot for vitals in told.values())[len(told) // 2]
    return frozenset(key for key, vitals in told.items() if vitals.slot < middle - LAG_SLOTS)
