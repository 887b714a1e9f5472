"""`/v1/sim`: break a simulated engine, and see whether anything gets lost.

Decides: what a plan of faults may say. Must never: offer any of it where something is real.
"""

from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.edge import json_response, members_of
from fillwright.api.listing import known_only
from fillwright.engine import Engine
from fillwright.errors import Code, FillwrightError
from fillwright.lab import DELAY_MS_MAX, LOST_PCT_MAX, FaultPlan, Lab
from fillwright.wire.reading import Fields

_encode: Final = msgspec.json.Encoder().encode
_VENUES_MAX: Final = 16
_NAME_MAX: Final = 32


class Laboratory:
    """Handlers of one engine; without a lab all of them answer that there is none."""

    def __init__(self, engine: Engine, lab: Lab | None) -> None:
        self._engine = engine
        self._lab = lab

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/sim/faults", self.faults),
            web.put("/v1/sim/faults", self.turn),
            web.post("/v1/sim/workers/kill", self.kill),
            web.get("/v1/sim/audit", self.audit),
        ]

    async def faults(self, request: web.Request) -> web.Response:
        lab = self._existing()
        known_only(request.query, set())
        return json_response(_encode(lab.world.plan))

    async def turn(self, request: web.Request) -> web.Response:
        world = self._existing().world
        world.turn(self._plan(Fields(await members_of(request))))
        return json_response(_encode(world.plan))

    async def kill(self, request: web.Request) -> web.Response:
        crew = self._existing().crew
        if crew is None:
            raise FillwrightError(Code.REQUEST_NOT_FOUND, "no worker runs in this process")
        return json_response(_encode(crew.kill()))

    async def audit(self, request: web.Request) -> web.Response:
        lab = self._existing()
        known_only(request.query, set())
        return json_response(_encode(await lab.audit()))

    def _existing(self) -> Lab:
        if self._lab is None:
            why = "there is no fault lab here: only an embedded engine on its own simulated chain has one"
            raise FillwrightError(Code.REQUEST_NOT_FOUND, why)
        return self._lab

    def _plan(self, fields: Fields) -> FaultPlan:
        """The whole plan: what is absent does not go wrong. Raises Refused."""

        def of(name: str, most: int) -> int:
            return fields.whole(name, least=0, most=most) or 0

        plan = FaultPlan(
            drop_pct=of("dropPct", 100),
            lost_answer_pct=of("lostAnswerPct", LOST_PCT_MAX),
            late_pct=of("latePct", 100),
            revert_pct=of("revertPct", 100),
            lying_height_pct=of("lyingHeightPct", LOST_PCT_MAX),
            quote_failure_pct=of("quoteFailurePct", 100),
            quote_delay_ms=of("quoteDelayMs", DELAY_MS_MAX),
            land_delay_ms=of("landDelayMs", DELAY_MS_MAX),
            venues_down=fields.texts("venuesDown", most=_VENUES_MAX, longest=_NAME_MAX) or (),
        )
        if not set(plan.venues_down) <= set(self._engine.venues):
            fields.blame("venuesDown", f"must be of {', '.join(self._engine.venues)}")
        fields.finish()
        return plan
