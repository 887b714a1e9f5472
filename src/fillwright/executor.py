"""Drive one order: ask what comes next, do it, record what happened, publish, repeat.

Decides: the order of effects. A transaction is durable before it is broadcast, an event is durable before it
is published. Must never: keep state of its own; whatever fails here, the stored order is enough to go on.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.landing import land
from fillwright.order import (
    Aborted,
    Conclude,
    Event,
    Fill,
    FindRoute,
    Intent,
    Landed,
    LandTx,
    Lapsed,
    Leg,
    Mode,
    Order,
    Recorded,
    Rest,
    Reverted,
    Route,
    Routed,
    Signed,
    SignedTx,
    SignRoute,
    advance,
    next_step,
)
from fillwright.policy import Policy, max_in, min_out
from fillwright.ports import Bus, Chain, Clock, Conflict, Rejection, Sighting, Store, Venue
from fillwright.routing import Limits, NoRoute, Offer, Router
from fillwright.units import ATOMS_MAX, Atoms, Millis, Mint


class Executor(msgspec.Struct, frozen=True, kw_only=True):
    store: Store
    bus: Bus
    venues: Sequence[Venue]
    chain: Chain
    clock: Clock
    policy: Policy
    hubs: frozenset[Mint]
    """Tokens that a route may pass through."""
    observe: Callable[[Recorded], None]
    router: Router = msgspec.field(default_factory=Router)

    async def drive(self, order: Order, worker: str) -> None:
        """Take a claimed order as far as it goes: to its end, or to a pause (the sweep resumes it).

        Raises FillwrightError when the store cannot answer. Returns silently when the order is another worker's.
        """
        held: Order | None = order
        while held is not None and held.worker == worker:
            step = next_step(held, self.clock.now(), self.policy)
            match step:
                case Rest():
                    return
                case FindRoute():
                    event: Event | None = await self._find_route(held)
                case SignRoute(route=route):
                    event = await self._sign(held, route)
                case LandTx(tx=tx):
                    event = await self._land(held, tx)
                case Conclude(event=ending):
                    event = ending
                case _:
                    assert_never(step)
            if event is not None:
                held = await self._record(held, event)

    # --- steps, each ending in an event -------------------------------------------------------------------

    async def _find_route(self, order: Order) -> Event:
        route = await self.route(order.intent)
        if isinstance(route, NoRoute):
            return Aborted(problem=route.problem, retry_at=self._retry_at(order), quotes=route.quotes)
        return Routed(route=route)

    async def _sign(self, order: Order, route: Route) -> Event:
        try:
            async with asyncio.timeout(self.policy.sign_timeout_s):
                return Signed(tx=await self._signed(order, route))
        except FillwrightError as error:
            return self._aborted(order, error.problem)
        except TimeoutError:
            return self._aborted(order, Problem(Code.CHAIN_UNAVAILABLE, "building the transaction took too long"))

    async def _signed(self, order: Order, route: Route) -> SignedTx:
        """Build each leg with the bound that the chain enforces, and sign them as one transaction."""
        intent = order.intent
        venues = {venue.name: venue for venue in self.venues}
        instructions = [
            await venues[leg.venue].build(leg, mode=intent.mode, limit=_limit(intent, leg)) for leg in route.legs
        ]
        return await self.chain.sign(order.id, order.attempt, instructions)

    async def _land(self, order: Order, tx: SignedTx) -> Event | None:
        """The chain's verdict as an event; None while there is none, and the order stays as it is."""
        verdict = await land(self.chain, self.clock, tx, self.policy)
        match verdict:
            case None:
                return None
            case Fill():
                return Landed(fill=verdict)
            case Rejection(slot=slot, problem=problem):
                return Reverted(signature=tx.signature, slot=slot, problem=problem, retry_at=self._retry_at(order))
            case Sighting(height=height):
                problem = Problem(Code.CHAIN_LAPSED, "the transaction expired before it was included in a block")
                return Lapsed(signature=tx.signature, height=height, problem=problem, retry_at=self._retry_at(order))
            case _:
                assert_never(verdict)

    def _aborted(self, order: Order, problem: Problem) -> Aborted:
        return Aborted(problem=problem, retry_at=self._retry_at(order))

    def _retry_at(self, order: Order) -> Millis:
        return Millis(self.clock.now() + self.policy.backoff(order.attempt))

    # --- recording ----------------------------------------------------------------------------------------

    async def _record(self, order: Order, event: Event) -> Order | None:
        """Commit the event, then tell the world. On a conflict the stored order is the one to go on with."""
        recorded = advance(order, event, self.clock.now(), self.policy)
        try:
            await self.store.record(order, recorded)
        except Conflict:
            return await self.store.get(order.account, order.id)
        await self.announce(recorded)
        return recorded[-1].order

    async def announce(self, recorded: Sequence[Recorded]) -> None:
        """Publish and log events that are committed."""
        for each in recorded:
            self.observe(each)
        await self.bus.publish(recorded)

    # --- quotes -------------------------------------------------------------------------------------------

    async def route(self, intent: Intent) -> Route | NoRoute:
        """Ask every allowed venue at once, each within its time, and choose. Has no effect."""
        venues = [v for v in self.venues if intent.venues is None or v.name in intent.venues]
        offers = await asyncio.gather(*(self._offer(venue, intent) for venue in venues))
        policy = self.policy
        limits = Limits(legs_max=policy.legs_max, hops_max=policy.hops_max, leg_cost_lamports=policy.leg_cost_lamports)
        return self.router.best_route(intent, offers, self.clock.now(), limits)

    async def _offer(self, venue: Venue, intent: Intent) -> Offer:
        asked_at = self.clock.monotonic()
        try:
            async with asyncio.timeout(self.policy.quote_timeout_s):
                snapshot = await venue.pools(self.hubs | {intent.token_in.mint, intent.token_out.mint})
        except TimeoutError:
            problem = Problem(Code.VENUE_TIMEOUT, f"{venue.name} did not answer in time")
            return Offer(venue=venue.name, latency_ms=self._since(asked_at), problem=problem)
        except FillwrightError as error:
            return Offer(venue=venue.name, latency_ms=self._since(asked_at), problem=error.problem)
        return Offer(venue=venue.name, latency_ms=self._since(asked_at), pools=snapshot.pools, time=snapshot.time)

    def _since(self, asked_at: float) -> Millis:
        return Millis(round((self.clock.monotonic() - asked_at) * 1_000))


def _limit(intent: Intent, leg: Leg) -> Atoms:
    """The bound of one leg. Legs within a route need none: the ones at its free end hold for the whole."""
    if intent.mode is Mode.EXACT_IN:
        return min_out(leg.amount_out, intent.slippage_bps) if leg.mint_out == intent.token_out.mint else Atoms(0)
    return max_in(leg.amount_in, intent.slippage_bps) if leg.mint_in == intent.token_in.mint else ATOMS_MAX
