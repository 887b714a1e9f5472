"""Raydium AMM v4: constant product, fee on the input, one rate a pool.

Decides: amounts, fee and next state of a swap, as program 675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8
(raydium-io/raydium-amm, program/src/{processor,math,state}.rs). Must never: guess about an account it does
not know, or count liquidity that lies in an order book.
"""

from typing import ClassVar, Final, Self

import msgspec

from fillwright.pools import constant_product
from fillwright.pools import pool as p
from fillwright.pools.pool import U64_MAX, ChainTime, PoolRefused, Segment, Swap
from fillwright.units import Atoms, Mint, ceil_div

PROGRAM: Final = "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"
_BYTES: Final = 752
_SWAP_ONLY: Final = 6
_WAITING_TRADE: Final = 7
"""Opens at `open_time`; the first swap then turns it into _SWAP_ONLY.

Status 1 (swap and order book) is refused. The program that the recorded behaviour was taken from refuses the
8-account swap there and keeps liquidity in open orders; source from 2026-07-23 accepts it, unproven on chain.
"""


class AmmV4Pool(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="amm_v4"):
    """All state that a swap reads or writes. 0 is the program's coin, 1 its pc.

    `owed_*` (need_take_pnl) lies in the vault and is not the liquidity providers'. The running totals
    `swapped_*` and `fees_*` change no amount; source from 2026-07-23 no longer updates them.
    """

    kind: ClassVar[str] = "amm_v4"

    address: str
    mint_0: Mint
    mint_1: Mint
    vault_0_amount: Atoms
    vault_1_amount: Atoms
    fee_numerator: int
    fee_denominator: int
    owed_0: Atoms = Atoms(0)
    owed_1: Atoms = Atoms(0)
    status: int = _SWAP_ONLY
    open_time: int = 0
    recent_epoch: int = 0
    swapped_0_in: int = 0
    swapped_1_out: int = 0
    fees_0: int = 0
    swapped_1_in: int = 0
    swapped_0_out: int = 0
    fees_1: int = 0
    venue: str = "raydium"

    @staticmethod
    def linked(pool_account: bytes) -> tuple[str, str]:
        """Addresses of the two vaults, to fetch before `decode`."""
        _check_bytes(pool_account)
        return p.pubkey(pool_account, 336), p.pubkey(pool_account, 368)

    @classmethod
    def decode(
        cls, *, address: str, owner: str, pool_account: bytes, vault_0_account: bytes, vault_1_account: bytes
    ) -> Self:
        """Accounts of one moment -> pool. `owner` is the program that owns the pool account.

        The caller vouches that the vaults are those of `linked`. Raises POOL_REFUSED for anything unknown.
        Layout: AmmInfo in program/src/state.rs, 752 bytes without a discriminator.
        """
        if owner != PROGRAM:
            raise p.refused(f"pool {address} belongs to {owner}, not to Raydium AMM v4")
        _check_bytes(pool_account)
        mint_0, mint_1 = Mint(p.pubkey(pool_account, 400)), Mint(p.pubkey(pool_account, 432))
        pool = cls(
            address=address,
            mint_0=mint_0,
            mint_1=mint_1,
            vault_0_amount=p.vault_amount(vault_0_account, mint_0),
            vault_1_amount=p.vault_amount(vault_1_account, mint_1),
            fee_numerator=p.u64(pool_account, 176),
            fee_denominator=p.u64(pool_account, 184),
            owed_0=Atoms(p.u64(pool_account, 192)),
            owed_1=Atoms(p.u64(pool_account, 200)),
            status=p.u64(pool_account, 0),
            open_time=p.u64(pool_account, 224),
            recent_epoch=p.u64(pool_account, 736),
            swapped_0_in=p.u128(pool_account, 256),
            swapped_1_out=p.u128(pool_account, 272),
            fees_1=p.u64(pool_account, 288),
            swapped_1_in=p.u128(pool_account, 296),
            swapped_0_out=p.u128(pool_account, 312),
            fees_0=p.u64(pool_account, 328),
        )
        pool._check()
        return pool

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """fee = ceil(in * rate), x = in - fee, out = floor(r_out * x / (r_in + x)).

        processor.rs process_swap_base_in_v2, math.rs swap_token_amount_base_in. Roundings favour the pool.
        """
        reserve_in, reserve_out, room_in = self._side(mint_in, now)
        if not 0 < amount_in <= room_in:
            raise p.bad_amount_in(amount_in)
        fee = ceil_div(amount_in * self.fee_numerator, self.fee_denominator)
        net_in = amount_in - fee
        amount_out = reserve_out * net_in // (reserve_in + net_in)
        if not amount_out:
            raise p.unfillable(f"an input of {amount_in} atoms buys nothing")
        return Swap(amount_in=amount_in, amount_out=Atoms(amount_out), fee=Atoms(fee), fee_mint=mint_in)

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """x = ceil(r_in * out / (r_out - out)), in = ceil(x / (1 - rate)), fee = in - x.

        processor.rs process_swap_base_out_v2, math.rs swap_token_amount_base_out.
        """
        reserve_in, reserve_out, room_in = self._side(mint_in, now)
        if not 0 < amount_out < reserve_out:
            raise p.bad_amount_out(amount_out, reserve_out)
        net_in = ceil_div(reserve_in * amount_out, reserve_out - amount_out)
        amount_in = ceil_div(net_in * self.fee_denominator, self.fee_denominator - self.fee_numerator)
        if amount_in > room_in:
            raise p.bad_amount_in(amount_in)
        return Swap(amount_in=Atoms(amount_in), amount_out=amount_out, fee=Atoms(amount_in - net_in), fee_mint=mint_in)

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap = self.quote_in(amount_in, mint_in, now)
        return swap, self._after(swap, now)

    def swap_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap = self.quote_out(amount_out, mint_in, now)
        return swap, self._after(swap, now)

    def reserves(self) -> tuple[Atoms, Atoms]:
        """math.rs calc_total_without_take_pnl_no_orderbook."""
        return Atoms(self.vault_0_amount - self.owed_0), Atoms(self.vault_1_amount - self.owed_1)

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        reserve_in, reserve_out, _ = self._reserves_from(mint_in)
        return reserve_out, reserve_in

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        """One: the whole curve, up to what the input vault can still take. Exact up to roundings."""
        if mint_in not in (self.mint_0, self.mint_1):
            raise p.foreign_mint(self.address, mint_in)
        try:
            reserve_in, reserve_out, room_in = self._side(mint_in, now)
        except PoolRefused:
            return ()
        kept = 1 - self.fee_numerator / self.fee_denominator
        return (constant_product.segment(reserve_in, reserve_out, capacity=room_in, kept_in=kept),)

    def open_at(self, unix_seconds: int) -> None:
        """state.rs AmmStatus::swap_permission, less status 1 (see _WAITING_TRADE)."""
        if self.status == _SWAP_ONLY:
            return
        if self.status != _WAITING_TRADE:
            raise p.refused(f"pool {self.address} has status {self.status}, which may not swap")
        if unix_seconds < self.open_time:
            raise p.refused(f"pool {self.address} opens at {self.open_time}, not at {unix_seconds}")

    def _side(self, mint_in: Mint, now: ChainTime) -> tuple[int, int, int]:
        """Input reserve, output reserve, and what the input vault can still take, of an open pool."""
        if self.status != _SWAP_ONLY:
            self.open_at(now.unix_seconds)
        return self._reserves_from(mint_in)

    def _reserves_from(self, mint_in: Mint) -> tuple[int, int, int]:
        vault_0, vault_1 = self.vault_0_amount, self.vault_1_amount
        reserve_0, reserve_1 = vault_0 - self.owed_0, vault_1 - self.owed_1
        if reserve_0 <= 0 or reserve_1 <= 0:
            raise p.unfillable(f"pool {self.address} is empty")
        if mint_in == self.mint_0:
            return reserve_0, reserve_1, U64_MAX - vault_0
        if mint_in == self.mint_1:
            return reserve_1, reserve_0, U64_MAX - vault_1
        raise p.foreign_mint(self.address, mint_in)

    def _after(self, swap: Swap, now: ChainTime) -> Self:
        """The whole input, fee included, enters its vault. Status 7 becomes 6."""
        amount_in, amount_out = swap.amount_in, swap.amount_out
        if swap.fee_mint == self.mint_0:
            return msgspec.structs.replace(
                self,
                status=_SWAP_ONLY,
                recent_epoch=now.epoch,
                vault_0_amount=self.vault_0_amount + amount_in,
                vault_1_amount=self.vault_1_amount - amount_out,
                swapped_0_in=self.swapped_0_in + amount_in,
                swapped_1_out=self.swapped_1_out + amount_out,
                fees_0=self.fees_0 + swap.fee,
            )
        return msgspec.structs.replace(
            self,
            status=_SWAP_ONLY,
            recent_epoch=now.epoch,
            vault_0_amount=self.vault_0_amount - amount_out,
            vault_1_amount=self.vault_1_amount + amount_in,
            swapped_1_in=self.swapped_1_in + amount_in,
            swapped_0_out=self.swapped_0_out + amount_out,
            fees_1=self.fees_1 + swap.fee,
        )

    def _check(self) -> None:
        """What state.rs promises about any pool that the program made, and process_swap_base_in_v2 asks."""
        if not 0 <= self.fee_numerator < self.fee_denominator:
            raise p.refused(f"pool {self.address} has a fee of {self.fee_numerator}/{self.fee_denominator}")
        if self.owed_0 > self.vault_0_amount or self.owed_1 > self.vault_1_amount:
            raise p.refused(f"pool {self.address} owes more than its vaults hold")
        if self.mint_0 == self.mint_1:
            raise p.refused(f"pool {self.address} trades {self.mint_0} for itself")


def _check_bytes(pool_account: bytes) -> None:
    if len(pool_account) != _BYTES:
        raise p.refused(f"{len(pool_account)} bytes are not a Raydium AMM v4 pool, which has {_BYTES}")
