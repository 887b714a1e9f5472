"""A calm world in which many orders rest: what becomes of each over a series of prices.

Decides: the orders, the time, and a second way of watching: every open order is read from the store and judged at every
look, by arithmetic of its own, with no index and no memory. Must never: use the index that it is there to check.
"""

import asyncio
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Final
from unittest import mock

import msgspec

from fillwright import worker
from fillwright.adapters.sim import Faults, Preset
from fillwright.order import Order, OrderType, Recorded, Side, Triggered
from fillwright.routing import Prices
from fillwright.triggers import probe, swap_of, watch_of
from fillwright.units import Millis, Price
from fillwright.watcher import Watcher
from tests.simulation.faults import RATES, Dice
from tests.simulation.loop import SimLoop
from tests.simulation.wishes import ACCOUNT, conditional, fingerprinted, submission
from tests.simulation.world import POLICY, World

PRESET: Final = Preset(quote_ms=(0, 0), build_ms=(0, 0), execute_ms=(0, 0), faults=Faults())
CALM: Final = msgspec.structs.replace(POLICY, look_s=0.4, poll_s=0.4, concurrency=100)


class Fate(msgspec.Struct, frozen=True):
    """What became of an order: every event with its time, the trigger's price, and the fill."""

    told: tuple[tuple[str, Millis], ...]
    prices: tuple[Price, ...]
    fill: tuple[int, int] | None


class AskEveryone(Watcher):
    """The reference: no index, no log, no short cut."""

    async def look(self) -> None:
        opened: list[Order] = []
        while page := await self._store.resting(opened[-1].id if opened else None, 50):
            opened += page
        concerned = []
        for order in (order for order in opened if order.intent.rests):
            asked = probe(swap_of(order.intent), float(order.intent.amount))
            prices = self._executor.prices(asked, await self._executor.offers_for(asked))
            if _concerns(order, prices):
                concerned.append((watch_of(order), prices))
        await self._judge(concerned)


def _concerns(order: Order, prices: Prices) -> bool:
    """Worked out anew, in fractions of the price instead of floats of the rate."""
    intent, standing = order.intent, order.standing
    assert standing is not None
    rate = prices.at(float(intent.amount))
    if rate is None:
        return False
    price = Fraction(rate) if intent.side is Side.SELL else 1 / Fraction(rate)
    touch = 1 - Fraction(1, 10**6)  # what is so near is judged by a route, whoever asks

    def is_better(wanted: Fraction) -> bool:
        return price >= wanted * touch if intent.side is Side.SELL else price * touch <= wanted

    def is_worse(wanted: Fraction) -> bool:
        return price <= wanted if intent.side is Side.SELL else price >= wanted

    if intent.type is OrderType.LIMIT or standing.triggered:
        assert intent.limit is not None
        return is_better(_fraction(intent.limit))
    if intent.type is OrderType.TRAILING_STOP:
        if standing.best is None:
            return True
        best, trail = _fraction(standing.best), Fraction(intent.trail_bps or 0, 10_000)
        if intent.side is Side.SELL:
            return is_better(best * (1 + trail / 20)) or is_worse(best * (1 - trail))
        return is_better(best / (1 + trail / 20)) or is_worse(best * (1 + trail))
    assert intent.trigger is not None
    wanted = _fraction(intent.trigger)
    return is_better(wanted) if intent.type is OrderType.TAKE_PROFIT else is_worse(wanted)


def _fraction(price: Price) -> Fraction:
    return Fraction(price.quote, price.base)


def fates(seed: int, folder: Path, *, orders: int, seconds: float, ask_everyone: bool) -> list[Fate]:
    """In the order in which they were asked for. Nothing takes time but the chain's slots, and nobody is struck."""
    loop = SimLoop(seed, oldest_first=1.0, executor_delay_s=(0.0, 0.0), step_limit=50_000_000, trace_length=1)
    with ExitStack() as stack:
        if ask_everyone:
            stack.enter_context(mock.patch.object(worker, "Watcher", AskEveryone))
        stack.enter_context(mock.patch.object(Dice, "preset", return_value=PRESET))
        world = World(loop, seed, folder, CALM)
        world.dice.rates = dict.fromkeys(RATES, 0.0)
        try:
            return loop.run_until_complete(_course(world, seed, orders, seconds))
        finally:
            world.close()
            loop.close()


async def _course(world: World, seed: int, orders: int, seconds: float) -> list[Fate]:
    random = Random(f"{seed}:replay")
    world._start()
    (host,) = world.hosts.values()
    placed = []
    for number in range(orders):
        asked = submission(random, number)
        intent = msgspec.structs.replace(conditional(random, asked.intent), deadline_ms=None)
        stored = await host.engine.submit(fingerprinted(asked, intent))
        placed.append(stored.order.id)
        await asyncio.sleep(0.05)
    await asyncio.sleep(seconds)
    return [_fate(await host.engine.history(ACCOUNT, order_id)) for order_id in placed]


def _fate(history: list[Recorded]) -> Fate:
    told = tuple((str(each.event.__struct_config__.tag), each.order.updated_at) for each in history)
    prices = tuple(each.event.price for each in history if isinstance(each.event, Triggered))
    fill = history[-1].order.fill
    return Fate(told, prices, None if fill is None else (fill.amount_in, fill.amount_out))
