"""A large amount in slices over time: when each is due, and how much it swaps. Pure.

Decides: the times and the sizes, by arithmetic alone; what looks like chance is a hash of the order's id. Must never:
let the slices add up to more than the whole, or one of them be due before the one ahead of it.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from fillwright.units import Atoms, Millis, OrderId

SLICES_MIN: Final = 2
SLICES_MAX: Final = 1_000
INTERVAL_MS_MIN: Final = 1_000
INTERVAL_MS_MAX: Final = 366 * 24 * 60 * 60 * 1_000
JITTER_PCT_MAX: Final = 50
_LOOKS: Final = 20
"""A slice whose price is not there looks for it so many times until the next one is due."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many slices, an interval apart, each but the first moved at random by up to so much of the interval."""

    slices: int
    interval_ms: Millis
    jitter_pct: int = 0

    def planned_at(self, order_id: OrderId, start: Millis, number: int) -> Millis:
        """When slice `number` is due: 1, the first, at `start`; one more than there are: when the last one is over."""
        return Millis(start + (number - 1) * self.interval_ms + self._jitter(order_id, number))

    def _jitter(self, order_id: OrderId, number: int) -> int:
        """From -most up to, and not including, most: two slices never change places."""
        most = self.interval_ms * self.jitter_pct // 100
        if most == 0 or not 1 < number <= self.slices:
            return 0
        dice = blake2b(f"{order_id} slice {number}".encode(), digest_size=8).digest()
        return int.from_bytes(dice) % (2 * most) - most

    def over_at(self, order_id: OrderId, start: Millis, number: int, begun_at: Millis) -> Millis:
        """When the slice after this one is due, given when this one began.

        Slices that come late, after an outage say, are caught up half an interval apart: never in a burst.
        """
        planned = self.planned_at(order_id, start, number + 1)
        return Millis(max(planned, begun_at + self.interval_ms // 2))

    @property
    def look_ms(self) -> Millis:
        """Between two looks for a slice's price."""
        return Millis(self.interval_ms // _LOOKS)

    def even(self, left: int, number: int) -> Atoms:
        """What is left, spread over this slice and those after it; the last one takes all."""
        return Atoms(left // max(1, self.slices - number + 1))

    def fixed(self, whole: int, number: int) -> Atoms:
        """One of equal parts of the whole, whatever became of the others; the last one has the remainder as well."""
        part = whole // self.slices
        return Atoms(part if number < self.slices else whole - part * (self.slices - 1))
