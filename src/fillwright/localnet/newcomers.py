"""New pools of made-up tokens on a localnet: the same from the same seed, half of them traps. Pure.

Decides: what each newcomer is, and the instruction that creates its pool. Must never: look on the chain like anything
but what it is: whether it is a trap can be told from its accounts alone.

Where the program's binary is not there, the pool's tokens lie in its vaults before it is created: the instruction,
which is the program's own, only makes the waiting account a pool (see emulation). Where it is there, CPMM does all of
that itself; of DAMM v2, which wants a configuration and a position besides, there are no newcomers then.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.adapters.sim.listing import SOL, USDC, cpmm, damm_v2
from fillwright.adapters.sim.prices import PPM, drawn
from fillwright.localnet.emulation import SYSTEM
from fillwright.localnet.planting import SHARES_KEPT, Planted, lp_of, made_up, mint_account, plant, token_account
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.pool import pubkey, u64
from fillwright.programs import PROGRAMS, Account
from fillwright.programs import cpmm as cpmm_program
from fillwright.programs import damm_v2 as damm_v2_program
from fillwright.programs.token import ASSOCIATED, TOKEN_2022, TOKEN_PROGRAM, associated
from fillwright.units import NATIVE_MINT, Mint, Token

_CREATORS: Final = 4
_HONEST_PERCENT: Final = 50
_SOL_PERCENT: Final = 75
_SHALLOW: Final = 400
"""A shallow pool holds one part in so many of what the others do."""
_FEE_RECEIVER: Final = "DNXgeM9EiiaAbaWvwjHj9fQQLAX5ZsfHyvmYUNRAdNC8"
"""Who is paid for a new pool of CPMM: raydium-cp-swap, lib.rs create_pool_fee_receiver."""
_LP_SUPPLY: Final = 333
_RENT: Final = "SysvarRent111111111111111111111111111111111"


class Trap(StrEnum):
    MINTABLE = "mintable"
    FREEZABLE = "freezable"
    SHALLOW = "shallow"
    UNLOCKED = "unlocked"
    """Its liquidity can be pulled at any time, though nobody does."""


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """A token, its pool, and how it comes to be."""

    mint: Mint
    against: Mint
    trap: Trap | None
    creator: Keypair
    planted: Planted
    waiting: Mapping[str, Account]
    """All accounts of token and pool as they are before the creation, if that is emulated."""
    purses: Mapping[str, Account]
    """The token, and what the creator needs instead where the program itself takes it."""
    creation: Instruction
    """Signed by the creator."""
    burning: Instruction | None
    """Of the creator's shares, after a creation by the program itself; None where they stay."""


def newcomer(seed: int, number: int) -> Newcomer:
    mint = Mint(made_up("mint", str(seed), str(number)))
    creator = Keypair.from_seed(
        sha256(f"creator:{seed}:{_below(seed, number, 'creator', _CREATORS)}".encode()).digest()
    )
    by = str(creator.pubkey())
    token = Token(mint[:8], mint, (6, 9)[_below(seed, number, "nine", 2)])
    against = SOL if _below(seed, number, "against", 100) < _SOL_PERCENT else USDC
    trap = None
    if _below(seed, number, "honest", 100) >= _HONEST_PERCENT:
        trap = tuple(Trap)[_below(seed, number, "trap", len(Trap))]
    units = (40 if against is SOL else 4_000) * (50 + _below(seed, number, "depth", 100)) // 100
    reserve = units * 10**against.decimals // (_SHALLOW if trap is Trap.SHALLOW else 1)
    supply = (10**6 + _below(seed, number, "supply", 10**9)) * 10**token.decimals
    pool = (cpmm, damm_v2)[_below(seed, number, "venue", 2)](token, against, supply, reserve)
    decimals = {token.mint: token.decimals, against.mint: against.decimals}
    planted = plant(pool, decimals, creator=by, is_locked=trap is not Trap.UNLOCKED)
    minted = mint_account(
        planted.pool.vault_0_amount if planted.pool.mint_0 == mint else planted.pool.vault_1_amount,
        token.decimals,
        authority=by if trap is Trap.MINTABLE else None,
        freezer=by if trap is Trap.FREEZABLE else None,
    )
    address = planted.pool.address
    return Newcomer(
        mint=mint,
        against=against.mint,
        trap=trap,
        creator=creator,
        planted=planted,
        waiting={**planted.accounts, mint: minted, address: Account(SYSTEM, planted.accounts[address].data)},
        purses={mint: minted, **_purses(planted, by)},
        creation=_creation(planted, by),
        burning=_burning(planted, by) if trap is not Trap.UNLOCKED and planted.pool.kind == "cpmm" else None,
    )


def _purses(planted: Planted, creator: str) -> dict[str, Account]:
    pool = planted.pool
    sides = ((pool.mint_0, pool.vault_0_amount), (pool.mint_1, pool.vault_1_amount))
    found = {associated(creator, mint): token_account(creator, mint, amount) for mint, amount in sides}
    return {**found, _FEE_RECEIVER: token_account(made_up("receiver"), NATIVE_MINT, 0)}


def _burning(planted: Planted, creator: str) -> Instruction:
    """spl-token, TokenInstruction::Burn: all shares but those that the program keeps for ever."""
    data = planted.accounts[planted.pool.address].data
    shares = u64(data, _LP_SUPPLY) - SHARES_KEPT
    lp_mint = lp_of(data)
    accounts = [*_write(associated(creator, Mint(lp_mint)), lp_mint), _meta(creator, is_signer=True)]
    return Instruction(TOKEN_PROGRAM, b"\x08" + shares.to_bytes(8, "little"), accounts)


def _creation(planted: Planted, creator: str) -> Instruction:
    match planted.pool:
        case CpmmPool():
            return _initialize(planted.pool, planted.accounts[planted.pool.address].data, creator)
        case DammV2Pool():
            return _initialize_pool(planted.pool, planted.accounts[planted.pool.address].data, creator)
        case other:
            raise AssertionError(f"no newcomer is a {other.kind}")


def _initialize(pool: CpmmPool, data: bytes, creator: str) -> Instruction:
    """raydium-cp-swap, instructions/initialize.rs: both amounts and the opening time."""
    lp_mint = lp_of(data)
    accounts = [
        _meta(creator, is_signer=True, is_writable=True),
        *_read(pubkey(data, 8), cpmm_program.AUTHORITY),
        *_write(pool.address),
        *_read(pool.mint_0, pool.mint_1),
        *_write(lp_mint, *(associated(creator, Mint(mint)) for mint in (pool.mint_0, pool.mint_1, lp_mint))),
        *_write(pubkey(data, 72), pubkey(data, 104), _FEE_RECEIVER, pubkey(data, 296)),
        *_read(*map(str, (TOKEN_PROGRAM, TOKEN_PROGRAM, TOKEN_PROGRAM, ASSOCIATED)), SYSTEM, _RENT),
    ]
    amounts = b"".join(amount.to_bytes(8, "little") for amount in (*pool.reserves(), pool.open_time))
    return _instruction(pool.kind, bytes.fromhex("afaf6d1f0d989bed") + amounts, accounts)


def _initialize_pool(pool: DammV2Pool, data: bytes, creator: str) -> Instruction:
    """damm-v2, instructions/initialize_pool: liquidity, root of the price, no activation point."""
    nft = made_up("position", pool.address)
    accounts = [
        *_read(creator),
        *_write(nft, made_up("position account", pool.address)),
        _meta(creator, is_signer=True, is_writable=True),
        *_read(made_up("config"), damm_v2_program.AUTHORITY),
        *_write(pool.address, made_up("position state", pool.address)),
        *_read(pool.mint_0, pool.mint_1),
        *_write(pubkey(data, 232), pubkey(data, 264)),
        *_write(*(associated(creator, mint) for mint in (pool.mint_0, pool.mint_1))),
        *_read(*map(str, (TOKEN_PROGRAM, TOKEN_PROGRAM, TOKEN_2022)), SYSTEM),
        *_read(damm_v2_program.EVENT_AUTHORITY, PROGRAMS[pool.kind].id),
    ]
    state = b"".join(int(value).to_bytes(16, "little") for value in (pool.liquidity, pool.sqrt_price))
    return _instruction(pool.kind, bytes.fromhex("5fb40aac54aee828") + state + b"\0", accounts)


def _instruction(kind: str, data: bytes, accounts: Sequence[AccountMeta]) -> Instruction:
    return Instruction(Pubkey.from_string(PROGRAMS[kind].id), data, accounts)


def _meta(address: str, *, is_signer: bool = False, is_writable: bool = False) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer=is_signer, is_writable=is_writable)


def _read(*addresses: str) -> list[AccountMeta]:
    return [_meta(address) for address in addresses]


def _write(*addresses: str) -> list[AccountMeta]:
    return [_meta(address, is_writable=True) for address in addresses]


def _below(seed: int, number: int, what: str, bound: int) -> int:
    """One of 0 to bound - 1."""
    return (drawn(seed, f"newcomer:{what}", number) + PPM) * bound // (2 * PPM + 1)
