"""How many requests of which kind were answered how fast, and what became of the sockets.

Decides: what the interface's metrics tell. Must never: use what a client sent as a label.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_UNKNOWN: Final = "none"


class SocketMetrics:
    """WebSockets that are open, and how they ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("fillwright_sockets", "WebSockets open", registry=registry)
        closed = Counter("fillwright_sockets_closed", "WebSockets closed by the server", ["code"], registry=registry)
        self._closed_with = lru_cache(closed.labels)

    def closed(self, code: int) -> None:
        self._closed_with(code).inc()


def make_measured(registry: CollectorRegistry, now_s: Callable[[], float]) -> Middleware:
    """The middleware that counts. Sockets count when they end, without a duration."""
    requests = Counter(
        "fillwright_http_requests", "Requests answered", ["route", "method", "status"], registry=registry
    )
    seconds = Histogram(
        "fillwright_http_seconds", "From a request to its answer", ["route"], registry=registry, buckets=_SECONDS
    )
    count_of, seconds_of = lru_cache(requests.labels), lru_cache(seconds.labels)

    @web.middleware
    async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun_at = now_s()
        response = await handler(request)
        route = _route_of(request)
        method = request.method if route != _UNKNOWN else _UNKNOWN
        count_of(route, method, response.status).inc()
        if not isinstance(response, web.WebSocketResponse):
            seconds_of(route).observe(now_s() - begun_at)
        return response

    return measured


def _route_of(request: web.Request) -> str:
    """The pattern that the request met, such as /v1/orders/{id}."""
    resource = request.match_info.route.resource
    return _UNKNOWN if resource is None else resource.canonical
