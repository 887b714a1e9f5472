"""A localnet with everybody on it, and a live engine: real transactions, executed by the pools' own maths.

Decides: who has what at the start, and how fast blocks are. Must never: tell the engine anything but by its settings.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.adapters.sim.market import TOKENS
from fillwright.app import Assembled, open_engine
from fillwright.config import load
from fillwright.engine import Bracket, BracketAsked, Submission
from fillwright.localnet.bank import Bank, Rules
from fillwright.localnet.control import give_tokens
from fillwright.localnet.crowd import Crowd
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.genesis import plant_market
from fillwright.localnet.machine import Machine
from fillwright.localnet.server import Network, serving
from fillwright.order import Intent, Order
from fillwright.programs.token import associated
from fillwright.units import Mint, Token
from fillwright.wire.brackets import parse_bracket
from fillwright.wire.reading import read_object
from fillwright.wire.requests import parse_order

BLOCK_S: Final = 0.2
PAIR: Final = Keypair.from_seed(bytes([7] * 32))
WALLET: Final = str(PAIR.pubkey())
ACCOUNT: Final = "live"
PURSE: Final = {"SOL": 10_000, "USDC": 100_000, "USDT": 100_000, "BONK": 1_000_000_000}
BY_SYMBOL: Final = {token.symbol: token for token in TOKENS}
_FIRST_SLOT: Final = 400_000_000


class Town:
    """The chain, seen past the engine."""

    def __init__(self, *, trade_blocks: int, newcomer_blocks: int) -> None:
        rules = Rules(finalized_after=4)
        now = int(time.time())
        self.bank = Bank(
            Machine(), rules=rules, first_slot=_FIRST_SLOT, first_height=370_000_000, unix_seconds=now, seed=b"town"
        )
        planted = plant_market(self.bank)
        self.network = Network(self.bank, Dice(1, Faults()))
        self.crowd = Crowd(self.bank, planted, seed=1, trade_blocks=trade_blocks, newcomer_blocks=newcomer_blocks)
        for symbol, amount in PURSE.items():
            token = BY_SYMBOL[symbol]
            atoms = amount * 10**token.decimals
            if symbol == "SOL":
                self.bank.write(PAIR.pubkey(), Account(atoms, b"", Pubkey.default()))
            else:
                mint = Pubkey.from_string(token.mint)
                give_tokens(self.bank, owner=PAIR.pubkey(), mint=mint, amount=atoms)

    async def live(self) -> None:
        while True:
            await asyncio.sleep(BLOCK_S)
            self.crowd.act()
            self.network.produce()

    def held(self, token: Token) -> int:
        """What the wallet's own token account holds."""
        account = self.bank.machine.account(Pubkey.from_string(associated(WALLET, token.mint)))
        return int.from_bytes(account.data[64:72], "little") if account is not None else 0

    def decimals(self, mint: Mint) -> int:
        account = self.bank.machine.account(Pubkey.from_string(mint))
        assert account is not None
        return int(account.data[44])


@asynccontextmanager
async def town(*, trade_blocks: int = 1, newcomer_blocks: int = 0) -> AsyncIterator[tuple[Town, str]]:
    built = Town(trade_blocks=trade_blocks, newcomer_blocks=newcomer_blocks)
    async with serving(built.network, "127.0.0.1", 0, block_s=None) as url:
        living = asyncio.create_task(built.live())
        try:
            yield built, url
        finally:
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living


def settings(url: str, data: Path, **more: str) -> dict[str, str]:
    return {
        "FILLWRIGHT_CLUSTER": "localnet",
        "FILLWRIGHT_RPC": url,
        "FILLWRIGHT_RPC_WS": url.replace("http", "ws", 1),
        "FILLWRIGHT_WALLET_KEY": str(PAIR),
        "FILLWRIGHT_DATA": str(data),
        **more,
    }


@asynccontextmanager
async def engine(url: str, data: Path, **more: str) -> AsyncIterator[Assembled]:
    async with open_engine(load(settings(url, data, **more))) as running:
        yield running


async def place(running: Assembled, **members: Any) -> Order:
    """An order as a client would ask for it."""
    asked = parse_order(read_object(msgspec.json.encode(members)), running.engine.tokens, running.engine.venues)
    submission = Submission(account=ACCOUNT, intent=asked.intent, fingerprint=b"")
    return (await running.engine.submit(submission)).order


async def place_bracket(running: Assembled, entry: dict[str, Any], exits: Sequence[dict[str, Any]]) -> Bracket:
    body = read_object(msgspec.json.encode({"entry": entry, "exits": list(exits)}))
    wish = parse_bracket(body, running.engine.tokens, running.engine.venues)
    asked = BracketAsked(account=ACCOUNT, entry=wish.entry, exits=wish.exits, fingerprint=b"")
    return await running.engine.submit_bracket(asked)


async def ended(running: Assembled, order: Order, within_s: float = 60.0) -> Order:
    """The order once it is over, or as it is by then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            async for _ in running.engine.watch(ACCOUNT, order.id):
                pass
    return await running.engine.get(ACCOUNT, order.id)


async def price(running: Assembled, side: str, amount: str) -> float:
    """Roughly what SOL/USDC would swap at now."""
    order = {"pair": "SOL/USDC", "side": side, "amount": amount}
    intent: Intent = parse_order(order, running.engine.tokens, running.engine.venues).intent
    route = await running.engine.quote(intent)
    base, quote = sorted((route.amount_in, route.amount_out), key=lambda _: side == "buy")  # type: ignore[union-attr]
    return quote / 10**6 / (base / 10**9)


def told(order: Order) -> str:
    problem = "" if order.problem is None else f": {order.problem.code} {order.problem.detail}"
    return f"{order.intent.type} {order.status}{problem}"
