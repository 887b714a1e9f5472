"""`/v1/pools` and `/v1/venues`: what the engine's router sees.

Decides: which of it is shown. Must never: ask a venue for the sake of one reader.
"""

from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.edge import json_response
from fillwright.api.listing import known_only, pair_asked
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.wire.market import PoolView, VenueView, pool_views, venue_views

_encode: Final = msgspec.json.Encoder().encode


class PoolList(msgspec.Struct, frozen=True):
    data: list[PoolView]


class VenueList(msgspec.Struct, frozen=True):
    data: list[VenueView]


class Markets:
    """Handlers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/pools", self.pools), web.get("/v1/venues", self.venues)]

    async def pools(self, request: web.Request) -> web.Response:
        query = request.query
        known_only(query, {"pair", "venue"})
        mints, venue = pair_asked(query, self._engine.tokens), query.get("venue")
        if venue is not None and venue not in self._engine.venues:
            known = ", ".join(self._engine.venues)
            raise FillwrightError(Code.VALIDATION_FAILED, f"venue must be one of {known}")
        reading = await self._engine.market.read()
        views = pool_views(reading, self._engine.tokens, self._engine.clock.now())
        shown = [
            view
            for view in views
            if venue in (None, view.venue) and mints in (None, frozenset((view.mint_base, view.mint_quote)))
        ]
        return json_response(_encode(PoolList(shown)))

    async def venues(self, request: web.Request) -> web.Response:
        known_only(request.query, set())
        reading = await self._engine.market.read()
        return json_response(_encode(VenueList(venue_views(reading, self._engine.clock.now()))))
