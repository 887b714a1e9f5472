"""What every size of one swap would get at this moment: the optimum's price as a function of the amount. Pure.

Decides: how a price is read off the network that all sizes share. Must never: be taken for an amount that is paid: it
works in floats, and it is the optimum of any number of legs, which a route of few legs reaches from below.
"""

from fillwright.order import Mode
from fillwright.routing.flow import Network


class Prices:
    """Atoms out per atoms in, after all fees. Never rises with the size."""

    def __init__(self, network: Network, mode: Mode) -> None:
        self._whole = network.whole
        self._exact_in = mode is Mode.EXACT_IN

    @property
    def best(self) -> float:
        """Of the first atom; 0 where there is no pool."""
        return self._whole.pieces[0].rate if self._whole.pieces else 0.0

    def at(self, size: float) -> float | None:
        """For this much in (exact in) or out (exact out), at least one atom; None where the pools cannot serve it."""
        whole = self._whole
        if self._exact_in:
            return whole.output(size) / size if size <= whole.capacity else None
        if size >= whole.yields:
            return None
        return size / whole.input(size)
