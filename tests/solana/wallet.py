"""A wallet with something in it on the localnet, and the engine's chain adapter that signs for it.

Decides: what the wallet holds at first. Must never: know what a swap gives.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from solders.account import Account as ChainAccount
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.adapters.local import SystemClock
from fillwright.adapters.solana.building import Terms
from fillwright.adapters.solana.chain import SolanaChain, SolanaSettings
from fillwright.adapters.solana.limits import Draft
from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.signer import KeySigner
from fillwright.localnet.control import give_tokens
from fillwright.order import Mode
from fillwright.ports import Instruction
from fillwright.programs import PROGRAMS, Account
from fillwright.programs.token import TOKEN_PROGRAM, associated
from fillwright.units import NATIVE_MINT, Atoms, Mint
from tests.solana.rig import SCENES, Chain

LAMPORTS: Final = 10_000 * 10**9
RENT: Final = 2_039_280
_KEY: Final = Keypair.from_seed(b"w" * 32)
WALLET: Final = str(_KEY.pubkey())
_TOKEN_BYTES: Final = 165


def fund(chain: Chain, *kinds: str, atoms: int | None = 10**13) -> None:
    """SOL, and so many atoms of every other token of these golden pools; None: not even an account for them.

    Mints and vaults are made whole.
    """
    chain.bank.write(Pubkey.from_string(WALLET), ChainAccount(LAMPORTS, b"", Pubkey.default()))
    for kind in kinds:
        scene = SCENES[kind]
        for address, account in scene.known.items():
            if account.owner == str(TOKEN_PROGRAM) and len(account.data) == _TOKEN_BYTES:
                _back(chain, address, account)
        for mint in PROGRAMS[kind].mints(scene.known[scene.pool]):
            if chain.bank.machine.account(Pubkey.from_string(mint)) is None:
                chain.write(mint, Account(str(TOKEN_PROGRAM), _mint()))
            if mint != NATIVE_MINT and atoms is not None:
                give_tokens(chain.bank, owner=_KEY.pubkey(), mint=Pubkey.from_string(mint), amount=atoms)
    chain.pass_slots(8)


def _back(chain: Chain, address: str, account: Account) -> None:
    """A vault of wrapped SOL holds the lamports that it tells of; the vectors kept only what the curves read."""
    data, held = bytearray(account.data), RENT
    data[108] = 1
    if bytes(data[:32]) == bytes(Pubkey.from_string(NATIVE_MINT)):
        data[109:121] = (1).to_bytes(4, "little") + RENT.to_bytes(8, "little")
        held += int.from_bytes(data[64:72], "little")
    chain.bank.write(Pubkey.from_string(address), ChainAccount(held, bytes(data), Pubkey.from_string(account.owner)))


def _mint() -> bytes:
    data = bytearray(82)
    data[44:46] = bytes([6, 1])
    return bytes(data)


def lamports(chain: Chain, address: str = WALLET) -> int:
    account = chain.bank.machine.account(Pubkey.from_string(address))
    return account.lamports if account else 0


def atoms(chain: Chain, mint: Mint) -> int:
    """In the wallet's own account, as the chain's newest block has it."""
    account = chain.bank.machine.account(Pubkey.from_string(associated(WALLET, mint)))
    return int.from_bytes(account.data[64:72], "little") if account else 0


def wish(kind: str, mint_in: Mint, *, amount: int, limit: int, mode: Mode = Mode.EXACT_IN) -> Instruction:
    scene = SCENES[kind]
    program = PROGRAMS[kind]
    one, other = program.mints(scene.known[scene.pool])
    return Instruction(
        venue=program.venue,
        pool=scene.pool,
        mint_in=mint_in,
        mint_out=other if mint_in == one else one,
        mode=mode,
        amount=Atoms(amount),
        limit=Atoms(limit),
    )


async def _allow(_: Draft) -> None:
    """Limits have tests of their own."""


@asynccontextmanager
async def trading(
    *urls: str, terms: Terms | None = None, settings: SolanaSettings | None = None, pools: tuple[str, ...] = ()
) -> AsyncIterator[SolanaChain]:
    rpc = Rpc(urls, probe_s=0.1)
    market = Market(rpc, MarketSettings())
    market.add(*pools)
    chain = SolanaChain(
        rpc,
        KeySigner(_KEY),
        market,
        SystemClock(),
        os.urandom,
        terms or Terms(wallet=WALLET),
        settings or SolanaSettings(),
        _allow,
    )
    try:
        yield chain
    finally:
        await chain.close()
        await market.close()
        await rpc.close()
