"""Traces that leave a running engine: whole, true to the stamps, without secrets, and never in an order's way."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.proto", reason="the extra `otel` is not installed")

from fillwright.access import Limits, Scope, make_key
from fillwright.adapters import otlp
from fillwright.adapters.local import SystemClock
from fillwright.config import Secret
from tests.api.running import SELL, Server, heard, run, serving
from tests.conformance.samples import HandClock, accepted
from tests.servers.collector import Collector, Seen, collecting
from tests.servers.machine import free_port

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
DROPPED = 'fillwright_dropped{what="traces"}'
STAGES = {"pending": "queued", "routing": "routing", "building": "building", "submitted": "landing"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def trace_of(order: Any) -> str:
    return str(order["id"]).replace("-", "")


async def placed(server: Server, **options: Any) -> Any:
    """An order that is over."""
    answer = await server.post("/v1/orders", SELL, **options)
    assert answer.status == 201
    return await server.ended(answer.json["id"])


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    while not await is_so():  # noqa: ASYNC110 - what is looked at is behind HTTP
        await asyncio.sleep(0.05)


async def metric(server: Server, line: str) -> float:
    body = (await server.get("/metrics")).body.decode()
    return float(next(each.rpartition(" ")[2] for each in body.splitlines() if each.startswith(line)))


async def is_confirmed(server: Server, address: str, headers: dict[str, str]) -> bool:
    return bool((await server.get(address, headers=headers)).json["status"] == "confirmed")


# --- what arrives -----------------------------------------------------------------------------------------


def test_every_order_is_one_trace_as_long_as_its_events_say(collector: Collector, tmp_path: Path) -> None:
    async def script() -> list[Any]:
        async with serving(tmp_path, traces=collector.url, service="desk") as server:
            ids = [(await server.post("/v1/orders", SELL)).json["id"] for _ in range(20)]
            for order_id in ids:
                await server.ended(order_id)
            return [(await server.get(f"/v1/orders/{order_id}/events")).json for order_id in ids]

    histories = run(script())
    traces = collector.traces()
    assert traces.keys() == {history["orderId"].replace("-", "") for history in histories}
    for history in histories:
        check_trace(traces[history["orderId"].replace("-", "")], history["data"])
    assert {path for path, _, _ in collector.posts} == {"/v1/traces"}
    assert {headers["Content-Type"] for _, headers, _ in collector.posts} == {"application/x-protobuf"}


def check_trace(spans: list[Seen], frames: list[Any]) -> None:
    """The spans of an order, beside its history as the API tells it."""
    (root,) = (span for span in spans if not span.parent)
    (accept,) = (span for span in spans if span.name == "accept")
    stages = [span for span in spans if span not in (root, accept)]
    assert {span.parent for span in (accept, *stages)} == {root.id}
    assert all(root.begins_ms <= span.begins_ms <= span.ends_ms <= root.ends_ms for span in stages)
    assert (root.begins_ms, root.ends_ms) == (frames[0]["timestamp"], frames[-1]["timestamp"])
    assert accept.begins_ms == root.begins_ms
    assert root.attributes["fillwright.status"] == frames[-1]["status"] == "confirmed"
    assert root.attributes["fillwright.signature"] == frames[-1]["txHash"]
    expected = [  # an attempt that failed is followed by a pause
        (
            "pause" if number and one["status"] == "pending" else STAGES[one["status"]],
            one["timestamp"],
            other["timestamp"],
            other["status"] == "pending",
        )
        for number, (one, other) in enumerate(pairwise(frames))
    ]
    assert [(span.name, span.begins_ms, span.ends_ms, span.failed) for span in stages] == expected
    assert {span.attributes["fillwright.order.id"] for span in spans} == {frames[0]["orderId"]}
    assert {span.service["service.name"] for span in spans} == {"desk"}
    assert not root.failed


def test_the_caller_s_trace_and_the_order_s_lead_to_each_other(collector: Collector, tmp_path: Path) -> None:
    async def script() -> tuple[Any, Any]:
        async with serving(tmp_path, traces=collector.url) as server:
            first = await placed(server, headers={**CALLER, "Idempotency-Key": "once"})
            again = await server.post("/v1/orders", SELL, headers={**CALLER, "Idempotency-Key": "once"})
            assert again.status == 200
            return first, await placed(server)

    told, untold = run(script())
    traces = collector.traces()
    assert traces.keys() == {trace_of(told), trace_of(untold), TRACE}
    (theirs,) = traces[TRACE]
    root, own = traces[trace_of(told)][0], next(span for span in traces[trace_of(told)] if span.name == "accept")
    assert (theirs.parent, theirs.links) == (SPAN, [(root.trace, root.id)])
    assert own.links == [(TRACE, SPAN)]
    assert not any(span.links for span in traces[trace_of(untold)])


def test_an_order_through_a_socket_is_linked_to_the_caller_who_opened_it(collector: Collector, tmp_path: Path) -> None:
    async def script() -> Any:
        async with serving(tmp_path, traces=collector.url) as server:
            async with server.http.ws_connect("/v1/stream", headers=CALLER) as ws:
                await ws.send_json({"type": "submit", "reqId": 1, "order": SELL})
                order_id = (await heard(ws, "ack"))["orderId"]
            return await server.ended(order_id)

    order = run(script())
    (theirs,) = collector.traces()[TRACE]
    assert theirs.links == [(trace_of(order), collector.traces()[trace_of(order)][0].id)]


@pytest.mark.parametrize("text", ["", "no-such-thing", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 4_000])
def test_a_strange_traceparent_changes_nothing(collector: Collector, tmp_path: Path, text: str) -> None:
    async def script() -> Any:
        async with serving(tmp_path, traces=collector.url) as server:
            return await placed(server, headers={"traceparent": text})

    order = run(script())
    assert collector.traces().keys() == {trace_of(order)}


def test_an_order_that_is_canceled_or_fails_says_so(collector: Collector, tmp_path: Path) -> None:
    hopeless = {**SELL, "maxPriceImpactBps": 0, "amount": "5000"}

    async def script() -> tuple[Any, Any]:
        async with serving(tmp_path, traces=collector.url, start_worker=False) as server:
            waiting = (await server.post("/v1/orders", SELL)).json["id"]
            canceled = (await server.post(f"/v1/orders/{waiting}/cancel")).json
        async with serving(tmp_path, traces=collector.url) as server:
            return canceled, await server.ended((await server.post("/v1/orders", hopeless)).json["id"])

    canceled, failed = run(script())
    traces = collector.traces()
    root = traces[trace_of(canceled)][0]
    assert (root.attributes["fillwright.status"], root.failed) == ("canceled", False)
    root, *rest = traces[trace_of(failed)]
    assert (root.attributes["fillwright.code"], root.failed) == ("ROUTE_PRICE_IMPACT", True)
    assert [span.name for span in rest if span.failed] == ["routing"]


def test_no_secret_leaves_in_a_span(collector: Collector, tmp_path: Path) -> None:
    named = {**SELL, "clientOrderId": "client-name-7", "tags": ["note-7"]}

    async def script() -> str:
        headers = (("x-api-key", Secret("collector-secret-7")),)
        async with serving(tmp_path, traces=collector.url, trace_headers=headers) as server:
            scopes = frozenset(Scope)
            key, token = make_key(
                account="acct-7", label="label-7", scopes=scopes, limits=Limits(), now=SystemClock().now(),
                entropy=lambda size: b"\x07" * size,
            )  # fmt: skip
            await server.keys.add(key)
            await server.access.refresh()
            ours = {"Authorization": f"Bearer {token}", "Idempotency-Key": "idempotency-7", **CALLER}
            answer = await server.post("/v1/orders", named, headers=ours)
            assert answer.status == 201, answer.body
            address = f"/v1/orders/{answer.json['id']}"
            await until(lambda: is_confirmed(server, address, ours))
            return token

    token = run(script())
    sent = b"".join(body for _, _, body in collector.posts)
    assert b"fillwright.order.id" in sent
    for word in (token, token.split("_")[1], "idempotency-7", "client-name-7", "note-7", "acct-7", "label-7"):
        assert word.encode() not in sent, word
    assert b"collector-secret-7" not in sent
    assert {headers["x-api-key"] for _, headers, _ in collector.posts} == {"collector-secret-7"}


# --- a collector that is not there ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "silent", "refusing"])
def test_a_dead_collector_costs_spans_only(tmp_path: Path, how: str) -> None:
    async def script(url: str) -> None:
        async with serving(tmp_path, traces=url) as server:
            orders = [await placed(server) for _ in range(10)]
            assert {order["status"] for order in orders} == {"confirmed"}
            if how == "refusing":  # such an answer does not pass, so nothing is tried again
                await until(lambda: metric(server, DROPPED))
            leaving["at"] = time.monotonic()

    leaving: dict[str, float] = {}
    with collecting(silent=how == "silent") as collector:
        collector.answers = [400] * 1_000
        run(script(f"http://127.0.0.1:{free_port()}" if how == "closed" else collector.url))
        assert time.monotonic() - leaving["at"] < otlp.FLUSH_S + 5, "the end of the process waits so long at most"
        assert not collector.spans


def test_a_collector_that_comes_back_gets_each_span_once(collector: Collector, tmp_path: Path) -> None:
    collector.answers = [503, 429]

    async def script() -> Any:
        async with serving(tmp_path, traces=collector.url) as server:
            order = await placed(server)
            await asyncio.to_thread(collector.wait, lambda: bool(collector.spans))
            assert await metric(server, DROPPED) == 0
            return order

    order = run(script())
    spans = [span.id for span in collector.traces()[trace_of(order)]]
    assert len(collector.posts) >= 3
    assert len(spans) == len(set(spans)) == 6


def test_what_waits_is_bounded_and_what_is_dropped_is_counted() -> None:
    async def script(url: str) -> None:
        async def none(account: str, order_id: str) -> list[Any]:
            raise AssertionError("no order of this test is over")

        service = {"service.name": "test"}
        async with otlp.Traces.open(url, headers={}, service=service, histories=none, clock=HandClock()) as traces:
            first = accepted("0199a8b2-4c3d-7e5f-8a1b-2c3d4e5f6071")
            begun = time.monotonic()
            for _ in range(otlp.WAITING_MAX + 1_000):
                traces.recorded(first)
            assert traces.dropped == 1_000
            assert time.monotonic() - begun < 2, "telling does not wait for sending"
        assert traces.dropped == otlp.WAITING_MAX + 1_000, "what was not sent before the end is counted as well"

    with collecting(silent=True) as collector:
        run(script(collector.url))


def test_what_waits_at_the_end_is_sent(collector: Collector, tmp_path: Path) -> None:
    """The last orders of a process end while it drains: their spans leave after that."""

    async def script() -> list[str]:
        async with serving(tmp_path, traces=collector.url) as server:
            return [(await server.post("/v1/orders", SELL)).json["id"] for _ in range(30)]

    ids = run(script())
    over = [spans for spans in collector.traces().values() if not spans[0].parent]
    accepts = [span for span in collector.spans if span.name == "accept"]
    assert {span.trace for span in accepts} == {order_id.replace("-", "") for order_id in ids}
    assert over, "orders that were in hand ended while the process drained"
    assert {spans[0].attributes["fillwright.status"] for spans in over} == {"confirmed"}
