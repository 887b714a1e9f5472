"""Orders, events and routes as text for a person.

Decides: the words and columns. Must never: compute an amount; what is shown is the text that the engine told.
"""

import sys
from collections.abc import Sequence
from datetime import datetime

from fillwright.config import has_colours
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame, QuoteFrame
from fillwright.wire.resources import OrderView, RouteView

_COLOURS = {"confirmed": "32", "failed": "31", "expired": "31", "canceled": "33"}
_ROWS_MAX = 20


def order_lines(order: OrderView) -> list[str]:
    lines = [f"{order.id}  {status_word(order.status)}", f"  {asked_line(order)}"]
    if order.type != "market":
        lines.append(f"  type       {order.type}, {condition(order)}")
    if order.executed_price is not None:
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
    if order.limit_price is not None:
        parts.append(f"at {order.limit_price} or better")
    if order.time_in_force is not None:
        parts.append(f"{order.time_in_force}{f' {order.expire_at}' if order.expire_at else ''}")
    return ", ".join(parts)


def awaited(order: OrderView) -> str | None:
    """The price that an order of this type waits for first: 101 or more."""
    price = order.limit_price if order.trail is None else order.trail.trigger_price
    if order.trigger is not None:
        price = order.trigger.price
    return None if price is None else _bound(order, price)


def distance_lines(order: OrderView, explained: ExplainView) -> list[str]:
    """Where the market stands against what an open order waits for."""
    lines = []
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


def table(orders: Sequence[OrderView]) -> list[str]:
    heads = ("order", "status", "type", "side", "amount", "pair", "price", "dex", "accepted")
    rows = [
        (
            order.id,
            status_word(order.status),
            order.type,
            order.side,
            order.amount,
            order.pair,
            order.executed_price or order.price or (awaited(order) if order.status == "open" else None) or "",
            order.dex or "",
            order.created_at,
        )
        for order in orders
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows)]


def event_line(frame: Frame) -> str:
    at = datetime.fromtimestamp(frame.timestamp / 1_000).astimezone().strftime("%H:%M:%S")
    status = _coloured(status_word(frame.status), 10)
    return f"{at}  {frame.order_id}  {frame.seq:>2}  {status}  {event_note(frame)}".rstrip()


def event_note(frame: Frame) -> str:
    match frame.status:
        case "open" if frame.cause != "slipped":
            return f"{frame.cause}, waits for {frame.trigger_price or 'a first price'}"
        case "open":
            return f"the market left {frame.trigger_price}; waits for it again"
        case "pending" if frame.cause == "triggered":
            return f"triggered at {frame.price}"
        case "routing":
            return f"attempt {frame.attempt}"
        case "building":
            return f"{frame.chosen} wins: {frame.reason}"
        case "submitted":
            return frame.tx_hash or ""
        case "confirmed":
            return f"{frame.amount_in} in, {frame.amount_out} out at {frame.executed_price}"
        case _:
            return frame.error or ""


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
