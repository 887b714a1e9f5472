"""What clients send, as a schema can say it: for the documents only.

Decides: the names, forms and limits that are shown. Must never: read a request. `wire.requests` and `dialects` do that,
by rules that no schema can say; a test holds the names here to theirs.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from fillwright.api.orders import TIMEOUT_S_MAX
from fillwright.api.resolving import EVIDENCE_MAX
from fillwright.api.webhooks import EVENTS
from fillwright.lab import DELAY_MS_MAX, LOST_PCT_MAX
from fillwright.order import Mode, OrderType, Side, TimeInForce
from fillwright.resolving import Outcome
from fillwright.schedule import JITTER_PCT_MAX, SLICES_MAX, SLICES_MIN
from fillwright.webhooks import DESCRIPTION_MAX, URL_MAX
from fillwright.wire.brackets import EXITS_MAX
from fillwright.wire.conditions import INTERVAL_S, TRAIL_BPS_MAX
from fillwright.wire.requests import CLIENT_ID_MAX, SLIPPAGE_BPS_MAX, TAG_MAX
from fillwright.wire.sniper import MAX_AGE_S_MAX

_ADDRESS: Final = "^[1-9A-HJ-NP-Za-km-z]{32,44}$"
_VISIBLE: Final = "^[!-~]([ -~]*[!-~])?$"


def _text(longest: int, what: str) -> Meta:
    return Meta(min_length=1, max_length=longest, pattern=_VISIBLE, description=what)


def _whole(least: int, most: int, what: str) -> Meta:
    """A number, or its decimal text."""
    form = {"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^(0|[1-9][0-9]{0,15})$"}
    return Meta(description=what, extra_json_schema=form)


def _decimal(description: str, example: str) -> Meta:
    """Exact decimal text, as units.parse_* read it; a JSON number is taken by its literal text."""
    schema = {"type": ["string", "number"], "pattern": r"^(0|[1-9]\d{0,18})(\.\d{1,18})?$", "exclusiveMinimum": 0}
    return Meta(description=description, examples=[example], extra_json_schema=schema)


_Amount = Annotated[Any, _decimal("Exact decimal text; a JSON number is taken by its literal text.", "1.5")]
_Price = Annotated[
    Any,
    _decimal("Quote per base, at most 12 significant digits. Judged by the quote for the order's own size.", "98.5"),
]
_TokenText = Annotated[str, Meta(min_length=1, max_length=64, description="Symbol or mint.", examples=["SOL"])]
_PairText = Annotated[str, _text(130, "BASE/QUOTE.")]


class _Sent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A member that is null counts as absent."""


class RoutingRequest(_Sent, frozen=True, kw_only=True):
    venues: Annotated[list[str], Meta(min_length=1, max_length=16)] | None = None
    max_legs: Annotated[Any, _whole(1, 8, "Swaps in the transaction.")] | None = None
    max_hops: Annotated[Any, _whole(1, 2, "Pools on one way.")] | None = None


class TriggerRequest(_Sent, frozen=True, kw_only=True):
    """`op` follows from type and side: it may be told, and must then be that one."""

    op: Literal["gte", "lte"] | None = None
    price: _Price


class TrailRequest(_Sent, frozen=True, kw_only=True):
    bps: Annotated[Any, _whole(1, TRAIL_BPS_MAX, "Behind the best price seen.")]


class ScheduleRequest(_Sent, frozen=True, kw_only=True):
    """Of a twap or dca: `amount` is the total, exact in."""

    slices: Annotated[Any, _whole(SLICES_MIN, SLICES_MAX, "Swaps to spread the amount over.")]
    interval_seconds: Annotated[Any, _whole(*INTERVAL_S, "Between two of them.")]
    jitter_pct: Annotated[Any, _whole(0, JITTER_PCT_MAX, "Of the interval, by which each may be moved.")] | None = None


class RequireRequest(_Sent, frozen=True, kw_only=True):
    """The first word of each is what holds unless another one is told."""

    mint_authority: Literal["revoked", "any"] | None = None
    freeze_authority: Literal["none", "any"] | None = None
    liquidity: Literal["locked", "burned", "any"] | None = None
    extensions: Literal["none", "any"] | None = None
    sellable: Annotated[bool, Meta(description="true unless told otherwise.")] | None = None


class SniperRequest(_Sent, frozen=True, kw_only=True):
    """With neither `mint` nor `creator`: any new pool against `tokenIn`."""

    mint: Annotated[str, Meta(pattern=_ADDRESS)] | None = None
    creator: Annotated[str, Meta(pattern=_ADDRESS)] | None = None
    venues: Annotated[list[str], Meta(min_length=1, max_length=16)] | None = None
    min_liquidity: Annotated[_Amount, Meta(description="Of `tokenIn`, in the pool.")] | None = None
    max_age_seconds: Annotated[Any, _whole(1, MAX_AGE_S_MAX, "Since the pool was created: 60.")] | None = None
    require: RequireRequest | None = None


class OrderRequest(_Sent, frozen=True, kw_only=True):
    """`tokenIn` and `tokenOut`, or `pair` and `side`; both only where they agree. A sniper has `tokenIn` alone."""

    client_order_id: Annotated[str, _text(CLIENT_ID_MAX, "Your name for the order, unique for ever.")] | None = None
    type: OrderType | None = None
    token_in: _TokenText | None = None
    token_out: Annotated[str, Meta(min_length=1, max_length=64, examples=["USDC"])] | None = None
    pair: _PairText | None = None
    side: Side | None = None
    amount: _Amount
    amount_mode: Mode | None = None
    slippage_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "100 unless told otherwise.")] | None = None
    max_price_impact_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "Against the spot price.")] | None = None
    limit_price: _Price | None = None
    trigger: TriggerRequest | None = None
    trail: TrailRequest | None = None
    schedule: ScheduleRequest | None = None
    sniper: SniperRequest | None = None
    time_in_force: TimeInForce | None = None
    expire_at: Annotated[Any, Meta(description="RFC 3339 or epoch milliseconds, for gtd.")] | None = None
    deadline_ms: Annotated[Any, _whole(1, 86_400_000, "From acceptance; nothing is signed after it.")] | None = None
    routing: RoutingRequest | None = None
    tags: Annotated[list[Annotated[str, _text(TAG_MAX, "")]], Meta(max_length=16)] | None = None


class ExitRequest(_Sent, frozen=True, kw_only=True):
    """With an entry: the swap back of what it gave. Without: a complete order (pair or tokens, and amount)."""

    client_order_id: Annotated[str, _text(CLIENT_ID_MAX, "Of the first exit, where there is no entry.")] | None = None
    type: Literal["limit", "stop", "take_profit", "trailing_stop"]
    token_in: _TokenText | None = None
    token_out: Annotated[str, Meta(min_length=1, max_length=64, examples=["USDC"])] | None = None
    pair: _PairText | None = None
    side: Side | None = None
    amount: _Amount | None = None
    amount_mode: Mode | None = None
    slippage_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "100 unless told otherwise.")] | None = None
    max_price_impact_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "Against the spot price.")] | None = None
    limit_price: _Price | None = None
    trigger: TriggerRequest | None = None
    trail: TrailRequest | None = None
    time_in_force: Literal["gtc", "gtd"] | None = None
    expire_at: Annotated[Any, Meta(description="RFC 3339 or epoch milliseconds, for gtd.")] | None = None
    deadline_ms: Annotated[Any, _whole(1, 86_400_000, "From acceptance; nothing is signed after it.")] | None = None
    routing: RoutingRequest | None = None
    tags: Annotated[list[Annotated[str, _text(TAG_MAX, "")]], Meta(max_length=16)] | None = None


class BracketRequest(_Sent, frozen=True, kw_only=True):
    """An entry with one or two exits that wait for its fill, or two exits alone; of two exits at most one swaps."""

    entry: OrderRequest | None = None
    exits: Annotated[list[ExitRequest], Meta(min_length=1, max_length=EXITS_MAX)]


class AmendRequest(_Sent, frozen=True, kw_only=True):
    """What an order that rests may become; a member that is null is removed, one that is absent stays."""

    amount: _Amount | None = None
    slippage_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "")] | None = None
    max_price_impact_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "")] | None = None
    limit_price: _Price | None = None
    trigger: TriggerRequest | None = None
    trail: TrailRequest | None = None
    expire_at: Annotated[Any, Meta(description="RFC 3339 or epoch milliseconds.")] | None = None


class ResolveRequest(_Sent, frozen=True, kw_only=True):
    outcome: Outcome
    evidence: Annotated[str, _text(EVIDENCE_MAX, "From what you know it; kept with the order for ever.")]
    amount_in: Annotated[_Amount, Meta(description="What it took, where it landed.")] | None = None
    amount_out: Annotated[_Amount, Meta(description="What it gave, where it landed.")] | None = None


class CancelAllRequest(_Sent, frozen=True, kw_only=True):
    pair: _PairText | None = None


class CancelAfterRequest(_Sent, frozen=True, kw_only=True):
    timeout_seconds: Annotated[Any, _whole(0, TIMEOUT_S_MAX, "0 disarms.")]


_HookUrl = Annotated[
    str, Meta(min_length=1, max_length=URL_MAX, pattern=r"^https?://[!-~]+$", description="Where messages are posted.")
]
_HookEvents = Annotated[
    list[Annotated[str, Meta(extra_json_schema={"enum": sorted(EVENTS)})]],
    Meta(max_length=32, extra_json_schema={"uniqueItems": True}, description="Statuses and causes; empty: all."),
]
_HookText = Annotated[str, _text(DESCRIPTION_MAX, "Yours.")]


class WebhookRequest(_Sent, frozen=True, kw_only=True):
    url: _HookUrl
    events: _HookEvents | None = None
    description: _HookText | None = None


class WebhookChange(_Sent, frozen=True, kw_only=True):
    url: _HookUrl | None = None
    events: _HookEvents | None = None
    description: _HookText | None = None
    enabled: bool | None = None


class ReplayRequest(_Sent, frozen=True, kw_only=True):
    """Exactly one of them."""

    since: Annotated[str, Meta(description="RFC 3339 or epoch milliseconds, as text.")] | None = None
    order_id: Annotated[str, Meta(max_length=64)] | None = None
    only_failed: bool | None = None


class FaultsRequest(_Sent, frozen=True, kw_only=True):
    """The whole plan: what is absent does not go wrong. Shares in percent."""

    drop_pct: Annotated[Any, _whole(0, 100, "Of broadcasts, that nobody receives.")] | None = None
    lost_answer_pct: (
        Annotated[Any, _whole(0, LOST_PCT_MAX, "Of calls to the chain, whose answer gets lost.")] | None
    ) = None
    late_pct: (
        Annotated[Any, _whole(0, 100, "Of broadcasts, that land up to 1.4 times their validity later.")] | None
    ) = None
    revert_pct: Annotated[Any, _whole(0, 100, "Of transactions, that the chain undoes.")] | None = None
    lying_height_pct: Annotated[Any, _whole(0, LOST_PCT_MAX, "Of nodes, that tell the slot for the height.")] | None = (
        None
    )
    quote_failure_pct: Annotated[Any, _whole(0, 100, "Of quotes, that a venue answers with an error.")] | None = None
    quote_delay_ms: Annotated[Any, _whole(0, DELAY_MS_MAX, "More than a quote takes anyway.")] | None = None
    land_delay_ms: Annotated[Any, _whole(0, DELAY_MS_MAX, "More than landing takes anyway.")] | None = None
    venues_down: Annotated[list[str], Meta(max_length=16, description="They answer no quote.")] | None = None


class LegacyRequest(_Sent, frozen=True, kw_only=True):
    """Any of the five older shapes; the body alone decides which. They may be mixed where they agree."""

    pair: _PairText | None = None
    side: str | None = None
    amount: _Amount
    slippage_tolerance: Annotated[Any, Meta(description="A fraction: 0.01 is one percent.")] | None = None
    type: str | None = None
    token_in: _TokenText | None = None
    token_out: _TokenText | None = None
    slippage_bps: Annotated[Any, _whole(0, SLIPPAGE_BPS_MAX, "")] | None = None
    client_id: Annotated[Any, Meta(description="The owner's name for itself.")] | None = None
    base_asset: _TokenText | None = None
    quote_asset: _TokenText | None = None
    order_type: str | None = None
    slippage: Annotated[Any, Meta(description="A fraction: 0.05 is five percent.")] | None = None
    input_token: _TokenText | None = None
    output_token: _TokenText | None = None
    limit_price: _Price | None = None
    trigger: TriggerRequest | None = None
    trail: TrailRequest | None = None
    schedule: ScheduleRequest | None = None
    sniper: SniperRequest | None = None
    time_in_force: TimeInForce | None = None
    expire_at: Annotated[Any, Meta(description="RFC 3339 or epoch milliseconds, for gtd.")] | None = None


# --- messages on `/v1/stream` -----------------------------------------------------------------------------

_ReqId = Annotated[int | str | None, Meta(description="Told again in the answer.")]
_IdText = Annotated[str, Meta(max_length=64)]


class Subscribe(_Sent, frozen=True, kw_only=True, tag="subscribe"):
    """All orders where `orderId` is null; else one, its history after `fromSeq` first."""

    req_id: _ReqId = None
    order_id: _IdText | None = None
    from_seq: int = 0


class Unsubscribe(_Sent, frozen=True, kw_only=True, tag="unsubscribe"):
    req_id: _ReqId = None
    order_id: _IdText | None = None


class Submit(_Sent, frozen=True, kw_only=True, tag="submit"):
    req_id: _ReqId = None
    idempotency_key: Annotated[str, _text(255, "As the header of `POST /v1/orders`.")] | None = None
    order: OrderRequest


class Cancel(_Sent, frozen=True, kw_only=True, tag="cancel"):
    req_id: _ReqId = None
    order_id: _IdText


class Ping(_Sent, frozen=True, kw_only=True, tag="ping"):
    req_id: _ReqId = None


class Follow(_Sent, frozen=True, kw_only=True, rename="camel"):
    """Dialect E: one for every order to follow."""

    type: Literal["subscribe"]
    order_id: _IdText
    from_seq: int = 0
