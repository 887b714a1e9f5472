"""Events of one order, or of all, across as many connections as it takes.

Decides: how a stream resumes. Must never: leave an event out, tell one twice, or tell an order's events out of order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec

from fillwright.client.exchange import Exchange, decoded, foreign_problem
from fillwright.client.failures import ClientError, ProblemDocument, Unreachable, api_error
from fillwright.order import TERMINAL
from fillwright.wire.frames import Frame
from fillwright.wire.resources import OrderView

_SILENCE_S: Final = 40.0
"""The engine says something every 15 s: after this the connection is taken for dead."""
_CONNECT_S: Final = 10.0
_UNREAD_MAX: Final = 10_000
_ENDED_MAX: Final = 100_000
"""Orders that have ended, and are remembered so that an outage of the stream does not repeat their events."""
_RECENT_MS: Final = 60_000
"""Orders may become visible this much later than others that were accepted after them: clocks of several machines."""
_REFUSALS: Final = {4001: 401, 4003: 403}


class OrderEvents(msgspec.Struct, frozen=True):
    """`GET /v1/orders/{id}/events`."""

    data: list[Frame]


class OrderPage(msgspec.Struct, frozen=True, rename="camel"):
    """`GET /v1/orders`."""

    data: list[OrderView]
    next_cursor: str | None = None


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    seq: int
    order: OrderView


class _Kind(msgspec.Struct, frozen=True):
    type: str


class _Failure(msgspec.Struct, frozen=True):
    problem: ProblemDocument


class _Subscribed(msgspec.Struct, frozen=True):
    pass


class _Lost(Exception):
    """The connection is of no more use; another one may be."""


Message = Frame | Snapshot | _Subscribed
"""What a stream says that matters here."""


def is_over(status: str) -> bool:
    return status in TERMINAL


# --- one order --------------------------------------------------------------------------------------------


async def watch_order(exchange: Exchange, order_id: str, after: int) -> AsyncGenerator[Frame, None]:
    """Every event with seq > `after`, until the order ends."""
    last, budget = after, exchange.budget()
    while True:
        try:
            async with _subscribed(exchange, order_id, last) as messages:
                async for message in messages:
                    budget.renew()
                    if isinstance(message, Snapshot) and message.seq <= last and is_over(message.order.status):
                        return
                    if not isinstance(message, Frame) or message.seq <= last:
                        continue
                    if message.seq > last + 1:
                        raise _Lost("an event was left out")
                    last = message.seq
                    yield message
                    if is_over(message.status):
                        return
        except _Lost as lost:
            if not await budget.pause():
                raise Unreachable(f"the stream of order {order_id} does not come back: {lost}") from lost


# --- all orders -------------------------------------------------------------------------------------------


async def watch_all(exchange: Exchange) -> AsyncGenerator[Frame, None]:
    """Every event of the account's orders from now on; each order's own are in order and without gap."""
    told: _Told | None = None
    budget = exchange.budget()
    while True:
        try:
            async with _subscribed(exchange, None, 0) as messages:
                unread = _unread(messages)
                try:
                    await anext(unread)  # only what is committed from here on is sure to arrive
                    if told is None:
                        told = _Told()
                        for order in await _survey(exchange, None):
                            told.note(order.id, order.seq, order.status)
                    else:
                        async for missed in _missed(exchange, told):
                            yield missed
                    async for message in unread:
                        budget.renew()
                        if isinstance(message, Frame):
                            for frame in await _up_to(exchange, told, message):
                                yield frame
                finally:
                    await unread.aclose()
        except _Lost as lost:
            if not await budget.pause():
                raise Unreachable(f"the stream does not come back: {lost}") from lost


class _Told:
    """The last seq that was told of every order that is not over, and of those that ended lately."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._ended: deque[str] = deque()
        self._open: set[str] = set()
        self._newest = ""

    def last(self, order_id: str) -> int | None:
        return self._last.get(order_id)

    def note(self, order_id: str, seq: int, status: str) -> None:
        self._last[order_id] = seq
        self._newest = max(self._newest, order_id)
        if not is_over(status):
            self._open.add(order_id)
            return
        self._open.discard(order_id)
        self._ended.append(order_id)
        while len(self._ended) > _ENDED_MAX:
            self._last.pop(self._ended.popleft(), None)

    def open_besides(self, orders: Iterable[OrderView]) -> set[str]:
        return self._open - {order.id for order in orders}

    def recent_from(self) -> int:
        """Whatever was accepted before this, in epoch milliseconds, and is not over, is known here."""
        return _accepted_at(self._newest) - _RECENT_MS if self._newest else 0


def _accepted_at(order_id: str) -> int:
    """An order's id begins with the time of its acceptance, 48 bits of milliseconds (UUID version 7)."""
    return int(order_id.replace("-", "")[:12], 16)


async def _survey(exchange: Exchange, recent_from: int | None) -> list[OrderView]:
    """All orders that are not over, and those that were accepted lately; the oldest first."""
    found: dict[str, OrderView] = {}
    async for order in pages(exchange, {"status": "all"}):
        if recent_from is None:
            recent_from = _accepted_at(order.id) - _RECENT_MS
        if _accepted_at(order.id) < recent_from:
            break
        found[order.id] = order
    async for order in pages(exchange, {"status": "open"}):
        found[order.id] = order
    return [found[order_id] for order_id in sorted(found)]


async def _missed(exchange: Exchange, told: _Told) -> AsyncGenerator[Frame, None]:
    """What happened while no connection told it."""
    orders = await _survey(exchange, told.recent_from())
    moved = [order.id for order in orders if order.seq > (told.last(order.id) or 0)]
    for order_id in sorted({*moved, *told.open_besides(orders)}):
        for frame in await _events(exchange, order_id, told.last(order_id) or 0):
            told.note(order_id, frame.seq, frame.status)
            yield frame


async def _up_to(exchange: Exchange, told: _Told, frame: Frame) -> list[Frame]:
    """The frame, and before it what was left out since the last one of its order; nothing if it was told already."""
    last = told.last(frame.order_id)
    if last is None:
        last = frame.seq - 1
    if frame.seq <= last:
        return []
    whole = [frame] if frame.seq == last + 1 else await _events(exchange, frame.order_id, last, frame.seq)
    told.note(frame.order_id, frame.seq, frame.status)
    return whole


async def _events(exchange: Exchange, order_id: str, after: int, until: int | None = None) -> list[Frame]:
    history = await exchange.get(f"/v1/orders/{order_id}/events", OrderEvents)
    return [frame for frame in history.data if frame.seq > after and (until is None or frame.seq <= until)]


async def pages(exchange: Exchange, query: dict[str, str]) -> AsyncIterator[OrderView]:
    """The orders of every page, the newest first."""
    while True:
        page = await exchange.get("/v1/orders", OrderPage, query)
        for order in page.data:
            yield order
        if page.next_cursor is None:
            return
        query = {**query, "cursor": page.next_cursor}


# --- one connection ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _subscribed(exchange: Exchange, order_id: str | None, after: int) -> AsyncIterator[AsyncIterator[Message]]:
    """A connection that follows one order, or all. Raises ApiError for a refusal, _Lost for what may pass."""
    try:
        async with asyncio.timeout(_CONNECT_S):
            socket = await exchange.session.ws_connect(exchange.at("/v1/stream"))
    except aiohttp.WSServerHandshakeError as error:
        problem = foreign_problem(error.status, f"the stream was refused with status {error.status}")
        if problem.retryable:
            raise _Lost(problem.detail) from error
        raise api_error(problem) from error
    except (TimeoutError, aiohttp.ClientError) as error:
        raise _Lost(str(error) or "no answer in time") from error
    try:
        try:
            await socket.send_json({"type": "subscribe", "reqId": 1, "orderId": order_id, "fromSeq": after})
        except (ConnectionError, aiohttp.ClientError) as error:
            raise _Lost("the connection ended") from error
        yield _messages(socket)
    finally:
        await socket.close()


async def _messages(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Message]:
    while True:
        try:
            heard = await socket.receive(timeout=_SILENCE_S)
        except TimeoutError:
            raise _Lost("nothing was heard") from None
        if heard.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            status = _REFUSALS.get(socket.close_code or 0)
            if status is not None:
                raise api_error(foreign_problem(status, f"the stream was refused with code {socket.close_code}"))
            raise _Lost(f"the connection ended (code {socket.close_code})")
        message = _read(heard.data.encode() if isinstance(heard.data, str) else heard.data)
        if message is not None:
            yield message


def _read(data: bytes) -> Message | None:
    """None for what only keeps the connection alive, and for kinds that a newer engine may have."""
    match decoded(data, _Kind).type:
        case "event":
            return decoded(data, Frame)
        case "snapshot":
            return decoded(data, Snapshot)
        case "subscribed":
            return _Subscribed()
        case "error":
            problem = decoded(data, _Failure).problem
            raise _Lost(problem.detail) if problem.retryable else api_error(problem)
        case _:
            return None


async def _unread(messages: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
    """The messages, taken from the connection also while nobody asks: the engine does not wait for a reader."""
    arrived: asyncio.Queue[Message | Exception] = asyncio.Queue(_UNREAD_MAX)

    async def take() -> None:
        try:
            async for message in messages:
                await arrived.put(message)
        except (_Lost, ClientError) as error:
            await arrived.put(error)

    taking = asyncio.create_task(take())
    try:
        while True:
            message = await arrived.get()
            if isinstance(message, Exception):
                raise message
            yield message
    finally:
        taking.cancel()
        await asyncio.wait([taking])
