"""A receiver of webhooks as its author would write it: a real server that checks every signature by itself.

Decides: what it answers, as the test says. Must never: use a line of the code under test to judge a signature.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web


def verified(secret: str, headers: Any, body: bytes) -> bool:
    """standardwebhooks.com, in a few lines."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and f"v1,{expected}" in headers["webhook-signature"].split(" ")


@dataclass
class Got:
    headers: Any
    body: bytes

    @property
    def id(self) -> str:
        return str(self.headers["webhook-id"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> tuple[str, int]:
        """Which order's, and which of its events."""
        return self.json["data"]["orderId"], self.json["data"]["seq"]


Answer = Callable[[Got], Awaitable[int]]


async def thanks(got: Got) -> int:
    return 204


class Receiver:
    def __init__(self) -> None:
        self.got: list[Got] = []
        self.taken: list[Got] = []
        """Those that were answered with 2xx."""
        self.answer: Answer = thanks
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def handle(self, request: web.Request) -> web.Response:
        got = Got(request.headers.copy(), await request.read())
        self.got.append(got)
        status = await self.answer(got)
        if 200 <= status < 300:
            self.taken.append(got)
        return web.Response(status=status)

    async def until(self, met: Callable[[], bool], within_s: float = 20) -> None:
        async with asyncio.timeout(within_s):
            while not met():  # noqa: ASYNC110 - what is waited for happens elsewhere as well
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
