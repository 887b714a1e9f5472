"""A pool that no program made, with every account that its program looks for: a pool value becomes bytes at addresses.

Decides: where the accounts of a planted pool lie, and what stands in the fields that no swap changes. Must never: plant
what its curve would refuse, or its program. Pure.

Addresses are those that the programs derive. Layouts follow the public sources that pools/ names; that the programs'
own binaries swap on such accounts, and give the same amounts, was seen in a virtual machine (tests/programs).
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from math import isqrt
from typing import Final, TypeAlias

import msgspec
from solders.pubkey import Pubkey

from fillwright.localnet.writing import BIN_ARRAY_BYTES, TICK_ARRAY_BYTES, Field, patched, written
from fillwright.pools import amm_v4, clmm, cpmm, damm_v2, dlmm
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.clmm_ticks import TICKS_PER_ARRAY, Tick
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.damm_v2_fees import TimeFee
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_accounts import BINS_PER_ARRAY
from fillwright.pools.dlmm_bins import Bin
from fillwright.pools.pool import TOKEN_PROGRAM, pubkey
from fillwright.programs import Account
from fillwright.programs.clmm import extension_of, tick_array_of
from fillwright.programs.dlmm import bin_array_of
from fillwright.programs.token import associated
from fillwright.units import NATIVE_MINT, Atoms, Mint

AnyPool: TypeAlias = AmmV4Pool | CpmmPool | ClmmPool | DlmmPool | DammV2Pool

RENT_PER_BYTE: Final = 6_960
"""Lamports that keep an account for ever, per byte; each account counts as _OVERHEAD bytes longer than its data."""
_OVERHEAD: Final = 128
_TOKEN_BYTES: Final = 165
_MINT_BYTES: Final = 82
_LP_DECIMALS: Final = 9
SHARES_KEPT: Final = 100
"""Of a new CPMM pool these are counted, and nobody's: instructions/initialize.rs lock_lp_amount."""
_OBSERVATION: Final = bytes.fromhex("7aaec5358109a584")
_ALL_BITS: Final = 512
"""The bit of tick or bin array 0 in a pool's bitmap."""


class Planted(msgspec.Struct, frozen=True):
    """A pool and its accounts. Decoding these gives this pool."""

    pool: AnyPool
    accounts: Mapping[str, Account]


def plant(
    pool: AnyPool, decimals: Mapping[Mint, int], *, creator: str | None = None, is_locked: bool = False
) -> Planted:
    """The pool's own address is not looked at: it gets the one that its program would give it.

    Where its program keeps mints in order of their bytes, the pool's sides change places if need be. `is_locked`: its
    liquidity can never be taken back, its shares being burned or its positions locked; only CPMM and DAMM v2 know that.
    """
    by = creator or made_up("creator")
    match pool:
        case AmmV4Pool():
            return _amm_v4(pool, decimals)
        case CpmmPool():
            return _cpmm(_in_order(pool), decimals, by, is_locked=is_locked)
        case ClmmPool():
            return _clmm(pool, decimals, by)
        case DlmmPool():
            return _dlmm(pool)
        case DammV2Pool():
            return _damm_v2(pool, by, is_locked=is_locked)


def lamports_of(account: Account) -> int:
    """What the account holds beside its bytes: its rent, and of wrapped SOL the amount as well."""
    rent = (_OVERHEAD + len(account.data)) * RENT_PER_BYTE
    is_wrapped = account.owner == TOKEN_PROGRAM and len(account.data) == _TOKEN_BYTES
    if is_wrapped and pubkey(account.data, 0) == NATIVE_MINT:
        return rent + int.from_bytes(account.data[64:72], "little")
    return rent


def token_account(owner: str, mint: Mint, amount: int) -> Account:
    """spl-token, state.rs Account. One of wrapped SOL also tells its rent, which is no part of the amount."""
    fields = [_key(0, mint), _key(32, owner), (64, 8, amount), (108, 1, 1)]
    if mint == NATIVE_MINT:
        fields += [(109, 4, 1), (113, 8, (_OVERHEAD + _TOKEN_BYTES) * RENT_PER_BYTE)]
    return _filled(TOKEN_PROGRAM, _TOKEN_BYTES, fields)


def mint_account(supply: int, decimals: int, *, authority: str | None = None, freezer: str | None = None) -> Account:
    """spl-token, state.rs Mint. `authority` can make more of the token, `freezer` can freeze who holds it."""
    fields = [(36, 8, supply), (44, 1, decimals), (45, 1, 1)]
    if authority:
        fields += [(0, 4, 1), _key(4, authority)]
    if freezer:
        fields += [(46, 4, 1), _key(50, freezer)]
    return _filled(TOKEN_PROGRAM, _MINT_BYTES, fields)


def lp_of(cpmm_pool: bytes) -> str:
    """The mint of its shares."""
    return pubkey(cpmm_pool, 136)


def made_up(*what: str) -> str:
    """An address that nobody has the key of, the same for the same words."""
    return str(Pubkey(sha256(":".join(("fillwright localnet", *what)).encode()).digest()))


# --- one function a program -------------------------------------------------------------------------------


def _amm_v4(pool: AmmV4Pool, decimals: Mapping[Mint, int]) -> Planted:
    """program/src/state.rs AmmInfo; addresses from processor.rs get_associated_address_and_bump_seed."""
    program = amm_v4.PROGRAM
    market = made_up("market", pool.mint_0, pool.mint_1)
    seeds = {
        name: _derived(program, _bytes(program), _bytes(market), f"{name}_associated_seed".encode())[0]
        for name in ("amm", "coin_vault", "pc_vault", "lp_mint", "open_order", "target")
    }
    address, lp_mint = seeds["amm"], seeds["lp_mint"]
    authority, nonce = _derived(program, b"amm authority")
    shares = _shares(pool)
    fields = [
        *((offset, 8, 1) for offset in (48, 64, 80, 88, 96, 104)),  # state, sizes and lots of the order book
        *((8 * number, 8, value) for number, value in ((1, nonce), (2, 7), (3, 3))),
        (32, 8, decimals[pool.mint_0]),
        (40, 8, decimals[pool.mint_1]),
        (112, 8, 10**9),
        (120, 8, 10**6),
        *_rate(128, 5, 10_000),
        *_rate(144, pool.fee_numerator, pool.fee_denominator),
        *_rate(160, 12, 100),
        *_rate(176, pool.fee_numerator, pool.fee_denominator),
        (192, 8, pool.owed_0),
        (200, 8, pool.owed_1),
        (224, 8, pool.open_time),
        *map(_key, (336, 368), (seeds["coin_vault"], seeds["pc_vault"])),
        *map(_key, (400, 432, 464), (pool.mint_0, pool.mint_1, lp_mint)),
        *map(_key, (496, 528, 592), (seeds["open_order"], market, seeds["target"])),
        _key(560, "srmqPvymJeFKQ4zGQed1GFppgkRHL9kaELCbyksJtPX"),
        (720, 8, shares),
    ]
    accounts = {
        address: _filled(program, 752, fields),
        seeds["coin_vault"]: token_account(authority, pool.mint_0, pool.vault_0_amount),
        seeds["pc_vault"]: token_account(authority, pool.mint_1, pool.vault_1_amount),
        **_lp_tokens(lp_mint, shares, authority),
    }
    return _planted(pool, address, accounts)


def _cpmm(pool: CpmmPool, decimals: Mapping[Mint, int], creator: str, *, is_locked: bool) -> Planted:
    """states/{pool,config,oracle}.rs and the seeds of instructions/initialize.rs."""
    program = cpmm.PROGRAM
    config = _derived(program, b"amm_config", bytes(2))
    authority, bump = _derived(program, b"vault_and_lp_mint_auth_seed")
    address, _ = _derived(program, b"pool", _bytes(config[0]), _bytes(pool.mint_0), _bytes(pool.mint_1))
    vaults = [_derived(program, b"pool_vault", _bytes(address), _bytes(mint))[0] for mint in (pool.mint_0, pool.mint_1)]
    lp_mint, observation = (_derived(program, seed, _bytes(address))[0] for seed in (b"pool_lp_mint", b"observation"))
    shares = _shares(pool)
    fields = [
        *map(_key, (8, 40), (config[0], creator)),
        *map(_key, (72, 104, 136), (*vaults, lp_mint)),
        *map(_key, (168, 200), (pool.mint_0, pool.mint_1)),
        *map(_key, (232, 264, 296), (TOKEN_PROGRAM, TOKEN_PROGRAM, observation)),
        (328, 1, bump),
        (329, 1, pool.status),
        (330, 1, _LP_DECIMALS),
        (331, 1, decimals[pool.mint_0]),
        (332, 1, decimals[pool.mint_1]),
        (333, 8, shares),
        (373, 8, pool.open_time),
    ]
    rates = (pool.trade_fee_rate, pool.protocol_fee_rate, pool.fund_fee_rate, 150_000_000)
    config_fields = [(8, 1, config[1]), *((12 + 8 * number, 8, rate) for number, rate in enumerate(rates))]
    accounts = {
        address: _filled(program, 637, fields, "f7ede3f5d7c3de46"),
        config[0]: _filled(program, 236, config_fields, "daf42168cbcb2b6f"),
        vaults[0]: token_account(authority, pool.mint_0, pool.vault_0_amount),
        vaults[1]: token_account(authority, pool.mint_1, pool.vault_1_amount),
        observation: _filled(program, 4_075, [(8, 1, 1), _key(11, address)], _OBSERVATION.hex()),
        **_lp_tokens(lp_mint, Atoms(0) if is_locked else Atoms(shares - SHARES_KEPT), authority),
    }
    return _planted(pool, address, accounts)


def _clmm(pool: ClmmPool, decimals: Mapping[Mint, int], creator: str) -> Planted:
    """states/{pool,config,oracle,tick_array,tickarray_bitmap_extension}.rs, seeds of instructions/create_pool.rs."""
    program = clmm.PROGRAM
    config = _derived(program, b"amm_config", bytes(2))
    address, bump = _derived(program, b"pool", _bytes(config[0]), _bytes(pool.mint_0), _bytes(pool.mint_1))
    vaults = [_derived(program, b"pool_vault", _bytes(address), _bytes(mint))[0] for mint in (pool.mint_0, pool.mint_1)]
    observation, _ = _derived(program, b"observation", _bytes(address))
    extension = extension_of(address)
    arrays = _tick_arrays(pool)
    fields = [
        (8, 1, bump),
        *map(_key, (9, 41), (config[0], creator)),
        *map(_key, (73, 105), (pool.mint_0, pool.mint_1)),
        *map(_key, (137, 169, 201), (*vaults, observation)),
        (233, 1, decimals[pool.mint_0]),
        (234, 1, decimals[pool.mint_1]),
        (235, 2, pool.tick_spacing),
        (389, 1, pool.status),
        (904, 128, _bits(start // (TICKS_PER_ARRAY * pool.tick_spacing) for start in arrays)),
        (1080, 8, pool.open_time),
    ]
    config_fields = [
        (8, 1, config[1]),
        (43, 4, pool.protocol_fee_rate),
        (47, 4, pool.trade_fee_rate),
        (51, 2, pool.tick_spacing),
        (53, 4, pool.fund_fee_rate),
    ]
    accounts = {
        address: _filled(program, 1_544, fields, "f7ede3f5d7c3de46"),
        config[0]: _filled(program, 117, config_fields, "daf42168cbcb2b6f"),
        vaults[0]: token_account(address, pool.mint_0, pool.vault_0_amount),
        vaults[1]: token_account(address, pool.mint_1, pool.vault_1_amount),
        observation: _filled(program, 4_483, [(8, 1, 1), _key(19, address)], _OBSERVATION.hex()),
        extension: _filled(program, 1_832, [_key(8, address)], "3c9624db61808b99"),
    }
    for start, ticks in arrays.items():
        array = _tick_array(address, start, ticks, pool.tick_spacing)
        accounts[tick_array_of(address, start)] = _filled(program, TICK_ARRAY_BYTES, array, "c09b55cd31f9812a")
    return _planted(pool, address, accounts)


def _tick_arrays(pool: ClmmPool) -> Mapping[int, Sequence[Tick]]:
    """By their start."""
    span = TICKS_PER_ARRAY * pool.tick_spacing
    return {start: list(ticks) for start, ticks in groupby(pool.ticks, lambda tick: tick.index // span * span)}


def _tick_array(address: str, start: int, ticks: Sequence[Tick], spacing: int) -> Iterable[Field]:
    """Gross liquidity, which tells that a tick is in use and is not traded with: as much as a single position had."""
    yield _key(8, address)
    yield 40, 4, start
    yield 10_124, 1, len(ticks)
    for tick in ticks:
        at = 44 + 168 * ((tick.index - start) // spacing)
        yield at, 4, tick.index
        yield at + 4, 16, int(tick.net)
        yield at + 20, 16, max(1, abs(int(tick.net)))


def _dlmm(pool: DlmmPool) -> Planted:
    """idls/dlmm.json LbPair, BinArray, Oracle; the seeds of its instruction initialize_lb_pair."""
    program = dlmm.PROGRAM
    factor = pool.base_fee_rate // (pool.bin_step * 10)
    step_seed, factor_seed = (value.to_bytes(2, "little") for value in (pool.bin_step, factor))
    first, second = sorted((_bytes(pool.mint_0), _bytes(pool.mint_1)))
    address, bump = _derived(program, first, second, step_seed, factor_seed)
    vaults = [_derived(program, _bytes(address), _bytes(mint))[0] for mint in (pool.mint_0, pool.mint_1)]
    oracle, _ = _derived(program, b"oracle", _bytes(address))
    arrays = _bin_arrays(pool)
    fields = [
        (8, 2, factor),
        (10, 2, pool.filter_period),
        (12, 2, pool.decay_period),
        (14, 2, pool.reduction_factor),
        (16, 4, pool.variable_fee_control),
        (20, 4, pool.max_volatility),
        (24, 4, -_ALL_BITS * BINS_PER_ARRAY),
        (28, 4, _ALL_BITS * BINS_PER_ARRAY - 1),
        (32, 2, pool.protocol_share),
        (35, 1, 2 if pool.limit_orders else 1),
        (36, 1, pool.fee_on_1),
        (72, 1, bump),
        (73, 2, pool.bin_step),
        (80, 2, pool.bin_step),
        (82, 1, pool.status),
        (83, 1, 1),
        (84, 2, factor),
        *map(_key, (88, 120), (pool.mint_0, pool.mint_1)),
        *map(_key, (152, 184, 552), (*vaults, oracle)),
        (584, 128, _bits(arrays)),
        (882, 1, 1),
    ]
    accounts = {
        address: _filled(program, 904, fields, "210b3162b565b10d"),
        vaults[0]: token_account(address, pool.mint_0, pool.vault_0_amount),
        vaults[1]: token_account(address, pool.mint_1, pool.vault_1_amount),
        oracle: _filled(program, 3_232, [(24, 8, 100)], "8bc283b38cb3e5f4"),
    }
    for index, bins in arrays.items():
        array = _bin_array(address, index, bins)
        accounts[bin_array_of(address, index)] = _filled(program, BIN_ARRAY_BYTES, array, "5c8e5cdc059446b5")
    return _planted(pool, address, accounts)


def _bin_arrays(pool: DlmmPool) -> Mapping[int, Sequence[Bin]]:
    return {index: list(bins) for index, bins in groupby(pool.bins, lambda found: found.id // BINS_PER_ARRAY)}


def _bin_array(address: str, index: int, bins: Sequence[Bin]) -> Iterable[Field]:
    yield 8, 8, index
    yield 16, 1, 2
    yield _key(24, address)
    for found in bins:
        at = 56 + 144 * (found.id - index * BINS_PER_ARRAY)
        yield at + 16, 16, int(found.price)
        yield at + 32, 16, int(found.liquidity)


def _damm_v2(pool: DammV2Pool, creator: str, *, is_locked: bool) -> Planted:
    """state/pool.rs Pool, and the seeds of instructions/initialize_pool. Only a fee by time, as most pools have."""
    program, fee = damm_v2.PROGRAM, pool.base_fee
    assert isinstance(fee, TimeFee)
    assert pool.dynamic_fee is None
    config, _ = _derived(program, b"config", bytes(8))
    second, first = sorted((_bytes(pool.mint_0), _bytes(pool.mint_1)))
    address, _ = _derived(program, b"pool", _bytes(config), first, second)
    authority, _ = _derived(program, b"pool_authority")
    vaults = [
        _derived(program, b"token_vault", _bytes(mint), _bytes(address))[0] for mint in (pool.mint_0, pool.mint_1)
    ]
    fields = [
        (8, 8, fee.cliff),
        (16, 1, fee.exponential),
        (22, 2, fee.periods),
        (24, 8, fee.frequency),
        (32, 8, fee.reduction),
        (48, 1, pool.protocol_percent),
        (50, 1, 20),
        (54, 2, pool.compounding_bps),
        (152, 16, int(pool.sqrt_price)),
        *map(_key, (168, 200), (pool.mint_0, pool.mint_1)),
        *map(_key, (232, 264, 648), (*vaults, creator)),
        (360, 16, int(pool.liquidity)),
        (424, 16, int(pool.sqrt_price_min)),
        (440, 16, int(pool.sqrt_price_max)),
        (472, 8, pool.activation_point),
        (552, 16, int(pool.liquidity) if is_locked else 0),
        (480, 1, pool.by_time),
        (481, 1, pool.status),
        (484, 1, pool.collect_fee_mode),
        (486, 1, 1),
    ]
    accounts = {
        address: _filled(program, 1_112, fields, "f19a6d0411b16dbc"),
        vaults[0]: token_account(authority, pool.mint_0, pool.vault_0_amount),
        vaults[1]: token_account(authority, pool.mint_1, pool.vault_1_amount),
    }
    return _planted(pool, address, accounts)


# --- what they share --------------------------------------------------------------------------------------


def _planted(pool: AnyPool, address: str, accounts: Mapping[str, Account]) -> Planted:
    """What a swap changes is put in place as a swap would."""
    there = msgspec.structs.replace(pool, address=address)
    return Planted(there, {**accounts, **written(there, accounts)})


def _in_order(pool: CpmmPool) -> CpmmPool:
    if _bytes(pool.mint_0) < _bytes(pool.mint_1):
        return pool
    return msgspec.structs.replace(
        pool,
        mint_0=pool.mint_1,
        mint_1=pool.mint_0,
        vault_0_amount=pool.vault_1_amount,
        vault_1_amount=pool.vault_0_amount,
    )


def _shares(pool: AmmV4Pool | CpmmPool) -> Atoms:
    """As many as the program gives for the first deposit."""
    reserve_0, reserve_1 = pool.reserves()
    return Atoms(isqrt(reserve_0 * reserve_1))


def _lp_tokens(lp_mint: str, shares: Atoms, authority: str) -> dict[str, Account]:
    """All of them are with somebody who can take the liquidity back."""
    holder = associated(made_up("provider"), Mint(lp_mint))
    return {
        lp_mint: mint_account(shares, _LP_DECIMALS, authority=authority),
        holder: token_account(made_up("provider"), Mint(lp_mint), shares),
    }


def _filled(owner: str, size: int, fields: Iterable[Field], discriminator: str = "") -> Account:
    start = bytes.fromhex(discriminator)
    return patched(Account(owner, start + bytes(size - len(start))), fields)


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number + _ALL_BITS for number in numbers)


def _rate(offset: int, numerator: int, denominator: int) -> tuple[Field, Field]:
    return (offset, 8, numerator), (offset + 8, 8, denominator)


def _key(offset: int, address: str) -> Field:
    return offset, 32, int.from_bytes(_bytes(address), "little")


def _bytes(address: str) -> bytes:
    return bytes(Pubkey.from_string(address))


def _derived(program: str, *seeds: bytes) -> tuple[str, int]:
    """The address that the program derives from these, and the byte that makes it none of a key."""
    address, bump = Pubkey.find_program_address(seeds, Pubkey.from_string(program))
    return str(address), bump
