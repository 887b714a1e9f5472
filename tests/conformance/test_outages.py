"""Queues and buses of several processes, whose server is shared, killed, silent or not there: only latency suffers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol

import pytest

from fillwright.ports import Bus, Inbox, News, Queue
from fillwright.units import OrderId
from tests.conformance.conftest import BUSES, QUEUES, BusOf, QueueOf
from tests.conformance.rigs import in_loop

AT_ONCE_S: Final = 0.05
NOTICED_S: Final = 4.0
AGAIN_S: Final = 15.0
"""Until everything works again: a pause between two tries, and a busy machine."""


class Server(Protocol):
    def start(self) -> None: ...

    def kill9(self) -> None: ...

    def frozen(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Network:
    """A server, and views of a queue and of a bus on it, as several processes have them."""

    server: Server
    queue_of: QueueOf
    bus_of: BusOf


@pytest.fixture(params=["redis", "postgres"])
def network(request: Any) -> Iterator[Network]:
    """Its server runs before and after."""
    server = request.getfixturevalue({"redis": "redis_server", "postgres": "postgres"}[request.param])
    queue_of, bus_of = QUEUES[request.param](request), BUSES[request.param](request)
    try:
        yield Network(server, queue_of, bus_of)
    finally:
        server.kill9()
        server.start()


def news(order: int, seq: int = 1, size: int = 700) -> News:
    return News(OrderId(f"o-{order}"), "alice", seq, False, bytes([order % 256]) * size)


@asynccontextmanager
async def at_once(limit_s: float = AT_ONCE_S) -> AsyncIterator[None]:
    started_at = perf_counter()
    yield
    assert perf_counter() - started_at < limit_s


def dropped(here: Any) -> int:
    """What an adapter gave up in this process."""
    return int(here.dropped)


async def soon(promise: Callable[[], Awaitable[bool]], within_s: float = AGAIN_S) -> None:
    async with asyncio.timeout(within_s):
        while not await promise():  # noqa: ASYNC110  # nothing but the promise itself tells when
            await asyncio.sleep(0.02)


async def passes(putting: Queue, taking: Queue) -> None:
    """Hints get from one to the other. One may be lost, so it is put again and again, as the sweep does."""

    async def tried() -> bool:
        await putting.put([OrderId("again")])
        try:
            return await asyncio.wait_for(taking.take(10), 0.2) != []
        except TimeoutError:
            return False

    await soon(tried)


async def told(bus: Bus, inbox: Inbox) -> None:
    """News get there."""

    async def tried() -> bool:
        await bus.publish([news(7)])
        return bool(await inbox.take(0.2))

    await soon(tried)


async def lossy(inbox: Inbox) -> None:
    """It says so, waking its patient reader, and from then on keeps no reader for long."""
    async with asyncio.timeout(NOTICED_S):
        while not inbox.lossy:
            await inbox.take(60)
    async with at_once(1.0):
        while await inbox.take(60):
            pass


@in_loop
async def test_each_hint_goes_to_one_taker(network: Network) -> None:
    async with network.queue_of(10_000) as one, network.queue_of(10_000) as two, network.queue_of(10_000) as api:
        taken: list[OrderId] = []

        async def work(queue: Queue) -> None:
            while True:
                taken.extend(await queue.take(7))

        workers = [asyncio.create_task(work(queue)) for queue in (one, one, two)]
        expected = [OrderId(f"o-{number}") for number in range(1_000)]
        for start in range(0, 1_000, 10):
            await (api if start % 20 else one).put(expected[start : start + 10])
            await asyncio.sleep(0)

        async def done() -> bool:
            return len(taken) >= 1_000

        await soon(done)
        await asyncio.sleep(AT_ONCE_S)
        for worker in workers:
            worker.cancel()
        assert sorted(taken) == sorted(expected)


@in_loop
async def test_everyone_hears_everyone(network: Network) -> None:
    async with (
        network.bus_of(100) as here,
        network.bus_of(100) as there,
        here.subscribe(None) as inbox_here,
        there.subscribe(OrderId("o-1")) as inbox_there,
    ):
        for bus in (here, there):
            await bus.publish([news(1), news(2)])
            assert await inbox_there.take(AGAIN_S) == [news(1)]
            heard: list[News] = []
            while len(heard) < 2 and (arrived := await inbox_here.take(AGAIN_S)):
                heard += arrived
            assert heard == [news(1), news(2)]
        assert await inbox_there.take(AT_ONCE_S) == []
        assert not inbox_here.lossy


@in_loop
async def test_a_killed_server_comes_back(network: Network) -> None:
    async with (
        network.queue_of(100) as one,
        network.queue_of(100) as two,
        network.bus_of(100) as here,
        network.bus_of(100) as there,
        there.subscribe(None) as inbox,
    ):
        taking = asyncio.create_task(two.take(1))
        await told(here, inbox)
        network.server.kill9()
        await lossy(inbox)
        async with at_once():
            await one.put([OrderId("o-1")])
            await here.publish([news(1)])
        async with at_once(1.0), there.subscribe(None) as late:
            assert late.lossy
        await asyncio.to_thread(network.server.start)
        await soon(lambda: _done(taking, one))
        await passes(one, two)
        await told(here, inbox)
        async with there.subscribe(None) as fresh:
            assert not fresh.lossy
            await told(there, fresh)


async def _done(taking: "asyncio.Task[list[OrderId]]", queue: Queue) -> bool:
    await queue.put([OrderId("wake")])
    return taking.done() and taking.result() != []


@in_loop
async def test_a_silent_server_holds_nobody_up(network: Network) -> None:
    async with (
        network.queue_of(100) as one,
        network.queue_of(100) as two,
        network.bus_of(100) as here,
        network.bus_of(100) as there,
        there.subscribe(None) as inbox,
    ):
        await passes(one, two)
        await told(here, inbox)
        with network.server.frozen():
            for _ in range(20):
                async with at_once():
                    await one.put([OrderId("o-1")])
                    await here.publish([news(1)])
                await asyncio.sleep(0.02)
            await lossy(inbox)
            async with at_once(1.0), there.subscribe(None) as late:
                assert late.lossy
            assert 0 <= two.depth() <= 100
        await passes(one, two)
        await told(here, inbox)


@in_loop
async def test_a_silent_server_costs_bounded_memory(network: Network) -> None:
    """I13. What does not fit is counted, so nothing vanishes unseen."""
    async with network.queue_of(50) as queue, network.bus_of(100) as bus:
        await passes(queue, queue)
        frame = news(1, size=100_000)
        with network.server.frozen():
            for number in range(700):
                async with at_once():
                    await queue.put([OrderId(f"o-{number}")] * 10)
                    await bus.publish([frame])
                assert queue.depth() <= 50
                if number % 100 == 0:
                    await asyncio.sleep(0.01)
            assert dropped(bus) > 300, "70 MB were published"
            assert dropped(queue) > 6_000
        await passes(queue, queue)


@in_loop
async def test_closing_takes_bounded_time_while_the_server_hangs(network: Network) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as hanging:
        async with network.bus_of(100) as bus, network.queue_of(100) as queue, bus.subscribe(None) as inbox:
            await passes(queue, queue)
            await told(bus, inbox)
            hanging.enter_context(network.server.frozen())
            for number in range(100):
                await bus.publish([news(number, size=100_000)])
                await queue.put([OrderId("o-1")])
            await asyncio.sleep(0.01)
            started_at = loop.time()
        assert loop.time() - started_at < 5


@in_loop
async def test_what_was_said_last_is_still_sent(network: Network) -> None:
    async with network.bus_of(100) as there, there.subscribe(None) as inbox, network.queue_of(100) as left:
        async with network.bus_of(100) as here, network.queue_of(100) as queue:
            await asyncio.sleep(AT_ONCE_S)
            await here.publish([news(1)])
            await queue.put([OrderId("o-1")])
        assert await inbox.take(AGAIN_S) == [news(1)]
        assert await asyncio.wait_for(left.take(1), AGAIN_S) == ["o-1"]


@in_loop
async def test_a_server_that_was_never_there_is_found_when_it_comes(network: Network) -> None:
    network.server.kill9()
    async with network.queue_of(100) as queue, network.bus_of(100) as bus:
        async with at_once(1.0), bus.subscribe(None) as inbox:
            assert inbox.lossy
            await queue.put([OrderId("o-1")])
            await bus.publish([news(1)])
        await asyncio.to_thread(network.server.start)
        await passes(queue, queue)
        async with bus.subscribe(None) as inbox:
            await told(bus, inbox)
