"""Meteora DAMM v2: the two curves without their fees, one liquidity between two prices, and x * y = k.

Decides: what an input buys and what an output costs, and where the price goes. Formulas follow the program
(MeteoraAg/damm-v2, programs/cp-amm/src/liquidity_handler/*). Must never: round in the taker's favour.
"""

from typing import NamedTuple

from fillwright.pools import pool as p
from fillwright.units import ceil_div


class Range(NamedTuple):
    """`liquidity` between the root prices `low` and `high` (Q64.64, token 1 per token 0), now at `price`.

    Upward is the way of someone who pays with token 1.
    """

    liquidity: int
    price: int
    low: int
    high: int

    def sell(self, net_in: int, upward: bool) -> tuple[int, int]:
        """Input -> output, and the price afterwards. Outputs are floors, prices move too little.

        concentrated_liquidity.rs calculate_*_from_amount_in.
        """
        liquidity, price, _, _ = self
        if upward:
            target = price + (net_in << 128) // liquidity
            self._check(target)
            return liquidity * (target - price) // (price * target), target
        target = ceil_div(liquidity * price, liquidity + net_in * price)
        self._check(target)
        return liquidity * (price - target) >> 128, target

    def buy(self, gross_out: int, upward: bool) -> tuple[int, int]:
        """Output -> input, and the price afterwards. Inputs are ceils, prices move too far.

        concentrated_liquidity.rs calculate_*_from_amount_out.
        """
        liquidity, price, _, _ = self
        if upward:
            rest = liquidity - gross_out * price
            if rest <= 0:
                raise p.unfillable(f"there is no price at which {gross_out} atoms are sold")
            target = ceil_div(liquidity * price, rest)
            self._check(target)
            return ceil_div(liquidity * (target - price), 1 << 128), target
        target = price - ceil_div(gross_out << 128, liquidity)
        self._check(target)
        return ceil_div(liquidity * (price - target), price * target), target

    def reserves(self) -> tuple[int, int]:
        """What lies in the range, rounded up: concentrated_liquidity.rs get_reserves_amount."""
        liquidity, price, low, high = self
        return ceil_div(liquidity * (high - price), price * high), ceil_div(liquidity * (price - low), 1 << 128)

    def room(self, upward: bool) -> int:
        """Input to the end of the range, rounded down."""
        liquidity, price, low, high = self
        return liquidity * (high - price) >> 128 if upward else liquidity * (price - low) // (price * low)

    def virtual(self, upward: bool) -> tuple[float, float]:
        """Input and output reserve of the constant product that this range is a part of; for searching only."""
        virtual_0, virtual_1 = self.liquidity / self.price, self.liquidity * self.price / (1 << 128)
        return (virtual_1, virtual_0) if upward else (virtual_0, virtual_1)

    def _check(self, target: int) -> None:
        if not self.low <= target <= self.high:
            raise p.unfillable("there is no liquidity beyond the price range")


def product_sell(reserve_in: int, reserve_out: int, net_in: int) -> int:
    """compounding_liquidity.rs calculate_*_from_amount_in."""
    return reserve_out * net_in // (reserve_in + net_in)


def product_buy(reserve_in: int, reserve_out: int, gross_out: int) -> int:
    """compounding_liquidity.rs calculate_*_from_amount_out."""
    if gross_out >= reserve_out:
        raise p.bad_amount_out(gross_out, reserve_out)
    return ceil_div(reserve_in * gross_out, reserve_out - gross_out)
