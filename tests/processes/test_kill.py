"""kill -9 of the real server while it works: nothing accepted is lost, nothing settles twice."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp

from tests.processes.server import Audit, Server

ORDERS: Final = 2_000
KILLS: Final = 20
CLIENTS: Final = 40
BODY: Final = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "0.001", "slippageBps": 500}
TERMINAL: Final = {"confirmed", "failed", "canceled", "expired"}


async def submit(session: aiohttp.ClientSession, url: str, key: str) -> str:
    """Repeat one request under one key until it is acknowledged, as a careful client does."""
    while True:
        try:
            async with session.post(f"{url}/v1/orders", json=BODY, headers={"Idempotency-Key": key}) as reply:
                if reply.status in (200, 201):
                    return str((await reply.json())["id"])
                assert reply.status == 503, await reply.text()
        except (TimeoutError, aiohttp.ClientError):
            pass  # the server was killed: whether it had accepted is unknown, so the same key is sent again
        await asyncio.sleep(0.02)


async def load(url: str, acknowledged: list[str]) -> None:
    keys: Iterator[int] = iter(range(ORDERS))

    async def client(session: aiohttp.ClientSession) -> None:
        for key in keys:  # shared by all clients
            order_id = await submit(session, url, f"key-{key}")
            acknowledged.append(order_id)

    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client(session))


async def all_ended(url: str, count: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(f"{url}/v1/orders?status=open&limit=1") as reply:
                if not (await reply.json())["data"]:
                    return
            await asyncio.sleep(0.1)


def test_twenty_kills_under_load_lose_nothing_and_settle_nothing_twice(tmp_path: Path) -> None:
    server = Server(tmp_path, {"FILLWRIGHT_SIM": "instant"})
    acknowledged: list[str] = []

    async def scenario() -> None:
        loading = asyncio.create_task(load(server.url, acknowledged))
        for kill in itertools.count(1):
            mark = kill * ORDERS // (KILLS + 1)
            while len(acknowledged) < mark:
                await asyncio.sleep(0.001)
                if loading.done():
                    loading.result()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            if kill == KILLS:
                break
        await loading
        await all_ended(server.url, ORDERS)

    server.start()
    try:
        asyncio.run(scenario())
    finally:
        code = server.stop()
    assert code == 0
    audit = Audit.of(tmp_path)
    audit.check()
    assert len(acknowledged) == len(set(acknowledged)) == ORDERS
    assert set(audit.statuses) == set(acknowledged), "one order for each key, and no other"
    assert set(audit.statuses.values()) <= TERMINAL
