"""Meteora DLMM: bins of constant price, a fee that grows with volatility, limit orders inside the bins.

Decides: amounts, fees and next state of a swap, as program LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo does it
(published maths: MeteoraAg/dlmm-sdk, commons/src/{quote.rs,extensions/*,math/*}; where the program differs, the
program). Must never: guess. Refused: Token-2022 mints, an active bin beyond the pool's own bitmap (that needs its
extension account; liquidity out there is left out), and any mode the source does not name.
0 is the program's X, 1 its Y; a price is atoms of 1 per atom of 0.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Final, Self

import msgspec

from fillwright.pools import dlmm_accounts as accounts
from fillwright.pools import pool as p
from fillwright.pools.dlmm_accounts import BYTES, DISCRIMINATOR, RATE_MAX
from fillwright.pools.dlmm_bins import Bin, Fill, Rung, bin_after, cost_of, filled, ladder
from fillwright.pools.pool import U64_MAX, ChainTime, Segment, Swap
from fillwright.units import Atoms, Mint

PROGRAM: Final = "LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo"
RATE_ONE: Final = 1_000_000_000
"""Fee rates are billionths: constants.rs FEE_PRECISION."""
_ENABLED: Final = 0
_BPS: Final = 10_000
_U32_MAX: Final = 2**32 - 1
_SEGMENTS_MAX: Final = 256
_HEADROOM: Final = 1 + 1e-12
"""Keeps a segment's promise above the exact curve in spite of float rounding."""


class DlmmPool(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="dlmm", dict=True):
    """All state that a swap reads or writes, but the price observations, which it only writes.

    `bins`: by id, those of the loaded arrays that hold anything. `missing_below`, `missing_above`: the nearest
    array with liquidity on that side that is not loaded; a swap that would reach it is refused.
    Protocol fees lie in the vaults. `fee_on_1`: fees are taken in token 1 only, so on the output of 0 -> 1.
    """

    kind: ClassVar[str] = "dlmm"

    address: str
    mint_0: Mint
    mint_1: Mint
    vault_0_amount: Atoms
    vault_1_amount: Atoms
    bin_step: int
    active_id: int
    bins: tuple[Bin, ...]
    base_fee_rate: int
    filter_period: int = 0
    decay_period: int = 0
    reduction_factor: int = 0
    variable_fee_control: int = 0
    max_volatility: int = 0
    volatility: int = 0
    volatility_reference: int = 0
    index_reference: int = 0
    last_update: int = 0
    protocol_share: int = 0
    fee_on_1: bool = False
    limit_orders: bool = False
    protocol_fees_0: Atoms = Atoms(0)
    protocol_fees_1: Atoms = Atoms(0)
    status: int = _ENABLED
    active_from_slot: int = 0
    active_from_seconds: int = 0
    missing_below: int | None = None
    missing_above: int | None = None
    venue: str = "meteora"

    @staticmethod
    def linked(pool_account: bytes) -> tuple[str, str]:
        """Addresses of the two vaults, to fetch before `decode`."""
        accounts.check_bytes(pool_account, BYTES, DISCRIMINATOR)
        return p.pubkey(pool_account, 152), p.pubkey(pool_account, 184)

    @staticmethod
    def array_indices(pool_account: bytes, *, each_way: int) -> tuple[int, ...]:
        """The bin arrays to fetch before `decode`, ascending: that of the active bin, and `each_way` beyond it.

        Only arrays that hold liquidity are counted (lb_pair.rs next_bin_array_index_with_liquidity_internal).
        An array's address is the program's PDA of "bin_array", the pool's key, and the index as i64.
        """
        accounts.check_bytes(pool_account, BYTES, DISCRIMINATOR)
        below, at, above = accounts.arrays_around(pool_account)
        return (*reversed(below[:each_way]), *at, *above[:each_way])

    @classmethod
    def decode(
        cls,
        *,
        address: str,
        owner: str,
        pool_account: bytes,
        vault_0_account: bytes,
        vault_1_account: bytes,
        bin_array_accounts: Sequence[bytes],
    ) -> Self:
        """Accounts of one moment -> pool. `owner` is the program that owns the pool account.

        The caller vouches that the vaults are those of `linked`. The arrays may be all of the pool's or those
        around the active bin, without a gap. Raises POOL_REFUSED for anything unknown.
        Layout: LbPair, BinArray and Bin in idls/dlmm.json.
        """
        if owner != PROGRAM:
            raise p.refused(f"pool {address} belongs to {owner}, not to Meteora DLMM")
        accounts.check_bytes(pool_account, BYTES, DISCRIMINATOR)
        accounts.check_features(address, pool_account)
        mint_0, mint_1 = Mint(p.pubkey(pool_account, 88)), Mint(p.pubkey(pool_account, 120))
        bin_step, waits = accounts.u16(pool_account, 80), pool_account[75] in accounts.WAITING_PAIR_TYPES
        arrays = accounts.arrays_of(address, pool_account, bin_array_accounts)
        missing_below, missing_above = accounts.missing(address, pool_account, arrays)
        pool = cls(
            address=address,
            mint_0=mint_0,
            mint_1=mint_1,
            vault_0_amount=p.vault_amount(vault_0_account, mint_0),
            vault_1_amount=p.vault_amount(vault_1_account, mint_1),
            bin_step=bin_step,
            active_id=accounts.i32(pool_account, 76),
            bins=tuple(found for index, array in arrays.items() for found in accounts.bins_of(index, array, bin_step)),
            base_fee_rate=accounts.base_fee_rate(pool_account),
            filter_period=accounts.u16(pool_account, 10),
            decay_period=accounts.u16(pool_account, 12),
            reduction_factor=accounts.u16(pool_account, 14),
            variable_fee_control=accounts.u32(pool_account, 16),
            max_volatility=accounts.u32(pool_account, 20),
            volatility=accounts.u32(pool_account, 40),
            volatility_reference=accounts.u32(pool_account, 44),
            index_reference=accounts.i32(pool_account, 48),
            last_update=int.from_bytes(pool_account[56:64], "little", signed=True),
            protocol_share=accounts.u16(pool_account, 32),
            fee_on_1=pool_account[36] == 1,
            limit_orders=accounts.supports_limit_orders(pool_account),
            protocol_fees_0=Atoms(p.u64(pool_account, 216)),
            protocol_fees_1=Atoms(p.u64(pool_account, 224)),
            status=pool_account[82],
            active_from_slot=p.u64(pool_account, 816) if waits and pool_account[86] == 0 else 0,
            active_from_seconds=p.u64(pool_account, 816) if waits and pool_account[86] == 1 else 0,
            missing_below=missing_below,
            missing_above=missing_above,
        )
        pool._check()
        _ = pool._down, pool._up  # built now, so that the first quote need not
        return pool

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """Bin after bin: net = in - ceil(in * rate), out = floor(net at the bin's price), in three layers.

        A bin that is used up takes its cost and ceil(cost * rate / (1 - rate)). quote.rs quote_exact_in.
        """
        return self._exact_in(amount_in, mint_in, now)[0]

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """Bin after bin; the last one costs ONE ceil of what is wanted there, and the fee on top.

        quote.rs quote_exact_out, but there each layer is rounded up by itself: the program then fills layer by
        layer, and where that yields less than is wanted it fails (6085), so such an amount is refused.
        """
        return self._exact_out(amount_out, mint_in, now)[0]

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap, fills = self._exact_in(amount_in, mint_in, now)
        return swap, self._after(swap, fills, mint_in, now)

    def swap_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap, fills = self._exact_out(amount_out, mint_in, now)
        return swap, self._after(swap, fills, mint_in, now)

    def reserves(self) -> tuple[Atoms, Atoms]:
        """What the loaded bins can pay out: liquidity and limit orders."""
        return self._reserves

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        """The price of the first bin that has output."""
        rungs = self._ladder(mint_in)
        if not rungs:
            raise self._ran_out(mint_in)
        return (rungs[0].price, 1 << 64) if mint_in == self.mint_0 else (1 << 64, rungs[0].price)

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        """One a bin, of constant price. Bins are merged where the fee falls faster than the price: that is where
        the way leads back towards the volatility's reference.

        Above `quote_in` by at most 1e-9 of it, plus, for each bin used, one output atom and the output that two
        input atoms buy; inside merged bins, above it by what the merging adds.
        """
        rungs = self._ladder(mint_in)
        try:
            self._check_open(now)
            index_reference, volatility_reference = self._references(now)
        except p.PoolRefused:
            return ()
        from_0 = mint_in == self.mint_0
        stretches: list[tuple[float, float]] = []
        for rung in rungs[:_SEGMENTS_MAX]:
            keeps = 1 - self._rate(volatility_reference + abs(index_reference - rung.id) * _BPS) / RATE_ONE
            price = rung.price / 2**64 if from_0 else 2**64 / rung.price
            gross_in = rung.output / price if self._fee_on_output(from_0) else rung.output / price / keeps
            stretches.append((price * keeps, gross_in))
            while len(stretches) > 1 and stretches[-2][0] < stretches[-1][0]:
                (rate_0, size_0), (rate_1, size_1) = stretches[-2:]
                size = size_0 + size_1
                stretches[-2:] = [((rate_0 * size_0 + rate_1 * size_1) / size, size)]
        return tuple(Segment(rate * _HEADROOM, float("inf"), size) for rate, size in stretches)

    def open_at(self, unix_seconds: int) -> None:
        """quote.rs validate_swap_activation. An activation by slot is checked by quotes alone.

        Nobody swaps before it: the one address that the program lets in early is not ours.
        """
        if self.status != _ENABLED:
            raise p.refused(f"pool {self.address} has status {self.status}, which may not swap")
        if unix_seconds < self.active_from_seconds:
            raise p.refused(f"pool {self.address} opens at {self.active_from_seconds}, not at {unix_seconds}")

    # ---- the walk over the bins

    def _exact_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, list[Fill]]:
        """quote.rs swap_exact_in_quote_at_bin, over the bins that have output."""
        rungs = self._ladder(mint_in)
        self._check_open(now)
        from_0 = mint_in == self.mint_0
        if not 0 < amount_in <= U64_MAX - (self.vault_0_amount if from_0 else self.vault_1_amount):
            raise p.bad_amount_in(amount_in)
        on_output = self._fee_on_output(from_0)
        index_reference, volatility_reference = self._references(now)
        left, amount_out, total_fee = int(amount_in), 0, 0
        fills: list[Fill] = []
        for rung in rungs:
            rate = self._rate(volatility_reference + abs(index_reference - rung.id) * _BPS)
            fee = 0 if on_output else -(-left * rate // RATE_ONE)
            net_in, gross_out = left - fee, rung.output
            more = net_in > rung.cost
            if more:
                net_in = rung.cost
                fee = 0 if on_output else -(-net_in * rate // (RATE_ONE - rate))
                left -= net_in + fee
            else:
                gross_out = filled(rung, net_in, from_0)
            if on_output:
                fee = -(-gross_out * rate // RATE_ONE)
                amount_out -= fee
            amount_out += gross_out
            total_fee += fee
            fills.append(Fill(rung, net_in, fee, 0))
            if not more:
                break
        else:
            raise self._ran_out(mint_in)
        if not amount_out:
            raise p.unfillable(f"an input of {amount_in} atoms buys nothing")
        return self._swap(amount_in, amount_out, total_fee, from_0=from_0), fills

    def _exact_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, list[Fill]]:
        """quote.rs swap_exact_out_quote_at_bin, with the program's own rule for the last bin (see `quote_out`).

        What the last bin yields beyond the wanted is nobody's; with the fee on the output it is the protocol's.
        """
        rungs = self._ladder(mint_in)
        self._check_open(now)
        from_0 = mint_in == self.mint_0
        if not 0 < amount_out <= (self.vault_1_amount if from_0 else self.vault_0_amount):
            raise p.bad_amount_out(amount_out, self.vault_1_amount if from_0 else self.vault_0_amount)
        on_output = self._fee_on_output(from_0)
        index_reference, volatility_reference = self._references(now)
        left, amount_in, total_fee = int(amount_out), 0, 0
        fills: list[Fill] = []
        for rung in rungs:
            rate = self._rate(volatility_reference + abs(index_reference - rung.id) * _BPS)
            wanted = left - (-left * rate // (RATE_ONE - rate)) if on_output else left
            net_in, gross_out = rung.cost, rung.output
            if wanted < gross_out:
                net_in = cost_of(wanted, rung.price, from_0)
                gross_out = filled(rung, net_in, from_0)
                if gross_out < wanted:
                    raise p.unfillable(f"{amount_out} atoms end inside a bin whose layers round away what they cost")
            if on_output:
                fee = -(-gross_out * rate // RATE_ONE)
                surplus, left = max(0, gross_out - fee - left), max(0, left - gross_out + fee)
                total_fee += surplus
            else:
                fee = -(-net_in * rate // (RATE_ONE - rate))
                surplus, left = 0, max(0, left - gross_out)
                amount_in += fee
            amount_in += net_in
            total_fee += fee
            fills.append(Fill(rung, net_in, fee, surplus))
            if not left:
                break
        else:
            raise self._ran_out(mint_in)
        if amount_in > U64_MAX - (self.vault_0_amount if from_0 else self.vault_1_amount):
            raise p.bad_amount_in(amount_in)
        return self._swap(amount_in, amount_out, total_fee, from_0=from_0), fills

    def _swap(self, amount_in: int, amount_out: int, fee: int, *, from_0: bool) -> Swap:
        fee_mint = self.mint_0 if from_0 and not self.fee_on_1 else self.mint_1
        return Swap(amount_in=Atoms(amount_in), amount_out=Atoms(amount_out), fee=Atoms(fee), fee_mint=fee_mint)

    def _fee_on_output(self, from_0: bool) -> bool:
        """lb_pair.rs fee_on_input."""
        return self.fee_on_1 and from_0

    def _references(self, now: ChainTime) -> tuple[int, int]:
        """Index and volatility that this swap's fees start from: lb_pair.rs update_references."""
        elapsed = now.unix_seconds - self.last_update
        if elapsed < self.filter_period:
            return self.index_reference, self.volatility_reference
        if elapsed >= self.decay_period:
            return self.active_id, 0
        decayed = self.volatility * self.reduction_factor
        if decayed > _U32_MAX:
            raise p.refused(f"pool {self.address} has a volatility of {self.volatility}, which overflows as it decays")
        return self.active_id, decayed // _BPS

    def _rate(self, volatility: int) -> int:
        """lb_pair.rs update_volatility_accumulator, compute_variable_fee, get_total_fee."""
        moved = min(volatility, self.max_volatility) * self.bin_step
        return min(self.base_fee_rate - (-self.variable_fee_control * moved * moved // 100_000_000_000), RATE_MAX)

    def _check_open(self, now: ChainTime) -> None:
        if self.status != _ENABLED or now.unix_seconds < self.active_from_seconds:
            self.open_at(now.unix_seconds)
        if now.slot < self.active_from_slot:
            raise p.refused(f"pool {self.address} opens in slot {self.active_from_slot}, not in {now.slot}")

    def _ran_out(self, mint_in: Mint) -> p.PoolRefused:
        missing = self.missing_below if mint_in == self.mint_0 else self.missing_above
        if missing is not None:
            return p.refused(f"bin array {missing} of pool {self.address} is needed and not loaded")
        return p.unfillable(f"pool {self.address} has no more bins in this direction")

    # ---- what is precomputed

    @cached_property
    def _down(self) -> tuple[Rung, ...]:
        """The way of 0 -> 1: falling prices, from the active bin."""
        return tuple(ladder((b for b in reversed(self.bins) if b.id <= self.active_id), self.limit_orders, from_0=True))

    @cached_property
    def _up(self) -> tuple[Rung, ...]:
        """The way of 1 -> 0: rising prices, from the active bin."""
        return tuple(ladder((b for b in self.bins if b.id >= self.active_id), self.limit_orders, from_0=False))

    def _ladder(self, mint_in: Mint) -> tuple[Rung, ...]:
        if mint_in == self.mint_0:
            return self._down
        if mint_in == self.mint_1:
            return self._up
        raise p.foreign_mint(self.address, mint_in)

    @cached_property
    def _reserves(self) -> tuple[Atoms, Atoms]:
        all_0, all_1 = 0, 0
        for b in self.bins:
            orders = b.processed_left + b.open_orders if self.limit_orders else 0
            all_0 += b.amount_0 + (orders if b.ask_side else 0)
            all_1 += b.amount_1 + (0 if b.ask_side else orders)
        return Atoms(all_0), Atoms(all_1)

    def _check(self) -> None:
        """What the program promises about any pool of its own."""
        all_0, all_1 = self._reserves
        if all_0 + self.protocol_fees_0 > self.vault_0_amount or all_1 + self.protocol_fees_1 > self.vault_1_amount:
            raise p.refused(f"pool {self.address} owes more than its vaults hold")
        if self.limit_orders and any(b.ask_side > 1 for b in self.bins):
            raise p.refused(f"pool {self.address} has limit orders of an unknown side")

    # ---- the pool as the program leaves it

    def _after(self, swap: Swap, fills: list[Fill], mint_in: Mint, now: ChainTime) -> Self:
        """Volatility and active bin are those of the last bin used; `last_update` moves only with the active bin."""
        from_0 = mint_in == self.mint_0
        fee_in_0 = swap.fee_mint == self.mint_0
        old, protocol_fee = {b.id: b for b in self.bins}, 0
        new: dict[int, Bin] = {}
        for fill in fills:
            new[fill.rung.id], cut = bin_after(
                old[fill.rung.id], fill, protocol_share=self.protocol_share, from_0=from_0, fee_in_0=fee_in_0
            )
            protocol_fee += cut
        last = fills[-1].rung.id
        index_reference, volatility_reference = self._references(now)
        moved_0, moved_1 = (swap.amount_in, -swap.amount_out) if from_0 else (-swap.amount_out, swap.amount_in)
        return msgspec.structs.replace(
            self,
            vault_0_amount=self.vault_0_amount + moved_0,
            vault_1_amount=self.vault_1_amount + moved_1,
            active_id=last,
            bins=tuple(new.get(b.id, b) for b in self.bins),
            volatility=min(volatility_reference + abs(index_reference - last) * _BPS, self.max_volatility),
            volatility_reference=volatility_reference,
            index_reference=index_reference,
            last_update=self.last_update if last == self.active_id else now.unix_seconds,
            protocol_fees_0=self.protocol_fees_0 + (protocol_fee if fee_in_0 else 0),
            protocol_fees_1=self.protocol_fees_1 + (0 if fee_in_0 else protocol_fee),
        )
