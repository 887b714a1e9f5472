"""Orders that are tied to each other: `/v1/brackets`.

Decides: how a request for several orders is answered. Must never: answer before all of them are stored.
"""

from aiohttp import web

from fillwright.api.access import caller_of
from fillwright.api.edge import account_of, idempotency_key_of, json_response, members_of, refuse
from fillwright.api.orders import check_limits, encode
from fillwright.engine import BracketAsked, Engine
from fillwright.errors import Code, FillwrightError
from fillwright.wire.brackets import BracketWish, fingerprint, parse_bracket
from fillwright.wire.resources import BracketView, order_view


class Brackets:
    """Handlers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/brackets", self.submit)]

    async def submit(self, request: web.Request) -> web.Response:
        wish = parse_bracket(await members_of(request), self._engine.tokens, self._engine.venues)
        asked = BracketAsked(
            account=account_of(request),
            entry=wish.entry,
            exits=wish.exits,
            fingerprint=fingerprint(wish),
            client_order_id=wish.client_order_id,
            idempotency_key=idempotency_key_of(request),
        )
        await self._check(request, wish, asked)
        try:
            bracket = await self._engine.submit_bracket(asked)
        except FillwrightError as error:
            if error.code is not Code.ORDER_DUPLICATE_CLIENT_ID or asked.client_order_id is None:
                raise
            existing = await self._engine.get_by_client_id(asked.account, asked.client_order_id)
            return refuse(request, error, existing.id)
        views = [order_view(order) for order in bracket.orders]
        view = BracketView(exits=views) if wish.entry is None else BracketView(entry=views[0], exits=views[1:])
        response = json_response(encode(view), 201 if bracket.is_new else 200)
        response.headers["Location"] = f"/v1/orders/{bracket.orders[0].id}"
        if not bracket.is_new:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    async def _check(self, request: web.Request, wish: BracketWish, asked: BracketAsked) -> None:
        """The key's limits: of the worth once, since an exit swaps what its entry gave, and of two only one does."""
        caller = caller_of(request)
        for intent in wish.exits:
            caller.check(intent)
        await check_limits(
            self._engine,
            caller,
            wish.entry or wish.exits[0],
            client_order_id=asked.client_order_id,
            idempotency_key=asked.idempotency_key,
        )
