"""The call by which an operator says what became of a transaction that the chain gives no proof of.

Decides: what must be said. Must never: let a key without the scope `admin` say it (see access).
"""

from typing import Final

from aiohttp import web

from fillwright.api.access import caller_of
from fillwright.api.edge import account_of, json_response, members_of, order_id_in, refuse
from fillwright.api.orders import encode
from fillwright.engine import Engine
from fillwright.errors import FillwrightError
from fillwright.order import Order
from fillwright.resolving import Outcome, Statement
from fillwright.wire.reading import Fields, Members
from fillwright.wire.resources import order_view

EVIDENCE_MAX: Final = 500
_WORD_MAX: Final = 64
_ANYBODY: Final = "operator"
"""Who says it on an engine without keys."""


class Resolving:
    """The handler of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/orders/{id}/resolve", self.resolve)]

    async def resolve(self, request: web.Request) -> web.Response:
        order_id = order_id_in(request)
        members = await members_of(request)
        order = await self._engine.get(account_of(request), order_id)
        told = parse_statement(members, order, by=caller_of(request).key_id or _ANYBODY)
        try:
            resolved = await self._engine.resolve(order, told)
        except FillwrightError as error:
            return refuse(request, error, order_id)
        return json_response(encode(order_view(resolved)))


def parse_statement(members: Members, order: Order, *, by: str) -> Statement:
    """Raises Refused. Amounts belong to `landed`, and only to it."""
    fields = Fields(members)
    word = fields.text("outcome", _WORD_MAX)
    evidence = fields.text("evidence", EVIDENCE_MAX)
    amount_in = amount_out = None
    if word == Outcome.LANDED:
        amount_in = fields.amount("amountIn", order.swap.token_in.decimals)
        amount_out = fields.amount("amountOut", order.swap.token_out.decimals)
    if word is not None and word not in tuple(Outcome):
        fields.blame("outcome", f"must be one of: {', '.join(Outcome)}")
    for name in ("outcome", "evidence"):
        if not fields.has(name):
            fields.blame(name, "is required")
    fields.finish()
    assert word is not None
    assert evidence is not None
    return Statement(outcome=Outcome(word), by=by, evidence=evidence, amount_in=amount_in, amount_out=amount_out)
