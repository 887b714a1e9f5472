"""`/v1/status`: what this engine is, and whether what it moves is real.

Decides: what is told of the chain and the wallet. Must never: guess; it tells what the engine was put together with.
"""

from typing import Final

import msgspec
from aiohttp import web

from fillwright import __version__
from fillwright.api.edge import json_response
from fillwright.api.listing import known_only
from fillwright.engine import Engine

_encode: Final = msgspec.json.Encoder().encode


class EngineStatus(msgspec.Struct, frozen=True):
    """`wallet`: the address that pays and is paid; null in a simulation."""

    version: str
    cluster: str
    live: bool
    wallet: str | None


class StatusPage:
    """Handler of one engine."""

    def __init__(self, engine: Engine) -> None:
        network = engine.network
        self._body = _encode(EngineStatus(__version__, network.cluster, network.is_live, network.wallet))

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/status", self.status)]

    async def status(self, request: web.Request) -> web.Response:
        known_only(request.query, set())
        return json_response(self._body)
