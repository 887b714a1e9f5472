"""The router's view of a constant product, shared by every pool that is one, or is one between two prices.

Decides: its Segment. Must never: be used for an amount that is paid.
"""

from typing import Final

from fillwright.pools.pool import Segment

_MARGIN: Final = 1 + 1e-12
"""Keeps a segment above the exact integers in spite of the rounding of floats."""


def segment(
    reserve_in: float, reserve_out: float, *, capacity: float, kept_in: float = 1.0, kept_out: float = 1.0
) -> Segment:
    """Reserves, and what fees leave of the input and of the output -> `rate * x / (1 + x / depth)`.

    With k = kept_in, x atoms buy kept_out * reserve_out * k x / (reserve_in + k x). Reserves and k above zero.
    """
    rate = kept_in * kept_out * (reserve_out / reserve_in) * _MARGIN
    return Segment(rate=rate, depth=reserve_in / kept_in, capacity=float(capacity))
