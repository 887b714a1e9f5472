"""Metrics and log lines of what was recorded.

Decides: what an operator can see. Must never: show a secret, or change what happens; it is told afterwards.
"""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fillwright.courier import Try
from fillwright.errors import FillwrightError
from fillwright.executor import Alarm
from fillwright.order import (
    Aborted,
    Declined,
    Landed,
    Order,
    Quote,
    Recorded,
    Routed,
    SliceLanded,
    Sniped,
    Status,
)
from fillwright.units import Millis, OrderId
from fillwright.worker import Failure

_LOG: Final = logging.getLogger("fillwright")
_ORDERS_MAX: Final = 20_000
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


REQUEST: Final[ContextVar[str | None]] = ContextVar("request", default=None)
"""The id of the request that is being answered: what is recorded meanwhile is its doing."""


class Observer:
    """One log line and a few counters an event. `registry` is served at /metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Looking a label up costs more than counting, so each is looked up once.
        events = Counter("fillwright_events", "Recorded events", ["event"], registry=registry)
        ended = Counter("fillwright_orders_ended", "Orders ended", ["status"], registry=registry)
        seconds = Histogram(
            "fillwright_order_seconds",
            "From acceptance to the end",
            ["status"],
            registry=registry,
            buckets=_SECONDS,
        )
        stages = Histogram(
            "fillwright_stage_seconds",
            "From an order's previous event to this one",
            ["event"],
            registry=registry,
            buckets=_SECONDS,
        )
        wins = Counter("fillwright_route_wins", "Routes chosen", ["venue"], registry=registry)
        self._event_of, self._ended_as = lru_cache(events.labels), lru_cache(ended.labels)
        self._seconds_to, self._wins_of = lru_cache(seconds.labels), lru_cache(wins.labels)
        self._stage_to = lru_cache(stages.labels)
        self._since: dict[OrderId, Millis] = {}
        """When the latest event of an order happened, of those that this process has seen lately."""
        self._failures = Counter("fillwright_failures", "Unexpected failures", ["where"], registry=registry)
        self._alarms = Counter("fillwright_alarms", "What an operator must look into", ["what"], registry=registry)
        self._driving = Gauge("fillwright_orders_driving", "Orders being driven", registry=registry)
        self._hints = Gauge("fillwright_queue_depth", "Hints waiting in the queue", registry=registry)
        self._waiting = Gauge("fillwright_orders_waiting", "Orders waiting for a worker", registry=registry)
        self._workers = Gauge("fillwright_workers_alive", "Workers alive, of all processes", registry=registry)
        self._oldest = Gauge("fillwright_oldest_seconds", "How long the longest has waited", registry=registry)
        self._dropped = Gauge(
            "fillwright_dropped", "Hints, events and traces that were not sent", ["what"], registry=registry
        )
        self._resting = Gauge("fillwright_venue_resting", "1 while not asked", ["venue"], registry=registry)
        self._tries = Counter("fillwright_webhook_tries", "Messages sent", ["outcome"], registry=registry)
        self._oldest_message = Gauge(
            "fillwright_webhook_oldest_seconds", "How long the oldest message has waited", registry=registry
        )

    def recorded(self, recorded: Recorded) -> None:
        """A committed event."""
        order, event = recorded.order, recorded.event
        name = str(event.__struct_config__.tag)
        self._event_of(name).inc()
        self._time_stage(name, order)
        if order.is_terminal:
            self._ended_as(order.status).inc()
            self._seconds_to(order.status).observe((order.updated_at - order.created_at) / 1_000)
        if isinstance(event, Routed):
            self._wins_of(event.route.venue).inc()
        if _LOG.isEnabledFor(logging.INFO):
            _LOG.info(name, extra={"fields": _fields(recorded)})

    def _time_stage(self, name: str, order: Order) -> None:
        """An order that another process drove until now counts from its acceptance."""
        since = self._since.pop(order.id, order.created_at)
        if order.seq > 1:
            self._stage_to(name).observe(max(order.updated_at - since, 0) / 1_000)
        if not order.is_terminal:
            self._since[order.id] = order.updated_at
            if len(self._since) > _ORDERS_MAX:
                del self._since[next(iter(self._since))]

    def failed(self, failure: Failure) -> None:
        """A failure that a worker survived."""
        self._failures.labels(failure.where).inc()
        where, error = failure.where, failure.error
        fields: dict[str, Any] = {"where": where, "orderId": failure.order_id}
        if isinstance(error, FillwrightError):  # a server that is away fails every order in hand: one line each will do
            fields |= {"code": error.code, "cause": repr(error.__cause__) if error.__cause__ else None}
            _LOG.warning("%s: %s", where, error, extra={"fields": fields})
        else:
            _LOG.error("%s: %s", where, error, extra={"fields": fields}, exc_info=error)

    def alarm(self, alarm: Alarm) -> None:
        """What the engine cannot mend by itself."""
        self._alarms.labels(alarm.what).inc()
        _LOG.error("order %s: %s", alarm.what, alarm.why, extra={"fields": {"orderId": alarm.order_id}})

    def tried(self, attempt: Try) -> None:
        """A message to a webhook that was sent. Its address stays untold: it may hold a secret."""
        delivery, outcome = attempt.due.delivery, attempt.outcome
        again = outcome.again_after_s
        name = "delivered" if outcome.delivered else "failed" if again is None else "again"
        self._tries.labels(name).inc()
        fields = {"webhookId": attempt.due.webhook.id, "messageId": delivery.message.id, "tries": delivery.tries}
        if not outcome.delivered:
            fields |= {"answer": outcome.status or outcome.error, "againAfterS": again and round(again)}
            _LOG.info("webhook %s", name, extra={"fields": fields})
        if attempt.disabled is not None:
            _LOG.warning("webhook disabled: %s", attempt.disabled.off, extra={"fields": fields})

    def webhooks(self, *, oldest_s: float) -> None:
        """How far behind messages are."""
        self._oldest_message.set(oldest_s)

    def load(self, *, driving: int, hints: int, waiting: int, oldest_s: float, workers: int | None) -> None:
        """How busy the process is now; the number of workers stays as it was while it is not known."""
        if workers is not None:
            self._workers.set(workers)
        self._driving.set(driving)
        self._hints.set(hints)
        self._waiting.set(waiting)
        self._oldest.set(oldest_s)

    def trouble(self, *, resting: Mapping[str, bool], dropped: Mapping[str, int]) -> None:
        """Which venues are not asked now, and what has not been sent so far."""
        for venue, rests in resting.items():
            self._resting.labels(venue).set(rests)
        for what, count in dropped.items():
            self._dropped.labels(what).set(count)


def _fields(recorded: Recorded) -> Mapping[str, Any]:
    """The event in a log line: which order, where it stands, and what decided it."""
    order, event = recorded.order, recorded.event
    fields: dict[str, Any] = {
        "orderId": order.id,
        "seq": order.seq,
        "status": order.status,
        "attempt": order.attempt,
        "pair": f"{order.swap.token_in.symbol}>{order.swap.token_out.symbol}",
    }
    if (request := REQUEST.get()) is not None:
        fields["requestId"] = request
    match event:
        case Routed(route=route):
            fields |= {"chosen": route.venue, "reason": route.reason}
            fields["quotes"] = [_quote_line(order, quote) for quote in route.quotes]
        case Aborted(problem=problem, quotes=quotes):
            fields |= {"code": problem.code, "problem": problem.detail}
            fields["quotes"] = [_quote_line(order, quote) for quote in quotes]
        case Sniped(pool=pool):
            fields |= {"pool": pool.address, "mint": pool.mint}
        case Declined(pool=address, problems=problems):
            fields |= {"pool": address, "codes": [problem.code for problem in problems]}
        case Landed(fill=fill) | SliceLanded(fill=fill):
            fields |= {"signature": fill.signature, "amountIn": fill.amount_in, "amountOut": fill.amount_out}
        case _:
            if order.tx is not None and order.status is Status.SUBMITTED:
                fields["signature"] = order.tx.signature
            if order.problem is not None:
                fields |= {"code": order.problem.code, "problem": order.problem.detail}
    return fields


def _quote_line(order: Order, quote: Quote) -> str:
    where = f"{quote.venue} {quote.kind}".strip()
    if quote.problem is not None:
        return f"{where}: {quote.problem.code}"
    return f"{where}: {quote.amount_in} -> {quote.amount_out} (impact {quote.impact_bps} bps, {quote.latency_ms} ms)"


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextLines(logging.Formatter):
    """For people: time, level, message, then key=value. Colours help a terminal's reader to find what is wrong."""

    _COLOURS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self._colours = self._COLOURS if colours else {}

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        level = f"{record.levelname:<7}"
        if record.levelname in self._colours:
            level = f"\x1b[{self._colours[record.levelname]}m{level}\x1b[0m"
        line = f"{self.formatTime(record, '%H:%M:%S')} {level} {record.getMessage():<16} {fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line
