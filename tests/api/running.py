"""The real server on a free loopback port, and a real client.

Decides: how a test opens one. Must never: replace a part of the engine by a mock.
"""

import asyncio
import json
import socket
import sqlite3
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import uvloop
from aiohttp import web

from fillwright.api import Access, make_app
from fillwright.app import Assembled, open_engine
from fillwright.config import Config
from tests.api.contract import hold

T = TypeVar("T")
TERMINAL = {"confirmed", "failed", "canceled", "expired"}
SELL = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
NOBODY = "01890000-0000-7000-8000-000000000000"


def run(work: Coroutine[Any, Any, T], within_s: float = 60) -> T:
    """On the loop that the server runs on in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(work, within_s))


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    def __init__(
        self, running: Assembled, access: Access, runner: web.AppRunner, http: aiohttp.ClientSession, folder: Path
    ) -> None:
        self.engine = running.engine
        self.keys = running.keys
        self.access = access
        self.runner = runner
        self.http = http
        self.port: int = runner.addresses[0][1]
        self._folder = folder

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, path, allow_redirects=False, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
        hold(method, path, answer.status, answer.headers, answer.body)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.send("POST", path, json=body, **options)

    async def post_raw(self, path: str, body: bytes, kind: str = "application/json") -> Answer:
        return await self.send("POST", path, data=body, headers={"Content-Type": kind})

    async def frames(self, path: str) -> tuple[list[Any], int | None]:
        """All frames until the server closes, and its close code."""
        async with self.http.ws_connect(path) as ws:
            frames = [json.loads(message.data) async for message in ws]
            return frames, ws.close_code

    async def ended(self, order_id: str) -> Any:
        """The order once it is over."""
        await self.frames(f"/ws/orders/{order_id}")
        return (await self.get(f"/v1/orders/{order_id}")).json

    def rows(self) -> int:
        """Orders stored, as the database itself tells it."""
        with sqlite3.connect(self._folder / "orders.db") as database:
            count: int = database.execute("SELECT count(*) FROM orders").fetchone()[0]
        database.close()
        return count


@asynccontextmanager
async def serving(folder: Path, *, send_buffer: int | None = None, **settings: Any) -> AsyncIterator[Server]:
    config = Config(**{"data": folder, "sim": "instant", **settings})
    async with open_engine(config) as running:
        access = Access(running.keys, running.engine.clock, running.entropy, host=config.host, open_to=config.open_to)
        app = make_app(
            running.engine, access, registry=running.registry, request_id=lambda: uuid.uuid4().hex, lab=running.lab
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
        await runner.setup()
        listening = socket.socket()
        if send_buffer is not None:  # accepted connections inherit it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        try:
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with aiohttp.ClientSession(base) as http:
                yield Server(running, access, runner, http, folder)
        finally:
            await runner.cleanup()


async def heard(ws: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    """The next frame of this type; others are passed over."""
    while True:
        frame = json.loads((await ws.receive(timeout=10)).data)
        if frame["type"] == kind:
            return frame
