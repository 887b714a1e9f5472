"""Raydium CLMM tick arrays: which are in use, and the ticks they hold.

Decides: what a pool's bitmaps and tick arrays say (raydium-io/raydium-clmm, programs/amm/src/states/tick_array.rs,
states/tickarray_bitmap_extension.rs, libraries/tick_array_bit_map.rs). Must never: skip an array that was not given.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final, Self

import msgspec

from fillwright.pools import pool as p
from fillwright.pools.clmm_math import TICK_MAX, U128_MAX

TICKS_PER_ARRAY: Final = 60

_TICK_ARRAY: Final = (10240, bytes.fromhex("c09b55cd31f9812a"))
_EXTENSION: Final = (1832, bytes.fromhex("3c9624db61808b99"))
_TICKS_START, _TICKS_END, _TICK_BYTES = 44, 10124, 168
_BITMAP_ARRAYS: Final = 512
"""Tick arrays on each side of price 1 that the pool's own bitmap covers; one bitmap of the extension has as many."""
_EXTENSION_BITMAPS: Final = 14


class Tick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One initialised tick: states/tick_array.rs TickState. Numbers beyond 64 bits are decimal text.

    `net` is the liquidity that is added when the price rises through it, and taken away when it falls.
    `outside_*` is the fee growth on the side of the tick where the price is not.
    """

    index: int
    net: str
    outside_0: str = "0"
    outside_1: str = "0"
    has_orders: bool = False

    def crossed(self, growth_0: int, growth_1: int) -> Self:
        """The sides change places: TickState::cross, wrapping as source from 2026-05-18 on does."""
        outside_0 = growth_0 - int(self.outside_0) & U128_MAX
        outside_1 = growth_1 - int(self.outside_1) & U128_MAX
        return type(self)(self.index, self.net, str(outside_0), str(outside_1), self.has_orders)


def near_arrays(pool_account: bytes, extension_account: bytes | None, *, each_way: int) -> tuple[int, ...]:
    """Start ticks of the arrays in use around the price, rising: its own, if in use, and `each_way` per direction."""
    span = TICKS_PER_ARRAY * u16(pool_account, 235)
    if not span:
        raise p.refused("a pool without tick spacing")
    here = i32(pool_account, 269) // span
    used = _used_arrays(pool_account, extension_account)
    above = bisect_right(used, here)
    below = above - (here in used)
    return tuple(number * span for number in used[max(0, below - each_way) : above + each_way])


def _set_bits(bits: int, first: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield first + lowest.bit_length() - 1
        bits ^= lowest


def _used_arrays(pool_account: bytes, extension_account: bytes | None) -> list[int]:
    """Numbers of the tick arrays with initialised ticks, rising, as far as the bitmaps given tell.

    libraries/tick_array_bit_map.rs; states/tickarray_bitmap_extension.rs: 14 bitmaps upwards, then 14 downwards,
    in each of which the bits rise with the ticks.
    """
    used = list(_set_bits(int.from_bytes(pool_account[904:1032], "little"), -_BITMAP_ARRAYS))
    if extension_account is None:
        return used
    check_bytes(extension_account, *_EXTENSION)
    for number in range(_EXTENSION_BITMAPS):
        first, size = _BITMAP_ARRAYS * (number + 1), _BITMAP_ARRAYS // 8
        for start, offset in ((first, 40), (-first - _BITMAP_ARRAYS, 936)):
            bitmap = extension_account[offset + size * number : offset + size * (number + 1)]
            used.extend(_set_bits(int.from_bytes(bitmap, "little"), start))
    return sorted(used)


def read_ticks(
    address: str, pool_account: bytes, tick_arrays: Sequence[bytes], extension_account: bytes | None
) -> tuple[tuple[Tick, ...], bool, bool]:
    """The ticks around the price without a gap, and whether there may be more below and above."""
    spacing = u16(pool_account, 235)
    if extension_account is not None and p.pubkey(extension_account, 8) != address:
        raise p.refused(f"the bitmap extension is not that of pool {address}")
    used, here = _used_arrays(pool_account, extension_account), i32(pool_account, 269) // (TICKS_PER_ARRAY * spacing)
    given = _read_arrays(address, tick_arrays, spacing)
    blind = extension_account is None and _BITMAP_ARRAYS * TICKS_PER_ARRAY * spacing < TICK_MAX
    in_sight = [number for number in given if not blind or -_BITMAP_ARRAYS <= number < _BITMAP_ARRAYS]
    if any(bool(given[number]) != (number in used) for number in in_sight):
        raise p.refused(f"pool {address} has a bitmap that does not fit its tick arrays")
    if (here in used and here not in given) or (blind and not -_BITMAP_ARRAYS <= here < _BITMAP_ARRAYS):
        raise p.refused(f"pool {address} comes without the tick array, or the bitmap, of its current price")
    middle = bisect_right(used, here)
    below = list(takewhile(given.__contains__, reversed(used[:middle])))
    above = list(takewhile(given.__contains__, used[middle:]))
    ticks = [tick for number in (*reversed(below), *above) for tick in given[number]]
    return tuple(ticks), blind or len(below) < middle, blind or len(above) < len(used) - middle


def _read_arrays(address: str, tick_arrays: Sequence[bytes], spacing: int) -> dict[int, tuple[Tick, ...]]:
    """Ticks by array number."""
    given: dict[int, tuple[Tick, ...]] = {}
    for account in tick_arrays:
        check_bytes(account, *_TICK_ARRAY)
        number, offset = divmod(i32(account, 40), TICKS_PER_ARRAY * spacing)
        if p.pubkey(account, 8) != address or offset:
            raise p.refused(f"a tick array does not belong to pool {address}")
        given[number] = tuple(_read_array(account, spacing))
    return given


def _read_array(account: bytes, spacing: int) -> Iterator[Tick]:
    """The initialised ticks: those with gross liquidity (20), or with limit orders (124, 132)."""
    start, nothing = i32(account, 40), bytes(16)
    for number, at in enumerate(range(_TICKS_START, _TICKS_END, _TICK_BYTES)):
        has_orders = account[at + 124 : at + 140] != nothing
        if account[at + 20 : at + 36] == nothing and not has_orders:
            continue
        index = i32(account, at)
        if index != start + number * spacing or abs(index) > TICK_MAX:
            raise p.refused(f"tick {index} stands in the place of tick {start + number * spacing}")
        net = int.from_bytes(account[at + 4 : at + 20], "little", signed=True)
        yield Tick(index, str(net), u128_text(account, at + 36), u128_text(account, at + 52), has_orders)


# ---- integers and account types


def u16(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 2], "little")


def u32(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 4], "little")


def i32(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 4], "little", signed=True)


def u128_text(account: bytes, offset: int) -> str:
    return str(p.u128(account, offset))


def check_bytes(account: bytes, length: int, discriminator: bytes) -> None:
    if len(account) != length or account[:8] != discriminator:
        raise p.refused(f"{len(account)} bytes {account[:8].hex()} are no CLMM account of {length}")
