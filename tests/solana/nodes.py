"""Nodes that say what a test tells them to, over real sockets.

Decides: nothing; a test says what each call is answered with. Must never: know what is right.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import WSMsgType, web

Reply: TypeAlias = Callable[[list[Any]], Any]
"""The result of a call, from its parameters. An `Error` is told as one; a `web.Response` is the whole answer."""


class Error:
    def __init__(self, code: int) -> None:
        self.code = code


class ScriptedNode:
    """`slot` and `height` are of its finalized bank; `context` of what it says beside them."""

    def __init__(self, slot: int = 1_000_000, height: int = 900_000) -> None:
        self.slot = slot
        self.height = height
        self.asked: list[str] = []
        self.requests = 0
        self.url = ""
        self.broken: web.Response | None = None
        self.delay_s = 0.0
        self.replies: dict[str, Reply] = {
            "getEpochInfo": lambda _: {"absoluteSlot": self.slot, "blockHeight": self.height},
            "getSlot": lambda _: self.slot,
            "sendTransaction": lambda _: "signature",
        }
        self.sockets: set[web.WebSocketResponse] = set()
        self.subscriptions: dict[int, tuple[str, list[Any]]] = {}
        self._next = 1

    def context(self, value: Any, *, ahead: int = 30) -> dict[str, Any]:
        return {"context": {"slot": self.slot + ahead}, "value": value}

    def says(self, method: str, result: Any) -> None:
        self.replies[method] = lambda _: result

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        self.asked += [call["method"] for call in calls]
        await asyncio.sleep(self.delay_s)
        if self.broken is not None:
            return web.Response(status=self.broken.status, body=self.broken.body, headers=self.broken.headers)
        answers = [self._answer(call) for call in calls]
        return web.json_response(answers if isinstance(body, list) else answers[0])

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        said = self.replies.get(call["method"])
        reply = said(call["params"]) if said else Error(-32601)
        told = {"error": {"code": reply.code, "message": "as told"}} if isinstance(reply, Error) else {"result": reply}
        return {"jsonrpc": "2.0", "id": call["id"], **told}

    # --- subscriptions ------------------------------------------------------------------------------------

    async def listen(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    call = json.loads(frame.data)
                    number, self._next = self._next, self._next + 1
                    self.subscriptions[number] = (call["method"], call["params"])
                    await socket.send_json({"jsonrpc": "2.0", "id": call["id"], "result": number})
        finally:
            self.sockets.discard(socket)
        return socket

    async def tell(self, method: str, result: Any) -> None:
        """To whoever subscribed by this method, for instance accountSubscribe."""
        for socket in list(self.sockets):
            for number, (subscribed, _) in self.subscriptions.items():
                if subscribed == method:
                    params = {"subscription": number, "result": result}
                    await socket.send_json({"jsonrpc": "2.0", "method": "notification", "params": params})

    async def hang_up(self) -> None:
        self.subscriptions.clear()
        for socket in list(self.sockets):
            await socket.close()


@asynccontextmanager
async def scripted(*nodes: ScriptedNode) -> AsyncIterator[list[str]]:
    """The addresses of these nodes; requests and WebSockets at the same one."""
    runners: list[web.AppRunner] = []
    try:
        for node in nodes:
            app = web.Application()
            app.add_routes([web.post("/{secret}", node.post), web.get("/{secret}", node.listen)])
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            node.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hunter2"
        yield [node.url for node in nodes]
    finally:
        for runner in runners:
            await runner.cleanup()
