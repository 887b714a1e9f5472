"""What is PostgreSQL's own: payloads that are small, and a table that stays small."""

import asyncio
import os
from typing import Final
from uuid import uuid4

import asyncpg

from fillwright.adapters.notify import PostgresBus, PostgresQueue
from fillwright.ports import News
from fillwright.units import OrderId
from tests.conformance.rigs import in_loop

LIMIT_S: Final = 10.0


def news(number: int, frame: bytes) -> News:
    return News(OrderId(f"o-{number}"), "alice", number, False, frame)


@in_loop
async def test_frames_of_any_bytes_and_sizes_arrive_and_the_hopeless_are_dropped(hints_url: str) -> None:
    """Random bytes do not compress: at most about 6,000 fit one payload."""
    sizes = [0, 100, 3_000, 5_800, 2_900, 2_900, 2_900, 100]
    fitting = [news(number, os.urandom(size)) for number, size in enumerate(sizes)]
    hopeless = news(99, os.urandom(9_000))
    wordy = news(100, b'{"status":"building","quotes":[]}' * 1_000)
    async with PostgresBus.open(hints_url, uuid4().hex) as bus, bus.subscribe(None) as inbox:
        await bus.publish([*fitting[:4], hopeless, *fitting[4:], wordy])
        heard: list[News] = []
        while len(heard) < len(fitting) + 1 and (arrived := await inbox.take(LIMIT_S)):
            heard += arrived
        assert heard == [*fitting, wordy]
        assert bus.dropped == 1
        assert not inbox.lossy


@in_loop
async def test_the_table_of_hints_is_bounded_and_unlogged(hints_url: str) -> None:
    name = uuid4().hex
    connection = await asyncpg.connect(hints_url)
    try:
        async with PostgresQueue.open(hints_url, name, hints_max=100) as queue:
            for start in range(0, 1_000, 50):
                await queue.put([OrderId(f"o-{number}") for number in range(start, start + 50)])
                await asyncio.sleep(0.02)
            async with asyncio.timeout(LIMIT_S):
                while queue.depth() > 100 or await rows(connection, name) != 100:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            newest = await asyncio.wait_for(queue.take(1_000), LIMIT_S)
            assert sorted(newest) == [f"o-{number}" for number in range(900, 1_000)]
            assert await rows(connection, name) == 0
        assert await connection.fetchval("SELECT relpersistence FROM pg_class WHERE relname = 'hints'") == b"u"
    finally:
        await connection.close()


async def rows(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM hints WHERE queue = $1", name))


@in_loop
async def test_queues_and_buses_of_different_names_do_not_mix(hints_url: str) -> None:
    mine, other = f"zażółć {uuid4().hex}" * 3, uuid4().hex
    async with (
        PostgresQueue.open(hints_url, mine) as queue,
        PostgresQueue.open(hints_url, other) as other_queue,
        PostgresBus.open(hints_url, mine) as bus,
        PostgresBus.open(hints_url, other) as other_bus,
        bus.subscribe(None) as inbox,
        other_bus.subscribe(None) as other_inbox,
    ):
        await queue.put([OrderId("o-1")])
        await other_queue.put([OrderId("o-2")])
        assert await asyncio.wait_for(other_queue.take(5), LIMIT_S) == ["o-2"]
        assert await asyncio.wait_for(queue.take(5), LIMIT_S) == ["o-1"]
        await bus.publish([news(1, b"{}")])
        assert await inbox.take(LIMIT_S) == [news(1, b"{}")]
        assert await other_inbox.take(0.1) == []
