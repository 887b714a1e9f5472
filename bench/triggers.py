"""Resting orders: what a tick of the market costs among very many of them, their memory, and starting up with them.

Decides: the orders, the ticks, and what is measured. The embedded market's pools; limit orders, stops, take profits and
trailing stops of 0.01 to 100 SOL on both sides, their prices within 20 % of the market's, none of them met yet.

    python -m bench.triggers --orders 100000
"""

import argparse
import asyncio
import gc
import os
import platform
import random
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import default_market
from fillwright.adapters.sim.market import SOL, USDC
from fillwright.adapters.sqlite import SqliteStore
from fillwright.order import (
    Accepted,
    Armed,
    Intent,
    Mode,
    Order,
    OrderType,
    Recorded,
    Side,
    TimeInForce,
    Trailed,
    accept,
    transition,
)
from fillwright.pools import ChainTime, Pool
from fillwright.pools.pool import PoolRefused
from fillwright.ports import NewOrder
from fillwright.routing import Limits, Offer, Prices, Router
from fillwright.triggers import Index, is_concerned, probe, watch_of
from fillwright.units import Atoms, Bps, Millis, OrderId, Price, Token

T = TypeVar("T")
NOW = Millis(1_790_000_000_000)
SPREAD = 0.2


class Scene:
    """The market, and how it moves."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        market = default_market(seed)
        self.base, self.quote = SOL, USDC
        self.pools: list[Pool] = list(market.pools)
        self.slot = 1
        self.router = Router()

    def time(self) -> ChainTime:
        return ChainTime(slot=self.slot, unix_seconds=NOW // 1_000 + self.slot)

    def offers(self) -> list[Offer]:
        return [Offer(venue="sim", latency_ms=Millis(0), pools=tuple(self.pools), time=self.time())]

    def move(self, most_sol: float) -> None:
        """One trade on one of the pair's pools."""
        self.slot += 1
        ends = {self.base.mint, self.quote.mint}
        nth = self.draw.choice([i for i, pool in enumerate(self.pools) if {pool.mint_0, pool.mint_1} == ends])
        sells = self.draw.random() < 0.5
        mint = self.base.mint if sells else self.quote.mint
        amount = self.draw.uniform(0.1, most_sol) * (10**9 if sells else 90 * 10**6)
        try:
            _, self.pools[nth] = self.pools[nth].swap_in(Atoms(int(amount)), mint, self.time())
        except PoolRefused:
            return


def orders_of(scene: Scene, count: int) -> list[Order]:
    """Not met at the scene's prices: each side's condition lies beyond what its size would get."""
    draw, found = scene.draw, list[Order]()
    router, offers = scene.router, scene.offers()
    market: dict[Side, Prices] = {}
    for side in Side:
        token_in, token_out = (scene.base, scene.quote) if side is Side.SELL else (scene.quote, scene.base)
        asked = _intent(side, token_in, token_out, Atoms(10**13), OrderType.MARKET)
        market[side] = router.prices(asked, offers, Limits())
    for n in range(count):
        side = draw.choice(list(Side))
        kind = draw.choice([OrderType.LIMIT, OrderType.STOP, OrderType.TAKE_PROFIT, OrderType.TRAILING_STOP])
        token_in, token_out = (scene.base, scene.quote) if side is Side.SELL else (scene.quote, scene.base)
        sol = 10 ** draw.uniform(-2, 2)
        amount = Atoms(int(sol * 10**9 if side is Side.SELL else sol * 90 * 10**6))
        intent = _intent(side, token_in, token_out, amount, kind)
        rate = market[side].at(float(amount))
        assert rate is not None
        away = draw.uniform(0.0005, SPREAD)
        waits_for = rate * (1 + away if kind in (OrderType.LIMIT, OrderType.TAKE_PROFIT) else 1 - away)
        price = intent.price(10**12, round(10**12 * waits_for))
        order = _armed(n, msgspec.structs.replace(intent, **_told(kind, price)))
        if kind is OrderType.TRAILING_STOP:
            best = intent.price(10**12, round(10**12 * rate))
            order = transition(order, Trailed(best=best), NOW)
        found.append(order)
    return found


def _told(kind: OrderType, price: Price) -> dict[str, object]:
    match kind:
        case OrderType.LIMIT:
            return {"limit": price}
        case OrderType.TRAILING_STOP:
            return {"trail_bps": Bps(500)}
        case _:
            return {"trigger": price}


def _intent(side: Side, token_in: Token, token_out: Token, amount: Atoms, kind: OrderType) -> Intent:
    return Intent(
        type=kind,
        side=side,
        token_in=token_in,
        token_out=token_out,
        amount=amount,
        mode=Mode.EXACT_IN,
        slippage_bps=Bps(50),
        time_in_force=TimeInForce.GTC,
    )


def _armed(n: int, intent: Intent) -> Order:
    first = accept(OrderId(f"01998ae0-{n:04x}-7000-8000-{n:012x}"), "default", Accepted(intent=intent), NOW)
    return transition(first.order, Armed(), NOW)


# --- measuring ----------------------------------------------------------------------------------------------


def timed(call: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def tell(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(each * 1e6 for each in seconds)
    print(f"  {what:<58} {statistics.median(ordered):9.1f} us   p99 {ordered[int(len(ordered) * 0.99)]:9.1f}")


def ticks(scene: Scene, book: list[Order], count: int) -> None:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    index = Index()
    for order in book:
        index.put(order)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"memory in the index: {grown / len(book):.0f} bytes an order ({len(index):,} orders)")
    gc.collect()
    gc.freeze()
    idle: list[float] = []
    folding: list[float] = []
    firing: list[tuple[float, int]] = []
    for _ in range(count):
        scene.move(most_sol=30.0)
        offers = scene.offers()
        for swap, shelf in list(index.shelves.items()):
            asked = probe(swap, shelf.largest)
            seconds, prices = timed(lambda: scene.router.prices(asked, offers, Limits()))  # noqa: B023
            folding.append(seconds)
            seconds, found = timed(lambda: shelf.concerned(prices, whole=True))  # noqa: B023
            if found:
                firing.append((seconds, len(found)))
            else:
                idle.append(seconds)
            for watch in found:
                index.remove(watch.order_id)
    print(f"{count} ticks, two sides each: {len(idle)} looks that concerned nobody, {len(firing)} that concerned some")
    tell("a look that concerns nobody", idle)
    tell("the prices of all sizes, once a slot and pair, shared", folding)
    if firing:
        each = [seconds / k for seconds, k in firing]
        most, median_s = max(k for _, k in firing), statistics.median(each)
        print(f"  concerned at once: up to {most:,} orders; per order {median_s * 1e6:.1f} us (median)")
    swap, shelf = next(iter(index.shelves.items()))
    prices = scene.router.prices(probe(swap, shelf.largest), scene.offers(), Limits())
    watches = [watch_of(order) for order in book]
    seconds, _ = timed(lambda: [is_concerned(watch, prices, whole=True) for watch in watches])
    print(f"  for comparison, asking each of {len(book):,}: {seconds * 1e3:.0f} ms")


async def start_up(book: list[Order], folder: Path) -> None:
    store = SqliteStore(folder / "orders.db", SystemClock(), lease_s=10)
    for first in range(0, len(book), 5_000):
        part = book[first : first + 5_000]
        await asyncio.gather(*(_keep(store, order) for order in part))
    store.close()
    store = SqliteStore(folder / "orders.db", SystemClock(), lease_s=10)
    index = Index()
    start = time.perf_counter()
    after: OrderId | None = None
    while page := await store.resting(after, 1_000):
        for order in page:
            index.put(order)
        after = page[-1].id
    print(
        f"start-up: {len(index):,} resting orders read from SQLite and indexed in {time.perf_counter() - start:.2f} s"
    )
    store.close()


async def _keep(store: SqliteStore, order: Order) -> None:
    """As the engine stored it."""
    first = accept(order.id, order.account, Accepted(intent=order.intent), NOW)
    await store.create(NewOrder(accepted=first, idempotency_key=None, fingerprint=b"bench"))
    recorded = [Recorded(transition(first.order, Armed(), NOW), Armed())]
    if order.standing is not None and order.standing.best is not None:
        event = Trailed(best=order.standing.best)
        recorded.append(Recorded(transition(recorded[-1].order, event, NOW), event))
    await store.record(first.order, recorded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--ticks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, seed {asked.seed}")
    scene = Scene(asked.seed)
    book = orders_of(scene, asked.orders)
    ticks(scene, book, asked.ticks)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(start_up(book, Path(folder)))


if __name__ == "__main__":
    main()
