"""When an order is to swap: its type, prices and time in force, as a request tells them and as an order shows them.

Decides: which of these fields belong to which type. Must never: let a field pass that its type would ignore.
"""

from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent, Order, OrderType, Side, Status, TimeInForce
from fillwright.schedule import INTERVAL_MS_MAX, INTERVAL_MS_MIN, JITTER_PCT_MAX, SLICES_MAX, SLICES_MIN, Schedule
from fillwright.triggers import awaited, trailing_trigger
from fillwright.units import BPS_ONE, Bps, Millis, Price, Token, ceil_div, format_atoms, format_price, parse_price
from fillwright.wire import parse_time, rfc3339
from fillwright.wire.reading import Fields

TRAIL_BPS_MAX: Final = 5_000
INTERVAL_S: Final = (INTERVAL_MS_MIN // 1_000, INTERVAL_MS_MAX // 1_000)
"""Between two slices: at least, at most."""
_WORD_MAX: Final = 64

_NEEDS: Final = {
    OrderType.MARKET: frozenset[str](),
    OrderType.LIMIT: frozenset({"limitPrice"}),
    OrderType.STOP: frozenset({"trigger"}),
    OrderType.TAKE_PROFIT: frozenset({"trigger"}),
    OrderType.TRAILING_STOP: frozenset({"trail"}),
    OrderType.TWAP: frozenset({"schedule"}),
    OrderType.DCA: frozenset({"schedule"}),
    OrderType.SNIPER: frozenset({"sniper"}),
}
_MAY: Final = {
    OrderType.MARKET: frozenset[str](),
    OrderType.LIMIT: frozenset[str](),
    OrderType.STOP: frozenset({"limitPrice"}),
    OrderType.TAKE_PROFIT: frozenset({"limitPrice"}),
    OrderType.TRAILING_STOP: frozenset({"limitPrice"}),
    OrderType.TWAP: frozenset({"limitPrice"}),
    OrderType.DCA: frozenset({"limitPrice"}),
    OrderType.SNIPER: frozenset[str](),
}


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    type: OrderType = OrderType.MARKET
    limit: Price | None = None
    trigger: Price | None = None
    trail_bps: Bps | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: Millis | None = None
    schedule: Schedule | None = None


def read_conditions(fields: Fields, *, base: Token | None, quote: Token | None, side: Side | None) -> Conditions:
    """What the request says. Without both tokens and the side, which are blamed already, prices cannot be judged."""
    kind = _type(fields)
    told = {name for name in ("limitPrice", "trigger", "trail", "schedule", "sniper") if fields.has(name)}
    fields.skip("sniper")  # what it says is for `sniper.read_hunt`
    limit = _price(fields, "limitPrice", base, quote)
    trigger = _trigger(fields, kind, base, quote, side)
    trail = _trail(fields)
    schedule = _schedule(fields)
    if kind is not None:
        for name in sorted(_NEEDS[kind] - told):
            fields.blame(name, f"is required for {kind}")
        for name in sorted(told - _NEEDS[kind] - _MAY[kind]):
            fields.blame(name, f"means nothing for {kind}", Code.VALIDATION_CONTRADICTION)
    time_in_force, expire_at = _patience(fields, kind)
    return Conditions(
        type=kind or OrderType.MARKET,
        limit=limit,
        trigger=trigger,
        trail_bps=trail,
        time_in_force=time_in_force,
        expire_at=expire_at,
        schedule=schedule,
    )


def _type(fields: Fields) -> OrderType | None:
    told = fields.text("type", _WORD_MAX)
    if told is None:
        return OrderType.MARKET
    if told in tuple(OrderType):
        return OrderType(told)
    fields.blame("type", f"must be one of: {', '.join(OrderType)}")
    return None


def _price(fields: Fields, name: str, base: Token | None, quote: Token | None) -> Price | None:
    text = fields.number(name)
    if text is None or base is None or quote is None:
        return None
    try:
        return parse_price(text, quote_decimals=quote.decimals, base_decimals=base.decimals)
    except FillwrightError as error:
        fields.blame(name, error.problem.detail, error.code)
        return None


def _trigger(
    fields: Fields, kind: OrderType | None, base: Token | None, quote: Token | None, side: Side | None
) -> Price | None:
    """Its direction follows from type and side; where `op` is told, it must be that one."""
    inner = fields.inner("trigger")
    if inner is None:
        return None
    price = _price(inner, "price", base, quote)
    if not inner.has("price"):
        inner.blame("price", "is required")
    told = inner.text("op", _WORD_MAX)
    if told is not None and told not in ("gte", "lte"):
        inner.blame("op", "must be gte or lte")
    elif told is not None and kind is not None and side is not None and told != trigger_op(kind, side):
        why = f"a {kind} that {side}s triggers on {trigger_op(kind, side)}"
        inner.blame("op", why, Code.VALIDATION_CONTRADICTION)
    fields.absorb(inner)
    return price


def trigger_op(kind: OrderType, side: Side) -> str:
    """A stop waits for a worse price, a take profit for a better one."""
    return _op(side, better=kind is OrderType.TAKE_PROFIT)


def _op(side: Side, *, better: bool) -> str:
    """Higher is better for a sell."""
    return "gte" if better is (side is Side.SELL) else "lte"


def _trail(fields: Fields) -> Bps | None:
    inner = fields.inner("trail")
    if inner is None:
        return None
    bps = inner.whole("bps", least=1, most=TRAIL_BPS_MAX)
    if not inner.has("bps"):
        inner.blame("bps", "is required")
    fields.absorb(inner)
    return None if bps is None else Bps(bps)


def _schedule(fields: Fields) -> Schedule | None:
    inner = fields.inner("schedule")
    if inner is None:
        return None
    slices = inner.whole("slices", least=SLICES_MIN, most=SLICES_MAX)
    interval = inner.whole("intervalSeconds", least=INTERVAL_S[0], most=INTERVAL_S[1])
    jitter = inner.whole("jitterPct", least=0, most=JITTER_PCT_MAX)
    for name in ("slices", "intervalSeconds"):
        if not inner.has(name):
            inner.blame(name, "is required")
    fields.absorb(inner)
    if slices is None or interval is None:
        return None
    return Schedule(slices=slices, interval_ms=Millis(interval * 1_000), jitter_pct=jitter or 0)


def _patience(fields: Fields, kind: OrderType | None) -> tuple[TimeInForce, Millis | None]:
    told = fields.text("timeInForce", _WORD_MAX)
    expire_at = _time(fields)
    if told is None:
        told = TimeInForce.GTC if expire_at is None else TimeInForce.GTD
    if told not in tuple(TimeInForce):
        fields.blame("timeInForce", f"must be one of: {', '.join(TimeInForce)}")
        return TimeInForce.GTC, expire_at
    force = TimeInForce(told)
    if force is TimeInForce.GTD and not fields.has("expireAt"):
        fields.blame("expireAt", "is required for gtd")
    if force is not TimeInForce.GTD and fields.has("expireAt"):
        fields.blame("expireAt", f"means nothing for {force}", Code.VALIDATION_CONTRADICTION)
    if force in (TimeInForce.IOC, TimeInForce.FOK) and kind not in (OrderType.LIMIT, None):
        fields.blame("timeInForce", f"{force} is for limit orders", Code.VALIDATION_CONTRADICTION)
    return force, expire_at


def _time(fields: Fields) -> Millis | None:
    text = fields.text("expireAt", _WORD_MAX) if not fields.is_number("expireAt") else fields.number("expireAt")
    if text is None:
        return None
    try:
        return parse_time(text, "expireAt")
    except FillwrightError as error:
        fields.blame("expireAt", error.problem.detail)
        return None


# --- shown ------------------------------------------------------------------------------------------------


class TriggerView(msgspec.Struct, frozen=True, rename="camel"):
    op: str
    price: str


class TrailView(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    bps: int
    best_price: str | None = None
    """The best price so far, and the trigger that follows from it."""
    trigger_price: str | None = None


class ScheduleView(msgspec.Struct, frozen=True, rename="camel"):
    slices: int
    interval_seconds: int
    jitter_pct: int


def condition_fields(intent: Intent, best: Price | None = None) -> dict[str, object]:
    """The members of a view; those that do not apply are absent."""
    fields: dict[str, object] = {}
    if intent.limit is not None:
        fields["limit_price"] = shown(intent, intent.limit)
    if intent.trigger is not None:
        fields["trigger"] = TriggerView(trigger_op(intent.type, intent.side), shown(intent, intent.trigger))
    if intent.trail_bps is not None:
        follows = None if best is None else shown(intent, trailing_trigger(intent, best))
        fields["trail"] = TrailView(intent.trail_bps, None if best is None else shown(intent, best), follows)
    if intent.schedule is not None:
        told = intent.schedule
        fields["schedule"] = ScheduleView(told.slices, told.interval_ms // 1_000, told.jitter_pct)
    if intent.type is not OrderType.MARKET or intent.expire_at is not None:
        fields["time_in_force"] = intent.time_in_force
    if intent.expire_at is not None:
        fields["expire_at"] = rfc3339(intent.expire_at)
    return fields


def awaited_price(order: Order) -> tuple[str, Price] | None:
    """What an open order waits for: `gte` or `lte`, and the price; see triggers.awaited."""
    found = awaited(order)
    return None if found is None else (_op(order.intent.side, better=found.better), found.price)


class ProgressView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """How far an order with a schedule has come. `slice`: the next one, or the one under way, of `slices`."""

    slice: int | None = None
    slices: int | None = None
    next_slice_at: int | None = None
    filled_in: str | None = None
    filled_out: str | None = None
    leaves: str | None = None
    """What of the amount is not swapped."""
    average_price: str | None = None


def progress(order: Order) -> ProgressView:
    """Empty for an order without a schedule."""
    intent, fill, schedule = order.intent, order.fill, order.intent.schedule
    if schedule is None:
        return ProgressView()
    return ProgressView(
        slice=min(order.slice, schedule.slices),
        slices=schedule.slices,
        next_slice_at=order.due_at if order.status is Status.OPEN else None,
        filled_in=format_atoms(order.filled_in, intent.token_in.decimals),
        filled_out=format_atoms(order.filled_out, intent.token_out.decimals),
        leaves=format_atoms(intent.amount - order.filled_in, intent.token_in.decimals),
        average_price=None if fill is None else shown(intent, intent.price(fill.amount_in, fill.amount_out)),
    )


def shown(intent: Intent, price: Price) -> str:
    return format_price(
        price.quote, price.base, quote_decimals=intent.quote.decimals, base_decimals=intent.base.decimals
    )


def distance_bps(current: Price, awaited: tuple[str, Price]) -> int:
    """How far the current price has yet to move, of itself, rounded up; 0 where it is there."""
    op, price = awaited
    here, there = current.quote * price.base, price.quote * current.base
    missing = there - here if op == "gte" else here - there
    return ceil_div(max(0, missing) * BPS_ONE, here)
