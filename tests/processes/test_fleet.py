"""Several processes on one PostgreSQL: they share the work, leave in order, and say what they lack."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import pytest

from tests.servers.fleet import INHERITED, Fleet

SELL: Final = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "0.001", "slippageBps": 500}
PATIENCE_S: Final = 40.0


@pytest.fixture(scope="module", params=[True, False], ids=["redis", "postgres alone"])
def fleet(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    settings = {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_DRAIN_NOTICE_S": "1"}
    folder = tmp_path_factory.mktemp("fleet")
    with Fleet(folder, apis=2, workers=2, with_redis=request.param, settings=settings) as running:
        yield running


def run(script: Awaitable[None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await script

    asyncio.run(limited())


async def accepted(http: aiohttp.ClientSession, url: str) -> str:
    async with http.post(f"{url}/v1/orders", json=SELL) as reply:
        assert reply.status == 201, await reply.text()
        return str((await reply.json())["id"])


async def soon(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():  # noqa: ASYNC110 - what is looked at is another process
        await asyncio.sleep(0.05)


async def frames(http: aiohttp.ClientSession, url: str, order_id: str) -> list[dict[str, Any]]:
    async with http.ws_connect(f"{url}/ws/orders/{order_id}") as stream:
        return [message.json() async for message in stream]


def test_orders_of_every_api_are_shared_by_the_workers_and_seen_everywhere(fleet: Fleet) -> None:
    async def script() -> None:
        async with aiohttp.ClientSession() as http:
            one, other = (api.url for api in fleet.apis)
            ids = [await accepted(http, url) for url in (one, other) * 100]
            shown = await asyncio.gather(
                *(frames(http, url, i) for i, url in zip(ids, (other, one) * 100, strict=True))
            )
        for seen in shown:
            assert [frame["seq"] for frame in seen] == list(range(1, len(seen) + 1))
            assert seen[-1]["status"] == "confirmed"
        connection = await asyncpg.connect(fleet.database)
        rows = await connection.fetch(
            "SELECT payload ->> 'worker' AS worker, count(*) FROM order_events WHERE event = 'started' GROUP BY 1"
        )
        await connection.close()
        assert len(rows) == 2, f"both took some: {rows}"

    run(script())


def test_a_draining_api_says_so_first_and_sends_its_streams_elsewhere(fleet: Fleet) -> None:
    leaving, staying = fleet.apis

    async def script() -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{leaving.url}/v1/stream") as stream:
            await stream.send_json({"type": "subscribe", "orderId": None})
            assert (await stream.receive_json())["type"] == "subscribed"
            stopping = asyncio.create_task(asyncio.to_thread(leaving.stop))

            async def unready() -> bool:
                async with http.get(f"{leaving.url}/readyz") as reply:
                    return reply.status == 503

            await soon(unready)
            order_id = await accepted(http, leaving.url)
            heard = [message.json() async for message in stream]
            assert stream.close_code == 1012
            assert heard[-1]["type"] == "shutdown"
            assert await stopping == 0
            assert (await frames(http, staying.url, order_id))[-1]["status"] == "confirmed"

    try:
        run(script())
    finally:
        leaving.start()


def test_a_stopped_worker_leaves_nothing_behind(fleet: Fleet) -> None:
    leaving = fleet.workers[0]

    async def script() -> None:
        async with aiohttp.ClientSession() as http:
            ids = [await accepted(http, fleet.apis[0].url) for _ in range(60)]
            assert await asyncio.to_thread(leaving.stop) == 0
            seen = await asyncio.gather(*(frames(http, fleet.apis[1].url, order_id) for order_id in ids))
        assert all(each[-1]["status"] == "confirmed" for each in seen)
        connection = await asyncpg.connect(fleet.database)
        assert await connection.fetchval("SELECT count(*) FROM workers") == 1
        await connection.close()

    try:
        run(script())
    finally:
        leaving.start()


def test_a_worker_answers_its_probes(fleet: Fleet) -> None:
    async def script() -> None:
        async with aiohttp.ClientSession() as http:
            for path, needle in (("/livez", "ok"), ("/readyz", '"store":"ok"'), ("/metrics", "fillwright_events")):
                async with http.get(fleet.workers[0].url + path) as reply:
                    assert reply.status == 200
                    assert needle in await reply.text()
            async with http.post(fleet.workers[0].url + "/v1/orders", json=SELL) as reply:
                assert reply.status == 404

    run(script())


@pytest.mark.parametrize(
    ("command", "settings", "needle", "code"),
    [
        (["worker"], {}, "DATABASE_URL", 2),
        (["worker"], {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "FILLWRIGHT_CHAIN", 2),
        (["serve", "--workers", "0"], {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "FILLWRIGHT_CHAIN", 2),
        (["serve"], {"REDIS_URL": "redis://127.0.0.1:1"}, "DATABASE_URL", 2),
        (["serve"], {"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "did not answer", 2),
    ],
)
def test_what_cannot_work_is_said_at_once(
    tmp_path: Path, command: list[str], settings: dict[str, str], needle: str, code: int
) -> None:
    env = {**INHERITED, "FILLWRIGHT_DATA": str(tmp_path), "PORT": "0", **settings}
    asked = [sys.executable, "-m", "fillwright.cli", *command]
    done = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code
    assert needle in done.stderr
    assert done.stderr.count("\n") == 1, "one line, no traceback"
    assert os.sep + "fillwright" + os.sep not in done.stderr
