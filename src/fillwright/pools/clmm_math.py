"""Raydium CLMM arithmetic: prices of ticks, and one step within a range of constant liquidity.

Decides: every rounding (raydium-io/raydium-clmm, programs/amm/src/libraries/*). Must never: know a pool, or use a
float in anything but a segment. Prices are square roots of token 1 per token 0 as Q64.64.
"""

from functools import lru_cache
from typing import Final, TypeAlias

from fillwright.pools.pool import Segment
from fillwright.units import ceil_div

RATE_ONE: Final = 1_000_000
"""Rates are millionths: states/config.rs FEE_RATE_DENOMINATOR_VALUE."""
TICK_MAX: Final = 443_636
"""Ticks lie in -TICK_MAX..TICK_MAX: tick_math.rs."""
SQRT_PRICE_MIN: Final = 4_295_048_016
SQRT_PRICE_MAX: Final = 79_226_673_521_066_979_257_578_248_091
U128_MAX: Final = 2**128 - 1

_Q64: Final = 64
_TICKS_PER_DOUBLING: Final = 908_567_298
"""2 * ln(2) / ln(1.0001), times 2**16."""
_UP_A_LITTLE: Final = 1 + 1e-12
"""Covers the rounding of floats, so that segments stay an upper bound."""

Step: TypeAlias = tuple[int, int, int, int]
"""Price after it, input without fee, output, fee."""


# ---- ticks and prices: tick_math.rs

_HALVINGS: Final = (
    "fffcb933bd6fb800 fff97272373d4000 fff2e50f5f657000 ffe5caca7e10f000 ffcb9843d60f7000 ff973b41fa98e800 "
    "ff2ea16466c9b000 fe5dee046a9a3800 fcbe86c7900bb000 f987a7253ac65800 f3392b0822bb6000 e7159475a2caf000 "
    "d097f3bdfd2f2000 a9f746462d9f8000 70d869a156f31c00 31be135f97ed3200 09aa508b5b85a500 005d6af8dedc582c "
    "00002216e584f5fa"
)
_FACTORS: Final = tuple(int(factor, 16) for factor in _HALVINGS.split())
"""1.0001 ** (-(2**i) / 2) as Q0.64, as the program has them."""


@lru_cache(maxsize=65_536)
def sqrt_price_at(tick: int) -> int:
    """1.0001 ** (tick / 2) as Q64.64, rounded as the program does. `tick` in -TICK_MAX..TICK_MAX."""
    ratio, bits = 1 << _Q64, abs(tick)
    for factor in _FACTORS:
        if bits & 1:
            ratio = ratio * factor >> _Q64
        bits >>= 1
    return U128_MAX // ratio if tick > 0 else ratio


def tick_at(sqrt_price: int) -> int:
    """The largest tick whose price is not above this one. An estimate, put right by `sqrt_price_at`."""
    length = sqrt_price.bit_length()
    mantissa, log2 = sqrt_price << 128 - length, length - 1 - _Q64
    for _ in range(16):
        mantissa = mantissa * mantissa >> 127
        carry = mantissa >> 128
        mantissa >>= carry
        log2 = log2 << 1 | carry
    tick = log2 * _TICKS_PER_DOUBLING >> 32
    while sqrt_price_at(tick) > sqrt_price:
        tick -= 1
    while sqrt_price_at(tick + 1) <= sqrt_price:
        tick += 1
    return tick


# ---- one step within a range: {swap_math,sqrt_price_math,liquidity_math}.rs
# A price that falls takes token 0 in and gives token 1, a price that rises the other way round.


def step_in(price: int, target: int, liquidity: int, remaining: int, rate: int) -> Step:
    """x = floor(remaining * (1 - rate)). All the way if the target costs no more than x, fee = ceil of its part.

    Else as far as x gets, rounded towards the start; the fee is all that is left. swap_math.rs compute_swap_step.
    A cost above u64 cannot be reached there either: x is never above u64.
    """
    keep = RATE_ONE - rate
    net = remaining * keep // RATE_ONE
    need = paid_between(price, target, liquidity)
    if net >= need:
        return target, need, bought_between(price, target, liquidity), ceil_div(need * rate, keep)
    if target < price:
        shifted = liquidity << _Q64
        after = ceil_div(shifted * price, shifted + net * price)
    else:
        after = price + (net << _Q64) // liquidity
    paid = paid_between(price, after, liquidity)
    return after, paid, bought_between(price, after, liquidity), remaining - paid


def step_out(price: int, target: int, liquidity: int, remaining: int, rate: int) -> Step:
    """All the way if the range holds no more than `remaining`, else as far as that is; fee = ceil of its part."""
    bought, after = bought_between(price, target, liquidity), target
    if remaining < bought:
        bought, after = remaining, _price_after_output(price, liquidity, remaining, down=target < price)
    paid = paid_between(price, after, liquidity)
    return after, paid, bought, ceil_div(paid * rate, RATE_ONE - rate)


def _price_after_output(price: int, liquidity: int, amount: int, *, down: bool) -> int:
    """Rounded away from the start, so that the output is covered."""
    if down:
        return price - ceil_div(amount << _Q64, liquidity)
    shifted = liquidity << _Q64
    return ceil_div(shifted * price, shifted - amount * price)


def paid_between(start: int, end: int, liquidity: int) -> int:
    """Input between two prices, rounded up."""
    if end < start:
        return -(-(liquidity * (start - end) << _Q64) // (start * end))
    return -(-liquidity * (end - start) >> _Q64)


def bought_between(start: int, end: int, liquidity: int) -> int:
    """Output between two prices, rounded down."""
    if end < start:
        return liquidity * (start - end) >> _Q64
    return (liquidity * (end - start) << _Q64) // (start * end)


def segment(start: int, end: int, liquidity: int, keep: float) -> Segment:
    """Virtual reserves of a range at its start: liquidity / sqrt_price of token 0, liquidity * sqrt_price of 1."""
    one = 1 << _Q64
    if end < start:
        rate, reserve = start * start / (one * one), liquidity * one / start
        capacity = liquidity * one * (start - end) / (start * end)
    else:
        rate, reserve = one * one / (start * start), liquidity * start / one
        capacity = liquidity * (end - start) / one
    return Segment(rate * keep * _UP_A_LITTLE, reserve / keep, capacity / keep)
