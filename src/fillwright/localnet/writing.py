"""What a swap changes in the accounts of its pool: a pool value back into the bytes that it was decoded from.

Decides: which bytes of which account carry each number that a swap moves. Must never: touch a byte that a pool value
does not tell. So these stay as they were, though the program moves them too: price observations and oracles (accounts
of their own), what a CLMM pool pays as rewards and remembers of the last price of its recent blocks, and what a DLMM
pair pays as rewards. None of them changes an amount.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from fillwright.pools import Pool
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.clmm_ticks import TICKS_PER_ARRAY
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_accounts import BINS_PER_ARRAY
from fillwright.pools.pool import pubkey
from fillwright.programs import Account, Accounts

TICK_ARRAY_BYTES: Final = 10_240
BIN_ARRAY_BYTES: Final = 10_136
_AMOUNT: Final = 64
"""Of a token account: its balance, u64."""
_BITMAP_HALF: Final = 512
"""Of a DLMM pair: the bit of bin array 0."""
_VAULTS: Final = {
    "amm_v4": (336, 368),
    "cpmm": (72, 104),
    "clmm": (137, 169),
    "dlmm": (152, 184),
    "damm_v2": (232, 264),
}
"""Where a pool's account names its vaults."""

Field: TypeAlias = tuple[int, int, int]
"""Offset, length, value; little-endian."""


def written(pool: Pool, known: Accounts) -> Mapping[str, Account]:
    """The accounts of `known` that the pool has outgrown, as they are now; `known` holds its own account and vaults.

    Tick and bin arrays that are not in `known` are left out. Decoding what is known, with these put in place, gives
    the pool again.
    """
    vault_0, vault_1 = vaults_of(pool, known[pool.address])
    changes: dict[str, Iterable[Field]] = {}
    match pool:
        case AmmV4Pool():
            changes[pool.address] = _amm_v4(pool)
        case CpmmPool():
            changes[pool.address] = _cpmm(pool)
        case ClmmPool():
            changes = _ticks(pool, known)
            changes[pool.address] = _clmm(pool)
        case DlmmPool():
            changes = _bins(pool, known)
            changes[pool.address] = [*_dlmm(pool), _bitmap(pool, known)]
        case DammV2Pool():
            changes[pool.address] = _damm_v2(pool)
        case _:
            raise AssertionError(f"no pool of kind {pool.kind} can be written")
    changes[vault_0] = [(_AMOUNT, 8, pool.vault_0_amount)]
    changes[vault_1] = [(_AMOUNT, 8, pool.vault_1_amount)]
    after = {address: patched(known[address], fields) for address, fields in changes.items()}
    return {address: account for address, account in after.items() if account != known[address]}


def vaults_of(pool: Pool, account: Account) -> tuple[str, str]:
    """Addresses of the vaults of token 0 and of token 1, from the pool's account."""
    return pubkey(account.data, _VAULTS[pool.kind][0]), pubkey(account.data, _VAULTS[pool.kind][1])


def patched(account: Account, fields: Iterable[Field]) -> Account:
    data = bytearray(account.data)
    for offset, length, value in fields:
        data[offset : offset + length] = value.to_bytes(length, "little", signed=value < 0)
    return msgspec.structs.replace(account, data=bytes(data))


# --- pools: the offsets are those of the curves' `decode` -------------------------------------------------


def _amm_v4(pool: AmmV4Pool) -> list[Field]:
    return [
        (0, 8, pool.status),
        (256, 16, pool.swapped_0_in),
        (272, 16, pool.swapped_1_out),
        (288, 8, pool.fees_1),
        (296, 16, pool.swapped_1_in),
        (312, 16, pool.swapped_0_out),
        (328, 8, pool.fees_0),
        (736, 8, pool.recent_epoch),
    ]


def _cpmm(pool: CpmmPool) -> list[Field]:
    return [
        (341, 8, pool.protocol_fees_0),
        (349, 8, pool.protocol_fees_1),
        (357, 8, pool.fund_fees_0),
        (365, 8, pool.fund_fees_1),
        (381, 8, pool.recent_epoch),
        (397, 8, pool.creator_fees_0),
        (405, 8, pool.creator_fees_1),
    ]


def _clmm(pool: ClmmPool) -> list[Field]:
    return [
        (237, 16, int(pool.liquidity)),
        (253, 16, int(pool.sqrt_price)),
        (269, 4, pool.tick_current),
        (277, 16, int(pool.fee_growth_0)),
        (293, 16, int(pool.fee_growth_1)),
        (309, 8, pool.protocol_fees_0),
        (317, 8, pool.protocol_fees_1),
        (325, 16, int(pool.swapped_0_in)),
        (341, 16, int(pool.swapped_1_out)),
        (357, 16, int(pool.swapped_1_in)),
        (373, 16, int(pool.swapped_0_out)),
        (1032, 8, pool.lp_fees_0),
        (1048, 8, pool.lp_fees_1),
        (1064, 8, pool.fund_fees_0),
        (1072, 8, pool.fund_fees_1),
        (1088, 8, pool.recent_epoch),
    ]


def _dlmm(pool: DlmmPool) -> list[Field]:
    return [
        (40, 4, pool.volatility),
        (44, 4, pool.volatility_reference),
        (48, 4, pool.index_reference),
        (56, 8, pool.last_update),
        (76, 4, pool.active_id),
        (216, 8, pool.protocol_fees_0),
        (224, 8, pool.protocol_fees_1),
    ]


def _damm_v2(pool: DammV2Pool) -> list[Field]:
    """A swap also brings a pool of layout 0 to layout 1, which keeps its reserves."""
    fields = [
        (392, 8, pool.protocol_fees_0),
        (400, 8, pool.protocol_fees_1),
        (456, 16, int(pool.sqrt_price)),
        (488, 32, int(pool.fee_growth_0)),
        (520, 32, int(pool.fee_growth_1)),
        (568, 16, int(pool.lp_total_0)),
        (584, 16, int(pool.lp_total_1)),
        (600, 8, pool.protocol_total_0),
        (608, 8, pool.protocol_total_1),
        (680, 8, pool.reserve_0),
        (688, 8, pool.reserve_1),
        (696, 1, 1),
    ]
    if dynamic := pool.dynamic_fee:
        fields += [
            (80, 8, dynamic.last_update),
            (104, 16, int(dynamic.sqrt_reference)),
            (120, 16, dynamic.volatility),
            (136, 16, dynamic.volatility_reference),
        ]
    return fields


# --- arrays -----------------------------------------------------------------------------------------------


def _ticks(pool: ClmmPool, known: Accounts) -> dict[str, Iterable[Field]]:
    """An array of which a tick was crossed also remembers the epoch."""
    changes: dict[str, Iterable[Field]] = {}
    for address, data in _arrays(pool, known, length=TICK_ARRAY_BYTES, pool_at=8):
        start = int.from_bytes(data[40:44], "little", signed=True)
        fields = [
            field
            for tick in pool.ticks
            if 0 <= (number := (tick.index - start) // pool.tick_spacing) < TICKS_PER_ARRAY
            for field in (
                (44 + 168 * number + 36, 16, int(tick.outside_0)),
                (44 + 168 * number + 52, 16, int(tick.outside_1)),
            )
        ]
        if any(int.from_bytes(data[at : at + length], "little") != value for at, length, value in fields):
            changes[address] = [*fields, (10125, 8, pool.recent_epoch)]
    return changes


def _bins(pool: DlmmPool, known: Accounts) -> dict[str, Iterable[Field]]:
    changes: dict[str, Iterable[Field]] = {}
    for address, data in _arrays(pool, known, length=BIN_ARRAY_BYTES, pool_at=24):
        first = int.from_bytes(data[8:16], "little", signed=True) * BINS_PER_ARRAY
        changes[address] = [
            (56 + 144 * (found.id - first) + offset, length, value)
            for found in pool.bins
            if first <= found.id < first + BINS_PER_ARRAY
            for offset, length, value in (
                (0, 8, found.amount_0),
                (8, 8, found.amount_1),
                (48, 8, found.fulfilled_0),
                (56, 8, found.fulfilled_1),
                (64, 8, found.order_fees_ask),
                (72, 8, found.order_fees_bid),
                (80, 16, int(found.fees_per_share_0)),
                (96, 16, int(found.fees_per_share_1)),
                (112, 8, found.open_orders),
                (120, 8, found.processing),
                (128, 8, found.processed_left),
                (136, 4, found.order_age),
            )
        ]
    return changes


def _bitmap(pool: DlmmPool, known: Accounts) -> Field:
    """Without the arrays that hold nothing any more."""
    bits = int.from_bytes(known[pool.address].data[584:712], "little")
    held = {b.id // BINS_PER_ARRAY for b in pool.bins if b.amount_0 or b.amount_1 or b.open_orders or b.processed_left}
    for index in {b.id // BINS_PER_ARRAY for b in pool.bins} - held:
        bits &= ~(1 << index + _BITMAP_HALF)
    return (584, 128, bits)


def _arrays(pool: Pool, known: Accounts, *, length: int, pool_at: int) -> Iterator[tuple[str, bytes]]:
    """Those of the pool among the accounts."""
    owner = known[pool.address].owner
    for address, account in known.items():
        if account.owner == owner and len(account.data) == length and pubkey(account.data, pool_at) == pool.address:
            yield address, account.data
