"""Meteora DAMM v2: one price range (or a plain constant product) with scheduled, limited and dynamic fees.

Decides: amounts, fee and next state of a swap without a referral, as program
cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG (MeteoraAg/damm-v2, programs/cp-amm/src/{state/pool.rs,
liquidity_handler/*,instructions/swap/*}). Must never: guess. Refused as unproven: Token-2022 mints (transfer
fees), exact out where a rate limiter looks at the amount, and any mode, version or padding that the source does
not name. An input that buys nothing is refused, though the program would take it.
"""

from collections.abc import Iterator
from math import isqrt
from typing import ClassVar, Final, Self

import msgspec

from fillwright.pools import constant_product
from fillwright.pools import damm_v2_fees as fees
from fillwright.pools import pool as p
from fillwright.pools.damm_v2_curve import Range, product_buy, product_sell
from fillwright.pools.damm_v2_fees import BPS_RATE, RATE_ONE, BaseFee, DynamicFee, RateLimiter, Wide
from fillwright.pools.pool import U64_MAX, ChainTime, PoolRefused, Segment, Swap
from fillwright.units import BPS_ONE, Atoms, Mint, ceil_div

PROGRAM: Final = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"
BOTH_TOKENS: Final = 0
"""The fee is taken from what goes out."""
ONLY_TOKEN_1: Final = 1
COMPOUNDING: Final = 2
"""Fees in token 1 too, a part of which joins the reserves; the curve is x * y = k without a range."""
_BYTES: Final = 1112
_DISCRIMINATOR: Final = bytes.fromhex("f19a6d0411b16dbc")
_RATE_MAX: Final = (500_000_000, 990_000_000)
"""By fee version: constants.rs get_max_fee_numerator."""
_SQRT_MIN: Final = 4_295_048_016
_SQRT_MAX: Final = 79_226_673_521_066_979_257_578_248_091
_SEGMENTS_MAX: Final = 100
_ENABLED: Final = 0


_NAMED: Final = (
    (16, 5, "base fee mode"),
    (56, 2, "dynamic fee"),
    (480, 2, "activation type"),
    (481, 2, "status"),
    (484, 3, "collect fee mode"),
    (485, 2, "pool type"),
    (486, len(_RATE_MAX), "fee version"),
    (696, 2, "layout version"),
)
"""Offset of a byte, how many values the source names, what it is."""
_PADDING: Final = ((17, 22), (40, 48), (49, 50), (51, 54), (57, 64), (487, 488), (697, 720))
"""Not those where older programs kept something: a partner and its fees (328..360, 408..424), reserves (376..392)."""


class _Fill(msgspec.Struct, frozen=True, gc=False):
    """One swap as the program's books see it: the curve takes `net_in` and gives `gross_out`, the fee is between.

    `sqrt_price`: where the curve ends up (0 for compounding, whose price follows from the reserves).
    """

    amount_in: int
    amount_out: int
    net_in: int
    gross_out: int
    fee: int
    sqrt_price: int


class DammV2Pool(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="damm_v2"):
    """All state that a swap reads or writes. 0 is the program's token A, 1 its B; prices are B per A.

    `sqrt_price*` are Q64.64 and `liquidity` the program's number, 2^64 times the geometric mean of the reserves.
    `reserve_*` is what the program counts as liquidity (token_a/b_amount), without any fees. `activation_point` is
    a slot, or a time if `by_time`. The running totals at the end change no amount.
    """

    kind: ClassVar[str] = "damm_v2"

    address: str
    mint_0: Mint
    mint_1: Mint
    vault_0_amount: Atoms
    vault_1_amount: Atoms
    reserve_0: Atoms
    reserve_1: Atoms
    liquidity: Wide
    sqrt_price: Wide
    sqrt_price_min: Wide
    sqrt_price_max: Wide
    base_fee: BaseFee
    dynamic_fee: DynamicFee | None = None
    rate_max: int = _RATE_MAX[1]
    collect_fee_mode: int = BOTH_TOKENS
    protocol_percent: int = 20
    compounding_bps: int = 0
    status: int = _ENABLED
    activation_point: int = 0
    by_time: bool = True
    protocol_fees_0: Atoms = Atoms(0)
    protocol_fees_1: Atoms = Atoms(0)
    fee_growth_0: Wide = Wide("0")
    fee_growth_1: Wide = Wide("0")
    lp_total_0: Wide = Wide("0")
    lp_total_1: Wide = Wide("0")
    protocol_total_0: int = 0
    protocol_total_1: int = 0
    venue: str = "meteora"

    @staticmethod
    def linked(pool_account: bytes) -> tuple[str, str]:
        """Addresses of the two vaults, to fetch before `decode`. A swap reads nothing else."""
        _check_bytes(pool_account)
        return p.pubkey(pool_account, 232), p.pubkey(pool_account, 264)

    @classmethod
    def decode(
        cls, *, address: str, owner: str, pool_account: bytes, vault_0_account: bytes, vault_1_account: bytes
    ) -> Self:
        """Accounts of one moment -> pool. `owner` is the program that owns the pool account.

        The caller vouches that the vaults are those of `linked`. Raises POOL_REFUSED for anything unknown.
        Layout: state/pool.rs Pool, 1112 bytes with its discriminator.
        """
        if owner != PROGRAM:
            raise p.refused(f"pool {address} belongs to {owner}, not to Meteora DAMM v2")
        _check_bytes(pool_account)
        _check_features(address, pool_account)
        mint_0, mint_1 = Mint(p.pubkey(pool_account, 168)), Mint(p.pubkey(pool_account, 200))
        reserve_0, reserve_1 = _reserves(address, pool_account)
        pool = cls(
            address=address,
            mint_0=mint_0,
            mint_1=mint_1,
            vault_0_amount=p.vault_amount(vault_0_account, mint_0),
            vault_1_amount=p.vault_amount(vault_1_account, mint_1),
            reserve_0=reserve_0,
            reserve_1=reserve_1,
            liquidity=fees.wide(pool_account, 360),
            sqrt_price=fees.wide(pool_account, 456),
            sqrt_price_min=fees.wide(pool_account, 424),
            sqrt_price_max=fees.wide(pool_account, 440),
            base_fee=fees.decode_base_fee(pool_account),
            dynamic_fee=fees.decode_dynamic_fee(pool_account),
            rate_max=_RATE_MAX[pool_account[486]],
            collect_fee_mode=pool_account[484],
            protocol_percent=pool_account[48],
            compounding_bps=int.from_bytes(pool_account[54:56], "little"),
            status=pool_account[481],
            activation_point=p.u64(pool_account, 472),
            by_time=pool_account[480] == 1,
            protocol_fees_0=Atoms(p.u64(pool_account, 392)),
            protocol_fees_1=Atoms(p.u64(pool_account, 400)),
            fee_growth_0=fees.wide(pool_account, 488, 32),
            fee_growth_1=fees.wide(pool_account, 520, 32),
            lp_total_0=fees.wide(pool_account, 568),
            lp_total_1=fees.wide(pool_account, 584),
            protocol_total_0=p.u64(pool_account, 600),
            protocol_total_1=p.u64(pool_account, 608),
        )
        pool._check()
        return pool

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        return self._swap(self._fill_in(amount_in, mint_in, now), mint_in)

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        return self._swap(self._fill_out(amount_out, mint_in, now), mint_in)

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        fill = self._fill_in(amount_in, mint_in, now)
        return self._swap(fill, mint_in), self._after(fill, mint_in, now)

    def swap_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        fill = self._fill_out(amount_out, mint_in, now)
        return self._swap(fill, mint_in), self._after(fill, mint_in, now)

    def reserves(self) -> tuple[Atoms, Atoms]:
        return self.reserve_0, self.reserve_1

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        upward = self._is_upward(mint_in)
        self._room_in(upward)
        if self.collect_fee_mode == COMPOUNDING:
            return self._sides(upward)[::-1]
        price = int(self.sqrt_price) ** 2
        return (1 << 128, price) if upward else (price, 1 << 128)

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        """One constant product up to the end of the price range; under a rate limiter one for each part of the input.

        Exact up to roundings. Where dynamic fee and limiter together reach the highest rate, the segments promise
        up to what that rate saves, and a limiter's average rate is rounded up to a billionth.
        """
        upward = self._is_upward(mint_in)
        try:
            self.open_now(now)
            room = self._room_in(upward)
        except PoolRefused:
            return ()
        reserve_in, reserve_out, left = self._virtual(upward)
        found: list[Segment] = []
        for base_rate, part in self._marginal_rates(upward, now):
            kept = 1 - self._capped(base_rate) / RATE_ONE
            kept_in, kept_out = (kept, 1.0) if self._fee_on_input(upward) else (1.0, kept)
            capacity = int(min(left / kept_in, room, part or room))
            if not capacity or len(found) == _SEGMENTS_MAX:
                break
            found.append(
                constant_product.segment(reserve_in, reserve_out, capacity=capacity, kept_in=kept_in, kept_out=kept_out)
            )
            net = kept_in * capacity
            reserve_in, reserve_out = reserve_in + net, reserve_out * (reserve_in / (reserve_in + net))
            left, room = left - net, room - capacity
        return tuple(found)

    def open_at(self, unix_seconds: int) -> None:
        """Whether status and time allow a swap. An activation by slot cannot be told from time: see `open_now`."""
        if self.status != _ENABLED:
            raise p.refused(f"pool {self.address} has status {self.status}, which may not swap")
        if self.by_time and unix_seconds < self.activation_point:
            raise p.refused(f"pool {self.address} opens at {self.activation_point}, not at {unix_seconds}")

    def open_now(self, now: ChainTime) -> None:
        """pool_action_access/permissionless.rs can_swap, for anyone but the whitelisted vault."""
        self.open_at(now.unix_seconds)
        if not self.by_time and now.slot < self.activation_point:
            raise p.refused(f"pool {self.address} opens in slot {self.activation_point}, not in {now.slot}")

    def is_limited(self, mint_in: Mint, now: ChainTime) -> bool:
        """Whether the rate limiter looks at this swap's amount.

        Then the program wants the instructions sysvar as a 15th account, and no other swap of this pool in the same
        transaction: instructions/swap/ix_p_swap.rs validate_single_swap_instruction.
        """
        return self._is_upward(mint_in) and self.base_fee.by_amount(self._point(now) - self.activation_point)

    def _fill_in(self, amount_in: int, mint_in: Mint, now: ChainTime) -> _Fill:
        """Fee on the input: ceil(in * rate), out = curve(in - fee). On the output: out = gross - ceil(gross * rate).

        state/pool.rs get_swap_result_from_exact_input.
        """
        upward = self._is_upward(mint_in)
        self.open_now(now)
        if not 0 < amount_in <= self._room_in(upward):
            raise p.bad_amount_in(amount_in)
        rate = self._rate(upward, now, amount_in)
        if self._fee_on_input(upward):
            fee = ceil_div(amount_in * rate, RATE_ONE)
            net_in = amount_in - fee
            gross_out, sqrt_price = self._sell(net_in, upward)
            amount_out = gross_out
        else:
            net_in = amount_in
            gross_out, sqrt_price = self._sell(net_in, upward)
            fee = ceil_div(gross_out * rate, RATE_ONE)
            amount_out = gross_out - fee
        self._check_payout(amount_out, gross_out, fee, upward)
        return _Fill(amount_in, amount_out, net_in, gross_out, fee, sqrt_price)

    def _fill_out(self, amount_out: int, mint_in: Mint, now: ChainTime) -> _Fill:
        """Fee on the output: gross = ceil(out / (1 - rate)). On the input: in = ceil(net / (1 - rate)).

        state/pool.rs get_swap_result_from_exact_output.
        """
        upward = self._is_upward(mint_in)
        self.open_now(now)
        room_in = self._room_in(upward)
        reserve_out = self.reserve_0 if upward else self.reserve_1
        if not 0 < amount_out <= reserve_out:
            raise p.bad_amount_out(amount_out, reserve_out)
        if self.is_limited(mint_in, now):
            raise p.refused(f"pool {self.address} has a rate limiter, with which exact out is unproven")
        kept = RATE_ONE - self._rate(upward, now, 0)
        if self._fee_on_input(upward):
            gross_out = amount_out
            net_in, sqrt_price = self._buy(gross_out, upward)
            amount_in = ceil_div(net_in * RATE_ONE, kept)
            fee = amount_in - net_in
        else:
            gross_out = ceil_div(amount_out * RATE_ONE, kept)
            net_in, sqrt_price = self._buy(gross_out, upward)
            amount_in, fee = net_in, gross_out - amount_out
        if amount_in > room_in:
            raise p.bad_amount_in(amount_in)
        self._check_payout(amount_out, gross_out, fee, upward)
        return _Fill(amount_in, amount_out, net_in, gross_out, fee, sqrt_price)

    def _sell(self, net_in: int, upward: bool) -> tuple[int, int]:
        """Input without fee -> output with fee, root price afterwards."""
        if self.collect_fee_mode == COMPOUNDING:
            return product_sell(*self._sides(upward), net_in), 0
        return self._range().sell(net_in, upward)

    def _buy(self, gross_out: int, upward: bool) -> tuple[int, int]:
        """Output with fee -> input without fee, root price afterwards."""
        if self.collect_fee_mode == COMPOUNDING:
            return product_buy(*self._sides(upward), gross_out), 0
        return self._range().buy(gross_out, upward)

    def _after(self, fill: _Fill, mint_in: Mint, now: ChainTime) -> Self:
        """state/pool.rs apply_swap_result and fee.rs split_fees; the vaults move by what the taker pays and gets."""
        upward = mint_in == self.mint_1
        protocol = fill.fee * self.protocol_percent // 100
        compounding = (fill.fee - protocol) * self.compounding_bps // BPS_ONE
        into_0, into_1 = (-fill.gross_out, fill.net_in) if upward else (fill.net_in, -fill.gross_out)
        vault_0, vault_1 = (-fill.amount_out, fill.amount_in) if upward else (fill.amount_in, -fill.amount_out)
        reserve_0, reserve_1 = self.reserve_0 + into_0, self.reserve_1 + into_1 + compounding
        sqrt_before, sqrt_price = int(self.sqrt_price), fill.sqrt_price
        if self.collect_fee_mode == COMPOUNDING:
            sqrt_price = isqrt((reserve_1 << 128) // reserve_0)
        dynamic = self.dynamic_fee
        moved = msgspec.structs.replace(
            self,
            vault_0_amount=self.vault_0_amount + vault_0,
            vault_1_amount=self.vault_1_amount + vault_1,
            reserve_0=reserve_0,
            reserve_1=reserve_1,
            sqrt_price=str(sqrt_price),
            dynamic_fee=dynamic and dynamic.after(sqrt_before, sqrt_price, now.unix_seconds),
        )
        return moved._with_fee(protocol=protocol, lp=fill.fee - protocol, compounding=compounding, upward=upward)

    def _with_fee(self, *, protocol: int, lp: int, compounding: int, upward: bool) -> Self:
        """`compounding` is a part of `lp`; the rest is claimed by positions through the fee growth."""
        growth = (lp - compounding << 128) // int(self.liquidity)
        if self._fee_token(upward) == 0:
            return msgspec.structs.replace(
                self,
                protocol_fees_0=self.protocol_fees_0 + protocol,
                protocol_total_0=self.protocol_total_0 + protocol,
                fee_growth_0=str(int(self.fee_growth_0) + growth),
                lp_total_0=str(int(self.lp_total_0) + lp),
            )
        return msgspec.structs.replace(
            self,
            protocol_fees_1=self.protocol_fees_1 + protocol,
            protocol_total_1=self.protocol_total_1 + protocol,
            fee_growth_1=str(int(self.fee_growth_1) + growth),
            lp_total_1=str(int(self.lp_total_1) + lp),
        )

    def _swap(self, fill: _Fill, mint_in: Mint) -> Swap:
        if not fill.amount_out:
            raise p.unfillable(f"an input of {fill.amount_in} atoms buys nothing")
        fee_mint = self.mint_1 if self._fee_token(mint_in == self.mint_1) else self.mint_0
        return Swap(
            amount_in=Atoms(fill.amount_in), amount_out=Atoms(fill.amount_out), fee=Atoms(fill.fee), fee_mint=fee_mint
        )

    def _rate(self, upward: bool, now: ChainTime, amount_in: int) -> int:
        """state/fee.rs get_total_trading_fee_from_included_fee_amount."""
        elapsed = self._point(now) - self.activation_point
        return self._capped(self.base_fee.rate(elapsed, int(self.sqrt_price), amount_in if upward else 0))

    def _marginal_rates(self, upward: bool, now: ChainTime) -> Iterator[tuple[int, int | None]]:
        """Base fee rates of the next, and the next, part of an input; None: all that follows."""
        base, elapsed = self.base_fee, self._point(now) - self.activation_point
        if isinstance(base, RateLimiter) and upward and base.by_amount(elapsed):
            return base.parts()
        return iter([(base.rate(elapsed, int(self.sqrt_price), 0), None)])

    def _capped(self, base_rate: int) -> int:
        dynamic = self.dynamic_fee
        return min(base_rate + (dynamic.rate() if dynamic else 0), self.rate_max)

    def _point(self, now: ChainTime) -> int:
        return now.unix_seconds if self.by_time else now.slot

    def _is_upward(self, mint_in: Mint) -> bool:
        """Paying with token 1 moves the price up."""
        if mint_in == self.mint_1:
            return True
        if mint_in == self.mint_0:
            return False
        raise p.foreign_mint(self.address, mint_in)

    def _fee_on_input(self, upward: bool) -> bool:
        """state/fee.rs get_fee_mode."""
        return upward and self.collect_fee_mode != BOTH_TOKENS

    def _fee_token(self, upward: bool) -> int:
        return 0 if upward and self.collect_fee_mode == BOTH_TOKENS else 1

    def _sides(self, upward: bool) -> tuple[int, int]:
        return (self.reserve_1, self.reserve_0) if upward else (self.reserve_0, self.reserve_1)

    def _range(self) -> Range:
        return Range(int(self.liquidity), int(self.sqrt_price), int(self.sqrt_price_min), int(self.sqrt_price_max))

    def _virtual(self, upward: bool) -> tuple[float, float, float]:
        """Reserves of the constant product that the curve is here, and the net input to the end of its range."""
        if self.collect_fee_mode == COMPOUNDING:
            return *self._sides(upward), U64_MAX
        curve = self._range()
        return *curve.virtual(upward), curve.room(upward)

    def _room_in(self, upward: bool) -> int:
        """What vault and books can still take of the input; raises if the pool is empty."""
        if self.liquidity == "0" or (self.collect_fee_mode == COMPOUNDING and not (self.reserve_0 and self.reserve_1)):
            raise p.unfillable(f"pool {self.address} is empty")
        if upward:
            return U64_MAX - max(self.vault_1_amount, self.reserve_1)
        return U64_MAX - max(self.vault_0_amount, self.reserve_0)

    def _check_payout(self, amount_out: int, gross_out: int, fee: int, upward: bool) -> None:
        """The books must hold the output with its fee, the vault what leaves it, and the running total its u64."""
        reserve, vault = (self.reserve_0, self.vault_0_amount) if upward else (self.reserve_1, self.vault_1_amount)
        if gross_out > reserve or amount_out > vault:
            raise p.bad_amount_out(amount_out, min(reserve, vault))
        total = self.protocol_total_1 if self._fee_token(upward) else self.protocol_total_0
        if total + fee * self.protocol_percent // 100 > U64_MAX:
            raise p.unfillable(f"pool {self.address} cannot count a fee of {fee} atoms")

    def _check(self) -> None:
        """What the program's own checks promise about any pool: params/fee_parameters.rs, base_fee/* validate."""
        _, price, low, high = self._range()
        if self.collect_fee_mode != COMPOUNDING and not _SQRT_MIN <= low <= price <= high <= _SQRT_MAX:
            raise p.refused(f"pool {self.address} has a price outside of its range, or a range beyond the program's")
        if not price or self.compounding_bps > (BPS_ONE if self.collect_fee_mode == COMPOUNDING else 0):
            raise p.refused(f"pool {self.address} has no price, or compounds what it may not")
        if self.protocol_percent > 100 or not 0 < self.base_fee.lowest() <= self.base_fee.cliff < RATE_ONE:
            raise p.refused(f"pool {self.address} has a fee of 0, of 1 and more, or gives away more than its fee")
        if isinstance(self.base_fee, RateLimiter):
            self._check_limiter(self.base_fee)
        dynamic = self.dynamic_fee
        if dynamic and (dynamic.volatility > dynamic.volatility_max or dynamic.has_no_reference()):
            raise p.refused(f"pool {self.address} has an impossible volatility")

    def _check_limiter(self, limiter: RateLimiter) -> None:
        """fee_rate_limiter.rs validate."""
        if self.collect_fee_mode != ONLY_TOKEN_1:
            raise p.refused(f"pool {self.address} has a rate limiter, but no fee on the input")
        settings = limiter.increment_bps, limiter.lasts, limiter.max_bps, limiter.reference
        if any(settings) and (not all(settings) or not limiter.cliff <= limiter.max_bps * BPS_RATE < RATE_ONE):
            raise p.refused(f"pool {self.address} has an impossible rate limiter")


def _check_bytes(pool_account: bytes) -> None:
    if len(pool_account) != _BYTES or pool_account[:8] != _DISCRIMINATOR:
        raise p.refused(f"{len(pool_account)} bytes {pool_account[:8].hex()} are no DAMM v2 pool of {_BYTES}")


def _check_features(address: str, account: bytes) -> None:
    """Refuses whatever the source does not name; see the top of this file."""
    for offset, count, what in _NAMED:
        if account[offset] >= count:
            raise p.refused(f"pool {address} has an unknown {what}: {account[offset]}")
    if any(account[482:484]):
        raise p.refused(f"pool {address} has a Token-2022 mint, whose transfer fees are not implemented")
    if any(any(account[start:end]) for start, end in _PADDING):
        raise p.refused(f"pool {address} uses fields that are padding in the known layout")


def _reserves(address: str, account: bytes) -> tuple[Atoms, Atoms]:
    """Layout 0 does not keep them; its next swap sets them from the curve, rounded up.

    state/pool.rs update_layout_version_if_needed, concentrated_liquidity.rs get_reserves_amount.
    """
    if account[696]:
        return Atoms(p.u64(account, 680)), Atoms(p.u64(account, 688))
    curve = Range(*(p.u128(account, offset) for offset in (360, 456, 424, 440)))
    if account[484] == COMPOUNDING or not 0 < curve.low <= curve.price <= curve.high:
        raise p.refused(f"pool {address} has neither reserves nor a price range")
    reserves = curve.reserves()
    if max(reserves) > U64_MAX:
        raise p.refused(f"pool {address} has more liquidity than amounts can be")
    return Atoms(reserves[0]), Atoms(reserves[1])
