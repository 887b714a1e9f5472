"""Traces across processes: one an order, whoever tells which part of it. And what a process needs to make them."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.processes.server import Server
from tests.servers.fleet import INHERITED, Fleet

SELL: Final = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "0.001", "slippageBps": 500}
ORDERS: Final = 20


def test_an_api_and_a_worker_tell_one_trace(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.proto", reason="the extra `otel` is not installed")
    from tests.servers.collector import collecting  # noqa: PLC0415 - an extra

    with collecting() as collector:
        settings = {"FILLWRIGHT_SIM": "instant", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with Fleet(tmp_path, apis=1, workers=1, with_redis=False, settings=settings) as fleet:
            ids = asyncio.run(_over(fleet.apis[0].url))
            for process in (*fleet.apis, *fleet.workers):
                assert process.stop() == 0
    traces = collector.traces()
    assert traces.keys() == {order_id.replace("-", "") for order_id in ids}
    makers = set()
    for root, *spans in traces.values():
        accept = next(span for span in spans if span.name == "accept")
        assert {span.parent for span in spans} == {root.id}
        assert {span.service["service.instance.id"] for span in spans if span is not accept} == {
            root.service["service.instance.id"]
        }
        assert {span.name for span in spans} >= {"accept", "queued", "routing", "building", "landing"}
        assert root.begins_ms == accept.begins_ms
        makers.add((accept.service["service.instance.id"], root.service["service.instance.id"]))
    ((api, worker),) = makers
    assert api != worker


async def _over(url: str) -> list[str]:
    """The ids of orders that have ended."""
    async with aiohttp.ClientSession(url) as http:
        ids = []
        for _ in range(ORDERS):
            async with http.post("/v1/orders", json=SELL) as answer:
                ids.append(str((await answer.json())["id"]))
        for order_id in ids:
            async with http.ws_connect(f"/ws/orders/{order_id}") as stream:
                assert [message async for message in stream]
    return ids


def test_a_process_that_makes_no_traces_does_not_load_what_they_need(tmp_path: Path) -> None:
    """Also where the extra is installed. An engine is opened, and closed again."""
    script = f"""
import asyncio, sys
from pathlib import Path
from fillwright.app import open_engine
from fillwright.config import load
from fillwright import processes, cli

async def once():
    async with open_engine(load({{"FILLWRIGHT_DATA": {str(tmp_path)!r}}})):
        pass

asyncio.run(once())
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"opentelemetry", "google"}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=INHERITED, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr


def test_traces_without_the_extra_are_refused_in_one_line(tmp_path: Path) -> None:
    start = (
        "import sys; sys.modules['opentelemetry'] = None; from fillwright.cli import main; sys.exit(main(['serve']))"
    )
    env = {**INHERITED, "PORT": "0", "FILLWRIGHT_DATA": str(tmp_path), "FILLWRIGHT_TRACES": "http://127.0.0.1:4318"}
    done = subprocess.run(
        [sys.executable, "-c", start], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"fillwright: traces are asked for, but opentelemetry[\w.]* is not installed: .*'fillwright\[otel\]'\n",
        done.stderr,
    )


def test_an_engine_with_a_dead_collector_still_leaves_in_time(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.proto", reason="the extra `otel` is not installed")
    server = Server(tmp_path, {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_TRACES": "http://127.0.0.1:1"})
    server.start()
    try:
        asyncio.run(_over(server.url))
    finally:
        assert server.stop() == 0
