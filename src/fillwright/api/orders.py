"""The canonical calls: `/v1/orders` and what belongs to one order, previews and quotes.

Decides: status codes and headers of their answers. Must never: answer an order before it is stored.
"""

from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.access import Caller, caller_of
from fillwright.api.edge import (
    account_of,
    idempotency_key_of,
    json_response,
    members_of,
    order_id_in,
    refuse,
)
from fillwright.api.listing import page_asked
from fillwright.engine import Engine, Submission
from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent, Order, Recorded, Route, Status
from fillwright.ports import Stored
from fillwright.routing import NoRoute
from fillwright.tokens import USDC
from fillwright.units import Price
from fillwright.wire import rfc3339
from fillwright.wire.explain import explain_view
from fillwright.wire.frames import Frame, frame_of
from fillwright.wire.reading import Fields
from fillwright.wire.requests import (
    CLIENT_ID_MAX,
    PAIR_MAX,
    Asked,
    fingerprint,
    pair_tokens,
    parse_amendment,
    parse_order,
)
from fillwright.wire.resources import (
    AttemptView,
    CancelView,
    FillView,
    OrderView,
    RouteView,
    SwitchView,
    attempt_views,
    cancel_view,
    fill_views,
    is_in_flight,
    last_routed,
    order_view,
    preview_view,
    route_view,
)

TIMEOUT_S_MAX: Final = 24 * 60 * 60
encode: Final = msgspec.json.Encoder().encode


class OrderPage(msgspec.Struct, frozen=True, rename="camel"):
    data: list[OrderView]
    next_cursor: str | None
    has_more: bool


class OrderEvents(msgspec.Struct, frozen=True, rename="camel"):
    order_id: str
    data: list[Frame]


class OrderAttempts(msgspec.Struct, frozen=True, rename="camel"):
    order_id: str
    data: list[AttemptView]


class OrderFills(msgspec.Struct, frozen=True, rename="camel"):
    order_id: str
    data: list[FillView]


class OrderRoute(msgspec.Struct, frozen=True, rename="camel"):
    order_id: str
    route: RouteView | None


class OrderCancels(msgspec.Struct, frozen=True):
    data: list[CancelView]


class Orders:
    """Handlers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/orders", self.submit),
            web.get("/v1/orders", self.page),
            web.post("/v1/orders/preview", self.preview),
            web.get("/v1/orders/by-client-id/{id:[^/]+}", self.by_client_id),
            web.post("/v1/orders/cancel-all", self.cancel_all),
            web.post("/v1/cancel-after", self.cancel_after),
            web.get("/v1/orders/{id}", self.get),
            web.patch("/v1/orders/{id}", self.amend),
            web.delete("/v1/orders/{id}", self.cancel),
            web.post("/v1/orders/{id}/cancel", self.cancel),
            web.get("/v1/orders/{id}/events", self.events),
            web.get("/v1/orders/{id}/attempts", self.attempts),
            web.get("/v1/orders/{id}/fills", self.fills),
            web.get("/v1/orders/{id}/route", self.route),
            web.get("/v1/orders/{id}/explain", self.explain),
            web.post("/v1/quotes", self.quote),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        try:
            stored = await submit(self._engine, asked, caller_of(request), idempotency_key=idempotency_key_of(request))
        except FillwrightError as error:
            return await self._refused(request, error, asked)
        response = json_response(encode(order_view(stored.order)), 201 if stored.is_new else 200)
        response.headers["Location"] = f"/v1/orders/{stored.order.id}"
        if not stored.is_new:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    async def preview(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        return json_response(encode(preview_view(asked.intent, await self._route(asked), self._engine.tokens.all)))

    async def quote(self, request: web.Request) -> web.Response:
        asked = await self._asked(request)
        return json_response(encode(route_view(asked.intent, await self._route(asked), self._engine.tokens.all)))

    async def get(self, request: web.Request) -> web.Response:
        return _shown(await self._engine.get(account_of(request), order_id_in(request)))

    async def by_client_id(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not (name.isascii() and name.isprintable() and len(name) <= CLIENT_ID_MAX):
            raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
        return _shown(await self._engine.get_by_client_id(account_of(request), name))

    async def page(self, request: web.Request) -> web.Response:
        asked = page_asked(request.query, account_of(request), self._engine.tokens)
        orders = await self._engine.page(msgspec.structs.replace(asked, limit=asked.limit + 1))
        shown = orders[: asked.limit]
        more = len(orders) > asked.limit
        cursor = shown[-1].id if more else None
        return json_response(encode(OrderPage([order_view(order) for order in shown], cursor, more)))

    async def amend(self, request: web.Request) -> web.Response:
        """Change an order that rests, if it still is the one that the caller saw."""
        order_id = order_id_in(request)
        seq = _seq_asked(request)
        order = await self._engine.get(account_of(request), order_id)
        intent = parse_amendment(await members_of(request), order.intent)
        caller = caller_of(request)
        caller.check(intent)
        if caller.has_worth_cap:
            await _check_worth(self._engine, caller, intent)
        try:
            amended = await self._engine.amend(account_of(request), order_id, intent, seq)
        except FillwrightError as error:
            return refuse(request, error, order_id)
        return _shown(amended)

    async def cancel(self, request: web.Request) -> web.Response:
        order_id = order_id_in(request)
        try:
            order = await self._engine.cancel(account_of(request), order_id)
        except FillwrightError as error:
            return refuse(request, error, order_id)
        return json_response(encode(order_view(order)), 202 if is_in_flight(order) else 200)

    async def cancel_all(self, request: web.Request) -> web.Response:
        """Of all, or of a pair. Whatever becomes of one order, the others are answered too."""
        fields = Fields(await members_of(request) if request.body_exists else {})
        pair = fields.text("pair", PAIR_MAX)
        tokens = None if pair is None else pair_tokens(fields, pair, self._engine.tokens)
        fields.finish()
        mints = None if tokens is None else frozenset(token.mint for token in tokens)
        withdrawals = await self._engine.cancel_all(account_of(request), mints)
        return json_response(encode(OrderCancels([cancel_view(each.order, each.problem) for each in withdrawals])))

    async def cancel_after(self, request: web.Request) -> web.Response:
        """The dead-man's switch."""
        fields = Fields(await members_of(request))
        seconds = fields.whole("timeoutSeconds", least=0, most=TIMEOUT_S_MAX)
        if seconds is None and not fields.problems:
            fields.blame("timeoutSeconds", "is required; 0 disarms")
        fields.finish()
        switch = await self._engine.cancel_after(account_of(request), seconds or 0)
        fires_at = None if switch is None else rfc3339(switch.fires_at)
        return json_response(encode(SwitchView(seconds or 0, fires_at)))

    async def explain(self, request: web.Request) -> web.Response:
        order = await self._engine.get(account_of(request), order_id_in(request))
        now, policy = self._engine.clock.now(), self._engine.policy
        pools = None if order.status is not Status.OPEN else await self._engine.candidates(order)
        return json_response(encode(explain_view(order, now, policy, await self._current_price(order), pools)))

    async def _current_price(self, order: Order) -> Price | None:
        """Of an order that waits for one."""
        if order.status is not Status.OPEN or order.is_waiting or order.intent.snipe is not None:
            return None
        route = await self._engine.quote(order.part)
        return None if isinstance(route, NoRoute) else order.intent.price(route.amount_in, route.amount_out)

    # --- folds over history -------------------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.Response:
        history = await self._history(request)
        order_id = history[0].order.id
        return json_response(encode(OrderEvents(order_id, [frame_of(recorded) for recorded in history])))

    async def attempts(self, request: web.Request) -> web.Response:
        history = await self._history(request)
        return json_response(encode(OrderAttempts(history[0].order.id, attempt_views(history))))

    async def fills(self, request: web.Request) -> web.Response:
        history = await self._history(request)
        return json_response(encode(OrderFills(history[0].order.id, fill_views(history))))

    async def route(self, request: web.Request) -> web.Response:
        history = await self._history(request)
        routed = last_routed(history)
        view = None if routed is None else route_view(*routed, self._engine.tokens.all)
        return json_response(encode(OrderRoute(history[-1].order.id, view)))

    # --- parts --------------------------------------------------------------------------------------------

    async def _asked(self, request: web.Request) -> Asked:
        return parse_order(await members_of(request), self._engine.tokens, self._engine.venues)

    async def _history(self, request: web.Request) -> list[Recorded]:
        return await self._engine.history(account_of(request), order_id_in(request))

    async def _route(self, asked: Asked) -> Route:
        if asked.intent.snipe is not None:
            raise FillwrightError(Code.ROUTE_NONE, "a sniper has no route before it has chosen a pool", pointer="/type")
        route = await self._engine.quote(asked.intent.opening)
        if isinstance(route, NoRoute):
            raise FillwrightError(route.problem.code, route.problem.detail)
        return route

    async def _refused(self, request: web.Request, error: FillwrightError, asked: Asked) -> web.Response:
        """The refusal of a client order id names the order that has it."""
        if error.code is not Code.ORDER_DUPLICATE_CLIENT_ID or asked.client_order_id is None:
            raise error
        existing = await self._engine.get_by_client_id(account_of(request), asked.client_order_id)
        return refuse(request, error, existing.id)


def _shown(order: Order) -> web.Response:
    """The order, and its seq as the tag by which `If-Match` can name this very state of it."""
    response = json_response(encode(order_view(order)))
    response.headers["ETag"] = f'"{order.seq}"'
    return response


def _seq_asked(request: web.Request) -> int:
    """Raises FillwrightError(VALIDATION_FAILED) unless `If-Match` has the form of an order's ETag."""
    tag = request.headers.get("If-Match", "").strip()
    digits = tag[1:-1]
    if not (tag.startswith('"') and tag.endswith('"') and digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise FillwrightError(
            Code.VALIDATION_FAILED, 'If-Match must be the ETag of the order that you saw, such as "4"'
        )
    return int(digits)


async def submit(engine: Engine, asked: Asked, caller: Caller, *, idempotency_key: str | None) -> Stored:
    """Accept an order, whichever door it came through, within the limits of its caller's key."""
    await check_limits(
        engine, caller, asked.intent, client_order_id=asked.client_order_id, idempotency_key=idempotency_key
    )
    return await engine.submit(
        Submission(
            account=caller.account,
            intent=asked.intent,
            fingerprint=fingerprint(asked),
            client_order_id=asked.client_order_id,
            idempotency_key=idempotency_key,
        )
    )


async def check_limits(
    engine: Engine, caller: Caller, intent: Intent, *, client_order_id: str | None, idempotency_key: str | None
) -> None:
    """Of the caller's key, for an order of these names. Raises as `_check_worth`."""
    caller.check(intent)
    if caller.has_worth_cap and not await engine.is_named(
        caller.account, client_order_id=client_order_id, idempotency_key=idempotency_key
    ):  # a repetition makes no new order, so that its answer must not depend on today's price
        await _check_worth(engine, caller, intent)


async def _check_worth(engine: Engine, caller: Caller, intent: Intent) -> None:
    """Raises FillwrightError: ACCESS_LIMIT, or ROUTE_UNAVAILABLE where a price may be known later."""
    try:
        worth = await engine.market.worth(intent)
    except FillwrightError as error:
        code = Code.ROUTE_UNAVAILABLE if error.problem.retryable else Code.ACCESS_LIMIT
        why = f"this key has a cap in {USDC}, and there is no price to judge the order by: {error}"
        raise FillwrightError(code, why, pointer="/amount") from None
    caller.check_worth(worth, engine.tokens.find(USDC))
