"""One WebSocket: frames out up to a bound, messages in within limits, and an orderly end.

Decides: how far a reader may fall behind, how much a client may send, and the close codes. Must never: let one
socket's slowness reach another socket or the engine, or grow without bound.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from fillwright.api.access import Caller, caller_of
from fillwright.api.measured import SocketMetrics
from fillwright.api.problems import ProblemView, internal, problem_view
from fillwright.api.strict import hold_to_the_rules
from fillwright.errors import FillwrightError
from fillwright.ports import News

DONE: Final = 1000
NOT_TEXT: Final = 1003
BROKEN: Final = 1011
DRAINING: Final = 1012
UNAUTHENTICATED: Final = 4001
TOO_SLOW: Final = 4008
TOO_FAST: Final = 4029
FRAMES_MAX: Final = 256
"""Frames that wait for one socket's reader."""
MESSAGE_MAX: Final = 4 * 1024
"""Bytes of one inbound message."""
MESSAGES_A_SECOND: Final = 20
PATIENCE_S: Final = 1.0
"""How long a replay waits for a reader that is behind; one that stands still loses its socket."""
_PING_S: Final = 20.0
CLOSE_S: Final = 3.0
"""For each step of an orderly end: what is queued, the closing handshake, what the peer has yet to read."""
_LOOK_S: Final = 0.02
_BUFFER_MAX: Final = 64 * 1024
"""Bytes that a transport may hold before frames queue here, where they can still be dropped."""
_LOG: Final = logging.getLogger("fillwright.api")

_encode: Final = msgspec.json.Encoder().encode

Beat = tuple[float, Callable[[], bytes]]
"""A heartbeat: after how many quiet seconds, and what it says."""


Spelling = Callable[[bytes], list[bytes]]
"""An event's frame in a client's dialect."""


def plain(frame: bytes) -> list[bytes]:
    return [frame]


class ErrorFrame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag="error"):
    """A failure told on a shared socket."""

    event: str | None = None
    """For the dialect whose frames are told apart by it."""
    req_id: int | str | None = None
    order_id: str | None = None
    error: str
    code: str
    problem: ProblemView


class ShutdownFrame(msgspec.Struct, frozen=True, tag="shutdown"):
    """The engine stops; connect again and resume after the last seq."""

    reason: str = "the engine is stopping; connect again and resume"


def error_frame(
    error: FillwrightError, *, order_id: str | None = None, req_id: int | str | None = None, event: str | None = None
) -> bytes:
    view = problem_view(error, order_id=order_id)
    frame = ErrorFrame(event=event, req_id=req_id, order_id=order_id, error=view.error, code=view.code, problem=view)
    return _encode(frame)


class Socket:
    """Frames go out in order, straight to the transport while that takes them, else through a bounded queue.

    `end` closes once they are out; `cut` closes now.
    """

    def __init__(self, response: web.WebSocketResponse, transport: asyncio.WriteTransport, beat: Beat | None) -> None:
        self._response = response
        self._transport = transport
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued = 0
        self.closed_with: int | None = None
        """The code that tells why the conversation ended, whichever side said it first; None: it goes on."""
        self._close_code: int | None = None
        self._closing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_end: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._spoke_at = self._loop.time()
        self._timer = self._loop.call_later(beat[0], self._beat_if_quiet, *beat) if beat else None

    # --- out ----------------------------------------------------------------------------------------------

    def write(self, wire: bytes, frames: int) -> None:
        """Send what `on_the_wire` made of so many frames; a reader that is too far behind loses the socket."""
        if self._close_code is not None or self._transport.is_closing():
            return
        self._spoke_at = self._loop.time()
        if not self._queue and self._transport.get_write_buffer_size() <= _BUFFER_MAX:
            self._transport.write(wire)
        elif self._queued + frames > FRAMES_MAX:
            self.cut(TOO_SLOW)
        else:
            if not self._queue:
                self._loop.call_later(_LOOK_S, self._pump)
            self._queue.append((wire, frames))
            self._queued += frames

    async def put(self, frame: bytes) -> None:
        """Send one frame, giving a reader that is behind PATIENCE_S to catch up."""
        give_up_at = self._loop.time() + PATIENCE_S
        while (  # noqa: ASYNC110 - a transport tells nobody when there is room
            self._queued >= FRAMES_MAX and self._close_code is None and self._loop.time() < give_up_at
        ):
            await asyncio.sleep(_LOOK_S)
        self.write(on_the_wire(frame), 1)

    def _pump(self) -> None:
        """From the queue to the transport, as far as that has room; again shortly while something is left."""
        while self._queue and self._transport.get_write_buffer_size() <= _BUFFER_MAX:
            self._write_first()
        if self._queue:
            self._loop.call_later(_LOOK_S, self._pump)

    def _write_first(self) -> None:
        wire, frames = self._queue.popleft()
        self._queued -= frames
        if not self._transport.is_closing():
            self._transport.write(wire)

    def end(self, code: int = DONE, last: bytes | None = None) -> None:
        """Close when everything sent so far, and `last`, is out; nothing more is taken."""
        if self._close_code is None:
            if last is not None:
                self._queue.append((on_the_wire(last), 1))
            while self._queue:
                self._write_first()
            self._close_as(code)

    def cut(self, code: int) -> None:
        """Close without sending what is queued."""
        if self._close_code is None:
            self._queue.clear()
            self._close_as(code)

    def _close_as(self, code: int) -> None:
        self.closed_with = self._response.close_code or code
        self._close_code = code
        self._closing = asyncio.create_task(self._close())

    def at_end(self, done: Callable[[], None]) -> None:
        """Call this when the conversation is over."""
        self._at_end.append(done)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the conversation; ends with the socket. Its failure ends the socket: the client resumes."""
        task = asyncio.create_task(self._started(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def follow(self, events: AsyncGenerator[News, None], spell: Spelling = plain) -> None:
        """Every event as its frames, until there are no more."""
        async with aclosing(events):
            async for news in events:
                for frame in spell(news.frame):
                    await self.put(frame)

    def _beat_if_quiet(self, every_s: float, make: Callable[[], bytes]) -> None:
        quiet_s = self._loop.time() - self._spoke_at
        if quiet_s >= every_s:
            self.write(on_the_wire(make()), 1)
            quiet_s = 0.0
        self._timer = self._loop.call_later(every_s - quiet_s, self._beat_if_quiet, every_s, make)

    # --- in -----------------------------------------------------------------------------------------------

    async def run(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        """Converse until either side closes."""
        try:
            await self._read(hear)
        finally:
            for done in self._at_end:
                done()
            if self._timer is not None:
                self._timer.cancel()
            await _cancel(self._tasks)
            self.end()
            if self._closing is not None:
                await self._closing

    async def _read(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        window_at, heard = self._loop.time(), 0
        async for message in self._response:
            if message.type is WSMsgType.BINARY:
                self.end(NOT_TEXT)
                return
            if message.type is not WSMsgType.TEXT:
                return  # unreadable or too big: the library has closed with the code for it
            if self._loop.time() - window_at >= 1:
                window_at, heard = self._loop.time(), 0
            heard += 1
            if heard > MESSAGES_A_SECOND:
                self.end(TOO_FAST)
                return
            await self._heard(hear(message.data.encode()))

    async def _heard(self, answer: Awaitable[None]) -> None:
        try:
            await answer
        except FillwrightError as error:
            await self.put(error_frame(error))
        except Exception:
            self._break()

    async def _started(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except FillwrightError as error:
            self.end(BROKEN, error_frame(error))
        except Exception:
            self._break()

    def _break(self) -> None:
        _LOG.exception("a socket failed")
        self.end(BROKEN, error_frame(internal()))

    # --- the end ------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        """The closing handshake, within its time; then a peer that reads nothing loses the connection for good."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._response.close(code=self._close_code or DONE, drain=False)
        except TimeoutError:
            _LOG.debug("a socket's peer did not answer the close")
        # A closed transport keeps its buffer until the peer has read it: for ever, if we let it.
        give_up_at = self._loop.time() + CLOSE_S
        while (  # noqa: ASYNC110 - a transport tells nobody when it has become empty
            self._transport.get_write_buffer_size() and self._loop.time() < give_up_at
        ):
            await asyncio.sleep(_LOOK_S)
        self._transport.abort()


def on_the_wire(frame: bytes) -> bytes:
    """A text message as a server sends it, unmasked and whole (RFC 6455, section 5.2): the same to every reader."""
    size = len(frame)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + frame
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2) + frame
    return b"\x81\x7f" + size.to_bytes(8) + frame


async def _cancel(running: set[asyncio.Task[None]]) -> None:
    tasks = list(running)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            _LOG.error("a socket failed", exc_info=outcome)


class Sockets:
    """All open sockets of the server, so that a shutdown can tell them."""

    def __init__(self, metrics: SocketMetrics) -> None:
        self._metrics = metrics
        self._open: dict[Socket, tuple[Caller, asyncio.Task[Any] | None]] = {}

    async def converse(
        self,
        request: web.Request,
        begin: Callable[[Socket], Callable[[bytes], Awaitable[None]]],
        beat: Beat | None = None,
    ) -> web.WebSocketResponse:
        """Upgrade. `begin` starts what the socket shows and returns what hears its messages."""
        # The library's limit refuses its own value too.
        response = web.WebSocketResponse(
            heartbeat=_PING_S, compress=False, max_msg_size=MESSAGE_MAX + 1, timeout=CLOSE_S
        )
        if response.can_prepare(request):
            hold_to_the_rules(request)
        await response.prepare(request)
        if request.transport is None:  # the peer is gone already
            return response
        socket = Socket(response, request.transport, beat)
        self._open[socket] = caller_of(request), asyncio.current_task()
        self._metrics.open.inc()
        try:
            await socket.run(begin(socket))
        finally:
            del self._open[socket]
            self._metrics.open.dec()
            self._metrics.closed(socket.closed_with or DONE)
        return response

    def review(self, holds: Callable[[Caller], bool]) -> None:
        """Close those whose caller would not be let in any more."""
        for socket, (caller, _) in self._open.items():
            if not holds(caller):
                socket.cut(UNAUTHENTICATED)

    async def close(self) -> None:
        """Tell every client to come back later, and close."""
        shutdown = _encode(ShutdownFrame())
        for socket in self._open:
            socket.end(DRAINING, shutdown)
        conversations = [task for _, task in self._open.values() if task is not None]
        if conversations:
            await asyncio.wait(conversations, timeout=4 * CLOSE_S)


async def refuse_socket(request: web.Request, code: int) -> web.WebSocketResponse:
    """Upgrade only to close with this code."""
    response = web.WebSocketResponse(timeout=CLOSE_S)
    await response.prepare(request)
    await response.close(code=code)
    return response
