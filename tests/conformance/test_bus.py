"""What every bus owes the engine (ports.Bus): events to those who asked, bounded, and honest about losses."""

import asyncio

from fillwright.order import Landed, Recorded, Routed, Signed, Started
from fillwright.ports import Inbox
from fillwright.units import OrderId
from tests.conformance.conftest import BusOf
from tests.conformance.rigs import in_loop
from tests.conformance.samples import accepted, walked

SOON_S = 0.01
LIMIT_S = 5.0
KINDS = [Started, Routed, Signed, Landed]
MINE, OTHER = walked(accepted("o-1"), KINDS), walked(accepted("o-2"), KINDS)


async def drained(inbox: Inbox) -> list[Recorded]:
    events = []
    while (news := await inbox.next(SOON_S)) is not None:
        events.append(news)
    return events


def lost(inbox: Inbox) -> bool:
    return inbox.overflowed


@in_loop
async def test_a_subscriber_gets_its_order_s_events_and_no_others(bus_of: BusOf) -> None:
    bus = bus_of(100)
    async with bus.subscribe(OrderId("o-1")) as inbox:
        await bus.publish(MINE[:2])
        await bus.publish(OTHER)
        await bus.publish(MINE[2:])
        assert await drained(inbox) == MINE
        assert not inbox.overflowed


@in_loop
async def test_a_subscriber_to_all_gets_all(bus_of: BusOf) -> None:
    bus = bus_of(100)
    async with bus.subscribe(None) as inbox, bus.subscribe(OrderId("o-1")) as narrow, bus.subscribe(None) as second:
        await bus.publish([*MINE, *OTHER])
        assert await drained(inbox) == [*MINE, *OTHER] == await drained(second)
        assert await drained(narrow) == MINE


@in_loop
async def test_events_count_from_the_subscription_on(bus_of: BusOf) -> None:
    bus = bus_of(100)
    await bus.publish(MINE[:1])
    async with bus.subscribe(OrderId("o-1")) as inbox:
        await bus.publish(MINE[1:2])
        assert await drained(inbox) == MINE[1:2]


@in_loop
async def test_a_reader_waits_and_is_woken(bus_of: BusOf) -> None:
    bus = bus_of(100)
    async with bus.subscribe(OrderId("o-1")) as inbox:
        waiting = asyncio.create_task(inbox.next(LIMIT_S))
        await asyncio.sleep(SOON_S)
        assert not waiting.done()
        await bus.publish(MINE[:1])
        assert await waiting == MINE[0]


@in_loop
async def test_silence_ends_after_the_time_asked_for(bus_of: BusOf) -> None:
    async with bus_of(100).subscribe(None) as inbox:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        assert await inbox.next(0.05) is None
        assert 0.04 <= loop.time() - started_at < LIMIT_S


@in_loop
async def test_a_slow_reader_costs_bounded_memory_and_is_told(bus_of: BusOf) -> None:
    bus = bus_of(3)
    async with bus.subscribe(None) as slow, bus.subscribe(None) as quick:
        await bus.publish(MINE[:3])
        assert not lost(slow)
        assert len(await drained(quick)) == 3
        await bus.publish(MINE[3:])
        assert lost(slow)
        assert not lost(quick)
        assert await drained(slow) == MINE[:3], "what arrived before the loss is still read"
        assert await drained(quick) == MINE[3:]


@in_loop
async def test_leaving_ends_the_subscription(bus_of: BusOf) -> None:
    bus = bus_of(2)
    async with bus.subscribe(OrderId("o-1")) as stays:
        async with bus.subscribe(OrderId("o-1")) as leaves, bus.subscribe(None) as leaves_all:
            pass
        await bus.publish(MINE[:2])
        assert await drained(leaves) == [] == await drained(leaves_all)
        assert await drained(stays) == MINE[:2]
    await bus.publish(MINE)
    async with bus.subscribe(OrderId("o-1")) as again:
        await bus.publish(MINE[:1])
        assert await drained(again) == MINE[:1]


@in_loop
async def test_publishing_without_readers_is_nothing(bus_of: BusOf) -> None:
    await bus_of(1).publish([*MINE, *OTHER])
