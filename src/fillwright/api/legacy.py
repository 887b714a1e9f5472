"""The addresses of the five older engines, for clients that are not to be changed.

Decides: the answers, frames and status codes they expect. Must never: decide about orders in a way of its own.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.access import Caller, Cost, caller_of
from fillwright.api.edge import account_of, idempotency_key_of, json_response, members_of, order_id_of
from fillwright.api.listing import page_asked
from fillwright.api.orders import submit
from fillwright.api.sockets import Socket, Sockets, Spelling, error_frame, plain
from fillwright.dialects import Dialect, spoken, translate
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.ports import Stored
from fillwright.units import OrderId
from fillwright.wire.reading import Fields, Members, read_object
from fillwright.wire.requests import parse_order
from fillwright.wire.resources import OrderView, order_view, ws_path

FOLLOWED_MAX: Final = 1_000
"""Orders that one shared socket follows at once."""
_AFTER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_ID_MAX: Final = 64
_encode: Final = msgspec.json.Encoder().encode


class Executed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The one answer to all dialects."""

    order_id: str
    status: str
    ws_url: str
    ws_upgrade: str
    message: str


class OrderList(msgspec.Struct, frozen=True):
    orders: list[OrderView]
    count: int


class Legacy:
    """Handlers of one engine."""

    def __init__(self, engine: Engine, sockets: Sockets) -> None:
        self._engine = engine
        self._sockets = sockets

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/orders/execute", self.execute),
            web.get("/api/orders/execute", self.order),
            web.get("/api/orders", self.history),
            web.get("/api/orders/ws", self.orders_by_socket),
            web.get("/api/orders/status/{id}", self.order),
            web.get("/api/orders/{id}", self.order),
            web.get("/ws/orders/{id}", self.order),
            web.get("/ws", self.subscriptions),
        ]

    # --- HTTP ---------------------------------------------------------------------------------------------

    async def execute(self, request: web.Request) -> web.Response:
        body = await members_of(request)
        stored, dialect = await self._submit(body, caller_of(request), idempotency_key_of(request))
        order = stored.order
        path = ws_path(order.id)
        scheme = "wss" if request.scheme == "https" else "ws"
        executed = Executed(
            order_id=order.id,
            status=order.status,
            ws_url=path,
            ws_upgrade=f"{scheme}://{request.host}{path}",
            message="Order accepted" if stored.is_new else "Order accepted earlier",
        )
        response = json_response(_encode(executed), dialect.status if stored.is_new else 200)
        if not stored.is_new:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    async def history(self, request: web.Request) -> web.Response:
        orders = await self._engine.page(page_asked(request.query, account_of(request), self._engine.tokens))
        return json_response(_encode(OrderList([order_view(order) for order in orders], len(orders))))

    async def order(self, request: web.Request) -> web.StreamResponse:
        """One order: its frames where the client upgrades, else as it is now. Unknown: 404, before any upgrade."""
        account = account_of(request)
        order_id = order_id_of(request.match_info.get("id") or request.query.get("orderId", ""))
        after = _after(request)
        order = await self._engine.get(account, order_id)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return json_response(_encode(order_view(order)))

        def begin(socket: Socket) -> Callable[[bytes], Awaitable[None]]:
            events = self._engine.watch(account, order_id, after)
            following = socket.start(socket.follow(events))
            following.add_done_callback(lambda _: socket.end())
            return _ignore

        return await self._sockets.converse(request, begin)

    # --- shared sockets -----------------------------------------------------------------------------------

    async def orders_by_socket(self, request: web.Request) -> web.StreamResponse:
        """Dialect C: every message is an order; its frames are the answer, beginning with `pending`."""
        caller = caller_of(request)

        def begin(socket: Socket) -> Callable[[bytes], Awaitable[None]]:
            following = Following(self._engine, caller.account, socket, spoken)

            async def hear(data: bytes) -> None:
                try:
                    following.make_room()
                    caller.trade(Cost.REQUESTS)
                    stored, _ = await self._submit(read_object(data), caller, None)
                except FillwrightError as error:
                    await socket.put(error_frame(error, event="error"))
                else:
                    following.follow(stored.order.id, 0)

            return hear

        return await self._sockets.converse(request, begin)

    async def subscriptions(self, request: web.Request) -> web.StreamResponse:
        """Dialect E: `{"type":"subscribe","orderId":"..."}` for every order to follow."""
        account = account_of(request)

        def begin(socket: Socket) -> Callable[[bytes], Awaitable[None]]:
            following = Following(self._engine, account, socket)

            async def hear(data: bytes) -> None:
                order_id: OrderId | None = None
                try:
                    order_id, after = _subscription(read_object(data))
                    following.make_room()
                    await self._engine.get(account, order_id)
                except FillwrightError as error:
                    await socket.put(error_frame(error, order_id=order_id))
                else:
                    following.follow(order_id, after)

            return hear

        return await self._sockets.converse(request, begin)

    async def _submit(self, body: Members, caller: Caller, key: str | None) -> tuple[Stored, Dialect]:
        translated = translate(body)
        try:
            asked = parse_order(translated.members, self._engine.tokens, self._engine.venues)
        except FillwrightError as error:
            raise translated.in_their_words(error) from None
        stored = await submit(self._engine, asked, caller, idempotency_key=key)
        return stored, translated.dialect


class Following:
    """The orders that a shared socket follows."""

    def __init__(self, engine: Engine, account: str, socket: Socket, spell: Spelling = plain) -> None:
        self._engine = engine
        self._account = account
        self._socket = socket
        self._spell = spell
        self._ids: set[OrderId] = set()

    def make_room(self) -> None:
        """Raises FillwrightError(REQUEST_RATE_LIMITED) when the socket follows all it may."""
        if len(self._ids) >= FOLLOWED_MAX:
            raise FillwrightError(Code.REQUEST_RATE_LIMITED, f"a socket follows at most {FOLLOWED_MAX} orders")

    def follow(self, order_id: OrderId, after: int) -> None:
        """Once; asking again while it is followed changes nothing."""
        if order_id in self._ids:
            return
        self._ids.add(order_id)
        events = self._engine.watch(self._account, order_id, after)
        task = self._socket.start(self._socket.follow(events, self._spell))
        task.add_done_callback(lambda _: self._ids.discard(order_id))


def _subscription(message: Members) -> tuple[OrderId, int]:
    fields = Fields(message)
    kind = fields.text("type", _ID_MAX)
    order_id = fields.text("orderId", _ID_MAX)
    after = fields.whole("fromSeq", least=0, most=2**31) or 0
    if kind != "subscribe":
        fields.blame("type", "must be subscribe")
    if order_id is None:
        fields.blame("orderId", "is required")
    fields.finish()
    return order_id_of(order_id or ""), after


def _after(request: web.Request) -> int:
    text = request.query.get("after", "0")
    if not _AFTER.fullmatch(text):
        raise FillwrightError(Code.REQUEST_MALFORMED, "after must be the seq of the last frame that was seen")
    return int(text)


async def _ignore(data: bytes) -> None:
    """A socket of one order has nothing to be told."""
