"""Traces of orders, sent to a collector by OTLP over HTTP. Needs the extra `otel`.

Decides: what waits to be sent, in which portions, how often a portion is tried, and when it is given up. Must never:
hold an order up, fail it, or wait without a limit: what cannot be sent is counted in `dropped`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp
import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp

from fillwright.errors import FillwrightError
from fillwright.order import Accepted, Order, Recorded, Stamped, replay
from fillwright.ports import Clock
from fillwright.traces import TRACEPARENT, Span, acceptance, life
from fillwright.units import Millis, OrderId

WAITING_MAX: Final = 4_096
PORTION_MAX: Final = 64
_EVERY_S: Final = 1.0
"""What waits is sent this often, and at once while there is more than a portion."""
_POST_S: Final = 5.0
_PAUSES_S: Final = (0.0, 1.0, 2.0)
"""Before each try of a portion."""
FLUSH_S: Final = 2.0
"""The last portions have so long to leave at the end of the process."""
_PASSING: Final = frozenset({429, 502, 503, 504})
"""The protocol's own list of answers after which it is worth trying again."""
_ANSWER_MAX: Final = 64 * 1_024
_MS: Final = 1_000_000
_LOG: Final = logging.getLogger("fillwright.traces")

Histories = Callable[[str, OrderId], Awaitable[Sequence[Stamped]]]
"""An order's stored events, as `Store.history`."""


class _Begun(msgspec.Struct, frozen=True):
    """A new order, and what its request said of the caller's trace."""

    order: Order
    committed_at: Millis
    traceparent: str | None


class _Over(msgspec.Struct, frozen=True):
    """An order whose spans are derived when their turn comes: its history is stored and changes no more."""

    account: str
    order_id: OrderId


class _Trouble(msgspec.Struct, frozen=True):
    """Why a portion was not taken, and whether another try may help."""

    what: str
    may_pass: bool = False


class Traces:
    """Told of recorded events; sends the spans of an order's acceptance, and those of its life once it is over."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        *,
        service: Mapping[str, str],
        histories: Histories,
        clock: Clock,
    ) -> None:
        self.dropped = 0
        """Lives and acceptances whose spans were not sent."""
        self._http = http
        self._url = url
        self._resource = Resource(attributes=_attributes(service))
        self._histories = histories
        self._clock = clock
        self._waiting: deque[_Begun | _Over] = deque()
        self._sending = 0
        self._stopping = asyncio.Event()
        self._troubled = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        service: Mapping[str, str],
        histories: Histories,
        clock: Clock,
    ) -> AsyncIterator["Traces"]:
        """Send until the context is left; then what waits has FLUSH_S to leave."""
        limit = aiohttp.ClientTimeout(total=_POST_S)
        kind = {"Content-Type": "application/x-protobuf"}
        async with aiohttp.ClientSession(headers={**headers, **kind}, timeout=limit) as http:
            traces = cls(http, f"{endpoint}/v1/traces", service=service, histories=histories, clock=clock)
            sending = asyncio.create_task(traces._run())
            try:
                yield traces
            finally:
                traces._stopping.set()
                await asyncio.wait([sending], timeout=FLUSH_S)
                sending.cancel()
                await asyncio.wait([sending])
                traces._give_up()

    def recorded(self, recorded: Recorded) -> None:
        """A committed event, told in the context of the request that caused it."""
        order = recorded.order
        if isinstance(recorded.event, Accepted):
            self._put(_Begun(order, self._clock.now(), TRACEPARENT.get()))
        if order.is_terminal:
            self._put(_Over(order.account, order.id))

    def _put(self, entry: _Begun | _Over) -> None:
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(entry)
        else:
            self.dropped += 1

    # --- sending ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while self._waiting or not self._stopping.is_set():
            portion = [self._waiting.popleft() for _ in range(min(PORTION_MAX, len(self._waiting)))]
            if portion:
                self._sending = len(portion)
                self.dropped += 0 if await self._sent(portion) else len(portion)
                self._sending = 0
            if len(self._waiting) < PORTION_MAX:
                await self._rest(_EVERY_S)

    async def _rest(self, seconds: float) -> None:
        """So long, or until the end of the process begins."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _sent(self, portion: Sequence[_Begun | _Over]) -> bool:
        """Whether the collector has taken it, after as many tries as it gets."""
        try:
            found = await asyncio.gather(*(self._spans(each) for each in portion))
            body = self._encoded([span for spans in found for span in spans])
            for pause_s in _PAUSES_S:
                await self._rest(pause_s)
                trouble = await self._post(body)
                self._tell(trouble)
                if trouble is None:
                    return True
                if not trouble.may_pass or self._stopping.is_set():
                    break
        except FillwrightError as error:
            self._tell(_Trouble(str(error)))
        except Exception:  # a defect here must cost spans only
            _LOG.exception("spans could not be made")
        return False

    async def _spans(self, entry: _Begun | _Over) -> list[Span]:
        if isinstance(entry, _Begun):
            return acceptance(entry.order, entry.committed_at, entry.traceparent)
        stamped = await self._histories(entry.account, entry.order_id)
        return life(replay(entry.order_id, entry.account, stamped))

    async def _post(self, body: bytes) -> _Trouble | None:
        try:
            async with self._http.post(self._url, data=body, allow_redirects=False) as answer:
                await answer.content.read(_ANSWER_MAX)
                if answer.status == 200:
                    return None
                return _Trouble(f"the collector answered {answer.status}", may_pass=answer.status in _PASSING)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _Trouble(f"the collector cannot be reached ({type(error).__name__})", may_pass=True)

    def _tell(self, trouble: _Trouble | None) -> None:
        """One line when it begins, and one when it is over."""
        if trouble is not None and not self._troubled:
            _LOG.warning("traces are dropped and counted: %s", trouble.what)
        elif trouble is None and self._troubled:
            _LOG.warning("traces are sent again")
        self._troubled = trouble is not None

    def _give_up(self) -> None:
        left = len(self._waiting) + self._sending
        self.dropped += left
        if left:
            _LOG.warning("%d traces were not sent before the end", left)

    def _encoded(self, spans: Sequence[Span]) -> bytes:
        scope = otlp.ScopeSpans(scope=InstrumentationScope(name="fillwright"), spans=[_span(each) for each in spans])
        sent = otlp.ResourceSpans(resource=self._resource, scope_spans=[scope])
        body: bytes = ExportTraceServiceRequest(resource_spans=[sent]).SerializeToString()
        return body


# --- the protocol's words ---------------------------------------------------------------------------------


def _span(span: Span) -> otlp.Span:
    problem = span.problem
    code = {"fillwright.code": str(problem.code)} if problem else {}
    return otlp.Span(
        trace_id=span.id.trace,
        span_id=span.id.span,
        parent_span_id=span.parent or b"",
        name=span.name,
        kind=otlp.Span.SPAN_KIND_SERVER if span.answers_request else otlp.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span.begins_at * _MS,
        end_time_unix_nano=span.ends_at * _MS,
        attributes=_attributes({**span.attributes, **code}),
        events=[otlp.Span.Event(time_unix_nano=each.at * _MS, name=each.name) for each in span.moments],
        links=[otlp.Span.Link(trace_id=span.link.trace, span_id=span.link.span)] if span.link else [],
        status=otlp.Status(code=otlp.Status.STATUS_CODE_ERROR, message=problem.detail) if problem else None,
    )


def _attributes(attributes: Mapping[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=str(value))
        )
        for key, value in attributes.items()
    ]
