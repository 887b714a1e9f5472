"""Mutants of the way from a route to its settlement: signing, landing, and what counts as proof.

Decides: how each safeguard of landing.py, executor.py and order is switched off.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from fillwright import executor, landing, order
from fillwright.errors import FillwrightError
from fillwright.executor import Executor
from fillwright.order import (
    Aborted,
    Event,
    Fill,
    Intent,
    Landed,
    LandTx,
    Order,
    Recorded,
    Route,
    Routed,
    Signed,
    SignedTx,
    SignRoute,
    Status,
    Step,
    steps,
)
from fillwright.policy import Policy
from fillwright.ports import Chain, Clock, Conflict, Rejection, Sighting
from fillwright.routing import NoRoute
from fillwright.units import Millis
from tests.simulation.mutants.patch import Mutant, Patches, change

Verdict: TypeAlias = Fill | Rejection | Sighting | None
_NEVER: Final = Millis(10**9)


def _broadcast_first() -> Patches:
    honest = Executor._sign

    async def sign(self: Executor, held: Order, route: Route) -> Event:
        event = await honest(self, held, route)
        if isinstance(event, Signed):
            await landing._broadcast(self.chain, event.tx, self.policy)
        return event

    return [(Executor, "_sign", sign)]


def _timeout_is_lapse() -> Patches:
    async def land(chain: Chain, clock: Clock, tx: SignedTx, policy: Policy) -> Verdict:
        verdict = await landing.land(chain, clock, tx, policy)
        return verdict or Sighting(height=tx.last_valid_height + 1, slot=tx.signed_slot, outcome=None)

    return [(executor, "land", land)]


def _error_is_failure() -> Patches:
    async def land(chain: Chain, clock: Clock, tx: SignedTx, policy: Policy) -> Verdict:
        try:
            await chain.broadcast(tx)
        except FillwrightError as error:
            return Rejection(tx.signed_slot, error.problem)
        return await landing.land(chain, clock, tx, policy)

    return [(executor, "land", land)]


def _height_alone() -> Patches:
    honest = landing.look

    async def look(chain: Chain, tx: SignedTx, policy: Policy) -> Sighting | None:
        sighting = await honest(chain, tx, policy)
        if sighting is not None and sighting.height > tx.last_valid_height:
            return change(sighting, outcome=None)
        return sighting

    return [(landing, "look", look)]


def _any_height_believed() -> Patches:
    return [(landing, "proves_lapse", lambda tx, seen: seen.outcome is None and seen.height > tx.last_valid_height)]


def _two_nodes_one_proof() -> Patches:
    honest = landing.look

    async def look(chain: Chain, tx: SignedTx, policy: Policy) -> Sighting | None:
        trace, height = await honest(chain, tx, policy), await honest(chain, tx, policy)
        return trace and height and change(height, outcome=trace.outcome)

    return [(landing, "look", look)]


def _late_signature_kept() -> Patches:
    """What was signed while the route was being stored counts, however long that took."""

    async def find_route(self: Executor, held: Order) -> Order | None:
        route = await self.route(held.intent)
        if isinstance(route, NoRoute):
            aborted = Aborted(problem=route.problem, retry_at=self._retry_at(held), quotes=route.quotes)
            return await self._record(held, self._after(held, aborted))
        recorded = self._after(held, Routed(route=route))
        building = recorded[-1].order
        if not isinstance(order.next_step(building, self.clock.now(), self.policy), SignRoute):
            return await self._record(held, recorded)
        event = await self._sign(building, route)
        stored = await self._record(held, recorded)
        return stored if stored is not building else await self._record(building, self._after(building, event))

    return [(Executor, "_find_route", find_route)]


def _signed_again() -> Patches:
    """On a take-over only, as an engine would that keeps signed bytes in memory."""
    honest_drive, honest_step = Executor.drive, order.next_step
    taken_over: set[tuple[str, int]] = set()

    async def drive(self: Executor, held: Order, worker: str) -> None:
        taken_over.add((held.id, held.seq))
        await honest_drive(self, held, worker)

    def next_step(held: Order, now: Millis, policy: Policy) -> Step:
        step = honest_step(held, now, policy)
        again = isinstance(step, LandTx) and held.route is not None and (held.id, held.seq) in taken_over
        return SignRoute(held.route) if again and held.route else step

    return [
        (Executor, "drive", drive),
        (executor, "next_step", next_step),
        (order.TRANSITIONS, "", {(Status.SUBMITTED, Signed): Status.SUBMITTED}),
    ]


def _fill_from_quote() -> Patches:
    honest = Executor._land

    async def land(self: Executor, held: Order, tx: SignedTx) -> Event | None:
        event = await honest(self, held, tx)
        if isinstance(event, Landed) and held.route is not None:
            quoted = change(event.fill, amount_in=held.route.amount_in, amount_out=held.route.amount_out)
            return Landed(fill=quoted)
        return event

    return [(Executor, "_land", land)]


def _no_limit_signed() -> Patches:
    return [(executor, "min_out", lambda amount, bps: 1), (executor, "max_in", lambda amount, bps: amount * 2)]


def _intent_changed(**changes: Any) -> Patches:
    honest = Executor.route

    async def route(self: Executor, intent: Intent) -> Route | NoRoute:
        return await honest(self, change(intent, **changes))

    return [(Executor, "route", route)]


def _policy_changed(**changes: Any) -> Patches:
    honest = order.next_step

    def next_step(held: Order, now: Millis, policy: Policy) -> Step:
        return honest(held, now, change(policy, **changes))

    return [(executor, "next_step", next_step), (steps, "next_step", next_step)]


def _deadline_ignored() -> Patches:
    honest = steps._ending

    def ending(held: Order, now: Millis, policy: Policy) -> Any:
        return honest(change(held, deadline_at=None), now, policy)

    return [(steps, "_ending", ending)]


def _cancel_forgotten() -> Patches:
    honest = steps._ending

    def ending(held: Order, now: Millis, policy: Policy) -> Any:
        return honest(change(held, cancel_requested=False), now, policy)

    return [(steps, "_ending", ending)]


def _foreign_order_driven() -> Patches:
    """A worker that lost an order goes on with the stored one as if it still held it."""

    async def record(self: Executor, held: Order, recorded: Sequence[Recorded]) -> Order | None:
        try:
            await self.store.record(held, recorded)
        except Conflict:
            stored = await self.store.get(held.account, held.id)
            return stored and change(stored, worker=held.worker)
        await self.announce(recorded)
        return recorded[-1].order

    return [(Executor, "_record", record)]


def _stale_worker_insists() -> Patches:
    honest = Executor._record

    async def record(self: Executor, held: Order, recorded: Sequence[Recorded]) -> Order | None:
        stored = await self.store.get(held.account, held.id)
        if stored is None or stored.seq == held.seq:
            return await honest(self, held, recorded)
        late = stored.seq - held.seq
        moved = [Recorded(change(each.order, seq=each.order.seq + late), each.event) for each in recorded]
        return await honest(self, change(held, seq=stored.seq), moved)

    return [(Executor, "_record", record)]


def _published_first() -> Patches:
    honest = Executor._record

    async def record(self: Executor, held: Order, recorded: Sequence[Recorded]) -> Order | None:
        await self.bus.publish([self.news_of(each) for each in recorded])
        return await honest(self, held, recorded)

    return [(Executor, "_record", record)]


MUTANTS: Final = {
    "broadcast-first": Mutant("a transaction is stored before it is broadcast", _broadcast_first),
    "timeout-is-lapse": Mutant("no verdict in time is not a lapse", _timeout_is_lapse),
    "error-is-failure": Mutant("a failed broadcast says nothing about the outcome", _error_is_failure),
    "height-alone": Mutant("a lapse needs a look at the outcome after the height", _height_alone),
    "any-height": Mutant("an impossible height is not believed", _any_height_believed),
    "two-nodes": Mutant("height and missing trace come from one node", _two_nodes_one_proof),
    "late-signature": Mutant("what was signed on a route that went stale is discarded", _late_signature_kept),
    "signed-again": Mutant("a take-over lands the stored bytes", _signed_again),
    "fill-from-quote": Mutant("fills come from the chain", _fill_from_quote),
    "no-limit": Mutant("the slippage limit is part of what is signed", _no_limit_signed),
    "all-venues": Mutant("only the order's venues are asked", lambda: _intent_changed(venues=None)),
    "any-impact": Mutant("price impact is capped", lambda: _intent_changed(max_price_impact_bps=None)),
    "attempts-unlimited": Mutant("attempts are limited", lambda: _policy_changed(attempts_max=99)),
    "stale-route": Mutant("a stale route is not signed", lambda: _policy_changed(quote_ttl_ms=_NEVER)),
    "deadline-ignored": Mutant("nothing is signed after the deadline", _deadline_ignored),
    "cancel-forgotten": Mutant("a cancel is honoured before the next attempt", _cancel_forgotten),
    "foreign-order": Mutant("a worker drives only what it holds", _foreign_order_driven),
    "stale-insists": Mutant("after a conflict the stored order counts", _stale_worker_insists),
    "published-first": Mutant("an event is committed before it is published", _published_first),
}
