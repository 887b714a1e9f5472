"""`/v1/events`: all events of an account as server-sent events, to be resumed after any of them.

Decides: how one reading of the log becomes many readers' streams. Must never: wait for a reader; one that falls behind
loses its connection and comes back with `Last-Event-ID`.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from aiohttp import web

from fillwright.api.access import Caller, caller_of
from fillwright.api.listing import known_only
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.eventlog import EventLog, Told
from fillwright.ports import Place
from fillwright.units import OrderId

QUEUE_MAX: Final = 256
"""Events that wait for one reader."""
BEAT_S: Final = 15.0
WRITE_S: Final = 10.0
"""A reader that takes nothing for so long is let go."""
_POLL_S: Final = 0.5
"""The log is read this often even if the bus is silent, for it may be cut."""
_SOON_S: Final = 0.02
_SOON_MAX: Final = 25
"""How often it is read again soon after news: their transaction may wait for an older one to end."""
_PLACE: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_RETRY: Final = b"retry: 1000\n"
_BEAT: Final = b": all is well\n\n"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_LOG: Final = logging.getLogger("fillwright.api")


class Events:
    """The handler of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._tail = Tail(engine.log)
        self._log = engine.log

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/events", self.stream, allow_head=False)]

    def review(self, holds: Callable[[Caller], bool]) -> None:
        """End those whose caller would not be let in any more."""
        self._tail.drop(lambda reader: not holds(reader.caller))

    async def close(self) -> None:
        """Every stream ends; its client comes back elsewhere, or later."""
        self._tail.end()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        after = _after(request)
        caller = caller_of(request)
        response = web.StreamResponse(headers=_HEADERS)
        response.content_type = "text/event-stream"
        reader = Reader(caller, response)
        place = after or await self._tail.join(reader)
        try:
            await response.prepare(request)
            await reader.write(_RETRY + _id_line(place) + b"\n")
            if after is not None:
                await self._catch_up(reader, after)
            await reader.run()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:  # or the end of the answer would wait for the reader once more
                request.transport.abort()
        finally:
            self._tail.leave(reader)
            reader.cut()
        return response

    async def _catch_up(self, reader: "Reader", after: Place) -> None:
        """Send what lies between `after` and what the tail tells, which the reader joins when that is little."""
        is_last = False
        while not is_last:
            part = await self._log.read(after, {reader.account})
            await reader.write(_wire(part.told))
            after, is_last = part.end, part.is_last
        until = await self._tail.join(reader)
        while after < until:
            part = await self._log.read(after, {reader.account})
            await reader.write(_wire([told for told in part.told if told.place <= until]))
            after = part.end


class Tail:
    """The end of the log, read once for all who are there. It is read as long as somebody is."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._readers: set[Reader] = set()
        self._place = Place(0, 0)
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def join(self, reader: "Reader") -> Place:
        """Tell the reader everything after the place that is returned. Raises FillwrightError(STORE_UNAVAILABLE)."""
        async with self._starting:
            if self._task is None:
                self._place = await self._log.end()
                self._task = asyncio.create_task(self._run())
            self._readers.add(reader)
            return self._place

    def leave(self, reader: "Reader") -> None:
        self._readers.discard(reader)
        if not self._readers:
            self._stop()

    def drop(self, is_unwanted: Callable[["Reader"], bool]) -> None:
        for reader in self._readers:
            if is_unwanted(reader):
                reader.cut()

    def end(self) -> None:
        for reader in self._readers:
            reader.end()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        try:
            async with self._log.bus.subscribe(None) as inbox:
                known: dict[tuple[OrderId, int], bytes] = {}
                soon = 0
                while True:
                    if not await self._tell(known):
                        for news in await inbox.take(_SOON_S if soon else _POLL_S):
                            known[news.order_id, news.seq] = news.frame
                            soon = _SOON_MAX
                        soon = max(0, soon - 1)
                        if not soon:
                            known.clear()
        except FillwrightError:
            _LOG.warning("the log of events cannot be read; its readers come back")
            self.end()
        except Exception:
            _LOG.exception("the log of events failed; its readers come back")
            self.end()

    async def _tell(self, known: dict[tuple[OrderId, int], bytes]) -> bool:
        """What the log has more, to all. Whether there may be still more."""
        part = await self._log.read(self._place, {reader.account for reader in self._readers}, known)
        self._place = part.end
        by_account: dict[str, list[Told]] = {}
        for told in part.told:
            by_account.setdefault(told.account, []).append(told)
        wires = {account: _wire(told) for account, told in by_account.items()}
        for reader in list(self._readers):
            if reader.account in wires:
                reader.put(wires[reader.account], len(by_account[reader.account]))
        return not part.is_last


class Reader:
    """One stream: what is put waits in a bounded queue until the connection takes it."""

    def __init__(self, caller: Caller, response: web.StreamResponse) -> None:
        self.caller = caller
        self.account = caller.account
        self._response = response
        self._queue: deque[tuple[bytes, int]] = deque()
        self._queued = 0
        self._ended = False
        self._some = asyncio.Event()

    def put(self, wire: bytes, events: int) -> None:
        if self._queued and self._queued + events > QUEUE_MAX:
            self.cut()
            return
        self._queue.append((wire, events))
        self._queued += events
        self._some.set()

    def end(self) -> None:
        """After what is queued."""
        self._ended = True
        self._some.set()

    def cut(self) -> None:
        """Now."""
        self._queue.clear()
        self.end()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._some.wait()
            self._some.clear()
            wire = b"".join(wire for wire, _ in self._queue)
            self._queue.clear()
            self._queued = 0
            if wire or not self._ended:
                await self.write(wire or _BEAT)
            if self._ended:
                return

    async def write(self, wire: bytes) -> None:
        """Raises TimeoutError, ConnectionError."""
        if wire:
            async with asyncio.timeout(WRITE_S):
                await self._response.write(wire)


def _after(request: web.Request) -> Place | None:
    """Where to go on: a browser that comes back tells it by a header, and repeats the address it began with."""
    known_only(request.query, {"sinceId"})
    text = request.headers.get("Last-Event-ID") or request.query.get("sinceId")
    if text is None:
        return None
    match = _PLACE.fullmatch("0-0" if text == "0" else text)
    if match is None:
        raise FillwrightError(Code.REQUEST_MALFORMED, "sinceId must be the id of an event, or 0 for the very first")
    return Place(int(match.group(1)), int(match.group(2)))


def _wire(told: Sequence[Told]) -> bytes:
    return b"".join(_id_line(each.place) + b"data: " + each.frame + b"\n\n" for each in told)


def _id_line(place: Place) -> bytes:
    return f"id: {place.transaction}-{place.id}\n".encode()
