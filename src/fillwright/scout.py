"""New pools for resting snipers: look at what is new, and tell which sniper may have which pool.

Decides: how often a pool is looked into, and what counts as found. Must never: record anything (the watcher does), or
let a chain that does not answer stand in the way of other orders.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.executor import Executor
from fillwright.order import Order, Sniped, Target, aimed
from fillwright.routing import NoRoute
from fillwright.sniping import DECLINES_MAX, Facts, Hunter, Hunters, Listing, refusals, unsteady, wants
from fillwright.units import OrderId

_POOLS_MAX: Final = 64
"""Pools that are looked into at one look: the newest."""
_SHOWN_MAX: Final = 8
_SHOWN_WITHIN_S: Final = 600
_UNSTEADY: Final = Problem(Code.SNIPE_UNSTEADY, f"the pool failed {DECLINES_MAX} times just when it was signed for")


class Find(msgspec.Struct, frozen=True):
    """A pool that meets a sniper's conditions by these facts."""

    hunter: Hunter
    pool: Listing
    facts: Facts


class Candidate(msgspec.Struct, frozen=True):
    """A pool that a sniper waits for, and why it leaves it alone; no problem where it would take it."""

    pool: Listing
    facts: Facts | None
    problems: tuple[Problem, ...]


class Scout:
    """One a worker process. It knows the snipers that it was given."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._hunters = Hunters()
        self._judged: dict[str, Facts] = {}
        """Pools that nobody wanted at the last look, and what was known of them, but for the time."""
        self._fresh: set[OrderId] = set()
        """Who has not seen those pools."""

    def __len__(self) -> int:
        return len(self._hunters)

    def put(self, order: Order) -> None:
        """Look out for this open order, in place of what it was before."""
        if self._hunters.put(hunter_of(order)):
            self._fresh.add(order.id)

    def remove(self, order_id: OrderId) -> None:
        self._hunters.remove(order_id)
        self._fresh.discard(order_id)

    async def look(self) -> list[Find]:
        """What was found, at most one pool a sniper. A pool is judged anew only when something but its age has changed.

        A chain that does not answer has nothing new.
        """
        if not self._hunters:
            self._judged.clear()
            return []
        fresh, self._fresh = self._fresh, set()
        try:
            listings = await self._executor.new_pools(self._hunters.max_age_s)
        except FillwrightError:
            self._fresh |= fresh
            return []
        wanted = [each for each in listings[:_POOLS_MAX] if self._hunters.concerned(each)]
        known = await asyncio.gather(*(self._facts(listing) for listing in wanted))
        finds: dict[OrderId, Find] = {}
        judged: dict[str, Facts] = {}
        for listing, facts in zip(wanted, known, strict=True):
            if facts is None:
                self._fresh |= fresh  # they have not seen it yet
                continue
            timeless = msgspec.structs.replace(facts, slot=0, unix_seconds=0)
            same = self._judged.get(listing.address) == timeless
            found = [] if same and not fresh else self._judge(listing, facts, fresh if same else None)
            if not found:
                judged[listing.address] = timeless
            for find in found:
                finds.setdefault(find.hunter.order_id, find)
        self._judged = judged
        return list(finds.values())

    def _judge(self, listing: Listing, facts: Facts, only: set[OrderId] | None) -> list[Find]:
        return [
            Find(hunter, listing, facts)
            for hunter in self._hunters.after(listing)
            if (only is None or hunter.order_id in only) and not refusals(hunter.snipe, listing, facts)
        ]

    async def _facts(self, listing: Listing) -> Facts | None:
        try:
            return await self._executor.facts(listing)
        except FillwrightError:
            return None

    async def event(self, order: Order, find: Find) -> Sniped | None:
        """What the find means for the order as it is now: nothing where that pool has no route for it."""
        intent = aimed(order.intent, Target(find.pool, find.facts.decimals))
        route = await self._executor.route_on(intent, find.pool)
        return None if isinstance(route, NoRoute) else Sniped(pool=find.pool, facts=find.facts)


def hunter_of(order: Order) -> Hunter:
    intent = order.intent
    assert intent.snipe is not None
    return Hunter(
        order.id,
        order.account,
        order.seq,
        intent.token_in.mint,
        intent.venues,
        intent.snipe,
        unsteady(_declined(order)),
    )


def _declined(order: Order) -> tuple[str, ...]:
    return order.standing.declined if order.standing is not None else ()


async def candidates(executor: Executor, order: Order) -> Sequence[Candidate]:
    """The latest pools that a sniper waits for, judged now, newest first; a few, whatever else there is.

    Nothing is remembered of refused pools, so whoever asks any process is told the same. Raises
    FillwrightError(CHAIN_UNAVAILABLE).
    """
    intent = order.intent
    assert intent.snipe is not None
    listings = await executor.new_pools(max(intent.snipe.max_age_s, _SHOWN_WITHIN_S))
    wanted = [each for each in listings if wants(intent.snipe, intent.token_in.mint, intent.venues, each)][:_SHOWN_MAX]
    known = await asyncio.gather(*(executor.facts(listing) for listing in wanted))
    avoided = unsteady(_declined(order))
    return [
        Candidate(
            listing,
            facts,
            (*refusals(intent.snipe, listing, facts), *((_UNSTEADY,) if listing.address in avoided else ())),
        )
        for listing, facts in zip(wanted, known, strict=True)
    ]
