"""Five orders at once through a fresh embedded engine, told step by step.

Decides: what a newcomer sees. Must never: report a success that the chain's own ledger does not have.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from solders.keypair import Keypair

from fillwright.adapters.sim import SimChain
from fillwright.adapters.sim.market import BONK, SOL, USDC, USDT
from fillwright.app import Assembled, open_engine
from fillwright.config import Config, load
from fillwright.engine import Submission
from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent, Mode, Order, Quote, Recorded, Routed, Side, Status
from fillwright.units import NATIVE_MINT, Atoms, Bps, Token, format_atoms, parse_atoms
from fillwright.wire.frames import price_text

_ACCOUNT: Final = "demo"
_FUNDS: Final = "SOL:100,USDC:1000,BONK:10000000"
_BEGIN_S: Final = 60.0
_END_S: Final = 10.0


def _wish(side: Side, token_in: Token, token_out: Token, amount: str) -> Intent:
    """A sell fixes what goes in, a buy what comes out."""
    sized, mode = (token_in, Mode.EXACT_IN) if side is Side.SELL else (token_out, Mode.EXACT_OUT)
    atoms = parse_atoms(amount, decimals=sized.decimals)
    return Intent(side=side, token_in=token_in, token_out=token_out, amount=atoms, mode=mode, slippage_bps=Bps(100))


_WISHES: Final = (
    _wish(Side.SELL, SOL, USDC, "10"),
    _wish(Side.BUY, USDC, SOL, "2.5"),
    _wish(Side.SELL, SOL, USDT, "0.75"),
    _wish(Side.BUY, SOL, BONK, "1000000"),
    _wish(Side.SELL, BONK, SOL, "5000000"),
)


async def demo(config: Config) -> int:
    """Run it on a folder of its own. The exit code: 0 only if all five are confirmed, and the chain agrees."""
    with tempfile.TemporaryDirectory(prefix="fillwright-demo-") as folder:
        alone = Config(data=Path(folder), sim=config.sim, seed=config.seed, prices=config.prices, policy=config.policy)
        async with open_engine(alone) as running:
            print(f"Five orders at once, simulation preset '{config.sim}'\n")
            ended = await asyncio.gather(*(_follow(running, i, wish) for i, wish in enumerate(_WISHES, 1)))
            return _summary(running, ended)


async def rehearsal() -> int:
    """The same with real transactions, on a `fillwright localnet` that begins and ends with it."""
    pair = Keypair()
    with tempfile.TemporaryDirectory(prefix="fillwright-demo-") as folder:
        async with _localnet(str(pair.pubkey()), folder) as url:
            wallet = {"FILLWRIGHT_WALLET_KEY": str(pair), "FILLWRIGHT_DATA": folder}
            nodes = {"FILLWRIGHT_RPC": url, "FILLWRIGHT_RPC_WS": url.replace("http", "ws", 1)}
            async with open_engine(load({"FILLWRIGHT_CLUSTER": "localnet", **nodes, **wallet})) as running:
                print(f"Five orders at once on a localnet, from wallet {pair.pubkey()}\n")
                ended = await asyncio.gather(*(_follow(running, i, wish) for i, wish in enumerate(_WISHES, 1)))
                agreeing = [await _agrees(url, str(pair.pubkey()), order) for order in ended]
                return _told(ended, agrees=all(agreeing), witness="chain's own balances agree")


@asynccontextmanager
async def _localnet(wallet: str, folder: str) -> AsyncIterator[str]:
    """Its URL, as long as the context lasts."""
    command = ("-m", "fillwright.cli", "localnet", "--json", "--fund", f"{wallet}={_FUNDS}")
    others = {name: text for name, text in os.environ.items() if not name.startswith("FILLWRIGHT_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, cwd=folder, env={**others, "PORT": "0"}
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_BEGIN_S):
            told = await process.stdout.readline()
        if not told:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the localnet did not begin")
        yield json.loads(told)["url"]
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _agrees(url: str, wallet: str, order: Order) -> bool:
    """Whether the chain moved just what the order tells of that token of it which is not SOL."""
    if order.fill is None:
        return False
    intent, fill = order.intent, order.fill
    pays = intent.token_in.mint != NATIVE_MINT
    asked = {"jsonrpc": "2.0", "id": 1, "method": "getTransaction"}
    params = [fill.signature, {"maxSupportedTransactionVersion": 0, "encoding": "json", "commitment": "confirmed"}]
    async with aiohttp.ClientSession() as http, http.post(url, json={**asked, "params": params}) as answer:
        told = (await answer.json())["result"]["meta"]
    mint = intent.token_in.mint if pays else intent.token_out.mint
    change = _held(told["postTokenBalances"], wallet, mint) - _held(told["preTokenBalances"], wallet, mint)
    return told["err"] is None and change == (-fill.amount_in if pays else fill.amount_out)


def _held(balances: list[dict[str, Any]], wallet: str, mint: str) -> int:
    held = [each for each in balances if each["owner"] == wallet and each["mint"] == mint]
    return sum(int(each["uiTokenAmount"]["amount"]) for each in held)


async def _follow(running: Assembled, number: int, wish: Intent) -> Order:
    asked = Submission(account=_ACCOUNT, intent=wish, fingerprint=b"", client_order_id=f"demo-{number}")
    order = (await running.engine.submit(asked)).order
    async for news in running.engine.watch(_ACCOUNT, order.id):
        recorded = (await running.engine.history(_ACCOUNT, order.id))[news.seq - 1]
        order = recorded.order
        for line in _lines(recorded):
            print(f"[{number}] {line}", flush=True)
    return order


def _lines(recorded: Recorded) -> list[str]:
    order, event = recorded.order, recorded.event
    if isinstance(event, Routed):
        lines = [f"             {_quote(order.intent, quote)}" for quote in event.route.quotes]
        return [*lines, f"{order.status:<12} {event.route.venue} wins: {event.route.reason}"]
    return [f"{order.status:<12} {_note(order)}".rstrip()]


def _note(order: Order) -> str:
    intent = order.intent
    match order.status:
        case Status.PENDING if order.problem is None:
            sized = intent.token_in if intent.mode is Mode.EXACT_IN else intent.token_out
            amount = format_atoms(intent.amount, sized.decimals)
            other = intent.token_out if sized is intent.token_in else intent.token_in
            return f"{intent.side} {amount} {sized.symbol} for {other.symbol}"
        case Status.ROUTING:
            return f"attempt {order.attempt}"
        case Status.SUBMITTED if order.tx is not None:
            return order.tx.signature
        case Status.CONFIRMED if order.fill is not None:
            return f"{_swap(intent, order.fill.amount_in, order.fill.amount_out)} in slot {order.fill.slot}"
        case _:
            return order.problem.detail if order.problem else ""


def _quote(intent: Intent, quote: Quote) -> str:
    where = f"{quote.venue} {quote.kind}"
    if quote.problem is not None:
        return f"{where:<16} {quote.problem.detail}"
    swap = _swap(intent, quote.amount_in, quote.amount_out)
    return f"{where:<16} {swap}, impact {quote.impact_bps / 100:.2f} %, {quote.latency_ms} ms"


def _swap(intent: Intent, amount_in: Atoms, amount_out: Atoms) -> str:
    token_in, token_out = intent.token_in, intent.token_out
    paid = f"{format_atoms(amount_in, token_in.decimals)} {token_in.symbol}"
    got = f"{format_atoms(amount_out, token_out.decimals)} {token_out.symbol}"
    return f"{paid} -> {got} at {price_text(intent, amount_in, amount_out)}"


def _summary(running: Assembled, ended: list[Order]) -> int:
    assert isinstance(running.chain, SimChain)
    confirmed = [order for order in ended if order.status is Status.CONFIRMED]
    settled = sorted(settlement.order_id for settlement in running.chain.settlements())
    return _told(ended, agrees=settled == sorted(order.id for order in confirmed), witness="chain's ledger agrees")


def _told(ended: list[Order], *, agrees: bool, witness: str) -> int:
    confirmed = sum(order.status is Status.CONFIRMED for order in ended)
    print(f"\n{confirmed} confirmed, {len(ended) - confirmed} failed")
    print(f"the {witness}" if agrees else f"IT IS NOT TRUE THAT THE {witness.upper()}")
    return 0 if agrees and confirmed == len(_WISHES) else 1
