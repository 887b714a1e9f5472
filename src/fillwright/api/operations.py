"""Every address that is served: what it is for, what it takes, and every answer it may give.

Decides: what the documents say, in one table. Must never: serve anything; tests hold it to the routes that are served
and to what they answer.
"""

from typing import Final, TypeAlias

import msgspec

from fillwright.api.legacy import Executed, OrderList
from fillwright.api.listing import LIMIT_DEFAULT, LIMIT_MAX
from fillwright.api.markets import PoolList, VenueList
from fillwright.api.orders import (
    OrderAttempts,
    OrderCancels,
    OrderEvents,
    OrderFills,
    OrderPage,
    OrderRoute,
)
from fillwright.api.pages import ProblemKind
from fillwright.api.probes import Alive, Health
from fillwright.api.shapes import (
    AmendRequest,
    BracketRequest,
    Cancel,
    CancelAfterRequest,
    CancelAllRequest,
    FaultsRequest,
    Follow,
    LegacyRequest,
    OrderRequest,
    Ping,
    ReplayRequest,
    ResolveRequest,
    Submit,
    Subscribe,
    Unsubscribe,
    WebhookChange,
    WebhookRequest,
)
from fillwright.api.sockets import ErrorFrame, ShutdownFrame
from fillwright.api.status import EngineStatus
from fillwright.api.stream import Ack, Heartbeat, Snapshot, Subscribed
from fillwright.api.tickets import TicketView
from fillwright.api.webhooks import (
    DeliveryPage,
    MessageView,
    ReplayView,
    WebhookList,
    WebhookSecretView,
    WebhookView,
)
from fillwright.dialects import QuotesFrame, SpokenFrame
from fillwright.errors import Code
from fillwright.lab import Audit, FaultPlan, Killed
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame
from fillwright.wire.resources import BracketView, OrderView, PreviewView, RouteView, SwitchView

JSON: Final = "application/json"
HTML: Final = "text/html"
Form: TypeAlias = type | str | None
"""A body: a struct as JSON, a media type, or nothing."""


class Param(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    place: str = "query"
    what: str
    schema: dict[str, object] = msgspec.field(default_factory=lambda: {"type": "string"})
    required: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    what: str
    forms: tuple[Form, ...]
    headers: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()
    """Operations that take the `id` of this answer."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`problems`: the codes it may answer with, beside those that any operation may."""

    method: str
    path: str
    id: str
    group: str
    summary: str
    params: tuple[Param, ...] = ()
    takes: type | None = None
    body_required: bool = True
    answers: tuple[Answer, ...]
    problems: tuple[Code, ...] = ()


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A WebSocket address. `tells`: messages of the server, `hears`: of the client."""

    path: str
    id: str
    what: str
    tells: tuple[type, ...]
    hears: tuple[type, ...] = ()


# --- problems that come together --------------------------------------------------------------------------

ANY: Final = (Code.REQUEST_MALFORMED, Code.ENGINE_INTERNAL)
GUARDED: Final = (
    Code.ACCESS_UNAUTHENTICATED,
    Code.ACCESS_SCOPE,
    Code.REQUEST_HOST_REFUSED,
    Code.REQUEST_RATE_LIMITED,
    Code.STORE_UNAVAILABLE,
)
"""Of any address that is not open to everybody."""
_STORE: Final = (Code.STORE_UNAVAILABLE,)
_FILTER: Final = (
    Code.VALIDATION_FAILED,
    Code.VALIDATION_UNKNOWN_FIELD,
    Code.VALIDATION_CONTRADICTION,
    Code.TOKEN_UNKNOWN,
    Code.TOKEN_SAME,
)
_UNFILTERED: Final = (Code.VALIDATION_UNKNOWN_FIELD, Code.VALIDATION_CONTRADICTION)
_CHANGE: Final = (Code.REQUEST_ORIGIN_REFUSED,)
_BODY: Final = (
    *_CHANGE,
    Code.REQUEST_TOO_LARGE,
    Code.REQUEST_UNSUPPORTED_MEDIA,
    Code.VALIDATION_FAILED,
    Code.VALIDATION_UNKNOWN_FIELD,
    Code.TOKEN_UNKNOWN,
    Code.TOKEN_SAME,
)
_ORDER: Final = (*_BODY, Code.VALIDATION_AMOUNT, Code.VALIDATION_PRICE, Code.VALIDATION_CONTRADICTION)
_ACCEPT: Final = (
    *_ORDER,
    *_STORE,
    Code.ACCESS_LIMIT,
    Code.ROUTE_UNAVAILABLE,
    Code.ORDER_DUPLICATE_CLIENT_ID,
    Code.IDEMPOTENCY_KEY_REUSED,
    Code.ENGINE_DRAINING,
    Code.ENGINE_OVERLOADED,
)
_ROUTE: Final = (
    *_ORDER,
    Code.ROUTE_NONE,
    Code.ROUTE_UNAVAILABLE,
    Code.ROUTE_PRICE_IMPACT,
    Code.POOL_REFUSED,
    Code.POOL_LIQUIDITY,
)
_ONE: Final = (*_STORE, Code.ORDER_NOT_FOUND)
_HOOK: Final = (*_STORE, Code.WEBHOOK_NOT_FOUND)
_HOOK_BODY: Final = (
    *_CHANGE,
    Code.REQUEST_TOO_LARGE,
    Code.REQUEST_UNSUPPORTED_MEDIA,
    Code.VALIDATION_FAILED,
    Code.VALIDATION_UNKNOWN_FIELD,
)

# --- parameters -------------------------------------------------------------------------------------------

_ID: Final = Param(name="id", place="path", what="The order's id.", required=True)
_HOOK_ID: Final = Param(name="id", place="path", what="The webhook's id.", required=True)
_PAIR: Final = Param(name="pair", what="BASE/QUOTE, in either order of trade.")
_VENUE: Final = Param(name="venue", what="Only this venue.")
_AFTER: Final = Param(
    name="after", what="The seq of the last frame that was seen.", schema={"type": "string", "pattern": "^[0-9]{1,9}$"}
)
_IF_MATCH: Final = Param(
    name="If-Match",
    place="header",
    what="The ETag of the order as you saw it: its seq, in quotes.",
    schema={"type": "string", "pattern": '^"[0-9]{1,9}"$'},
    required=True,
)
_KEY: Final = Param(
    name="Idempotency-Key",
    place="header",
    what="Names the request for ever: a repetition answers with the same order.",
    schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
)
_TIME: Final[dict[str, object]] = {"type": "string"}
_PLACE: Final[dict[str, object]] = {"type": "string", "pattern": "^(0|[0-9]{1,18}-[0-9]{1,18})$"}
_LISTING: Final = (
    Param(name="status", what="open (not ended), resting (status open), closed, all, or one status."),
    _PAIR,
    Param(name="side", what="buy or sell."),
    Param(name="since", what="Accepted at or after: RFC 3339 or epoch milliseconds.", schema=_TIME),
    Param(name="until", what="Accepted before.", schema=_TIME),
    Param(
        name="limit",
        what="Orders in one answer.",
        schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    Param(name="cursor", what="The nextCursor of the answer before."),
)


def _ok(form: Form, what: str = "It is so.") -> tuple[Answer, ...]:
    return (Answer(status=200, what=what, forms=(form,)),)


def _get(path: str, name: str, group: str, summary: str, form: Form, *codes: Code, params: tuple[Param, ...] = ()) -> Operation:  # fmt: skip  # noqa: E501
    return Operation(
        method="get", path=path, id=name, group=group, summary=summary, params=params, answers=_ok(form), problems=codes
    )


def _of_order(name: str, summary: str, form: Form) -> Operation:
    return _get(f"/v1/orders/{{id}}/{name}", f"{name}OfOrder", "orders", summary, form, *_ONE, params=(_ID,))


def _cancel(method: str, path: str, name: str) -> Operation:
    return Operation(
        method=method,
        path=path,
        id=name,
        group="orders",
        summary="Cancel an order: now, or once its live transaction is proven over",
        params=(_ID,),
        answers=(
            Answer(status=200, what="Canceled.", forms=(OrderView,)),
            Answer(status=202, what="In flight; the chain decides (`outcomeKnownBy`).", forms=(OrderView,)),
        ),
        problems=(*_ONE, *_CHANGE, Code.CANCEL_TOO_LATE),
    )


def _of_hook(
    method: str,
    name: str,
    operation: str,
    summary: str,
    answer: Answer,
    *codes: Code,
    takes: type | None = None,
    params: tuple[Param, ...] = (),
) -> Operation:
    return Operation(
        method=method,
        path=f"/v1/webhooks/{{id}}{name}",
        id=operation,
        group="webhooks",
        summary=summary,
        params=(_HOOK_ID, *params),
        takes=takes,
        answers=(answer,),
        problems=(*_HOOK, *codes),
    )


_OF_NEW: Final = (
    "getOrder",
    "cancelOrder",
    *(f"{name}OfOrder" for name in ("events", "attempts", "fills", "route", "explain")),
)
_PLACED: Final = ("Location", "Idempotent-Replayed")
_LEGACY: Final = "older clients"
_PROBES: Final = "operation"
_LAB: Final = "fault lab"
_NO_LAB: Final = (Code.REQUEST_NOT_FOUND,)

OPERATIONS: Final = (
    Operation(
        method="post",
        path="/v1/orders",
        id="submitOrder",
        group="orders",
        summary="Accept an order durably; a worker executes it",
        params=(_KEY,),
        takes=OrderRequest,
        answers=(
            Answer(status=201, what="Accepted.", forms=(OrderView,), headers=("Location",), leads_to=_OF_NEW),
            Answer(status=200, what="Accepted earlier, by the same request.", forms=(OrderView,), headers=_PLACED),
        ),
        problems=_ACCEPT,
    ),
    Operation(
        method="post",
        path="/v1/brackets",
        id="submitBracket",
        group="orders",
        summary="Accept an entry with its exits, or two orders of which at most one swaps: all or none",
        params=(_KEY,),
        takes=BracketRequest,
        answers=(
            Answer(status=201, what="Accepted.", forms=(BracketView,), headers=("Location",)),
            Answer(status=200, what="Accepted earlier, by the same request.", forms=(BracketView,), headers=_PLACED),
        ),
        problems=_ACCEPT,
    ),
    _get("/v1/orders", "listOrders", "orders", "Orders, newest first", OrderPage, *_STORE, *_FILTER, params=_LISTING),
    Operation(
        method="post",
        path="/v1/orders/preview",
        id="previewOrder",
        group="orders",
        summary="What would happen now; nothing is stored",
        takes=OrderRequest,
        answers=_ok(PreviewView),
        problems=_ROUTE,
    ),
    Operation(
        method="post",
        path="/v1/orders/cancel-all",
        id="cancelAllOrders",
        group="orders",
        summary="Cancel every open order, or those of a pair; each has its own outcome",
        takes=CancelAllRequest,
        body_required=False,
        answers=_ok(OrderCancels),
        problems=(*_BODY, *_STORE),
    ),
    Operation(
        method="post",
        path="/v1/cancel-after",
        id="cancelAfter",
        group="orders",
        summary="Dead-man's switch: cancel all orders unless this is called again in time",
        takes=CancelAfterRequest,
        answers=_ok(SwitchView, "Stored: it fires whatever becomes of this process."),
        problems=(*_BODY, *_STORE),
    ),
    _get("/v1/orders/{id}", "getOrder", "orders", "One order", OrderView, *_ONE, params=(_ID,)),
    Operation(
        method="patch",
        path="/v1/orders/{id}",
        id="amendOrder",
        group="orders",
        summary="Change an order that rests; null removes a member",
        params=(_ID, _IF_MATCH),
        takes=AmendRequest,
        answers=(Answer(status=200, what="Changed.", forms=(OrderView,), headers=("ETag",)),),
        problems=(
            *_ONE,
            *_BODY,
            Code.VALIDATION_AMOUNT,
            Code.VALIDATION_PRICE,
            Code.VALIDATION_CONTRADICTION,
            Code.ACCESS_LIMIT,
            Code.ROUTE_UNAVAILABLE,
            Code.ORDER_NOT_OPEN,
            Code.ORDER_CHANGED,
        ),
    ),
    Operation(
        method="post",
        path="/v1/orders/{id}/resolve",
        id="resolveOrder",
        group="orders",
        summary="Say what became of a transaction of which the chain has long given no proof",
        params=(_ID,),
        takes=ResolveRequest,
        answers=_ok(OrderView, "Recorded, with your name and your evidence."),
        problems=(
            *_ONE,
            *_BODY,
            Code.VALIDATION_AMOUNT,
            Code.VALIDATION_CONTRADICTION,
            Code.ORDER_NOT_IN_DOUBT,
            Code.ORDER_CHANGED,
        ),
    ),
    _cancel("delete", "/v1/orders/{id}", "deleteOrder"),
    _cancel("post", "/v1/orders/{id}/cancel", "cancelOrder"),
    _get(
        "/v1/orders/by-client-id/{id}",
        "getOrderByClientId",
        "orders",
        "One order, by the client's name for it",
        OrderView,
        *_ONE,
        params=(Param(name="id", place="path", what="The clientOrderId.", required=True),),
    ),
    _of_order("events", "Its history, as streams show it", OrderEvents),
    _of_order("attempts", "Its transactions, each with signature, expiry and proof", OrderAttempts),
    _of_order("fills", "What the chain swapped", OrderFills),
    _of_order("route", "The route, with every quote compared and why the winner won", OrderRoute),
    _of_order("explain", "What it waits for, what comes next and when, the last problem in plain words", ExplainView),
    Operation(
        method="post",
        path="/v1/quotes",
        id="quote",
        group="market",
        summary="The best route for a swap now",
        takes=OrderRequest,
        answers=_ok(RouteView),
        problems=_ROUTE,
    ),
    _get(
        "/v1/events",
        "streamEvents",
        "orders",
        "All events as server-sent events, from now on or after one that was seen; data is a frame of `/v1/stream`",
        "text/event-stream",
        *_STORE,
        Code.VALIDATION_UNKNOWN_FIELD,
        Code.VALIDATION_CONTRADICTION,
        params=(
            Param(
                name="sinceId", what="The id of the last event that was seen; 0: from the very first.", schema=_PLACE
            ),
            Param(name="Last-Event-ID", place="header", what="The same, as browsers resume.", schema=_PLACE),
        ),
    ),
    Operation(
        method="post",
        path="/v1/webhooks",
        id="addWebhook",
        group="webhooks",
        summary="Be told events by signed messages (Standard Webhooks), from now on",
        params=(_KEY,),
        takes=WebhookRequest,
        answers=(
            Answer(
                status=201,
                what="Made. The secret is shown here only.",
                forms=(WebhookSecretView,),
                headers=("Location",),
                leads_to=("getWebhook", "changeWebhook", "removeWebhook"),
            ),
            Answer(status=200, what="Made earlier, by the same request.", forms=(WebhookSecretView,), headers=_PLACED),
        ),
        problems=(
            *_HOOK_BODY,
            *_STORE,
            Code.WEBHOOK_LIMIT,
            Code.WEBHOOK_URL_REFUSED,
            Code.IDEMPOTENCY_KEY_REUSED,
        ),
    ),
    _get("/v1/webhooks", "listWebhooks", "webhooks", "All of the account", WebhookList, *_STORE, *_UNFILTERED),
    _of_hook("get", "", "getWebhook", "One webhook", _ok(WebhookView)[0]),
    _of_hook(
        "patch",
        "",
        "changeWebhook",
        "Change, disable or enable it; one that is enabled again is told what happens from then on",
        _ok(WebhookView)[0],
        *_HOOK_BODY,
        Code.WEBHOOK_URL_REFUSED,
        Code.STORE_CONFLICT,
        takes=WebhookChange,
    ),
    _of_hook(
        "delete",
        "",
        "removeWebhook",
        "Remove it with its deliveries",
        Answer(status=204, what="It is gone.", forms=(None,)),
        *_CHANGE,
    ),
    _of_hook(
        "post",
        "/secret",
        "rotateWebhookSecret",
        "A new secret; the one before it signs beside it for 24 hours",
        Answer(status=200, what="The new one is shown here only.", forms=(WebhookSecretView,)),
        *_CHANGE,
        Code.STORE_CONFLICT,
    ),
    _of_hook(
        "post",
        "/test",
        "testWebhook",
        "Send it a ping",
        Answer(status=202, what="Its fate is among the deliveries.", forms=(MessageView,)),
        *_CHANGE,
        Code.WEBHOOK_DISABLED,
    ),
    _of_hook(
        "post",
        "/replay",
        "replayWebhook",
        "Send messages again, under the ids that they had: of an order, since a time, or those that failed",
        Answer(status=202, what="They are on their way.", forms=(ReplayView,)),
        *_HOOK_BODY,
        Code.WEBHOOK_DISABLED,
        Code.ORDER_NOT_FOUND,
        takes=ReplayRequest,
    ),
    _of_hook(
        "get",
        "/deliveries",
        "listDeliveries",
        "What was sent and what became of it, newest first",
        _ok(DeliveryPage)[0],
        *_UNFILTERED,
        Code.VALIDATION_FAILED,
        params=_LISTING[-2:],
    ),
    _get("/v1/pools", "listPools", "market", "Pools with state and age", PoolList, *_FILTER, params=(_PAIR, _VENUE)),
    Operation(
        method="post",
        path="/v1/stream-ticket",
        id="makeStreamTicket",
        group="orders",
        summary="A ticket for one upgrade (`?ticket=`): browsers cannot send a key with it",
        answers=(Answer(status=201, what="Good once, and not for long.", forms=(TicketView,)),),
        problems=(*_CHANGE, *_STORE),
    ),
    _get("/v1/status", "getStatus", "market", "Which chain this is, and whose wallet", EngineStatus, *_FILTER),
    _get("/v1/venues", "listVenues", "market", "Health of the venues", VenueList, *_FILTER),
    Operation(
        method="post",
        path="/api/orders/execute",
        id="executeOrder",
        group=_LEGACY,
        summary="An order in any of the five older shapes",
        params=(_KEY,),
        takes=LegacyRequest,
        answers=(
            Answer(status=201, what="Accepted.", forms=(Executed,)),
            Answer(status=200, what="Accepted, as this shape's clients expect; or earlier.", forms=(Executed,)),
        ),
        problems=(*_ACCEPT, Code.VALIDATION_AMBIGUOUS_SLIPPAGE),
    ),
    _get(
        "/api/orders/execute",
        "getExecutedOrder",
        _LEGACY,
        "One order; its frames where the client upgrades",
        OrderView,
        *_ONE,
        params=(Param(name="orderId", what="The order's id.", required=True), _AFTER),
    ),
    _get("/api/orders", "orderHistory", _LEGACY, "Orders, newest first", OrderList, *_STORE, *_FILTER, params=_LISTING),
    *(
        _get(
            f"{path}/{{id}}",
            name,
            _LEGACY,
            "One order; its frames where the client upgrades",
            OrderView,
            *_ONE,
            params=(_ID, _AFTER),
        )
        for path, name in (
            ("/api/orders", "getOrderOfOld"),
            ("/api/orders/status", "getOrderStatus"),
            ("/ws/orders", "getOrderOfSocket"),
        )
    ),
    _get("/livez", "livez", _PROBES, "Is the process alive", Alive),
    _get("/startupz", "startupz", _PROBES, "Has it started", Alive),
    *(
        Operation(
            method="get",
            path=path,
            id=name,
            group=_PROBES,
            summary="Can orders be accepted and executed",
            answers=(
                Answer(status=200, what="Yes.", forms=(Health,)),
                Answer(status=503, what="No, and why not.", forms=(Health,)),
            ),
        )
        for path, name in (("/readyz", "readyz"), ("/health", "health"), ("/api/health", "apiHealth"))
    ),
    _get("/v1/sim/faults", "getFaults", _LAB, "What goes wrong in the simulation now", FaultPlan, *_NO_LAB),
    Operation(
        method="put",
        path="/v1/sim/faults",
        id="setFaults",
        group=_LAB,
        summary="What goes wrong in the simulation from now on; what is absent does not",
        takes=FaultsRequest,
        answers=_ok(FaultPlan),
        problems=(*_BODY, *_NO_LAB),
    ),
    Operation(
        method="post",
        path="/v1/sim/workers/kill",
        id="killWorker",
        group=_LAB,
        summary="End the worker as kill -9 would; another one follows and takes its orders over",
        answers=_ok(Killed),
        problems=(*_CHANGE, *_NO_LAB, Code.ENGINE_DRAINING),
    ),
    _get(
        "/v1/sim/audit",
        "audit",
        _LAB,
        "The newest orders in the store's file against the chain's own ledger; every count must be 0",
        Audit,
        *_NO_LAB,
        *_STORE,
    ),
    _get("/metrics", "metrics", _PROBES, "Metrics for Prometheus", "text/plain"),
    Operation(
        method="get",
        path="/",
        id="front",
        group="pages",
        summary="The console for a browser, else a sign of life",
        answers=(Answer(status=200, what="Here it is.", forms=(dict[str, str], HTML)),),
    ),
    *(
        Operation(
            method="get",
            path=path,
            id=name,
            group="pages",
            summary="Leads to the console",
            answers=(Answer(status=302, what="It is at `/`.", forms=(None,), headers=("Location",)),),
        )
        for path, name in (("/test", "test"), ("/order-tester.html", "orderTester"))
    ),
    Operation(
        method="get",
        path="/problems/{code}",
        id="problem",
        group="pages",
        summary="What a problem's `type` leads to",
        params=(Param(name="code", place="path", what="The problem's code.", required=True),),
        answers=(Answer(status=200, what="What it means.", forms=(ProblemKind, HTML)),),
        problems=(Code.REQUEST_NOT_FOUND,),
    ),
    _get("/openapi.json", "openapi", "pages", "This interface, as OpenAPI 3.1", JSON),
    _get("/asyncapi.json", "asyncapi", "pages", "The WebSockets, as AsyncAPI 3.0", JSON),
    _get("/docs", "docs", "pages", "The documents for people", HTML),
)

_OF_ORDER: Final = "One order's frames from its first event (or `?after=seq`) to its end."
CHANNELS: Final = (
    Channel(
        path="/v1/stream",
        id="stream",
        what="Many orders over one socket, and orders sent through it. Messages are text of up to 4 KiB (1009), 20 a"
        " second (4029); binary ones end it (1003), and so do broken frames (1002) and text that is not UTF-8 (1007)."
        " 4001: the key is revoked; 4008: read too slowly, come back after the last seq; 1012: the engine stops.",
        tells=(Subscribed, Snapshot, Frame, Heartbeat, Ack, ErrorFrame, ShutdownFrame),
        hears=(Subscribe, Unsubscribe, Submit, Cancel, Ping),
    ),
    *(
        Channel(path=path, id=name, what=_OF_ORDER, tells=(Frame, ErrorFrame, ShutdownFrame))
        for path, name in (
            ("/ws/orders/{id}", "orderSocket"),
            ("/api/orders/execute", "executeSocket"),
            ("/api/orders/status/{id}", "statusSocket"),
            ("/api/orders/{id}", "oldOrderSocket"),
        )
    ),
    Channel(
        path="/api/orders/ws",
        id="orderingSocket",
        what="Every message is an order; its frames are the answer. `event` says what others call `status`.",
        tells=(SpokenFrame, QuotesFrame, ErrorFrame, ShutdownFrame),
        hears=(LegacyRequest,),
    ),
    Channel(
        path="/ws",
        id="followingSocket",
        what="The frames of every order that was subscribed to.",
        tells=(Frame, ErrorFrame, ShutdownFrame),
        hears=(Follow,),
    ),
)
