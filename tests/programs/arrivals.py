"""New pools made by the programs' own binaries, as discovery sees them; and sales that they simulate for it.

Decides: how each program is asked for a new pool. AMM v4 is not: a new one wants a market of another program. Must
never: use discovery's own tables to make what it is to find.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from solders.account import Account as ChainAccount
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.sim.listing import HUBS, SOL, TOKENS, USDC
from fillwright.adapters.solana.discovery import SolanaDiscovery
from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.localnet.bank import Rules
from fillwright.localnet.faults import Faults
from fillwright.localnet.planting import mint_account, token_account
from fillwright.localnet.server import Network, serving
from fillwright.localnet.world import Fund, Plan, open_network
from fillwright.pools import Pool
from fillwright.programs import PROGRAMS, Account
from fillwright.programs.token import ASSOCIATED, TOKEN_2022, TOKEN_PROGRAM, associated
from fillwright.sniping import Listing
from fillwright.tokens import Tokens
from fillwright.units import Mint

_WALLET: Final = Keypair.from_seed(b"w" * 32)
_NFT: Final = Keypair.from_seed(b"n" * 32)
_ME: Final = _WALLET.pubkey()
_NEW: Final = Mint(str(Pubkey.from_bytes(b"A token that nobody has seen yet")))
_SYSTEM: Final = Pubkey.from_string("11111111111111111111111111111111")
_RENT: Final = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
_FEE: Final = "DNXgeM9EiiaAbaWvwjHj9fQQLAX5ZsfHyvmYUNRAdNC8"
_PERMISSIONLESS: Final = Pubkey.from_string("MFGQxwAmB91SwuYX36okv2Qmdc9aMuHTwWGUrp4AtB1")
"""What DLMM derives the address of a customizable pair from, beside its mints."""
_TOKEN_RENT: Final = 2_039_280
_FIRST: Final = 10**10
"""Atoms of each token that a new pool begins with."""
_WAIT_S: Final = 10.0


@dataclass
class Arrived:
    """Of one program. `sold`: pools on which it let a purchase be sold again. `wrong`: in words."""

    sold: int = 0
    listed: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Creation:
    pool: Pubkey
    instruction: Instruction
    signers: tuple[Keypair, ...] = (_WALLET,)


def arrivals_of(folder: Path) -> Mapping[str, Arrived]:
    """By kind of pool, for the programs that the folder holds."""
    return asyncio.run(_arrivals(folder))


async def _arrivals(folder: Path) -> Mapping[str, Arrived]:
    me, quiet = str(_ME), Faults(skipped_slots=0.0)
    funds = (Fund(me, "SOL", "1000"), Fund(me, "USDC", "100000"))
    plan = Plan(programs=folder, rules=Rules(confirmed_after=1, finalized_after=4), funds=funds, faults=quiet)
    network = open_network(plan, Tokens(TOKENS), unix_seconds=int(time.time()))
    _equip(network)
    kinds = [kind for kind, program in PROGRAMS.items() if program.id in network.bank.machine.programs]
    async with serving(network, "127.0.0.1", 0, block_s=0.1) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)])
        market = Market(rpc, MarketSettings(each_max=99))
        discovery = SolanaDiscovery(rpc, market, wallet=me, paid=HUBS)
        try:
            found = {kind: Arrived() for kind in kinds}
            for venue in ("raydium", "meteora"):
                for pool in (await market.view(venue, frozenset(token.mint for token in TOKENS))).pools:
                    if pool.kind in found:
                        await _sell(discovery, pool, found[pool.kind])
            await discovery.new_pools(0)
            for kind in kinds:
                if kind in _MAKERS:
                    await _arrive(network, discovery, _MAKERS[kind](network), found[kind])
            return found
        finally:
            await discovery.close()
            await market.close()
            await rpc.close()


async def _sell(discovery: SolanaDiscovery, pool: Pool, found: Arrived) -> None:
    against = next((mint for mint in (pool.mint_0, pool.mint_1) if mint in (SOL.mint, USDC.mint)), None)
    if against is None:
        return
    mint = pool.mint_1 if against == pool.mint_0 else pool.mint_0
    facts = await discovery.facts(
        Listing(venue=pool.venue, address=pool.address, mint=mint, against=against, creator="", slot=1, unix_seconds=1)
    )
    if facts is not None and facts.sellable:
        found.sold += 1
    else:
        found.wrong.append(f"{pool.address}: what was bought cannot be sold: {facts}")


async def _arrive(network: Network, discovery: SolanaDiscovery, creation: _Creation, found: Arrived) -> None:
    message = MessageV0.try_compile(_ME, [creation.instruction], [], network.bank.tip.hash)
    sent = VersionedTransaction(message, list(creation.signers))
    network.bank.receive(sent)
    for _ in range(round(_WAIT_S / 0.1)):
        listed = {listing.address: listing for listing in await discovery.new_pools(3_600)}
        if str(creation.pool) in listed:
            told = listed[str(creation.pool)]
            if (told.mint, told.against, told.creator) != (_NEW, SOL.mint, str(_ME)):
                found.wrong.append(f"{creation.pool}: listed as {told}")
            found.listed += 1
            return
        await asyncio.sleep(0.1)
    landed = network.bank.view("processed").landed(str(sent.signatures[0]))
    found.wrong.append(f"{creation.pool}: not listed; {landed.executed if landed else 'not landed'}")


def _equip(network: Network) -> None:
    """A new token, some of it and of wrapped SOL for the wallet, and the account that CPMM's fee for a pool goes to."""
    me = str(_ME)
    _put(network, _NEW, mint_account(10**18, 6))
    _put(network, associated(me, _NEW), token_account(me, _NEW, 10**18))
    _put(network, associated(me, SOL.mint), token_account(me, SOL.mint, 10**12), 10**12)
    _put(network, _FEE, token_account(_FEE, SOL.mint, 0))


def _put(network: Network, address: str, account: Account, lamports: int = 0) -> None:
    held = ChainAccount(_TOKEN_RENT + lamports, account.data, Pubkey.from_string(account.owner))
    network.bank.write(Pubkey.from_string(address), held)


# --- one function a program: its own instruction and accounts ---------------------------------------------


def _cpmm(_: Network) -> _Creation:
    """instructions/initialize.rs, with seeds of states/pool.rs and lib.rs."""
    program, (low, high) = _id("cpmm"), _ordered()
    config = _derived(program, b"amm_config", bytes(2))
    pool = _derived(program, b"pool", bytes(config), bytes(low), bytes(high))
    lp_mint = _derived(program, b"pool_lp_mint", bytes(pool))
    vaults = [_derived(program, b"pool_vault", bytes(pool), bytes(mint)) for mint in (low, high)]
    accounts = [
        _payer(),
        *_read(config, _derived(program, b"vault_and_lp_mint_auth_seed")),
        *_write(pool),
        *_read(low, high),
        *_write(lp_mint, _own(low), _own(high), _own(lp_mint), *vaults, Pubkey.from_string(_FEE)),
        *_write(_derived(program, b"observation", bytes(pool))),
        *_read(TOKEN_PROGRAM, TOKEN_PROGRAM, TOKEN_PROGRAM, ASSOCIATED, _SYSTEM, _RENT),
    ]
    data = bytes.fromhex("afaf6d1f0d989bed") + _u64(_FIRST) + _u64(_FIRST) + _u64(0)
    return _Creation(pool, Instruction(program, data, accounts))


def _clmm(network: Network) -> _Creation:
    """instructions/create_pool.rs; under a config that a pool of the market has."""
    program, (low, high) = _id("clmm"), _ordered()
    config = next(key for key, account in network.bank.machine.owned(program) if len(account.data) == 117)
    pool = _derived(program, b"pool", bytes(config), bytes(low), bytes(high))
    vaults = [_derived(program, b"pool_vault", bytes(pool), bytes(mint)) for mint in (low, high)]
    accounts = [
        _payer(),
        *_read(config),
        *_write(pool),
        *_read(low, high),
        *_write(*vaults, _derived(program, b"observation", bytes(pool))),
        *_write(_derived(program, b"pool_tick_array_bitmap_extension", bytes(pool))),
        *_read(TOKEN_PROGRAM, TOKEN_PROGRAM, _SYSTEM, _RENT),
    ]
    data = bytes.fromhex("e992d18ecf6840bc") + (2**64).to_bytes(16, "little") + _u64(0)
    return _Creation(pool, Instruction(program, data, accounts))


def _dlmm(_: Network) -> _Creation:
    """idls/dlmm.json initialize_customizable_permissionless_lb_pair2: step 80, no activation point."""
    program, (low, high) = _id("dlmm"), _ordered()
    new, sol = Pubkey.from_string(_NEW), Pubkey.from_string(SOL.mint)
    pool = _derived(program, bytes(_PERMISSIONLESS), bytes(low), bytes(high))
    reserves = [_derived(program, bytes(pool), bytes(mint)) for mint in (new, sol)]
    accounts = [
        *_write(pool),
        *_read(program, new, sol),
        *_write(*reserves, _derived(program, b"oracle", bytes(pool)), _own(new)),
        _payer(),
        *_read(program, program, TOKEN_PROGRAM, TOKEN_PROGRAM, _SYSTEM),
        *_write(_own(sol)),
        *_read(_derived(program, b"__event_authority"), program),
    ]
    bins = bytes(4) + (80).to_bytes(2, "little") + (12_500).to_bytes(2, "little")
    data = bytes.fromhex("f349817e3313f16b") + bins + b"\x01\0\0" + bytes(64)
    return _Creation(pool, Instruction(program, data, accounts))


def _damm_v2(_: Network) -> _Creation:
    """instructions/initialize_pool/ix_initialize_customizable_pool.rs: a fee of 1 %, the whole range of prices."""
    program, (low, high) = _id("damm_v2"), _ordered()
    new, sol = Pubkey.from_string(_NEW), Pubkey.from_string(SOL.mint)
    pool = _derived(program, b"cpool", bytes(high), bytes(low))
    vaults = [_derived(program, b"token_vault", bytes(mint), bytes(pool)) for mint in (new, sol)]
    accounts = [
        *_read(_ME),
        AccountMeta(_NFT.pubkey(), is_signer=True, is_writable=True),
        *_write(_derived(program, b"position_nft_account", bytes(_NFT.pubkey()))),
        _payer(),
        *_read(_derived(program, b"pool_authority")),
        *_write(pool, _derived(program, b"position", bytes(_NFT.pubkey()))),
        *_read(new, sol),
        *_write(*vaults, _own(new), _own(sol)),
        *_read(TOKEN_PROGRAM, TOKEN_PROGRAM, TOKEN_2022, _SYSTEM),
        *_read(_derived(program, b"__event_authority"), program),
    ]
    fees = _u64(10_000_000) + bytes(19) + bytes(3) + bytes(1)
    wide = [4_295_048_016, 79_226_673_521_066_979_257_578_248_091]
    prices = b"".join(price.to_bytes(16, "little") for price in wide)
    start = (_FIRST << 64).to_bytes(16, "little") + (2**64).to_bytes(16, "little")
    data = bytes.fromhex("14a1f118bdddb402") + fees + prices + b"\0" + start + b"\x01\0\0"
    return _Creation(pool, Instruction(program, data, accounts), (_WALLET, _NFT))


_MAKERS: Final[Mapping[str, Callable[[Network], _Creation]]] = {
    "cpmm": _cpmm,
    "clmm": _clmm,
    "dlmm": _dlmm,
    "damm_v2": _damm_v2,
}


def _id(kind: str) -> Pubkey:
    return Pubkey.from_string(PROGRAMS[kind].id)


def _ordered() -> tuple[Pubkey, Pubkey]:
    low, high = sorted((Pubkey.from_string(_NEW), Pubkey.from_string(SOL.mint)), key=bytes)
    return low, high


def _own(mint: Pubkey) -> Pubkey:
    return Pubkey.from_string(associated(str(_ME), Mint(str(mint))))


def _derived(program: Pubkey, *seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(list(seeds), program)[0]


def _payer() -> AccountMeta:
    return AccountMeta(_ME, is_signer=True, is_writable=True)


def _read(*keys: Pubkey) -> list[AccountMeta]:
    return [AccountMeta(key, is_signer=False, is_writable=False) for key in keys]


def _write(*keys: Pubkey) -> list[AccountMeta]:
    return [AccountMeta(key, is_signer=False, is_writable=True) for key in keys]


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little")
