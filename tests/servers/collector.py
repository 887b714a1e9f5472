"""An OTLP collector over real HTTP, which keeps what it was sent, and fails when told to.

Decides: how spans are received and shown. Must never: read them by anything but the protocol's own definitions.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

_PATIENCE_S: Final = 30.0


class Seen(NamedTuple):
    """One span as it arrived."""

    trace: str
    id: str
    parent: str
    name: str
    begins_ms: int
    ends_ms: int
    attributes: dict[str, Any]
    failed: bool
    events: list[str]
    links: list[tuple[str, str]]
    service: dict[str, Any]


class Collector:
    """`answers`: the statuses of the next posts; then 200. `silent`: it takes a post and never answers."""

    def __init__(self, *, silent: bool) -> None:
        self.answers: list[int] = []
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.spans: list[Seen] = []
        self.ended = threading.Event()
        self._silent = silent
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def traces(self) -> dict[str, list[Seen]]:
        """Spans by trace: the root first, the others as they came."""
        found: dict[str, list[Seen]] = {}
        for span in sorted(self.spans, key=lambda span: bool(span.parent)):
            found.setdefault(span.trace, []).append(span)
        return found

    def wait(self, is_so: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + _PATIENCE_S
        while not is_so():
            assert time.monotonic() < ends_at, f"{len(self.spans)} spans in {len(self.posts)} posts"
            time.sleep(0.02)

    def _handler(collector) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler's `self` is another one
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector._silent:
                    collector.ended.wait(_PATIENCE_S)
                    self.close_connection = True
                    return
                collector.posts.append((self.path, dict(self.headers), body))
                status = collector.answers.pop(0) if collector.answers else 200
                if status == 200:
                    collector.spans += _seen(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _run(self) -> None:
        self._server.serve_forever(poll_interval=0.05)


@contextmanager
def collecting(*, silent: bool = False) -> Iterator[Collector]:
    collector = Collector(silent=silent)
    thread = threading.Thread(target=collector._run, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.ended.set()
        collector._server.shutdown()
        collector._server.server_close()
        thread.join()


def _seen(body: bytes) -> Iterator[Seen]:
    for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in sent.scope_spans:
            for span in scope.spans:
                yield _one(span, _values(sent.resource.attributes))


def _one(span: Span, service: dict[str, Any]) -> Seen:
    assert span.start_time_unix_nano % 1_000_000 == span.end_time_unix_nano % 1_000_000 == 0
    return Seen(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        begins_ms=span.start_time_unix_nano // 1_000_000,
        ends_ms=span.end_time_unix_nano // 1_000_000,
        attributes=_values(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        events=[event.name for event in span.events],
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        service=service,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
