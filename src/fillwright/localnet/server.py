"""The network around the chain: nodes at paths of one port, their WebSockets, and the beat that makes blocks.

Decides: where each node is reached, when a block is due, and how a fault looks on the wire. Must never: die of what a
caller sent, or queue without bound.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from fillwright.adapters.jsonrpc import Dispatcher
from fillwright.errors import Code, FillwrightError
from fillwright.localnet.bank import Bank
from fillwright.localnet.control import Control
from fillwright.localnet.crowd import Crowd
from fillwright.localnet.faults import Dice
from fillwright.localnet.node import Node, Personality
from fillwright.localnet.subscriptions import Session

BODY_MAX: Final = 16 * 1024 * 1024
"""An account of the greatest size may be set."""
SOCKETS_MAX: Final = 1_000
PATHS: Final[dict[str, Personality]] = {"/": "honest", "/lagging": "lagging", "/lying": "lying", "/flaky": "flaky"}
_FRAME_MAX: Final = 64 * 1024
_SEND_S: Final = 10.0
"""A socket that takes nothing for so long is closed."""
_SKIPPED_MAX: Final = 16
"""Slots in a row without a block."""
_SLOW_S: Final = 1.0
_STOP_S: Final = 1.0
_JSON: Final = "application/json"
_OWN: Final = b'"localnet_'

_log: Final = logging.getLogger(__name__)


class Network:
    """One chain, its nodes, and who else is about."""

    def __init__(self, bank: Bank, dice: Dice, crowd: Crowd | None = None) -> None:
        self.bank = bank
        self.dice = dice
        self._crowd = crowd
        nodes = {path: Node(bank, dice, who) for path, who in PATHS.items()}
        control = Control(bank, dice, self.produce).methods()
        self._lags = {path: node.lag for path, node in nodes.items()}
        self._dispatchers = {
            path: Dispatcher(node.methods() | (control if path == "/" else {})) for path, node in nodes.items()
        }
        self._sockets: dict[Session, asyncio.Event] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_MAX)
        for path in PATHS:
            app.add_routes([web.post(path, self._call), web.get(path, self._listen)])
        app.add_routes([web.get("/health", _health)])
        return app

    def produce(self) -> None:
        """The next block, now; before it, what a fork takes back."""
        dice, faults = self.dice, self.dice.faults
        if dice.strikes(faults.forks, "forked"):
            self.bank.fork(dice.up_to(faults.fork_depth_max), again=dice.strikes(faults.resent, "resent"))
        if self._crowd is not None:
            self._crowd.act()
        skipped = 0
        while skipped < _SKIPPED_MAX and dice.strikes(faults.skipped_slots, "skipped"):
            skipped += 1
        self.bank.produce(int(time.time()), skipped_slots=skipped)
        for session, news in self._sockets.items():
            session.on_block()
            if session.outbox:
                news.set()

    async def beat(self, block_s: float) -> None:
        """Make blocks until cancelled. One that comes late is not made up for."""
        while True:
            await asyncio.sleep(block_s)
            try:
                self.produce()
            except Exception:  # a defect of ours must not stop the chain without a word
                _log.exception("a block could not be made")

    # --- calls --------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != _JSON:
            raise web.HTTPUnsupportedMediaType
        body = await request.read()
        is_own = _OWN in body
        if request.path == "/flaky" and self.dice.strikes(self.dice.faults.flaky, "flaky"):
            return await self._unwell(request)
        answer = self._dispatchers[request.path].answer(body)
        if not is_own and self.dice.strikes(self.dice.faults.lost_answers, "lost"):
            _cut(request)
        return web.Response(body=answer, content_type=_JSON) if answer else web.Response(status=204)

    async def _unwell(self, request: web.Request) -> web.StreamResponse:
        """What a node in trouble does with a call: none of it is done."""
        match self.dice.up_to(5):
            case 1:
                return web.Response(status=429, headers={"Retry-After": "1"}, text="Too many requests")
            case 2:
                return web.Response(status=503, text="Service unavailable")
            case 3:
                return web.Response(body=b'{"jsonrpc":"2.0","resu', content_type=_JSON)
            case 4:
                await asyncio.sleep(_SLOW_S)
                return web.Response(status=504, text="Gateway time-out")
            case _:
                _cut(request)
                return web.Response(status=500)

    # --- sockets ------------------------------------------------------------------------------------------

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=30, max_msg_size=_FRAME_MAX, compress=False)
        if not socket.can_prepare(request).ok:
            return web.Response(status=405, headers={"Allow": "POST"}, text="POST JSON-RPC here, or open a WebSocket\n")
        if len(self._sockets) >= SOCKETS_MAX:
            raise web.HTTPServiceUnavailable
        await socket.prepare(request)
        session = Session(self.bank, self._lags[request.path])
        news = self._sockets[session] = asyncio.Event()
        sender = asyncio.create_task(_send(request, socket, session, news))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    session.receive(message.data.encode() if message.type == WSMsgType.TEXT else message.data)
                    news.set()
        finally:
            del self._sockets[session]
            sender.cancel()
        return socket


async def _send(request: web.Request, socket: web.WebSocketResponse, session: Session, news: asyncio.Event) -> None:
    """Until the socket is closed, by its reader, or for not reading."""
    try:
        while not session.is_overrun:
            await news.wait()
            news.clear()
            while session.outbox and not session.is_overrun:
                async with asyncio.timeout(_SEND_S):
                    await socket.send_str(session.outbox.popleft().decode())
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow")
    except (ConnectionError, TimeoutError):
        _cut(request)


def _cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@asynccontextmanager
async def serving(
    network: Network, host: str, port: int, *, block_s: float | None, sockets_port: int | None = None
) -> AsyncIterator[str]:
    """Serve until the context is left; yields the URL.

    `block_s` None: blocks are made by hand. WebSockets are served on the same port, and where clients expect them as
    well: `sockets_port`, with validators one above. Raises FillwrightError(CONFIG_INVALID) where it cannot listen.
    """
    runner = web.AppRunner(
        network.app(), access_log=None, handle_signals=False, shutdown_timeout=_STOP_S, auto_decompress=False
    )
    await runner.setup()
    beat = None
    try:
        for each in [port] if sockets_port is None else [port, sockets_port]:
            await _start(web.TCPSite(runner, host, each, backlog=1024), f"{host}:{each}")
        if block_s is not None:
            beat = asyncio.create_task(network.beat(block_s))
        name, actual = runner.addresses[0][:2]
        yield f"http://{f'[{name}]' if ':' in name else name}:{actual}"
    finally:
        if beat is not None:
            beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beat
        await runner.cleanup()


async def _start(site: web.TCPSite, where: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"cannot listen on {where} ({error.strerror})") from error
