"""Orders, events and routes as text for a person.

Decides: the words and columns. Must never: compute an amount; what is shown is the text that the engine told.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from fillwright.config import has_colours
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame, QuoteFrame
from fillwright.wire.resources import OrderView, RouteView
from fillwright.wire.sniper import SniperView

_COLOURS = {"confirmed": "32", "failed": "31", "expired": "31", "canceled": "33"}
_ROWS_MAX = 20
_POOLS_MAX = 5


def order_lines(order: OrderView) -> list[str]:
    lines = [f"{order.id}  {status_word(order.status)}", f"  {asked_line(order)}"]
    if order.type != "market":
        lines.append(f"  type       {order.type}, {condition(order)}")
    lines += [f"  {name:<10} {text}" for name, text in ties(order)]
    if order.slices is not None:
        lines += slice_lines(order)
    elif order.executed_price is not None:
        swapped = f"{order.amount_in} {order.token_in} -> {order.amount_out} {order.token_out}"
        lines.append(f"  swapped    {swapped} at {order.executed_price} on {order.dex}")
    elif order.min_out is not None:
        lines.append(f"  at least   {order.min_out} {order.token_out}")
    elif order.max_in is not None:
        lines.append(f"  at most    {order.max_in} {order.token_in}")
    for name, text in (
        ("because", order.reason),
        ("signature", order.tx_hash),
        ("problem", order.error),
        ("next try", order.retry_at),
        ("cancel", order.outcome_known_by and f"asked for; known by {order.outcome_known_by}"),
        ("your id", order.client_order_id),
    ):
        if text is not None:
            lines.append(f"  {name:<10} {text}")
    lines.append(f"  accepted   {order.created_at}, last event {order.updated_at}")
    return lines


def asked_line(order: OrderView) -> str:
    """What was asked for: sell 1.5 SOL for USDC."""
    exact_in = order.amount_mode == "exactIn"
    sized, other = (order.token_in, order.token_out) if exact_in else (order.token_out, order.token_in)
    verb = "sell" if exact_in else "buy"
    if order.sniper is not None:
        verb, other = (
            "pay",
            other if order.pool else f"a new token{f', {order.sniper.mint}' if order.sniper.mint else ''}",
        )
    return f"{verb} {order.amount} {sized} for {other}, slippage up to {order.slippage_bps} bps"


def status_word(status: str) -> str:
    """In listings `open` means not ended: of one order, the same word would say too little."""
    return "resting" if status == "open" else status


def condition(order: OrderView) -> str:
    """What was asked for beside the swap: at 101 or better, gtc."""
    parts = []
    if order.trigger is not None:
        parts.append(f"once {_bound(order, order.trigger.price)}")
    if order.trail is not None:
        best = f", best seen {order.trail.best_price}" if order.trail.best_price else ""
        parts.append(f"{order.trail.bps} bps behind the best price{best}")
    if order.schedule is not None:
        jitter = f", give or take {order.schedule.jitter_pct} %" if order.schedule.jitter_pct else ""
        parts.append(f"{order.schedule.slices} slices, {order.schedule.interval_seconds} s apart{jitter}")
    if order.sniper is not None:
        parts += _hunted(order, order.sniper)
    if order.limit_price is not None:
        parts.append(f"at {order.limit_price} or better")
    if order.time_in_force is not None:
        parts.append(f"{order.time_in_force}{f' {order.expire_at}' if order.expire_at else ''}")
    return ", ".join(parts)


def _hunted(order: OrderView, sniper: SniperView) -> Iterator[str]:
    """Which pool it waits for, and the safety conditions that do not hold."""
    yield f"a new pool with {order.token_in}"
    if sniper.mint is not None:
        yield f"of {sniper.mint}"
    if sniper.creator is not None:
        yield f"by {sniper.creator}"
    if sniper.venues is not None:
        yield f"on {' or '.join(sniper.venues)}"
    yield f"at most {sniper.max_age_seconds} s old"
    if sniper.min_liquidity != "0":
        yield f"with at least {sniper.min_liquidity} {order.token_in}"
    require = sniper.require
    if require.liquidity == "burned":
        yield "its liquidity burned"
    told = {"mint authority": require.mint_authority, "freeze authority": require.freeze_authority}
    told |= {"liquidity": require.liquidity, "extensions": require.extensions}
    given_up = [name for name, word in told.items() if word == "any"] + ([] if require.sellable else ["sellable"])
    yield f"GIVEN UP: {', '.join(given_up)}" if given_up else "safe by all conditions"


def ties(order: OrderView) -> Iterator[tuple[str, str]]:
    """The orders that it is tied to, by what they are to it."""
    tied = order.linked_to
    if tied is None:
        return
    if tied.parent is not None:
        yield "exit of", tied.parent
    if tied.children:
        yield "exits", ", ".join(tied.children)
    if tied.siblings:
        yield "excludes", ", ".join(tied.siblings)


def slice_lines(order: OrderView) -> list[str]:
    """How far an order with a schedule has come."""
    done = f"{order.filled_in} of {order.amount} {order.token_in} -> {order.filled_out} {order.token_out}"
    average = f" at {order.average_price} on average" if order.average_price else ""
    lines = [f"  swapped    {done}{average}"]
    if order.status == "confirmed":
        lines.append(f"  slices     all {order.slices}")
    else:
        lines.append(f"  slices     {order.slice} of {order.slices} is the next or under way")
    if order.next_slice_at is not None:
        lines.append(f"  next one   {order.next_slice_at}")
    return lines


def awaited(order: OrderView) -> str | None:
    """The price that an order of this type waits for first: 101 or more."""
    price = order.limit_price if order.trail is None else order.trail.trigger_price
    if order.trigger is not None:
        price = order.trigger.price
    return None if price is None else _bound(order, price)


def waiting_lines(order: OrderView, explained: ExplainView) -> list[str]:
    """What an open order waits for, and where the market stands against that."""
    lines = []
    if explained.waits_for == "order":
        return ["  waits for  its entry to be filled; until then its amount is a guess"]
    if explained.waits_for == "pool":
        seen = [candidate_line(msgspec.to_builtins(each)) for each in explained.candidates or ()]
        return ["  waits for  a new pool", *(f"  {line}" for line in seen[:_POOLS_MAX])]
    if explained.trigger_price is not None:
        lines.append(f"  waits for  {_bound(order, explained.trigger_price)}")
    if explained.current_price is not None:
        away = "" if explained.distance_bps is None else f", {explained.distance_bps} bps away"
        lines.append(f"  price now  {explained.current_price}{away}")
    return lines


def _bound(order: OrderView, price: str) -> str:
    """Which way it waits: at its limit price, for a better one; at a trigger as that says; a trail's is a worse one."""
    if price == order.limit_price:
        upwards = order.side == "sell"
    elif order.trigger is not None:
        upwards = order.trigger.op == "gte"
    else:
        upwards = order.side == "buy"
    return f"{price} or {'more' if upwards else 'less'}"


def candidate_line(pool: Mapping[str, Any]) -> str:
    """A new pool that a sniper waits for, as `explain` tells it, and why it is left alone."""
    why = "; ".join(each["detail"] for each in pool["refusals"])
    return f"{'left alone' if why else 'seen':<10} {pool['pool']} on {pool['venue']}{f': {why}' if why else ''}"


def table(orders: Sequence[OrderView]) -> list[str]:
    heads: tuple[str, ...] = ("order", "status", "type", "side", "amount", "pair", "price", "dex", "accepted")
    rows: list[tuple[str, ...]] = [
        (
            order.id,
            status_word(order.status),
            _kind(order),
            order.side,
            order.amount,
            order.pair,
            order.executed_price or order.price or (awaited(order) if order.status == "open" else None) or "",
            order.dex or "",
            order.created_at,
        )
        for order in orders
    ]
    if any(order.linked_to for order in orders):
        heads = (*heads, "tied")
        rows = [(*row, _tie(order)) for row, order in zip(rows, orders, strict=True)]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows)]


def _kind(order: OrderView) -> str:
    """Of an order in slices with the next one, or the one under way."""
    if order.slices is None:
        return order.type
    return f"{order.type} {order.slices if order.status == 'confirmed' else order.slice}/{order.slices}"


def _tie(order: OrderView) -> str:
    """In a listing: the first of them, by what it is to the order."""
    for name, text in ties(order):
        return f"{name} {text}" if name != "exits" else f"{len(text.split(', '))} exits"
    return ""


def event_line(frame: Frame) -> str:
    at = datetime.fromtimestamp(frame.timestamp / 1_000).astimezone().strftime("%H:%M:%S")
    status = _coloured(status_word(frame.status), 10)
    return f"{at}  {frame.order_id}  {frame.seq:>2}  {status}  {event_note(frame)}".rstrip()


def event_note(frame: Frame) -> str:
    match frame.status:
        case "open":
            return _resting_note(frame)
        case "pending" if frame.cause == "triggered":
            return f"triggered at {frame.price}"
        case "pending" if frame.cause == "sniped":
            return f"new pool {frame.pool} of {frame.token_out}"
        case "routing":
            which = "" if frame.slices is None else f"slice {frame.slice} of {frame.slices}, "
            return f"{which}attempt {frame.attempt}"
        case "building":
            return f"{frame.chosen} wins: {frame.reason}"
        case "submitted":
            return frame.tx_hash or ""
        case "confirmed":
            return _swapped(frame)
        case _:
            return frame.error or ""


def _resting_note(frame: Frame) -> str:
    match frame.cause:
        case "slice_landed":
            return _swapped(frame)
        case "slice_skipped":
            return f"a slice is skipped: {frame.error}; {frame.leaves} left"
        case "declined":
            return f"leaves {frame.pool} alone: {'; '.join(each.detail for each in frame.refusals or ())}"
        case "slipped":
            return f"the market left {frame.trigger_price}; waits for it again"
        case cause:
            return cause if frame.trigger_price is None else f"{cause}, waits for {frame.trigger_price}"


def _swapped(frame: Frame) -> str:
    done = f"{frame.amount_in} in, {frame.amount_out} out at {frame.executed_price}"
    return done if frame.slices is None else f"{done}; {frame.leaves} left"


def quote_lines(route: RouteView) -> list[str]:
    lines = [f"{route.amount_in} in, {route.amount_out} out at {route.price}, impact {route.price_impact_bps} bps"]
    lines.append(f"  {route.dex} wins: {route.reason}")
    lines += [f"  {_offer(quote)}" for quote in route.quotes]
    return lines


def _offer(quote: QuoteFrame) -> str:
    where = f"{quote.venue} {quote.kind or ''}".ljust(18)
    if quote.error is not None:
        return f"{where} {quote.error}"
    return f"{where} {quote.amount_in} in, {quote.amount_out} out at {quote.price}, {quote.latency_ms} ms"


class LiveTable:
    """The last orders that moved, drawn over itself: one row an order, the latest at the bottom."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}
        self._drawn = 0

    def show(self, frame: Frame, width: int) -> None:
        self._rows.pop(frame.order_id, None)
        self._rows[frame.order_id] = event_line(frame)
        while len(self._rows) > _ROWS_MAX:
            del self._rows[next(iter(self._rows))]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        rows = "".join(f"\x1b[2K{_cut(row, width)}\n" for row in self._rows.values())
        print(up + rows, end="", flush=True)
        self._drawn = len(self._rows)


def _cut(row: str, width: int) -> str:
    """A row that wrapped would spoil the drawing; colours take no room."""
    hidden = len(row) - len(_plain(row))
    return row if len(row) - hidden < width else f"{row[: width + hidden - 2]}…"


def _plain(row: str) -> str:
    for colour in (*_COLOURS.values(), "0"):
        row = row.replace(f"\x1b[{colour}m", "")
    return row


def _coloured(status: str, width: int) -> str:
    padded = status.ljust(width)
    if status not in _COLOURS or not has_colours(sys.stdout):
        return padded
    return f"\x1b[{_COLOURS[status]}m{padded}\x1b[0m"
