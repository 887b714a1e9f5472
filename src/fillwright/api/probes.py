"""What those ask who run the engine: is it alive, is it ready, and its metrics.

Decides: when a process counts as ready. Must never: need more than the process itself to say that it is alive.
"""

from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fillwright.api.edge import json_response
from fillwright.engine import Engine

_encode: Final = msgspec.json.Encoder().encode


class Alive(msgspec.Struct, frozen=True):
    status: str = "ok"


class Health(msgspec.Struct, frozen=True):
    """`checks`: each thing the engine cannot do without, "ok" or what is wrong."""

    status: str
    checks: dict[str, str]


class Probes:
    """Handlers of one engine, of a process with or without the rest of the interface."""

    def __init__(self, engine: Engine, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._registry = registry

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/livez", self.alive),
            web.get("/startupz", self.alive),
            web.get("/readyz", self.ready),
            web.get("/health", self.ready),
            web.get("/api/health", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def alive(self, request: web.Request) -> web.Response:
        return json_response(_encode(Alive()))

    async def ready(self, request: web.Request) -> web.Response:
        """Whether orders can be accepted and executed; each check tells what is wrong."""
        checks = await self._engine.check()
        ok = all(verdict == "ok" for verdict in checks.values())
        body = _encode(Health("ok" if ok else "unavailable", checks))
        return json_response(body, 200 if ok else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
