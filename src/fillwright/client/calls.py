"""The calls of the engine's interface, for asyncio.

Decides: what a caller says and gets. Must never: show how often something had to be tried.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, Literal, Required, Self, TypedDict
from urllib.parse import quote as escaped

import msgspec

from fillwright.client import streams
from fillwright.client.exchange import Exchange
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame
from fillwright.wire.market import PoolView, VenueView
from fillwright.wire.resources import (
    AttemptView,
    BracketView,
    CancelView,
    FillView,
    OrderView,
    PreviewView,
    RouteView,
    SwitchView,
)

TIMEOUT_S: Final = 10.0
BUDGET_S: Final = 30.0


class TriggerRequest(TypedDict, total=False):
    """The price that a stop or take profit waits for. `op` follows from type and side, and may be left out."""

    price: str
    op: Literal["gte", "lte"]


class TrailRequest(TypedDict):
    """How far the trigger of a trailing stop stays behind the best price seen, in basis points."""

    bps: int


class ScheduleRequest(TypedDict, total=False):
    """So many slices, an interval apart, each moved at random by up to `jitterPct` of it; 0 unless told otherwise."""

    slices: Required[int]
    intervalSeconds: Required[int]
    jitterPct: int


class RequireRequest(TypedDict, total=False):
    """A sniper's safety conditions: each holds, by the first word of its type, unless it is given up by another."""

    mintAuthority: Literal["revoked", "any"]
    freezeAuthority: Literal["none", "any"]
    liquidity: Literal["locked", "burned", "any"]
    extensions: Literal["none", "any"]
    sellable: bool


class SniperRequest(TypedDict, total=False):
    """Which new pool a sniper waits for: of a mint, by a creator, or any against the token that it pays.

    `minLiquidity` is of that token; `maxAgeSeconds` is 60 unless told otherwise.
    """

    mint: str
    creator: str
    venues: list[str]
    minLiquidity: str
    maxAgeSeconds: int
    require: RequireRequest


class OrderRequest(TypedDict, total=False):
    """An order as it is sent: tokenIn and tokenOut, or pair and side, and amount; the rest has defaults.

    Amounts and prices are decimal text ("1.5"); a price is quote per base; tokens are symbols or mints.
    A limit needs `limitPrice`, a stop and a take_profit need `trigger`, a trailing_stop needs `trail`; these three may
    have a `limitPrice` as well. A twap and a dca need `schedule`, and their `limitPrice` is a band; a sniper needs
    `sniper`, and has neither tokenOut nor pair. `timeInForce` is gtc, gtd (with `expireAt`, RFC 3339), or for a limit
    ioc or fok.
    """

    clientOrderId: str
    type: str
    tokenIn: str
    tokenOut: str
    pair: str
    side: str
    amount: str
    amountMode: str
    slippageBps: int
    maxPriceImpactBps: int
    deadlineMs: int
    routing: Mapping[str, Any]
    tags: list[str]
    limitPrice: str
    trigger: TriggerRequest
    trail: TrailRequest
    timeInForce: Literal["gtc", "gtd", "ioc", "fok"]
    expireAt: str
    schedule: ScheduleRequest
    sniper: SniperRequest


class ExitRequest(TypedDict, total=False):
    """An order that waits for its entry's fill and swaps back what that gave; so it has no tokens and no amount.

    `type` is limit, stop, take_profit or trailing_stop. Where there is no entry, an exit is a complete OrderRequest.
    """

    type: Required[Literal["limit", "stop", "take_profit", "trailing_stop"]]
    slippageBps: int
    maxPriceImpactBps: int
    deadlineMs: int
    routing: Mapping[str, Any]
    tags: list[str]
    limitPrice: str
    trigger: TriggerRequest
    trail: TrailRequest
    timeInForce: Literal["gtc", "gtd"]
    expireAt: str


class Amendment(TypedDict, total=False):
    """What to change of an order that rests. What is left out stays; None removes what the order can do without."""

    amount: str
    slippageBps: int | None
    maxPriceImpactBps: int | None
    limitPrice: str | None
    trigger: TriggerRequest
    trail: TrailRequest
    expireAt: str | None


class _Attempts(msgspec.Struct, frozen=True):
    data: list[AttemptView]


class _Fills(msgspec.Struct, frozen=True):
    data: list[FillView]


class _Route(msgspec.Struct, frozen=True):
    route: RouteView | None


class _Cancels(msgspec.Struct, frozen=True):
    data: list[CancelView]


class _Pools(msgspec.Struct, frozen=True):
    data: list[PoolView]


class _Venues(msgspec.Struct, frozen=True):
    data: list[VenueView]


class Client:
    """One engine, as one account sees it. Use it as a context manager, or `close` it.

    Every call raises ClientError: ApiError (NotFound, Refused, Conflict, ...) for the engine's own refusals,
    Unreachable, OutcomeUnknown, NotUnderstood. After a timeout, a lost connection, 429 or 5xx a call is repeated, at
    most for `budget_s`; one try takes at most `timeout_s`. An order is repeated under the same idempotency key, so it
    is accepted once.
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = TIMEOUT_S, budget_s: float = BUDGET_S
    ) -> None:
        """Raises ValueError for an address that is not like `http://host:port`."""
        self._exchange = Exchange(url, api_key, timeout_s, budget_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends its connections; calls after it fail."""
        await self._exchange.close()

    # --- orders -------------------------------------------------------------------------------------------

    async def submit(self, order: OrderRequest, *, idempotency_key: str | None = None) -> OrderView:
        """The order, durably accepted. The same key again, whenever, answers the same order.

        Without a key one is made up for this call; OutcomeUnknown tells it.
        """
        return await self._exchange.post("/v1/orders", OrderView, order, idempotency_key or uuid.uuid4().hex)

    async def bracket(
        self, entry: OrderRequest | None, *exits: ExitRequest | OrderRequest, idempotency_key: str | None = None
    ) -> BracketView:
        """An entry with one or two exits, all durably accepted or none; of two exits at most one swaps.

        Without an entry: two orders of one direction and amount, of which at most one swaps. The key as for `submit`.
        """
        body = {"exits": exits} if entry is None else {"entry": entry, "exits": exits}
        return await self._exchange.post("/v1/brackets", BracketView, body, idempotency_key or uuid.uuid4().hex)

    async def get(self, order_id: str) -> OrderView:
        """The order as it is now."""
        return await self._exchange.get(_of(order_id), OrderView)

    async def get_by_client_id(self, client_order_id: str) -> OrderView:
        """The order that you gave this name."""
        return await self._exchange.get(f"/v1/orders/by-client-id/{escaped(client_order_id, safe='')}", OrderView)

    def orders(
        self,
        *,
        status: str = "all",
        pair: str | None = None,
        side: str | None = None,
        since: str | None = None,
        until: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[OrderView]:
        """The newest first; pages are fetched as they are reached. `since` and `until`: RFC 3339 or epoch ms.

        `status`: open (not ended), resting (waiting for the market), closed, all, or one status.
        """
        asked = {"status": status, "pair": pair, "side": side, "since": since, "until": until, "limit": str(page_size)}
        return streams.pages(self._exchange, {name: text for name, text in asked.items() if text is not None})

    async def amend(self, order_id: str, seq: int, changes: Amendment) -> OrderView:
        """Change an order that rests, if it still is as you saw it: `seq` is that of the order you saw.

        Conflict where it has moved on (ORDER_CHANGED) or does not rest (ORDER_NOT_OPEN): look at it again.
        """
        return await self._exchange.amend(_of(order_id), OrderView, changes, f'"{seq}"')

    async def cancel(self, order_id: str) -> OrderView:
        """Canceled; or still `submitted`, then `outcome_known_by` says until when. Conflict where it is too late."""
        return await self._exchange.change(f"{_of(order_id)}/cancel", OrderView)

    async def resolve(
        self,
        order_id: str,
        outcome: Literal["landed", "reverted", "lapsed"],
        *,
        evidence: str,
        amount_in: str | None = None,
        amount_out: str | None = None,
    ) -> OrderView:
        """Say what became of the order's transaction where the chain has long given no proof; needs scope `admin`.

        Where it landed: both amounts. Conflict (ORDER_NOT_IN_DOUBT) where the chain knows, or may yet tell.
        """
        told = {"outcome": outcome, "evidence": evidence, "amountIn": amount_in, "amountOut": amount_out}
        body = {name: text for name, text in told.items() if text is not None}
        return await self._exchange.change(f"{_of(order_id)}/resolve", OrderView, body)

    async def cancel_all(self, *, pair: str | None = None) -> list[CancelView]:
        """Every open order, or those of a pair, each with its own outcome: canceled, inFlight, or refused.

        Where it took several tries, what an earlier one canceled is not told again.
        """
        body = {} if pair is None else {"pair": pair}
        return (await self._exchange.change("/v1/orders/cancel-all", _Cancels, body)).data

    async def cancel_after(self, seconds: int) -> SwitchView:
        """Cancel all orders in so many seconds, unless this is called again before; 0 calls it off.

        The engine keeps it: it fires whatever becomes of this program, which is what it is for.
        """
        return await self._exchange.change("/v1/cancel-after", SwitchView, {"timeoutSeconds": seconds})

    async def events(self, order_id: str) -> list[Frame]:
        """Its whole history, as streams show it."""
        return (await self._exchange.get(f"{_of(order_id)}/events", streams.OrderEvents)).data

    async def attempts(self, order_id: str) -> list[AttemptView]:
        """Its transactions, each with its outcome and the proof of it."""
        return (await self._exchange.get(f"{_of(order_id)}/attempts", _Attempts)).data

    async def fills(self, order_id: str) -> list[FillView]:
        """What the chain swapped: one fill, or none."""
        return (await self._exchange.get(f"{_of(order_id)}/fills", _Fills)).data

    async def route(self, order_id: str) -> RouteView | None:
        """The route of the latest attempt that had one, with every quote that was compared."""
        return (await self._exchange.get(f"{_of(order_id)}/route", _Route)).route

    async def explain(self, order_id: str) -> ExplainView:
        """What the order waits for, what comes next and when, and what went wrong last, in plain words."""
        return await self._exchange.get(f"{_of(order_id)}/explain", ExplainView)

    # --- prices -------------------------------------------------------------------------------------------

    async def preview(self, order: OrderRequest) -> PreviewView:
        """What would happen now, with the bound that would be signed; nothing is stored."""
        return await self._exchange.post("/v1/orders/preview", PreviewView, order)

    async def quote(self, order: OrderRequest) -> RouteView:
        """The best route for the swap now; nothing is stored."""
        return await self._exchange.post("/v1/quotes", RouteView, order)

    # --- markets ------------------------------------------------------------------------------------------

    async def pools(self, *, pair: str | None = None, venue: str | None = None) -> list[PoolView]:
        """The pools that the router sees, with their state and its age."""
        asked = {"pair": pair, "venue": venue}
        query = {name: text for name, text in asked.items() if text is not None}
        return (await self._exchange.get("/v1/pools", _Pools, query)).data

    async def venues(self) -> list[VenueView]:
        """The venues' health, as the process that answers met it."""
        return (await self._exchange.get("/v1/venues", _Venues)).data

    # --- streams ------------------------------------------------------------------------------------------

    def watch(self, order_id: str, *, after: int = 0) -> AsyncGenerator[Frame, None]:
        """Every event of the order with seq > `after`, in order, each once, until the order ends.

        Lost connections are made again. Raises Unreachable when that fails for as long as the budget.
        """
        return streams.watch_order(self._exchange, order_id, after)

    def watch_all(self) -> AsyncGenerator[Frame, None]:
        """Every event of all orders from now on, each once; each order's own are in order and without gap."""
        return streams.watch_all(self._exchange)

    async def wait(self, order_id: str, *, timeout_s: float | None = None) -> OrderView:
        """The order once it is over. Raises TimeoutError; the order goes on."""
        async with asyncio.timeout(timeout_s), aclosing(self.watch(order_id)) as frames:
            async for _ in frames:
                pass
        return await self.get(order_id)

    # --- the engine ---------------------------------------------------------------------------------------

    async def document(self, path: str) -> dict[str, Any]:
        """A JSON document that the engine serves, such as `/openapi.json`."""
        return await self._exchange.get(path, dict[str, Any])


def _of(order_id: str) -> str:
    return f"/v1/orders/{escaped(order_id, safe='')}"
