"""What is Redis's own: flushing it, listeners outside the engine, and what it must never cost."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from fillwright.adapters.redis import RedisBus, RedisQueue
from fillwright.errors import Code, FillwrightError
from fillwright.ports import News
from fillwright.units import OrderId
from tests.conformance.rigs import in_loop
from tests.servers.redis import RedisServer

LIMIT_S: Final = 10.0


def ids(*numbers: int) -> list[OrderId]:
    return [OrderId(f"o-{number}") for number in numbers]


async def taken(queue: RedisQueue) -> list[OrderId]:
    with suppress(TimeoutError):
        return await asyncio.wait_for(queue.take(100), 0.3)
    return []


@in_loop
async def test_flushing_under_load_loses_hints_and_nothing_else(redis_server: RedisServer) -> None:
    name = uuid4().hex
    async with (
        RedisQueue.open(redis_server.url, name) as putting,
        RedisQueue.open(redis_server.url, name) as taking,
        RedisBus.open(redis_server.url, name) as bus,
        bus.subscribe(None) as inbox,
    ):
        got: set[OrderId] = set()

        async def take() -> None:
            while True:
                got.update(await taking.take(10))

        async with asyncio.timeout(LIMIT_S):
            worker = asyncio.create_task(take())
            for number in range(300):
                await putting.put(ids(number))
                if number % 60 == 30:
                    await asyncio.to_thread(redis_server.flush)
                await asyncio.sleep(0.001)
            await putting.put(ids(1_000))
            while OrderId("o-1000") not in got:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            worker.cancel()
        assert len(got) > 150, "most hints arrived"
        assert putting.dropped == 0
        await bus.publish([News(OrderId("o-1"), "alice", 1, False, b"{}")])
        assert await inbox.take(LIMIT_S)
        assert not inbox.lossy, "flushing cuts no subscription"


@in_loop
async def test_hints_put_between_a_flush_and_the_next_take_are_found(redis_server: RedisServer) -> None:
    name = uuid4().hex
    async with RedisQueue.open(redis_server.url, name) as queue:
        await queue.put(ids(1))
        assert await asyncio.wait_for(queue.take(1), LIMIT_S) == ids(1)
        redis_server.flush()
        await queue.put(ids(2, 3))
        assert await asyncio.wait_for(queue.take(5), LIMIT_S) == ids(2, 3)


@in_loop
async def test_the_depth_is_what_nobody_has_taken_in_any_process(redis_server: RedisServer) -> None:
    name = uuid4().hex
    async with RedisQueue.open(redis_server.url, name) as one, RedisQueue.open(redis_server.url, name) as two:
        await one.put(ids(*range(20)))
        assert len(await asyncio.wait_for(two.take(5), LIMIT_S)) == 5
        async with asyncio.timeout(LIMIT_S):
            while not one.depth() == two.depth() == 15:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@in_loop
async def test_the_depth_is_right_after_hints_were_forgotten_and_what_was_read_is_removed(
    redis_server: RedisServer,
) -> None:
    name = uuid4().hex
    stream = f"fillwright:{name}:hints"
    async with RedisQueue.open(redis_server.url, name, hints_max=10) as queue:
        for start in range(0, 100, 10):
            await queue.put(ids(*range(start, start + 10)))
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(queue.take(4), LIMIT_S) == ids(90, 91, 92, 93)
        async with asyncio.timeout(LIMIT_S):
            while queue.depth() != 6 or redis_server.ask("XLEN", stream) != ":6":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(await asyncio.wait_for(queue.take(100), LIMIT_S)) == 6
        async with asyncio.timeout(LIMIT_S):
            while queue.depth() != 0 or redis_server.ask("XLEN", stream) != ":0":  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@in_loop
async def test_what_was_read_is_never_pending(redis_server: RedisServer) -> None:
    """A process that dies leaves nothing behind that another would have to clean up."""
    name = uuid4().hex
    async with RedisQueue.open(redis_server.url, name) as queue:
        await queue.put(ids(1, 2))
        assert await asyncio.wait_for(queue.take(5), LIMIT_S) == ids(1, 2)
        assert redis_server.ask("XPENDING", f"fillwright:{name}:hints", name).split()[1] == ":0"


@in_loop
async def test_listeners_outside_get_the_very_frames(redis_server: RedisServer) -> None:
    news = [
        News(OrderId("o-1"), "alice", 1, False, b'{"status":"pending"}'),
        News(OrderId("o-2"), "bob", 1, False, '{"error":"zażółć \\u0000"}'.encode()),
        News(OrderId("o-1"), "alice", 2, True, b"\x00\xff" * 5_000),
    ]
    async with (
        Redis.from_url(redis_server.url, protocol=2) as client,
        client.pubsub(ignore_subscribe_messages=True) as outside,
        RedisBus.open(redis_server.url, uuid4().hex) as bus,
    ):
        await outside.subscribe("order:o-1")
        await outside.psubscribe("order-events-*")
        await asyncio.sleep(0.1)
        await bus.publish(news)
        heard: set[tuple[bytes, bytes]] = set()
        async with asyncio.timeout(LIMIT_S):
            while len(heard) < 5:
                message = await outside.get_message(timeout=0.1)
                if message is not None:
                    heard.add((message["channel"], message["data"]))
    assert heard == {
        (b"order:o-1", news[0].frame),
        (b"order:o-1", news[2].frame),
        (b"order-events-o-1", news[0].frame),
        (b"order-events-o-1", news[2].frame),
        (b"order-events-o-2", news[1].frame),
    }


@in_loop
async def test_buses_of_different_names_do_not_mix(redis_server: RedisServer) -> None:
    async with (
        RedisBus.open(redis_server.url, uuid4().hex) as one,
        RedisBus.open(redis_server.url, uuid4().hex) as two,
        two.subscribe(None) as inbox,
    ):
        await one.publish([News(OrderId("o-1"), "alice", 1, False, b"{}")])
        assert await inbox.take(0.2) == []


@in_loop
async def test_a_wrong_password_costs_no_more_than_an_absent_server(redis_server: RedisServer) -> None:
    url = f"redis://:wrong@127.0.0.1:{redis_server.port}/0"
    async with RedisQueue.open(url, "q") as queue, RedisBus.open(url, "q") as bus, bus.subscribe(None) as inbox:
        await queue.put(ids(1))
        assert inbox.lossy
        assert await taken(queue) == []


@pytest.mark.parametrize("url", ["", "http://localhost", "redis://localhost?no_such_option=1", "redis://host:port"])
@in_loop
async def test_an_unreadable_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(FillwrightError) as caught:
        async with RedisQueue.open(url, "q"):
            pass
    assert caught.value.problem.code is Code.CONFIG_INVALID
