"""A localnet driven by hand, with golden pools on it, and the adapters that look at it over real sockets.

Decides: which accounts lie on the chain at first. Must never: compute an amount.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Final

from solders.account import Account as ChainAccount
from solders.pubkey import Pubkey

from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.localnet.bank import Bank, Rules
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.machine import Machine
from fillwright.localnet.server import Network, serving
from fillwright.programs import PROGRAMS, Account, Accounts
from tests.vectors.accounts import Scene, scenes

SECONDS: Final = 1_780_000_000
SLOT: Final = 422_000_000
_LAMPORTS: Final = 10**9


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test; it must end within half a minute."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 30))

    return run


def scene_of(kind: str) -> Scene:
    """The first golden pool of a kind on which a swap went through."""
    return next(scene for scene in scenes(kind) if not scene.error)


SCENES: Final = {kind: scene_of(kind) for kind in PROGRAMS}


class Chain:
    """The chain as a test moves it."""

    def __init__(self, machine: Machine, first_slot: int = SLOT) -> None:
        self.bank = Bank(
            machine,
            rules=Rules(confirmed_after=0, finalized_after=2),
            first_slot=first_slot,
            first_height=SLOT - 20_000_000,
            unix_seconds=SECONDS,
            seed=b"market",
        )
        self.network = Network(self.bank, Dice(1, Faults(skipped_slots=0.0)))
        self.url = ""

    def write(self, address: str, account: Account | None) -> None:
        held = None if account is None else ChainAccount(_LAMPORTS, account.data, Pubkey.from_string(account.owner))
        self.bank.write(Pubkey.from_string(address), held)

    def place(self, accounts: Accounts) -> None:
        for address, account in accounts.items():
            self.write(address, account)

    def change(self, address: str, offset: int, value: bytes) -> None:
        """Overwrite a piece of an account."""
        before = self.bank.machine.account(Pubkey.from_string(address))
        assert before is not None
        data = before.data[:offset] + value + before.data[offset + len(value) :]
        self.write(address, Account(str(before.owner), data))

    def pass_slots(self, slots: int = 1) -> None:
        for _ in range(slots):
            self.network.produce()

    def touch(self, address: str) -> None:
        """Let a transaction write this account: a lamport more, and whoever follows it is told."""
        self.bank.airdrop(Pubkey.from_string(address), 1)


@asynccontextmanager
async def serve(*kinds: str, machine: Machine | None = None) -> AsyncIterator[Chain]:
    """A chain with the golden pool of each of these kinds, whose blocks are made by hand."""
    chain = Chain(machine or Machine())
    for kind in kinds:
        chain.place(SCENES[kind].known)
    async with serving(chain.network, "127.0.0.1", 0, block_s=None) as url:
        chain.url = url
        chain.pass_slots(4)
        yield chain


@asynccontextmanager
async def looking(*urls: str, settings: MarketSettings, socket: str = "") -> AsyncIterator[Market]:
    """`socket`: another node that the first one's news come from."""
    sockets = [socket or urls[0], *urls[1:]]
    rpc = Rpc(urls, sockets=[url.replace("http", "ws", 1) for url in sockets], probe_s=0.1)
    market = Market(rpc, settings)
    try:
        yield market
    finally:
        await market.close()
        await rpc.close()
