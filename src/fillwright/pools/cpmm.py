"""Raydium CPMM: constant product, fee on the input, rates from a shared config, optional creator fee.

Decides: amounts, fees and next state of a swap, as program CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C
(raydium-io/raydium-cp-swap, programs/cp-swap/src/{curve/*,states/*,instructions/swap_base_*.rs}).
Must never: guess. Refused as unproven: Token-2022 mints (transfer fees), a trade fee of zero (today's source
divides by it), and any bit of status, fee mode or padding that the source does not name. The creator fee
follows the source from 2025-08-18 on; no recorded swap proves it.
"""

from typing import ClassVar, Final, Self

import msgspec

from fillwright.pools import constant_product
from fillwright.pools import pool as p
from fillwright.pools.pool import TOKEN_PROGRAM, U64_MAX, ChainTime, PoolRefused, Segment, Swap
from fillwright.units import Atoms, Mint, ceil_div

PROGRAM: Final = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"
RATE_ONE: Final = 1_000_000
"""Rates are millionths: curve/fees.rs FEE_RATE_DENOMINATOR_VALUE."""
_BYTES: Final = 637
_CONFIG_BYTES: Final = 236
_DISCRIMINATOR: Final = bytes.fromhex("f7ede3f5d7c3de46")
_CONFIG_DISCRIMINATOR: Final = bytes.fromhex("daf42168cbcb2b6f")
_STATUS_MAX: Final = 7
_SWAP_OFF: Final = 4
_CREATOR_FEE_ON_MAX: Final = 2


class CpmmPool(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cpmm"):
    """All state that a swap reads or writes, but the price observations, which it only writes.

    The three kinds of fees lie in the vaults and are not the liquidity providers'. `creator_fee_rate` is 0
    where the pool has no creator fee; `creator_fee_on` tells its token: 0 the input, 1 token 0, 2 token 1.
    A creator fee on the input is part of `Swap.fee`; one on the output is not, `amount_out` is net of it.
    """

    kind: ClassVar[str] = "cpmm"

    address: str
    mint_0: Mint
    mint_1: Mint
    vault_0_amount: Atoms
    vault_1_amount: Atoms
    trade_fee_rate: int
    protocol_fee_rate: int = 0
    fund_fee_rate: int = 0
    creator_fee_rate: int = 0
    creator_fee_on: int = 0
    protocol_fees_0: Atoms = Atoms(0)
    protocol_fees_1: Atoms = Atoms(0)
    fund_fees_0: Atoms = Atoms(0)
    fund_fees_1: Atoms = Atoms(0)
    creator_fees_0: Atoms = Atoms(0)
    creator_fees_1: Atoms = Atoms(0)
    status: int = 0
    open_time: int = 0
    recent_epoch: int = 0
    venue: str = "raydium"

    @staticmethod
    def linked(pool_account: bytes) -> tuple[str, str, str]:
        """Addresses of the two vaults and of the config, to fetch before `decode`."""
        _check_bytes(pool_account, _BYTES, _DISCRIMINATOR)
        return p.pubkey(pool_account, 72), p.pubkey(pool_account, 104), p.pubkey(pool_account, 8)

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
    ) -> Self:
        """Accounts of one moment -> pool. `owner` is the program that owns the pool account.

        The caller vouches that vaults and config are those of `linked`. Anything unknown is POOL_REFUSED.
        Layout: states/pool.rs PoolState (637 bytes), states/config.rs AmmConfig (236 bytes).
        """
        if owner != PROGRAM:
            raise p.refused(f"pool {address} belongs to {owner}, not to Raydium CPMM")
        _check_bytes(pool_account, _BYTES, _DISCRIMINATOR)
        _check_bytes(config_account, _CONFIG_BYTES, _CONFIG_DISCRIMINATOR)
        _check_features(address, pool_account, config_account)
        mint_0, mint_1 = Mint(p.pubkey(pool_account, 168)), Mint(p.pubkey(pool_account, 200))
        pool = cls(
            address=address,
            mint_0=mint_0,
            mint_1=mint_1,
            vault_0_amount=p.vault_amount(vault_0_account, mint_0),
            vault_1_amount=p.vault_amount(vault_1_account, mint_1),
            trade_fee_rate=p.u64(config_account, 12),
            protocol_fee_rate=p.u64(config_account, 20),
            fund_fee_rate=p.u64(config_account, 28),
            creator_fee_rate=p.u64(config_account, 108) if pool_account[390] else 0,
            creator_fee_on=pool_account[389],
            protocol_fees_0=Atoms(p.u64(pool_account, 341)),
            protocol_fees_1=Atoms(p.u64(pool_account, 349)),
            fund_fees_0=Atoms(p.u64(pool_account, 357)),
            fund_fees_1=Atoms(p.u64(pool_account, 365)),
            creator_fees_0=Atoms(p.u64(pool_account, 397)),
            creator_fees_1=Atoms(p.u64(pool_account, 405)),
            status=pool_account[329],
            open_time=p.u64(pool_account, 373),
            recent_epoch=p.u64(pool_account, 381),
        )
        pool._check()
        return pool

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        return self._exact_in(amount_in, mint_in, now)[0]

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        return self._exact_out(amount_out, mint_in, now)[0]

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap, creator_fee = self._exact_in(amount_in, mint_in, now)
        return swap, self._after(swap, creator_fee, now)

    def swap_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        swap, creator_fee = self._exact_out(amount_out, mint_in, now)
        return swap, self._after(swap, creator_fee, now)

    def reserves(self) -> tuple[Atoms, Atoms]:
        """states/pool.rs vault_amount_without_fee."""
        reserve_0 = self.vault_0_amount - self.protocol_fees_0 - self.fund_fees_0 - self.creator_fees_0
        reserve_1 = self.vault_1_amount - self.protocol_fees_1 - self.fund_fees_1 - self.creator_fees_1
        return Atoms(reserve_0), Atoms(reserve_1)

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
        kept_in, kept_out = (1 - rate / RATE_ONE for rate in self._rates(mint_in))
        return (
            constant_product.segment(reserve_in, reserve_out, capacity=room_in, kept_in=kept_in, kept_out=kept_out),
        )

    def open_at(self, unix_seconds: int) -> None:
        """instructions/swap_base_input.rs: the swap bit is clear, and open_time has come."""
        if self.status & _SWAP_OFF:
            raise p.refused(f"pool {self.address} has status {self.status}, which may not swap")
        if unix_seconds < self.open_time:
            raise p.refused(f"pool {self.address} opens at {self.open_time}, not at {unix_seconds}")

    def _exact_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, int]:
        """The swap, and the creator's part of its fees. With `rate` and `c` as in `_rates`:

        fee = ceil(in * rate), x = in - fee, gross = floor(x * r_out / (r_in + x)),
        out = gross - ceil(gross * c). Every rounding favours the pool.
        curve/calculator.rs swap_base_input, curve/constant_product.rs, curve/fees.rs.
        """
        reserve_in, reserve_out, room_in = self._side(mint_in, now)
        rate_in, rate_out = self._rates(mint_in) if self.creator_fee_rate else (self.trade_fee_rate, 0)
        if not 0 < amount_in <= room_in:
            raise p.bad_amount_in(amount_in)
        fee = ceil_div(amount_in * rate_in, RATE_ONE)
        net_in = amount_in - fee
        gross_out = net_in * reserve_out // (reserve_in + net_in)
        cut_out = ceil_div(gross_out * rate_out, RATE_ONE) if rate_out else 0
        if gross_out <= cut_out:
            raise p.unfillable(f"an input of {amount_in} atoms buys nothing")
        amount_out = Atoms(gross_out - cut_out)
        swap = Swap(amount_in=amount_in, amount_out=amount_out, fee=Atoms(fee), fee_mint=mint_in)
        return swap, self._creator_part(fee, rate_in, cut_out) if self.creator_fee_rate else 0

    def _exact_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, int]:
        """The swap, and the creator's part of its fees. With `rate` and `c` as in `_rates`:

        gross = ceil(out / (1 - c)), x = ceil(r_in * gross / (r_out - gross)), in = ceil(x / (1 - rate)),
        fee = in - x. curve/calculator.rs swap_base_output.
        """
        reserve_in, reserve_out, room_in = self._side(mint_in, now)
        rate_in, rate_out = self._rates(mint_in) if self.creator_fee_rate else (self.trade_fee_rate, 0)
        gross_out = ceil_div(amount_out * RATE_ONE, RATE_ONE - rate_out) if rate_out else amount_out
        if not 0 < gross_out < reserve_out:
            raise p.bad_amount_out(amount_out, reserve_out)
        net_in = ceil_div(reserve_in * gross_out, reserve_out - gross_out)
        amount_in = Atoms(ceil_div(net_in * RATE_ONE, RATE_ONE - rate_in))
        if amount_in > room_in:
            raise p.bad_amount_in(amount_in)
        fee = amount_in - net_in
        swap = Swap(amount_in=amount_in, amount_out=amount_out, fee=Atoms(fee), fee_mint=mint_in)
        cut_out = gross_out - amount_out
        return swap, self._creator_part(fee, rate_in, cut_out) if self.creator_fee_rate else 0

    def _side(self, mint_in: Mint, now: ChainTime) -> tuple[int, int, int]:
        """Input reserve, output reserve, and what the input vault can still take, of an open pool."""
        if self.status & _SWAP_OFF or now.unix_seconds < self.open_time:
            self.open_at(now.unix_seconds)
        return self._reserves_from(mint_in)

    def _reserves_from(self, mint_in: Mint) -> tuple[int, int, int]:
        """states/pool.rs get_swap_params: an empty side fails there, on its price."""
        reserve_0, reserve_1 = self.reserves()
        if reserve_0 <= 0 or reserve_1 <= 0:
            raise p.unfillable(f"pool {self.address} is empty")
        if mint_in == self.mint_0:
            return reserve_0, reserve_1, U64_MAX - self.vault_0_amount
        if mint_in == self.mint_1:
            return reserve_1, reserve_0, U64_MAX - self.vault_1_amount
        raise p.foreign_mint(self.address, mint_in)

    def _creator_on_output(self, mint_in: Mint) -> bool:
        """states/pool.rs is_creator_fee_on_input: no, if `creator_fee_on` names the side that goes out."""
        return self.creator_fee_on == (2 if mint_in == self.mint_0 else 1)

    def _rates(self, mint_in: Mint) -> tuple[int, int]:
        """The rate on the input and the rate on the output; the creator's is part of one of them."""
        if self._creator_on_output(mint_in):
            return self.trade_fee_rate, self.creator_fee_rate
        return self.trade_fee_rate + self.creator_fee_rate, 0

    def _creator_part(self, fee: int, rate_in: int, cut_out: int) -> int:
        """The cut of the output, or a part of the input's fee, rounded down: fees.rs split_creator_fee."""
        return cut_out or fee * (rate_in - self.trade_fee_rate) // rate_in

    def _after(self, swap: Swap, creator_fee: int, now: ChainTime) -> Self:
        """The whole input enters its vault; protocol and fund take parts of the trade fee, rounded down.

        curve/fees.rs protocol_fee and fund_fee, states/pool.rs update_fees.
        """
        from_0 = swap.fee_mint == self.mint_0
        on_output = self._creator_on_output(swap.fee_mint)
        trade_fee = swap.fee if on_output else swap.fee - creator_fee
        protocol_fee = trade_fee * self.protocol_fee_rate // RATE_ONE
        fund_fee = trade_fee * self.fund_fee_rate // RATE_ONE
        paid = swap.amount_in, protocol_fee, fund_fee, 0 if on_output else creator_fee
        bought = -swap.amount_out, 0, 0, creator_fee if on_output else 0
        (moved_0, protocol_0, fund_0, creator_0), (moved_1, protocol_1, fund_1, creator_1) = (
            (paid, bought) if from_0 else (bought, paid)
        )
        return msgspec.structs.replace(
            self,
            recent_epoch=now.epoch,
            vault_0_amount=self.vault_0_amount + moved_0,
            vault_1_amount=self.vault_1_amount + moved_1,
            protocol_fees_0=self.protocol_fees_0 + protocol_0,
            protocol_fees_1=self.protocol_fees_1 + protocol_1,
            fund_fees_0=self.fund_fees_0 + fund_0,
            fund_fees_1=self.fund_fees_1 + fund_1,
            creator_fees_0=self.creator_fees_0 + creator_0,
            creator_fees_1=self.creator_fees_1 + creator_1,
        )

    def _check(self) -> None:
        """What instructions/admin/update_config.rs and the vaults promise about any working pool."""
        if not 0 < self.trade_fee_rate < RATE_ONE - self.creator_fee_rate:
            raise p.refused(f"pool {self.address} has a fee rate of 0, or of 1 and more")
        if self.protocol_fee_rate + self.fund_fee_rate > RATE_ONE:
            raise p.refused(f"pool {self.address} gives away more than its fee")
        if min(self.reserves()) < 0:
            raise p.refused(f"pool {self.address} owes more than its vaults hold")


def _check_bytes(account: bytes, length: int, discriminator: bytes) -> None:
    if len(account) != length or account[:8] != discriminator:
        raise p.refused(f"{len(account)} bytes {account[:8].hex()} are no CPMM account of {length}")


def _check_features(address: str, pool_account: bytes, config_account: bytes) -> None:
    """Refuses whatever the source does not name or the vectors do not cover; see the top of this file."""
    status, creator_fee_on, has_creator_fee = pool_account[329], pool_account[389], pool_account[390]
    if status > _STATUS_MAX or creator_fee_on > _CREATOR_FEE_ON_MAX or has_creator_fee > 1:
        raise p.refused(f"pool {address} has an unknown status or fee mode")
    if any(pool_account[391:397]) or any(pool_account[413:]) or any(config_account[116:]):
        raise p.refused(f"pool {address} uses fields that are padding in the known layout")
    if any(p.pubkey(pool_account, offset) != TOKEN_PROGRAM for offset in (232, 264)):
        raise p.refused(f"pool {address} has a Token-2022 mint, whose transfer fees are not implemented")
