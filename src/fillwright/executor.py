"""Drive one order: ask what comes next, do it, record what happened, publish, repeat.

Decides: the order of effects. A transaction is durable before it is broadcast, an event is durable before it
is published; events with no effect outside between them may share a commit. Must never: keep state of its own;
whatever fails here, the stored order is enough to go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar, assert_never

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.landing import land
from fillwright.order import (
    Aborted,
    Conclude,
    Declined,
    Event,
    Fill,
    FindRoute,
    Intent,
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
    abort,
    advance,
    landed,
    miss,
    next_step,
)
from fillwright.policy import Policy, max_in, min_out
from fillwright.ports import Bus, Chain, Clock, Conflict, Discovery, News, Rejection, Sighting, Store, Venue
from fillwright.routing import Limits, NoRoute, Offer, Prices, Router, size_problem
from fillwright.sniping import Facts, Listing, refusals
from fillwright.units import ATOMS_MAX, Atoms, Millis, Mint, OrderId, ceil_div

T = TypeVar("T")


class Alarm(msgspec.Struct, frozen=True):
    """What an operator must look into: the engine goes on, but cannot mend it by itself."""

    order_id: OrderId
    what: Literal["unknown", "taken_back"]
    why: str


class Executor(msgspec.Struct, frozen=True, kw_only=True):
    store: Store
    bus: Bus
    venues: Sequence[Venue]
    chain: Chain
    discovery: Discovery
    clock: Clock
    policy: Policy
    hubs: frozenset[Mint]
    """Tokens that a route may pass through."""
    observe: Callable[[Recorded], None]
    alarm: Callable[[Alarm], None]
    news_of: Callable[[Recorded], News]
    """How watchers are told of an event."""
    router: Router = msgspec.field(default_factory=Router)
    asking: dict[tuple[tuple[str, ...] | None, frozenset[Mint]], asyncio.Task[list[Offer]]] = msgspec.field(
        default_factory=dict
    )
    """Questions to the venues that are under way."""

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
                    held = await self._find_route(held)
                case SignRoute(route=route):
                    held = await self._record(held, self._after(held, await self._sign(held, route)))
                case LandTx(tx=tx):
                    event = await self._land(held, tx)
                    held = held if event is None else await self._record(held, self._after(held, event))
                case Conclude(event=ending):
                    held = await self._record(held, self._after(held, ending))
                case _:
                    assert_never(step)

    # --- steps, each ending in an event -------------------------------------------------------------------

    async def _find_route(self, order: Order) -> Order | None:
        """Record the route, or why there is none. A signature that follows at once is part of the same commit."""
        target = order.target
        route = await (self.route(order.part) if target is None else self.route_on(order.part, target))
        if isinstance(route, NoRoute):
            return await self._record(order, self._after(order, self._unroutable(order, route)))
        if not order.intent.keeps_limit(route.amount_in, route.amount_out):
            return await self._record(order, self._after(order, miss(order, route.quotes, self.clock.now())))
        too_much = size_problem(order.filled_in + route.amount_in, order.filled_out + route.amount_out)
        if too_much is not None:  # all slices together could not be stored
            return await self._record(order, self._after(order, self._aborted(order, too_much)))
        recorded = self._after(order, Routed(route=route))
        building = recorded[-1].order
        step = next_step(building, self.clock.now(), self.policy)
        if not isinstance(step, SignRoute):
            return await self._record(order, recorded)
        early = _Later(self.policy.sign_soon_s, lambda: self._record(order, recorded))
        try:
            event = await self._sign(building, step.route)
            if early.task is None:
                early.forget()
                return await self._record(order, [*recorded, *self._after(building, event)])
            held = await early.task
            if held is not building:  # somebody else moved it on: what was signed is nobody's
                return held
            if not isinstance(next_step(building, self.clock.now(), self.policy), SignRoute):
                return building  # the route went stale or the time ran out meanwhile
            return await self._record(building, self._after(building, event))
        finally:
            early.forget()

    def _unroutable(self, order: Order, found: NoRoute) -> Event:
        """A sniper's pool that will not do for the order is one among many; any other order has to wait, or to end."""
        if order.target is not None and not found.problem.retryable:
            return Declined(pool=order.target.address, problems=(found.problem,))
        return abort(order, found.problem, self.clock.now(), self.policy, found.quotes)

    async def _sign(self, order: Order, route: Route) -> Event:
        try:
            async with asyncio.timeout(self.policy.sign_timeout_s):
                tx = await self._signed(order, route)
                return await self._doubts(order, tx) or Signed(tx=tx)
        except FillwrightError as error:
            return self._aborted(order, error.problem)
        except TimeoutError:
            return self._aborted(order, Problem(Code.CHAIN_UNAVAILABLE, "building the transaction took too long"))

    async def _signed(self, order: Order, route: Route) -> SignedTx:
        """Build each leg with the bound that the chain enforces, and sign them as one transaction."""
        intent = order.swap
        venues = {venue.name: venue for venue in self.venues}
        instructions = [
            await venues[leg.venue].build(leg, mode=intent.mode, limit=_limit(intent, route, leg)) for leg in route.legs
        ]
        return await self.chain.sign(order.id, order.attempt, instructions)

    async def _doubts(self, order: Order, tx: SignedTx) -> Declined | None:
        """A sniper's conditions once more, on what is known after signing: what fails them is never stored nor sent.

        So they held, as far as can be known, when it was signed; before it, the pool could have changed meanwhile.
        """
        target, snipe = order.target, order.intent.snipe
        if target is None or snipe is None:
            return None
        facts = await self.facts(target)
        if facts is not None and facts.slot < tx.signed_slot:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "what is known of the new pool is older than the signature")
        problems = refusals(snipe, target, facts)
        return Declined(pool=target.address, problems=problems) if problems else None

    async def _land(self, order: Order, tx: SignedTx) -> Event | None:
        """The chain's verdict as an event; None while there is none, and the order stays as it is."""
        verdict = await land(self.chain, self.clock, tx, self.policy)
        match verdict:
            case None:
                self._doubt(order)
                return None
            case Fill():
                return landed(order, verdict)
            case Rejection(slot=slot, problem=problem):
                return Reverted(signature=tx.signature, slot=slot, problem=problem, retry_at=self._retry_at(order))
            case Sighting(height=height):
                problem = Problem(Code.CHAIN_LAPSED, "the transaction expired before it was included in a block")
                return Lapsed(signature=tx.signature, height=height, problem=problem, retry_at=self._retry_at(order))
            case _:
                assert_never(verdict)

    def _doubt(self, order: Order) -> None:
        """Nothing is concluded from it; but it should not take so long."""
        waited_s = (self.clock.now() - order.updated_at) / 1_000
        if waited_s >= self.policy.unknown_s:
            why = f"for {waited_s:.0f} s the chain has given no proof of what became of its transaction"
            self.alarm(Alarm(order.id, "unknown", why))

    def _aborted(self, order: Order, problem: Problem) -> Aborted:
        return abort(order, problem, self.clock.now(), self.policy)

    def _retry_at(self, order: Order) -> Millis:
        return Millis(self.clock.now() + self.policy.backoff(order.attempt))

    # --- recording ----------------------------------------------------------------------------------------

    def _after(self, order: Order, event: Event) -> list[Recorded]:
        return advance(order, event, self.clock.now(), self.policy)

    async def _record(self, order: Order, recorded: Sequence[Recorded]) -> Order | None:
        """Commit these events, then tell the world. On a conflict the stored order is the one to go on with."""
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
        await self.bus.publish([self.news_of(each) for each in recorded])

    # --- quotes -------------------------------------------------------------------------------------------

    async def route(self, intent: Intent) -> Route | NoRoute:
        """Ask every allowed venue at once and choose. Has no effect."""
        return self.router.best_route(intent, await self.offers_for(intent), self.clock.now(), self._limits())

    async def route_on(self, intent: Intent, pool: Listing) -> Route | NoRoute:
        """The same on this pool alone."""
        offers = await self.offers((pool.venue,), frozenset({intent.token_in.mint, intent.token_out.mint}))
        alone = [
            msgspec.structs.replace(offer, pools=tuple(each for each in offer.pools if each.address == pool.address))
            for offer in offers
        ]
        return self.router.best_route(intent, alone, self.clock.now(), self._limits())

    def prices(self, intent: Intent, offers: Sequence[Offer]) -> Prices:
        """What any size of this swap up to the intent's own would get from these offers."""
        return self.router.prices(intent, offers, self._limits())

    def _limits(self) -> Limits:
        policy = self.policy
        return Limits(legs_max=policy.legs_max, hops_max=policy.hops_max, leg_cost_lamports=policy.leg_cost_lamports)

    async def offers_for(self, intent: Intent) -> list[Offer]:
        """What the venues that the intent allows have for it."""
        return await self.offers(intent.venues, self.hubs | {intent.token_in.mint, intent.token_out.mint})

    async def offers(self, names: tuple[str, ...] | None, mints: frozenset[Mint]) -> list[Offer]:
        """What these venues (None: all) have for these tokens.

        One question answers all who have the same one while it is under way.
        """
        asked = (names, mints)
        asking = self.asking.get(asked)
        if asking is None:
            venues = [venue for venue in self.venues if names is None or venue.name in names]
            asking = self.asking[asked] = asyncio.create_task(self._ask(venues, mints))
            asking.add_done_callback(lambda _: self.asking.pop(asked))
        return await asyncio.shield(asking)  # one that gives up must not take the answer from the others

    async def _ask(self, venues: Sequence[Venue], mints: frozenset[Mint]) -> list[Offer]:
        return await asyncio.gather(*(self._offer(venue, mints) for venue in venues))

    async def _offer(self, venue: Venue, mints: frozenset[Mint]) -> Offer:
        asked_at = self.clock.monotonic()
        try:
            snapshot = await venue.pools(mints)
        except FillwrightError as error:
            return Offer(venue=venue.name, latency_ms=self._since(asked_at), problem=error.problem)
        return Offer(venue=venue.name, latency_ms=self._since(asked_at), pools=snapshot.pools, time=snapshot.time)

    def _since(self, asked_at: float) -> Millis:
        return Millis(round((self.clock.monotonic() - asked_at) * 1_000))

    # --- new pools ----------------------------------------------------------------------------------------

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        """See ports.Discovery, within `chain_timeout_s`."""
        return await self._in_time(self.discovery.new_pools(within_s))

    async def facts(self, listing: Listing) -> Facts | None:
        """See ports.Discovery, within `chain_timeout_s`."""
        return await self._in_time(self.discovery.facts(listing))

    async def _in_time(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self.policy.chain_timeout_s):
                return await answer
        except TimeoutError:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the chain did not tell in time what is new") from None


class _Later:
    """Work that begins after a while unless it is forgotten before; what has begun then ends with its owner."""

    def __init__(self, seconds: float, work: Callable[[], Coroutine[Any, Any, Order | None]]) -> None:
        self.task: asyncio.Task[Order | None] | None = None
        self._work = work
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def forget(self) -> None:
        self._timer.cancel()
        if self.task is not None:
            self.task.cancel()

    def _begin(self) -> None:
        self.task = asyncio.create_task(self._work())


def _limit(intent: Intent, route: Route, leg: Leg) -> Atoms:
    """The bound of one leg: of the slippage and of its share of the limit price, whichever is tighter.

    Legs within a route need none: the ones at its free end hold for the whole.
    """
    if intent.mode is Mode.EXACT_IN:
        if leg.mint_out != intent.token_out.mint:
            return Atoms(0)
        least = min_out(leg.amount_out, intent.slippage_bps)
        if intent.limit is None:
            return least
        numerator, denominator = intent.rate(intent.limit)
        whole = ceil_div(route.amount_in * numerator, denominator)
        return max(least, Atoms(ceil_div(leg.amount_out * whole, route.amount_out)))
    if leg.mint_in != intent.token_in.mint:
        return ATOMS_MAX
    most = max_in(leg.amount_in, intent.slippage_bps)
    if intent.limit is None:
        return most
    numerator, denominator = intent.rate(intent.limit)
    whole = route.amount_out * denominator // numerator
    return min(most, Atoms(leg.amount_in * whole // route.amount_in))
