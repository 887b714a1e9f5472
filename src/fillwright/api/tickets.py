"""Stream tickets: a browser cannot send a header with a WebSocket, so it names a ticket in the address instead.

Decides: their answer. Must never: let a ticket be kept by a cache.
"""

from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.access import Access, caller_of
from fillwright.api.edge import json_response
from fillwright.wire import rfc3339

_encode: Final = msgspec.json.Encoder().encode


class TicketView(msgspec.Struct, frozen=True, rename="camel"):
    """To be sent once, as `?ticket=`, with the upgrade of any stream."""

    ticket: str
    expires_at: str


class Tickets:
    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/stream-ticket", self.make)]

    async def make(self, request: web.Request) -> web.Response:
        text, expires_at = await self._access.ticket(caller_of(request))
        response = json_response(_encode(TicketView(text, rfc3339(expires_at))), 201)
        response.headers["Cache-Control"] = "no-store"
        return response
