"""Raydium CLMM: liquidity in ranges between ticks, fee on the input, rates from a shared config.

Decides: amounts, fee and next state of a swap, as program CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK
(raydium-io/raydium-clmm, programs/amm/src/{instructions/swap*.rs,libraries/*,states/*}). Must never: guess what
lies beyond the tick arrays it was given. Source from 2026-05-18 on adds limit orders, a dynamic fee and a fee on
one token only; such pools are refused, and so is a swap that reaches a tick on which orders rest. For all others
both sources give the same amounts.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import ClassVar, Final, NamedTuple, Self

import msgspec

from fillwright.pools import clmm_math as m
from fillwright.pools import clmm_ticks as t
from fillwright.pools import pool as p
from fillwright.pools.clmm_math import RATE_ONE, TICK_MAX, U128_MAX
from fillwright.pools.clmm_ticks import Tick
from fillwright.pools.pool import U64_MAX, ChainTime, Segment, Swap
from fillwright.units import Atoms, Mint

PROGRAM: Final = "CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK"
SEGMENTS_MAX: Final = 256
_POOL: Final = (1544, bytes.fromhex("f7ede3f5d7c3de46"))
_CONFIG: Final = (117, bytes.fromhex("daf42168cbcb2b6f"))
_SWAP_OFF: Final = 1 << 4
_STATUS_MAX: Final = 63


class _Ladder(NamedTuple):
    """What no swap changes about the ticks, ready for walking."""

    indexes: list[int]
    sqrt_prices: list[int]
    nets: list[int]


class _Walk(NamedTuple):
    """Where a swap ends. `steps`: fee, liquidity, and position of the tick crossed at the end (-1: none)."""

    sqrt_price: int
    liquidity: int
    steps: list[tuple[int, int, int]]


class ClmmPool(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="clmm", dict=True):
    """All state that a swap's amounts depend on or that they change.

    `sqrt_price` is the square root of token 1 per token 0 as Q64.64. It, `liquidity`, `fee_growth_*` and
    `swapped_*` may exceed 64 bits and are decimal text, which every format can carry. `ticks` rise and are all
    initialised ticks, up to where `cut_*` says that there may be more. Protocol and fund fees lie in the vaults, and
    so do the fees of the liquidity providers; `lp_fees_*` and `swapped_*` are running totals that change no amount
    and that source from 2026-05-18 on no longer updates.
    Not here, because they change no amount: rewards (a swap brings them up to date) and price observations.
    """

    kind: ClassVar[str] = "clmm"

    address: str
    mint_0: Mint
    mint_1: Mint
    vault_0_amount: Atoms
    vault_1_amount: Atoms
    trade_fee_rate: int
    tick_spacing: int
    tick_current: int
    sqrt_price: str
    liquidity: str
    ticks: tuple[Tick, ...]
    protocol_fee_rate: int = 0
    fund_fee_rate: int = 0
    cut_below: bool = False
    cut_above: bool = False
    fee_growth_0: str = "0"
    fee_growth_1: str = "0"
    protocol_fees_0: Atoms = Atoms(0)
    protocol_fees_1: Atoms = Atoms(0)
    fund_fees_0: Atoms = Atoms(0)
    fund_fees_1: Atoms = Atoms(0)
    lp_fees_0: int = 0
    lp_fees_1: int = 0
    swapped_0_in: str = "0"
    swapped_1_out: str = "0"
    swapped_1_in: str = "0"
    swapped_0_out: str = "0"
    status: int = 0
    open_time: int = 0
    recent_epoch: int = 0
    venue: str = "raydium"

    @staticmethod
    def linked(pool_account: bytes) -> tuple[str, str, str]:
        """Addresses of the two vaults and of the config, to fetch before `decode`.

        The bitmap extension is the program address of ["pool_tick_array_bitmap_extension", pool].
        """
        t.check_bytes(pool_account, *_POOL)
        return p.pubkey(pool_account, 137), p.pubkey(pool_account, 169), p.pubkey(pool_account, 9)

    @staticmethod
    def tick_arrays(pool_account: bytes, extension_account: bytes | None, *, each_way: int) -> tuple[int, ...]:
        """Start ticks of the tick arrays to fetch before `decode`, rising.

        The array of the current price, if it is in use, and the next ones in use, `each_way` per direction.
        Such an array is the program address of ["tick_array", pool, start tick as big-endian i32].
        """
        t.check_bytes(pool_account, *_POOL)
        return t.near_arrays(pool_account, extension_account, each_way=each_way)

    @classmethod
    def decode(
        cls,
        *,
        address: str,
        owner: str,
        pool_account: bytes,
        config_account: bytes,
        vault_0_account: bytes,
        vault_1_account: bytes,
        tick_array_accounts: Sequence[bytes],
        extension_account: bytes | None,
    ) -> Self:
        """Accounts of one moment -> pool. `owner` is the program that owns the pool account.

        The caller vouches that vaults and config are those of `linked`. Anything unknown is POOL_REFUSED.
        Without its extension, or some of its tick arrays, a pool refuses the swaps that would look into them.
        Layout: states/pool.rs PoolState, states/config.rs AmmConfig.
        """
        if owner != PROGRAM:
            raise p.refused(f"pool {address} belongs to {owner}, not to Raydium CLMM")
        t.check_bytes(pool_account, *_POOL)
        t.check_bytes(config_account, *_CONFIG)
        _check_features(address, pool_account, config_account)
        mint_0, mint_1 = Mint(p.pubkey(pool_account, 73)), Mint(p.pubkey(pool_account, 105))
        ticks, cut_below, cut_above = t.read_ticks(address, pool_account, tick_array_accounts, extension_account)
        pool = cls(
            address=address,
            mint_0=mint_0,
            mint_1=mint_1,
            vault_0_amount=p.vault_amount(vault_0_account, mint_0),
            vault_1_amount=p.vault_amount(vault_1_account, mint_1),
            trade_fee_rate=t.u32(config_account, 47),
            protocol_fee_rate=t.u32(config_account, 43),
            fund_fee_rate=t.u32(config_account, 53),
            tick_spacing=t.u16(pool_account, 235),
            tick_current=t.i32(pool_account, 269),
            sqrt_price=t.u128_text(pool_account, 253),
            liquidity=t.u128_text(pool_account, 237),
            ticks=ticks,
            cut_below=cut_below,
            cut_above=cut_above,
            fee_growth_0=t.u128_text(pool_account, 277),
            fee_growth_1=t.u128_text(pool_account, 293),
            protocol_fees_0=Atoms(p.u64(pool_account, 309)),
            protocol_fees_1=Atoms(p.u64(pool_account, 317)),
            fund_fees_0=Atoms(p.u64(pool_account, 1064)),
            fund_fees_1=Atoms(p.u64(pool_account, 1072)),
            lp_fees_0=p.u64(pool_account, 1032),
            lp_fees_1=p.u64(pool_account, 1048),
            swapped_0_in=t.u128_text(pool_account, 325),
            swapped_1_out=t.u128_text(pool_account, 341),
            swapped_1_in=t.u128_text(pool_account, 357),
            swapped_0_out=t.u128_text(pool_account, 373),
            status=pool_account[389],
            open_time=p.u64(pool_account, 1080),
            recent_epoch=p.u64(pool_account, 1088),
        )
        pool._check()
        return pool

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime, sqrt_price_limit: int = 0) -> Swap:
        """From tick to tick, see `step_in`; instructions/swap.rs swap_internal, swap_v2.rs exact_internal_v2.

        With a price limit the swap may stop there and pay less than `amount_in`; 0 is none, and then all of it.
        """
        return self._walk(amount_in, mint_in, now, sqrt_price_limit, exact_in=True)[0]

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime, sqrt_price_limit: int = 0) -> Swap:
        """From tick to tick, see `step_out`. With a price limit it may buy less than `amount_out`."""
        return self._walk(amount_out, mint_in, now, sqrt_price_limit, exact_in=False)[0]

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime, sqrt_price_limit: int = 0) -> tuple[Swap, Self]:
        swap, walk = self._walk(amount_in, mint_in, now, sqrt_price_limit, exact_in=True)
        return swap, self._after(swap, walk, now)

    def swap_out(
        self, amount_out: Atoms, mint_in: Mint, now: ChainTime, sqrt_price_limit: int = 0
    ) -> tuple[Swap, Self]:
        swap, walk = self._walk(amount_out, mint_in, now, sqrt_price_limit, exact_in=False)
        return swap, self._after(swap, walk, now)

    def reserves(self) -> tuple[Atoms, Atoms]:
        """What the known ranges hold, rounded down per range; not the fees, nor what lies in no range."""
        bought_0 = sum(m.bought_between(start, end, liquidity) for start, end, liquidity in self._ranges(down=False))
        bought_1 = sum(m.bought_between(start, end, liquidity) for start, end, liquidity in self._ranges(down=True))
        return Atoms(min(bought_0, self.vault_0_amount)), Atoms(min(bought_1, self.vault_1_amount))

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        square, one = self._here[0] ** 2, 1 << 128
        return (square, one) if self._sells_0(mint_in) else (one, square)

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        """One per range with liquidity, as a constant product on virtual reserves.

        `quote_in` gives less by the program's roundings: per range up to 1 atom of output and 4 of input, and twice
        what the last bit of the price is worth (liquidity / 2**64 atoms of token 1).
        """
        down = self._sells_0(mint_in)
        if self.status & _SWAP_OFF or now.unix_seconds <= self.open_time:
            return ()
        keep = (RATE_ONE - self.trade_fee_rate) / RATE_ONE
        filled = (stretch for stretch in self._ranges(down=down) if stretch[2] and stretch[0] != stretch[1])
        return tuple(m.segment(*stretch, keep) for stretch in islice(filled, SEGMENTS_MAX))

    def open_at(self, unix_seconds: int) -> None:
        """states/pool.rs get_status_by_bit; instructions/swap_v2.rs: strictly after the opening time."""
        if self.status & _SWAP_OFF:
            raise p.refused(f"pool {self.address} has status {self.status}, which may not swap")
        if unix_seconds <= self.open_time:
            raise p.refused(f"pool {self.address} opens after {self.open_time}, not at {unix_seconds}")

    @cached_property
    def _ladder(self) -> _Ladder:
        indexes = [tick.index for tick in self.ticks]
        return _Ladder(indexes, [m.sqrt_price_at(index) for index in indexes], [int(tick.net) for tick in self.ticks])

    @cached_property
    def _here(self) -> tuple[int, int, int]:
        """Price, liquidity, and how many of the ticks are not above the current one."""
        return int(self.sqrt_price), int(self.liquidity), bisect_right(self._ladder.indexes, self.tick_current)

    def _walk(
        self, amount: int, mint_in: Mint, now: ChainTime, sqrt_price_limit: int, *, exact_in: bool
    ) -> tuple[Swap, _Walk]:
        """From tick to tick until the amount is filled or the limit reached: instructions/swap.rs swap_internal."""
        down = self._sells_0(mint_in)
        self.open_at(now.unix_seconds)
        room_in, vault_out = self._room(amount, down=down, exact_in=exact_in)
        limit = self._limit(sqrt_price_limit, down=down)
        price, liquidity, above = self._here
        _, prices, nets = self._ladder
        at, onward = (above - 1, -1) if down else (above, 1)
        step, rate = m.step_in if exact_in else m.step_out, self.trade_fee_rate
        remaining, amount_in, amount_out, fee = amount, 0, 0, 0
        steps: list[tuple[int, int, int]] = []
        while remaining and price != limit:
            if not 0 <= at < len(prices):
                raise self._end_of_ticks(down=down)
            edge = prices[at]
            target = (edge if edge > limit else limit) if down else (edge if edge < limit else limit)
            price, paid, bought, cut = step(price, target, liquidity, remaining, rate)
            amount_in += paid + cut
            amount_out += bought
            fee += cut
            remaining -= paid + cut if exact_in else bought
            if price != edge:
                steps.append((cut, liquidity, -1))
                continue
            if self.ticks[at].has_orders:
                raise p.refused(f"pool {self.address} has limit orders on tick {self.ticks[at].index}")
            steps.append((cut, liquidity, at))
            liquidity += onward * nets[at]
            at += onward
        if not amount_in or not 0 < amount_out < vault_out or (remaining and not sqrt_price_limit):
            raise p.unfillable(f"pool {self.address} cannot swap {amount} atoms")
        if amount_in > room_in:
            raise p.bad_amount_in(amount_in)
        swap = Swap(amount_in=Atoms(amount_in), amount_out=Atoms(amount_out), fee=Atoms(fee), fee_mint=mint_in)
        return swap, _Walk(price, liquidity, steps)

    def _sells_0(self, mint_in: Mint) -> bool:
        if mint_in == self.mint_0:
            return True
        if mint_in != self.mint_1:
            raise p.foreign_mint(self.address, mint_in)
        return False

    def _room(self, amount: int, *, down: bool, exact_in: bool) -> tuple[int, int]:
        """What the input vault can still take, and what the output vault holds.

        A swap that takes the whole vault is refused: the recorded program then freezes the pool.
        """
        vault_in, vault_out = self.vault_0_amount, self.vault_1_amount
        if not down:
            vault_in, vault_out = vault_out, vault_in
        room_in = U64_MAX - vault_in
        if exact_in and not 0 < amount <= room_in:
            raise p.bad_amount_in(amount)
        if not exact_in and not 0 < amount < vault_out:
            raise p.bad_amount_out(amount, vault_out)
        return room_in, vault_out

    def _limit(self, sqrt_price_limit: int, *, down: bool) -> int:
        price = self._here[0]
        if down:
            limit = sqrt_price_limit or m.SQRT_PRICE_MIN + 1
            lies_ahead = m.SQRT_PRICE_MIN < limit < price
        else:
            limit = sqrt_price_limit or m.SQRT_PRICE_MAX - 1
            lies_ahead = price < limit < m.SQRT_PRICE_MAX
        if not lies_ahead:
            raise p.unfillable(f"price limit {limit} does not lie ahead of price {price}")
        return limit

    def _end_of_ticks(self, *, down: bool) -> p.PoolRefused:
        if self.cut_below if down else self.cut_above:
            return p.refused(f"pool {self.address}: the swap needs a tick array or a bitmap that was not given")
        return p.unfillable(f"pool {self.address} has no more liquidity in this direction")

    def _ranges(self, *, down: bool) -> Iterator[tuple[int, int, int]]:
        """Price at its start, price at its end, liquidity; in the order of travel, up to a tick with orders."""
        start, liquidity, above = self._here
        _, prices, nets = self._ladder
        for at in range(above - 1, -1, -1) if down else range(above, len(prices)):
            end = max(prices[at], m.SQRT_PRICE_MIN + 1) if down else min(prices[at], m.SQRT_PRICE_MAX - 1)
            yield start, end, liquidity
            if self.ticks[at].has_orders:
                return
            start, liquidity = end, liquidity - nets[at] if down else liquidity + nets[at]

    def _after(self, swap: Swap, walk: _Walk, now: ChainTime) -> Self:
        """instructions/swap.rs swap_internal, its updates of the pool. The whole input enters its vault."""
        down = self._sells_0(swap.fee_mint)
        book = _book(self, walk.steps, down=down)
        common = msgspec.structs.replace(
            self,
            sqrt_price=str(walk.sqrt_price),
            liquidity=str(walk.liquidity),
            tick_current=self._tick_after(walk, down=down),
            ticks=book.ticks,
            recent_epoch=now.epoch,
        )
        after = common._paid_0(swap, book) if down else common._paid_1(swap, book)
        after.__dict__["_ladder"] = self._ladder
        return after

    def _paid_0(self, swap: Swap, book: "_Book") -> Self:
        return msgspec.structs.replace(
            self,
            vault_0_amount=self.vault_0_amount + swap.amount_in,
            vault_1_amount=self.vault_1_amount - swap.amount_out,
            fee_growth_0=str(book.fee_growth),
            protocol_fees_0=self.protocol_fees_0 + book.protocol_fee,
            fund_fees_0=self.fund_fees_0 + book.fund_fee,
            lp_fees_0=self.lp_fees_0 + book.lp_fee & U64_MAX,
            swapped_0_in=_sum_text(self.swapped_0_in, swap.amount_in),
            swapped_1_out=_sum_text(self.swapped_1_out, swap.amount_out),
        )

    def _paid_1(self, swap: Swap, book: "_Book") -> Self:
        return msgspec.structs.replace(
            self,
            vault_0_amount=self.vault_0_amount - swap.amount_out,
            vault_1_amount=self.vault_1_amount + swap.amount_in,
            fee_growth_1=str(book.fee_growth),
            protocol_fees_1=self.protocol_fees_1 + book.protocol_fee,
            fund_fees_1=self.fund_fees_1 + book.fund_fee,
            lp_fees_1=self.lp_fees_1 + book.lp_fee & U64_MAX,
            swapped_1_in=_sum_text(self.swapped_1_in, swap.amount_in),
            swapped_0_out=_sum_text(self.swapped_0_out, swap.amount_out),
        )

    def _tick_after(self, walk: _Walk, *, down: bool) -> int:
        """A tick crossed downwards is above the price even if the price still equals it."""
        indexes, prices, _ = self._ladder
        crossed = next((at for _, _, at in reversed(walk.steps) if at >= 0), -1)
        if crossed >= 0 and walk.sqrt_price == prices[crossed]:
            return indexes[crossed] - 1 if down else indexes[crossed]
        return m.tick_at(walk.sqrt_price) if walk.sqrt_price != self._here[0] else self.tick_current

    def _check(self) -> None:
        """What the program keeps true about any pool: another result means accounts of different moments."""
        if self.mint_0 == self.mint_1 or self.status > _STATUS_MAX:
            raise p.refused(f"pool {self.address} has an unknown status, or trades a mint for itself")
        if self.trade_fee_rate >= RATE_ONE or self.protocol_fee_rate + self.fund_fee_rate > RATE_ONE:
            raise p.refused(f"pool {self.address} takes or gives away more than there is")
        price, tick = self._here[0], self.tick_current
        if not -TICK_MAX <= tick < TICK_MAX or not m.sqrt_price_at(tick) <= price <= m.sqrt_price_at(tick + 1):
            raise p.refused(f"pool {self.address} has price {price} at tick {tick}")
        for down, cut in ((True, self.cut_below), (False, self.cut_above)):
            self._check_liquidity(down=down, cut=cut)

    def _check_liquidity(self, *, down: bool, cut: bool) -> None:
        """Never negative, and nothing is left beyond the last tick."""
        _, liquidity, above = self._here
        for net in reversed(self._ladder.nets[:above]) if down else self._ladder.nets[above:]:
            liquidity += -net if down else net
            if liquidity < 0:
                raise p.refused(f"pool {self.address} has ticks that do not fit its liquidity")
        if liquidity and not cut:
            raise p.refused(f"pool {self.address} has liquidity beyond its last tick")


# ---- what a swap leaves behind


class _Book(NamedTuple):
    """Parts of the fee, the input token's fee growth, and the ticks."""

    protocol_fee: int
    fund_fee: int
    lp_fee: int
    fee_growth: int
    ticks: tuple[Tick, ...]


def _book(pool: ClmmPool, steps: list[tuple[int, int, int]], *, down: bool) -> _Book:
    """Per step, protocol and fund take parts of the fee, rounded down; the rest goes to the liquidity in range."""
    growth = int(pool.fee_growth_0 if down else pool.fee_growth_1)
    other = int(pool.fee_growth_1 if down else pool.fee_growth_0)
    protocol = fund = lp = 0
    ticks = list(pool.ticks)
    for fee, liquidity, crossed in steps:
        to_protocol = fee * pool.protocol_fee_rate // RATE_ONE
        to_fund = fee * pool.fund_fee_rate // RATE_ONE
        protocol, fund = protocol + to_protocol, fund + to_fund
        if liquidity:
            rest = fee - to_protocol - to_fund
            lp += rest
            growth = growth + (rest << 64) // liquidity & U128_MAX
        if crossed >= 0:
            ticks[crossed] = ticks[crossed].crossed(*((growth, other) if down else (other, growth)))
    return _Book(protocol, fund, lp, growth, tuple(ticks))


def _sum_text(total: str, amount: int) -> str:
    return str(int(total) + amount & U128_MAX)


def _check_features(address: str, pool_account: bytes, config_account: bytes) -> None:
    """Refuses fee_on (390), dynamic_fee_info (1096) and all that is padding in the known layout."""
    padding = pool_account[273:277] + pool_account[391:397] + config_account[57:61] + config_account[93:]
    if pool_account[390] or any(pool_account[1096:]) or any(padding):
        raise p.refused(f"pool {address} has a fee mode, a dynamic fee or fields that are padding in the known layout")
    if not 0 < t.u16(config_account, 51) == t.u16(pool_account, 235):
        raise p.refused(f"pool {address} has no tick spacing, or another than its config")
