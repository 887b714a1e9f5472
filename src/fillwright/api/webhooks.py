"""The calls of `/v1/webhooks`.

Decides: their bodies and answers. Must never: show a secret but in the answer that makes it.
"""

import re
from typing import Final, Literal

import msgspec
from aiohttp import web

from fillwright.api.edge import account_of, idempotency_key_of, json_response, members_of, order_id_of
from fillwright.api.listing import known_only, limit_asked
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.order import Event, Status
from fillwright.subscribers import Change, Subscribers, Wish
from fillwright.units import Millis, OrderId
from fillwright.webhooks import DESCRIPTION_MAX, URL_MAX, Delivery, Webhook, WebhookId
from fillwright.wire import parse_time, rfc3339
from fillwright.wire.frames import Frame
from fillwright.wire.reading import Fields

EVENTS: Final = frozenset(Status) | {str(event.__struct_config__.tag) for event in Event.__args__}
"""What a webhook may ask for."""
_EVENTS_MAX: Final = 32
_WORD_MAX: Final = 32
_ID: Final = re.compile(r"wh_[0-9a-f]{24}", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_encode: Final = msgspec.json.Encoder().encode


class WebhookView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """`events` empty: all. `disabledReason`: asked, gone (its receiver answered 410) or failing (for five days)."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_reason: str | None = None
    failing_since: str | None = None
    created_at: str
    previous_secrets_until: list[str] = []
    """Until when secrets that were replaced go on signing."""


class WebhookSecretView(WebhookView, frozen=True, kw_only=True):
    """With the secret that signs, which is shown here only."""

    secret: str


class WebhookList(msgspec.Struct, frozen=True):
    data: list[WebhookView]


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One message and what became of it. `state`: waiting, delivered or failed."""

    message_id: str
    type: str
    order_id: str | None = None
    seq: int | None = None
    state: str
    tries: int
    answer: int | None = None
    """HTTP status of the last try."""
    error: str | None = None
    """Why the last try had none."""
    created_at: str
    tried_at: str | None = None
    next_try_at: str | None = None


class DeliveryPage(msgspec.Struct, frozen=True, rename="camel"):
    data: list[DeliveryView]
    next_cursor: str | None
    has_more: bool


class MessageView(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str


class ReplayView(msgspec.Struct, frozen=True, rename="camel"):
    """`messages`: how many are sent again; null while they are still being read from the log."""

    webhook_id: str
    messages: int | None


class OrderMessage(msgspec.Struct, frozen=True):
    """What a webhook is sent of an event. `type`: order. and the order's status after it."""

    type: str
    timestamp: str
    data: Frame


class PingMessage(msgspec.Struct, frozen=True):
    type: Literal["ping"]
    timestamp: str
    data: dict[str, str]


class Webhooks:
    """Handlers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._subscribers: Subscribers = engine.subscribers

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/webhooks", self.add),
            web.get("/v1/webhooks", self.all),
            web.get("/v1/webhooks/{id}", self.get),
            web.patch("/v1/webhooks/{id}", self.change),
            web.delete("/v1/webhooks/{id}", self.remove),
            web.post("/v1/webhooks/{id}/secret", self.rotate),
            web.post("/v1/webhooks/{id}/test", self.test),
            web.post("/v1/webhooks/{id}/replay", self.replay),
            web.get("/v1/webhooks/{id}/deliveries", self.deliveries),
        ]

    async def add(self, request: web.Request) -> web.Response:
        fields = Fields(await members_of(request))
        url, events, description = _read(fields)
        if url is None and not fields.problems:
            fields.blame("url", "is required")
        fields.finish()
        wish = Wish(url=url or "", events=events or frozenset(), description=description or "")
        webhook, is_new = await self._subscribers.add(account_of(request), wish, idempotency_key_of(request))
        response = json_response(_encode(_secret_view(webhook)), 201 if is_new else 200)
        response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
        response.headers["Cache-Control"] = "no-store"
        if not is_new:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    async def all(self, request: web.Request) -> web.Response:
        known_only(request.query, frozenset())
        webhooks = await self._subscribers.all(account_of(request))
        return json_response(_encode(WebhookList([_view(webhook) for webhook in webhooks])))

    async def get(self, request: web.Request) -> web.Response:
        return json_response(_encode(_view(await self._subscribers.get(account_of(request), _id_in(request)))))

    async def change(self, request: web.Request) -> web.Response:
        fields = Fields(await members_of(request))
        url, events, description = _read(fields)
        enabled = fields.flag("enabled")
        fields.finish()
        asked = Change(url=url, events=events, description=description, enabled=enabled)
        webhook = await self._subscribers.change(account_of(request), _id_in(request), asked)
        return json_response(_encode(_view(webhook)))

    async def remove(self, request: web.Request) -> web.Response:
        await self._subscribers.remove(account_of(request), _id_in(request))
        return web.Response(status=204)

    async def rotate(self, request: web.Request) -> web.Response:
        webhook = await self._subscribers.rotate(account_of(request), _id_in(request))
        response = json_response(_encode(_secret_view(webhook)))
        response.headers["Cache-Control"] = "no-store"
        return response

    async def test(self, request: web.Request) -> web.Response:
        message_id = await self._subscribers.ping(account_of(request), _id_in(request))
        return json_response(_encode(MessageView(message_id)), 202)

    async def replay(self, request: web.Request) -> web.Response:
        """Of one order, of all since a time, or of those that failed."""
        account, webhook_id = account_of(request), _id_in(request)
        order_id, since, failed = _replay_asked(Fields(await members_of(request)))
        messages: int | None = None
        if order_id is not None:
            messages = await self._subscribers.replay_order(account, webhook_id, order_id)
        elif since is not None:
            await self._subscribers.replay_since(account, webhook_id, since)
        elif failed:
            messages = await self._subscribers.replay_failed(account, webhook_id)
        return json_response(_encode(ReplayView(webhook_id, messages)), 202)

    async def deliveries(self, request: web.Request) -> web.Response:
        known_only(request.query, {"limit", "cursor"})
        limit, before = limit_asked(request.query), _cursor(request.query.get("cursor"))
        found = await self._subscribers.deliveries(account_of(request), _id_in(request), limit + 1, before)
        shown = found[:limit]
        more = len(found) > limit
        page = DeliveryPage([_delivery_view(each) for each in shown], str(shown[-1].number) if more else None, more)
        return json_response(_encode(page))


# --- what is asked ----------------------------------------------------------------------------------------


def _id_in(request: web.Request) -> WebhookId:
    text = request.match_info["id"]
    if not _ID.fullmatch(text):
        raise FillwrightError(Code.WEBHOOK_NOT_FOUND, "no such webhook")
    return WebhookId(text)


def _read(fields: Fields) -> tuple[str | None, frozenset[str] | None, str | None]:
    """URL, events and description, as far as they are told."""
    url = fields.text("url", URL_MAX)
    events = fields.texts("events", most=_EVENTS_MAX, longest=_WORD_MAX)
    if events is not None and not EVENTS.issuperset(events):
        fields.blame("events", f"may be of {', '.join(sorted(EVENTS))}")
    description = fields.text("description", DESCRIPTION_MAX)
    return url, None if events is None else frozenset(events), description


def _replay_asked(fields: Fields) -> tuple[OrderId | None, Millis | None, bool]:
    """One of the three."""
    order_id, since, failed = fields.text("orderId", 64), fields.text("since", 64), fields.flag("onlyFailed")
    if sum((order_id is not None, since is not None, failed is True)) != 1 and not fields.problems:
        fields.blame("since", "or orderId, or onlyFailed: true: exactly one of them is needed")
    fields.finish()
    return (
        None if order_id is None else order_id_of(order_id),
        None if since is None else parse_time(since, "since"),
        bool(failed),
    )


def _cursor(text: str | None) -> int | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise FillwrightError(Code.VALIDATION_FAILED, "cursor must be the nextCursor of an earlier answer")
    return int(text)


# --- what is shown ----------------------------------------------------------------------------------------


def _view(webhook: Webhook) -> WebhookView:
    return WebhookView(
        id=webhook.id,
        url=webhook.url,
        events=sorted(webhook.events),
        description=webhook.description,
        enabled=webhook.off is None,
        disabled_reason=webhook.off,
        failing_since=_text(webhook.failing_since),
        created_at=rfc3339(webhook.created_at),
        previous_secrets_until=[rfc3339(each.until) for each in webhook.secrets if each.until is not None],
    )


def _secret_view(webhook: Webhook) -> WebhookSecretView:
    return WebhookSecretView(**msgspec.structs.asdict(_view(webhook)), secret=webhook.secrets[0].text)


def _delivery_view(delivery: Delivery) -> DeliveryView:
    message = delivery.message
    return DeliveryView(
        message_id=message.id,
        type=message.type,
        order_id=message.order_id,
        seq=message.seq,
        state=delivery.state,
        tries=delivery.tries,
        answer=delivery.status,
        error=delivery.error,
        created_at=rfc3339(delivery.created_at),
        tried_at=_text(delivery.tried_at),
        next_try_at=_text(delivery.due_at),
    )


def _text(at: Millis | None) -> str | None:
    return None if at is None else rfc3339(at)
