"""Meteora DAMM v2: what share of a trade is its fee.

Decides: the rate of the five base fee modes and of the dynamic fee, in billionths. Formulas follow the program
(MeteoraAg/damm-v2, programs/cp-amm/src/{base_fee/*,math/fee_math.rs,state/fee.rs}). Must never: round a rate in
the taker's favour, or know a price curve.
"""

from collections.abc import Iterator
from typing import Final, NewType, Self, TypeAlias

import msgspec

from fillwright.pools import pool as p
from fillwright.units import BPS_ONE, ceil_div

RATE_ONE: Final = 1_000_000_000
"""constants.rs FEE_DENOMINATOR."""
BPS_RATE: Final = RATE_ONE // BPS_ONE
"""One basis point as a rate."""
_Q64: Final = 1 << 64
_BIN_STEP_Q64: Final = _Q64 // BPS_ONE
"""constants.rs BIN_STEP_BPS_U128_DEFAULT: the only step that the program accepts, one basis point."""
_VOLATILITY_SCALE: Final = 10**11
_BY_TIME: Final = (0, 1)
_BY_AMOUNT: Final = (2,)
_EXPONENTIAL: Final = (1, 4)
"""state/fee.rs BaseFeeMode; 3 and 4 go by price."""

Wide = NewType("Wide", str)
"""An integer above 64 bits as decimal text: neither MessagePack nor most JSON readers keep larger numbers."""


class TimeFee(msgspec.Struct, frozen=True, kw_only=True, tag="time"):
    """Modes 0 and 1: falls from `cliff` every `frequency` slots or seconds, `periods` times. Frequency 0: never."""

    cliff: int
    exponential: bool = False
    periods: int = 0
    frequency: int = 0
    reduction: int = 0

    def rate(self, elapsed: int, sqrt_price: int, amount_1: int) -> int:
        """fee_time_scheduler.rs get_base_fee_numerator. `elapsed`: since activation, not negative."""
        if not self.frequency:
            return self.cliff
        return _reduced(self, min(elapsed // self.frequency, self.periods))

    def lowest(self) -> int:
        return _lowest(self) if self.frequency else self.cliff

    def by_amount(self, elapsed: int) -> bool:
        return False


class PriceFee(msgspec.Struct, frozen=True, kw_only=True, tag="price"):
    """Modes 3 and 4: falls from `cliff` with every `step_bps` that the square root of the price rises above its start.

    Lowest once `expires_after` has passed since activation.
    """

    cliff: int
    exponential: bool
    periods: int
    step_bps: int
    expires_after: int
    reduction: int
    sqrt_start: Wide

    def rate(self, elapsed: int, sqrt_price: int, amount_1: int) -> int:
        """fee_market_cap_scheduler.rs get_base_fee_numerator, with the price before the swap."""
        if elapsed > self.expires_after:
            return _reduced(self, self.periods)
        start = int(self.sqrt_start)
        if sqrt_price <= start:
            return _reduced(self, 0)
        return _reduced(self, min((sqrt_price - start) * BPS_ONE // start // self.step_bps, self.periods))

    def lowest(self) -> int:
        return _lowest(self) if self.step_bps and self.sqrt_start != "0" else 0

    def by_amount(self, elapsed: int) -> bool:
        return False


class RateLimiter(msgspec.Struct, frozen=True, kw_only=True, tag="limiter"):
    """Mode 2: who pays with token 1 pays more on larger amounts, until `lasts` has passed since activation.

    The first `reference` atoms cost `cliff`, each further such part `increment_bps` more, up to `max_bps`.
    All zero but the cliff: no limiter, `cliff` for everyone.
    """

    cliff: int
    increment_bps: int = 0
    lasts: int = 0
    max_bps: int = 0
    reference: int = 0

    def rate(self, elapsed: int, sqrt_price: int, amount_1: int) -> int:
        """fee_rate_limiter.rs get_fee_numerator_from_included_fee_amount. `amount_1`: paid, fee included.

        The average over the parts, rounded up twice: to an atom, and to a billionth.
        """
        reference, cliff = self.reference, self.cliff
        if amount_1 <= reference or not self.by_amount(elapsed):
            return cliff
        full_parts, rest = divmod(amount_1 - reference, reference)
        step, rises = self.increment_bps * BPS_RATE, self._rises
        if full_parts < rises:
            fee = reference * (cliff + cliff * full_parts + step * full_parts * (full_parts + 1) // 2)
            fee += rest * (cliff + step * (full_parts + 1))
        else:
            fee = reference * (cliff + cliff * rises + step * rises * (rises + 1) // 2)
            fee += ((full_parts - rises) * reference + rest) * self.max_bps * BPS_RATE
        return ceil_div(ceil_div(fee, RATE_ONE) * RATE_ONE, amount_1)

    def lowest(self) -> int:
        return self.cliff

    def by_amount(self, elapsed: int) -> bool:
        """fee_rate_limiter.rs is_rate_limiter_applied, for someone who pays with token 1."""
        return self.reference > 0 and 0 <= elapsed <= self.lasts

    def parts(self) -> Iterator[tuple[int, int | None]]:
        """(marginal rate, atoms that pay it); None: all further atoms."""
        for part in range(self._rises + 1):
            yield self.cliff + part * self.increment_bps * BPS_RATE, self.reference
        yield self.max_bps * BPS_RATE, None

    @property
    def _rises(self) -> int:
        """fee_rate_limiter.rs get_max_index."""
        return (self.max_bps * BPS_RATE - self.cliff) // (self.increment_bps * BPS_RATE)


BaseFee: TypeAlias = TimeFee | PriceFee | RateLimiter


class DynamicFee(msgspec.Struct, frozen=True, kw_only=True):
    """A fee on top that grows with the square of recent price moves, measured in basis points of the root price.

    A swap pays for the volatility that earlier swaps left (`volatility`), never for its own.
    """

    control: int
    volatility_max: int
    filter_seconds: int
    decay_seconds: int
    kept_bps: int
    last_update: int = 0
    sqrt_reference: Wide = Wide("0")
    volatility: int = 0
    volatility_reference: int = 0

    def rate(self) -> int:
        """state/fee.rs get_variable_fee, for a bin step of 1."""
        return ceil_div(self.volatility * self.volatility * self.control, _VOLATILITY_SCALE)

    def has_no_reference(self) -> bool:
        """Impossible: the first swap sets both."""
        return self.sqrt_reference == "0" and self.last_update > 0

    def after(self, sqrt_before: int, sqrt_after: int, unix_seconds: int) -> Self:
        """state/fee.rs update_references, then state/pool.rs update_post_swap."""
        reference, kept = int(self.sqrt_reference), self.volatility_reference
        elapsed = max(0, unix_seconds - self.last_update)
        if elapsed >= self.filter_seconds:
            reference = sqrt_before
            kept = self.volatility * self.kept_bps // BPS_ONE if elapsed < self.decay_seconds else 0
        moved = _bins_between(sqrt_before, sqrt_after)
        return msgspec.structs.replace(
            self,
            last_update=unix_seconds if moved else self.last_update,
            sqrt_reference=Wide(str(reference)),
            volatility_reference=kept,
            volatility=min(kept + _bins_between(reference, sqrt_after) * BPS_ONE, self.volatility_max),
        )


def decode_base_fee(account: bytes) -> BaseFee:
    """Layouts: PodAlignedFee* of base_fee/*.rs, from byte 8 of the pool. Mode (byte 16) 0..4, checked by the caller."""
    mode, cliff, exponential = account[16], p.u64(account, 8), account[16] in _EXPONENTIAL
    steps, reduction = _uint(account, 22, 2), p.u64(account, 32)
    if mode in _BY_TIME:
        frequency = p.u64(account, 24)
        return TimeFee(cliff=cliff, exponential=exponential, periods=steps, frequency=frequency, reduction=reduction)
    first, second = _uint(account, 24, 4), _uint(account, 28, 4)
    if mode in _BY_AMOUNT:
        return RateLimiter(cliff=cliff, increment_bps=steps, lasts=first, max_bps=second, reference=reduction)
    return PriceFee(
        cliff=cliff,
        exponential=exponential,
        periods=steps,
        step_bps=first,
        expires_after=second,
        reduction=reduction,
        sqrt_start=wide(account, 152),
    )


def decode_dynamic_fee(account: bytes) -> DynamicFee | None:
    """Layout: DynamicFeeStruct of state/fee.rs, from byte 56 of the pool. Another bin step than 1 is refused."""
    if not account[56]:
        return None
    if _uint(account, 72, 2) != 1 or p.u128(account, 88) != _BIN_STEP_Q64:
        raise p.refused(f"a dynamic fee with a bin step of {_uint(account, 72, 2)} is not known")
    return DynamicFee(
        control=_uint(account, 68, 4),
        volatility_max=_uint(account, 64, 4),
        filter_seconds=_uint(account, 74, 2),
        decay_seconds=_uint(account, 76, 2),
        kept_bps=_uint(account, 78, 2),
        last_update=p.u64(account, 80),
        sqrt_reference=wide(account, 104),
        volatility=p.u128(account, 120),
        volatility_reference=p.u128(account, 136),
    )


def wide(account: bytes, offset: int, size: int = 16) -> Wide:
    return Wide(str(_uint(account, offset, size)))


def _uint(account: bytes, offset: int, size: int) -> int:
    return int.from_bytes(account[offset : offset + size], "little")


def _bins_between(sqrt_one: int, sqrt_two: int) -> int:
    """state/fee.rs get_delta_bin_id."""
    low, high = (sqrt_one, sqrt_two) if sqrt_one < sqrt_two else (sqrt_two, sqrt_one)
    return ((high << 64) // low - _Q64) // _BIN_STEP_Q64 * 2


def _reduced(fee: TimeFee | PriceFee, periods: int) -> int:
    """get_base_fee_numerator_by_period: cliff - reduction * n, or cliff * (1 - reduction / 10,000)^n."""
    if not fee.exponential:
        return fee.cliff - fee.reduction * periods
    return _power(_Q64 - (fee.reduction << 64) // BPS_ONE, periods) * fee.cliff >> 64


def _lowest(fee: TimeFee | PriceFee) -> int:
    """get_min_fee_numerator; not above 0 where the program cannot compute it."""
    return 0 if fee.exponential and fee.reduction > BPS_ONE else _reduced(fee, fee.periods)


def _power(base: int, exponent: int) -> int:
    """fee_math.rs pow: Q64 by squaring, cut after every product. 0 <= base <= 1."""
    result = _Q64
    while exponent:
        if exponent & 1:
            result = result * base >> 64
        base = base * base >> 64
        exponent >>= 1
    return result
