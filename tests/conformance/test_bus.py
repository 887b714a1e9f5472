"""What every bus owes the engine (ports.Bus): events to those who asked, bounded, and honest about losses."""

import asyncio

from fillwright.order import Landed, Routed, Signed, Started
from fillwright.ports import Inbox, News
from fillwright.units import OrderId
from fillwright.wire.frames import news_of
from tests.conformance.conftest import BusOf
from tests.conformance.rigs import in_loop
from tests.conformance.samples import accepted, walked

SOON_S = 0.05
LIMIT_S = 5.0
KINDS = [Started, Routed, Signed, Landed]
MINE, OTHER = ([news_of(each) for each in walked(accepted(name), KINDS)] for name in ("o-1", "o-2"))


async def heard(inbox: Inbox, count: int) -> list[News]:
    """So many events, however long they are under way, and what comes right behind them."""
    events: list[News] = []
    while arrived := await inbox.take(LIMIT_S if len(events) < count else SOON_S):
        events += arrived
    return events


def lost(inbox: Inbox) -> bool:
    return inbox.lossy


@in_loop
async def test_a_subscriber_gets_its_order_s_events_and_no_others(bus_of: BusOf) -> None:
    async with bus_of(100) as bus, bus.subscribe(OrderId("o-1")) as inbox:
        await bus.publish(MINE[:2])
        await bus.publish(OTHER)
        await bus.publish(MINE[2:])
        assert await heard(inbox, 5) == MINE
        assert not inbox.lossy


@in_loop
async def test_a_subscriber_to_all_gets_all(bus_of: BusOf) -> None:
    async with (
        bus_of(100) as bus,
        bus.subscribe(None) as inbox,
        bus.subscribe(OrderId("o-1")) as narrow,
        bus.subscribe(None) as second,
    ):
        await bus.publish([*MINE, *OTHER])
        assert await heard(inbox, 10) == [*MINE, *OTHER] == await heard(second, 10)
        assert await heard(narrow, 5) == MINE


@in_loop
async def test_events_count_from_the_subscription_on(bus_of: BusOf) -> None:
    async with bus_of(100) as bus:
        await bus.publish(MINE[:1])
        await asyncio.sleep(SOON_S)  # it may be under way
        async with bus.subscribe(OrderId("o-1")) as inbox:
            await bus.publish(MINE[1:2])
            assert await heard(inbox, 1) == MINE[1:2]


@in_loop
async def test_a_reader_waits_and_is_woken(bus_of: BusOf) -> None:
    async with bus_of(100) as bus, bus.subscribe(OrderId("o-1")) as inbox:
        waiting = asyncio.create_task(inbox.take(LIMIT_S))
        await asyncio.sleep(SOON_S)
        assert not waiting.done()
        await bus.publish(MINE[:1])
        assert await waiting == MINE[:1]


@in_loop
async def test_silence_ends_after_the_time_asked_for(bus_of: BusOf) -> None:
    async with bus_of(100) as bus, bus.subscribe(None) as inbox:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        assert await inbox.take(0.05) == []
        assert 0.04 <= loop.time() - started_at < LIMIT_S


@in_loop
async def test_a_slow_reader_costs_bounded_memory_and_is_told(bus_of: BusOf) -> None:
    async with bus_of(3) as bus, bus.subscribe(None) as slow, bus.subscribe(None) as quick:
        await bus.publish(MINE[:3])
        assert len(await heard(quick, 3)) == 3
        assert not lost(slow)
        await bus.publish(MINE[3:])
        assert await heard(quick, 2) == MINE[3:]
        assert lost(slow)
        assert not lost(quick)
        assert await heard(slow, 3) == MINE[:3], "what arrived before the loss is still read"


@in_loop
async def test_leaving_ends_the_subscription(bus_of: BusOf) -> None:
    async with bus_of(2) as bus:
        async with bus.subscribe(OrderId("o-1")) as stays:
            async with bus.subscribe(OrderId("o-1")) as leaves, bus.subscribe(None) as leaves_all:
                pass
            await bus.publish(MINE[:2])
            assert await heard(stays, 2) == MINE[:2]
            assert await heard(leaves, 0) == [] == await heard(leaves_all, 0)
        await bus.publish(MINE)
        await asyncio.sleep(SOON_S)
        async with bus.subscribe(OrderId("o-1")) as again:
            await bus.publish(MINE[:1])
            assert await heard(again, 1) == MINE[:1]


@in_loop
async def test_publishing_without_readers_is_nothing(bus_of: BusOf) -> None:
    async with bus_of(1) as bus:
        await bus.publish([*MINE, *OTHER])
