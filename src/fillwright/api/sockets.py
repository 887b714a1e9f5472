"""One WebSocket: frames out through a bounded queue, messages in within limits, and an orderly end.

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
from aiohttp import ClientConnectionResetError, WSMsgType, web

from fillwright.api.problems import ProblemView, internal, problem_view
from fillwright.errors import FillwrightError
from fillwright.order import Recorded

DONE: Final = 1000
BROKEN: Final = 1011
DRAINING: Final = 1012
TOO_SLOW: Final = 4008
TOO_FAST: Final = 4029
FRAMES_MAX: Final = 256
"""Frames that wait for one socket's reader."""
MESSAGE_MAX: Final = 4 * 1024
"""Bytes of one inbound message."""
MESSAGES_A_SECOND: Final = 20
PATIENCE_S: Final = 1.0
"""How long a full queue may stay full: a burst is forgiven, a reader that stands still is not."""
_PING_S: Final = 20.0
CLOSE_S: Final = 3.0
"""For each step of an orderly end: what is queued, the closing handshake, what the peer has yet to read."""
_LOOK_S: Final = 0.05
_LOG: Final = logging.getLogger("fillwright.api")

_encode: Final = msgspec.json.Encoder().encode

Beat = tuple[float, Callable[[], bytes]]
"""A heartbeat: after how many quiet seconds, and what it says."""


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
    """Frames go out by `put`, in order. `end` closes once they are out; `cut` closes now."""

    def __init__(
        self, response: web.WebSocketResponse, transport: asyncio.WriteTransport | None, beat: Beat | None
    ) -> None:
        self._response = response
        self._transport = transport
        self._beat = beat
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._close_code: int | None = None
        self._writer: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, frame: bytes) -> None:
        """Queue a frame. A queue that stays full for PATIENCE_S ends the socket: its reader resumes later."""
        while len(self._frames) >= FRAMES_MAX and self._close_code is None:
            self._room.clear()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._room.wait()
            except TimeoutError:
                self.cut(TOO_SLOW)
        if self._close_code is None:
            self._frames.append(frame)
            self._wake.set()

    def end(self, code: int = DONE, last: bytes | None = None) -> None:
        """Close when everything queued, and `last`, is written; nothing more is taken."""
        if self._close_code is None:
            self._close_code = code
            if last is not None:
                self._frames.append(last)
            self._wake.set()
            self._room.set()

    def cut(self, code: int) -> None:
        """Close without writing what is queued."""
        if self._close_code is None:
            self._close_code = code
            self._room.set()
            if self._writer is not None:
                self._writer.cancel()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the conversation; ends with the socket. Its failure ends the socket: the client resumes."""
        task = asyncio.create_task(self._started(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def follow(self, events: AsyncGenerator[Recorded, None], frames: Callable[[Recorded], list[bytes]]) -> None:
        """Every event as its frames, until there are no more."""
        async with aclosing(events):
            async for recorded in events:
                for frame in frames(recorded):
                    await self.put(frame)

    async def run(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        """Converse until either side closes."""
        self._writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read(hear))
        try:
            await asyncio.wait({self._writer, reader}, return_when=asyncio.FIRST_COMPLETED)
            if self._close_code is not None:  # what was queued before the end still goes out
                await asyncio.wait({self._writer}, timeout=CLOSE_S)
        finally:
            await _cancel({self._writer, reader, *self._tasks})
            await self._close()

    # --- halves -------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while True:
                while self._frames:
                    await self._response.send_frame(self._frames.popleft(), WSMsgType.TEXT)
                    self._room.set()
                if self._close_code is not None:
                    return
                await self._news()
        except ClientConnectionResetError:
            return  # the peer is gone; `run` tidies up

    async def _news(self) -> None:
        """Wait for a frame; every so often the next one is a heartbeat."""
        self._wake.clear()
        if self._beat is None:
            await self._wake.wait()
            return
        every_s, make = self._beat
        try:
            async with asyncio.timeout(every_s):
                await self._wake.wait()
        except TimeoutError:
            self._frames.append(make())

    async def _read(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        window_at, heard = loop.time(), 0
        async for message in self._response:
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                return  # unreadable or too big: the library has closed with the code for it
            if loop.time() - window_at >= 1:
                window_at, heard = loop.time(), 0
            heard += 1
            if heard > MESSAGES_A_SECOND:
                self.end(TOO_FAST)
                return
            data = message.data
            await self._heard(hear(data.encode() if isinstance(data, str) else bytes(data)))

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

    async def _close(self) -> None:
        """The closing handshake, within its time; then a peer that reads nothing loses the connection for good."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._response.close(code=self._close_code or DONE, drain=False)
        except TimeoutError:
            _LOG.debug("a socket's peer did not answer the close")
        if self._transport is None:
            return
        # A closed transport keeps its buffer until the peer has read it: for ever, if we let it.
        give_up_at = asyncio.get_running_loop().time() + CLOSE_S
        while (  # noqa: ASYNC110 - a transport tells nobody when it has become empty
            self._transport.get_write_buffer_size() and asyncio.get_running_loop().time() < give_up_at
        ):
            await asyncio.sleep(_LOOK_S)
        self._transport.abort()


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            _LOG.error("a socket failed", exc_info=outcome)


class Sockets:
    """All open sockets of the server, so that a shutdown can tell them."""

    def __init__(self) -> None:
        self._open: dict[Socket, asyncio.Task[Any] | None] = {}

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
        await response.prepare(request)
        socket = Socket(response, request.transport, beat)
        self._open[socket] = asyncio.current_task()
        try:
            await socket.run(begin(socket))
        finally:
            del self._open[socket]
        return response

    async def close(self) -> None:
        """Tell every client to come back later, and close."""
        shutdown = _encode(ShutdownFrame())
        for socket in self._open:
            socket.end(DRAINING, shutdown)
        conversations = [task for task in self._open.values() if task is not None]
        if conversations:
            await asyncio.wait(conversations, timeout=4 * CLOSE_S)
