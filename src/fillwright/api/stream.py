"""`/v1/stream`: many orders over one socket, and orders sent through it.

Decides: what each client message does and how it is answered. Must never: end a conversation over one bad message.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
from aiohttp import web

from fillwright.api.access import Caller, Cost, caller_of
from fillwright.api.edge import order_id_of
from fillwright.api.feed import Feeds
from fillwright.api.orders import submit
from fillwright.api.sockets import Socket, Sockets, error_frame
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.units import OrderId
from fillwright.wire.reading import Fields, Number, read_object
from fillwright.wire.requests import parse_order
from fillwright.wire.resources import OrderView, order_view

HEARTBEAT_S: Final = 15.0
SUBSCRIPTIONS_MAX: Final = 1_000
_SEQ_MAX: Final = 2**31
_ID_MAX: Final = 64
_KEY_MAX: Final = 255
ReqId = int | str | None
_encode: Final = msgspec.json.Encoder().encode


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="subscribed"):
    req_id: ReqId
    order_id: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="snapshot"):
    """The order as it is; the events that made it follow from the seq that was asked for."""

    order_id: str
    seq: int
    order: OrderView


class Ack(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="ack", omit_defaults=True):
    req_id: ReqId
    order_id: str | None = None
    replayed: bool = False
    order: OrderView | None = None


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    timestamp: int


class Stream:
    """The handler of one engine."""

    def __init__(self, engine: Engine, sockets: Sockets) -> None:
        self._engine = engine
        self._sockets = sockets
        self._feeds = Feeds(engine)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/stream", self.converse)]

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        caller = caller_of(request)

        def begin(socket: Socket) -> Callable[[bytes], Awaitable[None]]:
            return Conversation(self._engine, self._feeds, caller, socket).hear

        beat = (HEARTBEAT_S, lambda: _encode(Heartbeat(self._engine.clock.now())))
        return await self._sockets.converse(request, begin, beat)


class Conversation:
    """One client's messages, answered in their order."""

    def __init__(self, engine: Engine, feeds: Feeds, caller: Caller, socket: Socket) -> None:
        self._engine = engine
        self._feeds = feeds
        self._caller = caller
        self._account = caller.account
        self._socket = socket
        self._following: dict[OrderId, asyncio.Task[None]] = {}

    async def hear(self, data: bytes) -> None:
        """Raises only what a message that cannot be read deserves; the socket tells it and goes on."""
        message = read_object(data)
        told = message.get("reqId")
        req_id = _req_id(told if isinstance(told, str) else None)
        fields = Fields(message)
        try:
            await self._answer(fields, req_id)
        except FillwrightError as error:
            order_id = message.get("orderId")
            named = order_id if type(order_id) is str and len(order_id) <= _ID_MAX else None
            await self._socket.put(error_frame(error, order_id=named, req_id=req_id))

    async def _answer(self, fields: Fields, req_id: ReqId) -> None:
        fields.skip("reqId")
        match fields.text("type", _ID_MAX):
            case "subscribe":
                await self._subscribe(fields, req_id)
            case "unsubscribe":
                await self._unsubscribe(fields, req_id)
            case "submit":
                await self._submit(fields, req_id)
            case "cancel":
                await self._cancel(fields, req_id)
            case "ping":
                fields.finish()
                await self._ack(Ack(req_id=req_id))
            case _:
                why = "must be subscribe, unsubscribe, submit, cancel or ping"
                raise FillwrightError(Code.VALIDATION_FAILED, why, pointer="/type")

    async def _subscribe(self, fields: Fields, req_id: ReqId) -> None:
        order_id = _order_id(fields)
        after = fields.whole("fromSeq", least=0, most=_SEQ_MAX) or 0
        fields.finish()
        self._forget(order_id)
        if len(self._following) >= SUBSCRIPTIONS_MAX:
            why = f"a socket follows at most {SUBSCRIPTIONS_MAX} orders; use another one"
            raise FillwrightError(Code.REQUEST_RATE_LIMITED, why)
        if order_id is None:
            welcome = _encode(Subscribed(req_id=req_id, order_id=None))
            await self._feeds.join(self._account, self._socket, welcome)
            return
        order = await self._engine.get(self._account, order_id)
        await self._socket.put(_encode(Subscribed(req_id=req_id, order_id=order_id)))
        await self._socket.put(_encode(Snapshot(order_id=order_id, seq=order.seq, order=order_view(order))))
        events = self._engine.watch(self._account, order_id, after)
        self._follow(order_id, self._socket.follow(events))

    async def _unsubscribe(self, fields: Fields, req_id: ReqId) -> None:
        order_id = _order_id(fields)
        fields.finish()
        self._forget(order_id)
        await self._ack(Ack(req_id=req_id, order_id=order_id))

    async def _submit(self, fields: Fields, req_id: ReqId) -> None:
        key = fields.text("idempotencyKey", _KEY_MAX)
        members = fields.members("order")
        fields.finish()
        self._caller.trade(Cost.REQUESTS)
        asked = parse_order(members, self._engine.tokens, self._engine.venues, at="/order")
        stored = await submit(self._engine, asked, self._caller, idempotency_key=key)
        order = stored.order
        view = order_view(order)
        await self._ack(Ack(req_id=req_id, order_id=order.id, replayed=not stored.is_new, order=view))

    async def _cancel(self, fields: Fields, req_id: ReqId) -> None:
        order_id = _order_id(fields)
        fields.finish()
        if order_id is None:
            raise FillwrightError(Code.VALIDATION_FAILED, "is required", pointer="/orderId")
        self._caller.trade(Cost.CANCELS)
        order = await self._engine.cancel(self._account, order_id)
        await self._ack(Ack(req_id=req_id, order_id=order.id, order=order_view(order)))

    async def _ack(self, ack: Ack) -> None:
        await self._socket.put(_encode(ack))

    def _follow(self, order_id: OrderId, work: Coroutine[Any, Any, None]) -> None:
        task = self._socket.start(work)
        self._following[order_id] = task
        task.add_done_callback(lambda done: self._ended(order_id, done))

    def _ended(self, order_id: OrderId, task: asyncio.Task[None]) -> None:
        if self._following.get(order_id) is task:
            del self._following[order_id]

    def _forget(self, order_id: OrderId | None) -> None:
        if order_id is None:
            self._feeds.leave(self._account, self._socket)
            return
        following = self._following.pop(order_id, None)
        if following is not None:
            following.cancel()


def _order_id(fields: Fields) -> OrderId | None:
    text = fields.text("orderId", _ID_MAX)
    return None if text is None else order_id_of(text)


def _req_id(told: str | None) -> ReqId:
    """The client's own number or name for a message, to be told again in its answer."""
    if told is None or len(told) > _ID_MAX:
        return None
    if isinstance(told, Number):
        return int(told) if told.isdigit() and len(told) < 16 else None
    return told
