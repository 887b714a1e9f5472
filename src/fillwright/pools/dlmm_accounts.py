"""The accounts of a DLMM pool: reading LbPair and BinArray, and refusing what is not known.

Decides: where a field lies (idls/dlmm.json of MeteoraAg/dlmm-sdk) and what may be in it. Must never: compute an
amount. The versions in both accounts are not read: the program trades alike whatever they say.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from fillwright.pools import pool as p
from fillwright.pools.dlmm_bins import Bin, bin_price

BYTES: Final = 904
DISCRIMINATOR: Final = bytes.fromhex("210b3162b565b10d")
RATE_MAX: Final = 100_000_000
"""Of the fee, in billionths: constants.rs MAX_FEE_RATE."""
BINS_PER_ARRAY: Final = 70
_ARRAY_BYTES: Final = 10_136
_ARRAY_DISCRIMINATOR: Final = bytes.fromhex("5c8e5cdc059446b5")
_BITMAP_HALF: Final = 512
WAITING_PAIR_TYPES: Final = (1, 2)
"""Permission and CustomizablePermissionless pairs have an activation point."""
_PAIR_TYPE_MAX: Final = 3
_FUNCTION_MAX: Final = 2
_LIMIT_ORDER_FUNCTION: Final = 2
_BASE_POWER_MAX: Final = 9


def u16(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 2], "little")


def u32(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 4], "little")


def i32(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 4], "little", signed=True)


def check_bytes(account: bytes, length: int, discriminator: bytes) -> None:
    if len(account) != length or account[:8] != discriminator:
        raise p.refused(f"{len(account)} bytes {account[:8].hex()} are no DLMM account of {length}")


def check_features(address: str, pool_account: bytes) -> None:
    """Refuses whatever the source does not name or a run of the program has not shown."""
    pair_type, activation, function, fee_mode = (pool_account[offset] for offset in (75, 86, 35, 36))
    if pair_type > _PAIR_TYPE_MAX or activation > 1 or function > _FUNCTION_MAX or fee_mode > 1:
        raise p.refused(f"pool {address} has an unknown pair type, activation, function or fee mode")
    if pool_account[34] > _BASE_POWER_MAX or any(pool_account[37:40]) or any(pool_account[883:]):
        raise p.refused(f"pool {address} uses a fee power or fields that are not in the known layout")
    if pool_account[880] or pool_account[881]:
        raise p.refused(f"pool {address} has a Token-2022 mint, whose transfer fees are not implemented")
    if not u16(pool_account, 80):
        raise p.refused(f"pool {address} has no bin step")
    if not -_BITMAP_HALF <= i32(pool_account, 76) // BINS_PER_ARRAY < _BITMAP_HALF:
        raise p.refused(f"pool {address} trades outside its bitmap; the extension is not implemented")


def base_fee_rate(pool_account: bytes) -> int:
    """lb_pair.rs get_base_fee, cut at the cap that holds for base and variable fee together."""
    power: int = 10 ** pool_account[34]
    return min(u16(pool_account, 8) * u16(pool_account, 80) * 10 * power, RATE_MAX)


def supports_limit_orders(pool_account: bytes) -> bool:
    """lb_pair.rs is_support_limit_order: named so, or undetermined and without a reward's mint."""
    if pool_account[35]:
        return pool_account[35] == _LIMIT_ORDER_FUNCTION
    return not any(pool_account[264:296]) and not any(pool_account[408:440])


def arrays_around(pool_account: bytes) -> tuple[list[int], list[int], list[int]]:
    """Indices of the arrays with liquidity, by the pool's own bitmap: below the active bin's, its own, above.

    Each list starts next to the active bin. Empty arrays are not flagged, and a swap never looks into them:
    lb_pair.rs next_bin_array_index_with_liquidity_internal.
    """
    bitmap, active = int.from_bytes(pool_account[584:712], "little"), i32(pool_account, 76) // BINS_PER_ARRAY
    flagged = []
    while bitmap:
        lowest = bitmap & -bitmap
        flagged.append(lowest.bit_length() - 1 - _BITMAP_HALF)
        bitmap ^= lowest
    below = [index for index in reversed(flagged) if index < active]
    return below, [index for index in flagged if index == active], [index for index in flagged if index > active]


def arrays_of(address: str, pool_account: bytes, bin_arrays: Sequence[bytes]) -> dict[int, bytes]:
    """The flagged ones among the given arrays, ascending by index."""
    given = {_array_index(array, address): array for array in bin_arrays}
    below, at, above = arrays_around(pool_account)
    return {index: given[index] for index in (*reversed(below), *at, *above) if index in given}


def missing(address: str, pool_account: bytes, arrays: Collection[int]) -> tuple[int | None, int | None]:
    """The nearest flagged arrays below and above the active bin that are not there; beyond them nothing may be."""
    below, at, above = arrays_around(pool_account)
    if any(index not in arrays for index in at):
        raise p.refused(f"the array of the active bin of pool {address}, {at[0]}, is missing")
    return _first_missing(address, below, arrays), _first_missing(address, above, arrays)


def _first_missing(address: str, wanted: Iterable[int], arrays: Collection[int]) -> int | None:
    gap = None
    for index in wanted:
        if index not in arrays:
            gap = index if gap is None else gap
        elif gap is not None:
            raise p.refused(f"bin array {index} of pool {address} lies beyond {gap}, which is missing")
    return gap


def _array_index(array: bytes, address: str) -> int:
    check_bytes(array, _ARRAY_BYTES, _ARRAY_DISCRIMINATOR)
    if p.pubkey(array, 24) != address:
        raise p.refused(f"a bin array of pool {p.pubkey(array, 24)} is not one of {address}")
    return int.from_bytes(array[8:16], "little", signed=True)


def bins_of(index: int, array: bytes, bin_step: int) -> Iterator[Bin]:
    """Those that hold something to trade, or orders being processed; no swap touches another."""
    for number in range(BINS_PER_ARRAY):
        found = array[56 + 144 * number : 200 + 144 * number]
        if any(found[:16]) or any(found[112:136]):
            yield _bin(index * BINS_PER_ARRAY + number, found, bin_step)


def _bin(bin_id: int, found: bytes, bin_step: int) -> Bin:
    price = bin_price(bin_id, bin_step)
    if p.u128(found, 16) not in (0, price):
        raise p.refused(f"bin {bin_id} has price {p.u128(found, 16)} instead of {price}")
    return Bin(
        id=bin_id,
        amount_0=p.u64(found, 0),
        amount_1=p.u64(found, 8),
        price=str(price),
        liquidity=str(p.u128(found, 32)),
        fees_per_share_0=str(p.u128(found, 80)),
        fees_per_share_1=str(p.u128(found, 96)),
        open_orders=p.u64(found, 112),
        processing=p.u64(found, 120),
        processed_left=p.u64(found, 128),
        order_age=u32(found, 136),
        ask_side=found[140],
        fulfilled_0=p.u64(found, 48),
        fulfilled_1=p.u64(found, 56),
        order_fees_ask=p.u64(found, 64),
        order_fees_bid=p.u64(found, 72),
    )
