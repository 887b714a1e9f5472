"""Webhooks of real processes: kill -9 between storing and sending loses nothing, and two processes share the work."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import asyncpg

from tests.api.receiver import Got, Receiver, receiving, thanks, verified
from tests.processes.server import Audit, Server
from tests.processes.test_kill import all_ended, submit
from tests.servers.fleet import Fleet

ORDERS: Final = 200
KILLS: Final = 6
PATIENCE_S: Final = 100.0
PRIVATE: Final = {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_WEBHOOKS_ALLOW_PRIVATE": "1"}


def run(script: Callable[[Receiver], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S), receiving() as receiver:
            await script(receiver)

    asyncio.run(limited())


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


async def made(session: aiohttp.ClientSession, url: str, receiver: Receiver, **members: Any) -> Any:
    async with session.post(f"{url}/v1/webhooks", json={"url": receiver.url, **members}) as reply:
        assert reply.status == 201, await reply.text()
        return await reply.json()


def seen(receiver: Receiver) -> set[tuple[str, int]]:
    return {got.event for got in receiver.taken}


def check_names(receiver: Receiver) -> None:
    """An event has one name, however often it is told, and always the same text."""
    assert len({got.id for got in receiver.got}) == len({(got.id, *got.event, got.body) for got in receiver.got})


def test_kills_under_load_lose_no_message(tmp_path: Path) -> None:
    server = Server(tmp_path, PRIVATE)
    random = Random(1)

    async def moody(_: Got) -> int:
        await asyncio.sleep(random.random() * 0.1)
        return 204

    async def script(receiver: Receiver) -> None:
        receiver.answer = moody
        async with client() as session:
            hook = await made(session, server.url, receiver)
            submitting = asyncio.gather(*(submit(session, server.url, f"key-{n}") for n in range(ORDERS)))
            for _ in range(KILLS):
                await asyncio.sleep(random.random())
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            ids = await submitting
            await all_ended(server.url, ORDERS)
            expected = {(order_id, seq) for order_id, seqs in Audit.of(tmp_path).seqs.items() for seq in seqs}
            assert {order_id for order_id, _ in expected} == set(ids)
            await receiver.until(lambda: seen(receiver) >= expected, within_s=70)
        assert seen(receiver) == expected
        assert all(verified(hook["secret"], got.headers, got.body) for got in receiver.got)
        check_names(receiver)

    server.start()
    try:
        run(script)
    finally:
        code = server.stop()
    assert code == 0


def test_a_message_that_was_under_way_when_its_process_died_is_sent_again(tmp_path: Path) -> None:
    server = Server(tmp_path, PRIVATE)

    async def script(receiver: Receiver) -> None:
        dead = asyncio.Event()

        async def held(_: Got) -> int:
            await dead.wait()
            return 500

        receiver.answer = held
        async with client() as session:
            await made(session, server.url, receiver, events=["confirmed"])
            order_id = await submit(session, server.url, "key")
        await receiver.until(lambda: len(receiver.got) == 1)
        await asyncio.to_thread(server.kill)
        receiver.answer = thanks
        dead.set()
        await asyncio.to_thread(server.start)
        await receiver.until(lambda: len(receiver.taken) == 1, within_s=45)
        assert {got.event[0] for got in receiver.got} == {order_id}
        assert len({got.id for got in receiver.got}) == 1

    server.start()
    try:
        run(script)
    finally:
        server.stop()


def test_two_workers_share_the_messages_and_one_takes_over_from_a_dead_one(tmp_path: Path) -> None:
    with Fleet(tmp_path, apis=1, workers=2, with_redis=False, settings=PRIVATE) as fleet:
        run(lambda receiver: _shared(fleet, receiver))


async def _shared(fleet: Fleet, receiver: Receiver) -> None:
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    held = asyncio.Event()

    async def watched(got: Got) -> int:
        under_way[got.id] += 1
        most[got.id] = max(most[got.id], under_way[got.id])
        await asyncio.sleep(0.02)
        under_way[got.id] -= 1
        return 204

    async def holding(_: Got) -> int:
        await held.wait()
        return 500

    (api,), (one, other) = fleet.apis, fleet.workers
    receiver.answer = watched
    async with client() as session:
        await made(session, api.url, receiver)
        await asyncio.gather(*(submit(session, api.url, f"key-{n}") for n in range(ORDERS)))
        await all_ended(api.url, ORDERS)
        expected = await _events(fleet)
        await receiver.until(lambda: seen(receiver) >= expected, within_s=40)
        assert seen(receiver) == expected
        assert set(most.values()) == {1}, "two sent the same message at once"
        assert len(receiver.got) == len(expected), "while nobody dies, each is sent once"
        delivered = [await _delivered(session, worker.url) for worker in (one, other)]
        assert min(delivered) > 0, f"both took some: {delivered}"

        receiver.answer = holding
        await asyncio.gather(*(submit(session, api.url, f"later-{n}") for n in range(3)))
        await receiver.until(lambda: len(receiver.got) >= len(expected) + 4)
        await asyncio.to_thread(one.kill9)
        receiver.answer = thanks
        held.set()
        await all_ended(api.url, ORDERS + 3)
        await receiver.until(lambda: len(seen(receiver)) >= len(expected) + 12, within_s=45)
        later = await _events(fleet)
        await receiver.until(lambda: seen(receiver) == later, within_s=45)
    check_names(receiver)


async def _events(fleet: Fleet) -> set[tuple[str, int]]:
    connection = await asyncpg.connect(fleet.database)
    rows = await connection.fetch("SELECT order_id, seq FROM order_events")
    await connection.close()
    return {(order_id, seq) for order_id, seq in rows}


async def _delivered(session: aiohttp.ClientSession, url: str) -> float:
    async with session.get(f"{url}/metrics") as reply:
        text = await reply.text()
    found = re.search(r'^fillwright_webhook_tries_total{outcome="delivered"} ([0-9.]+)$', text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0
