"""The ports as the engine meets them in the simulation: the real adapters, struck by the seed's faults.

Decides: what a store, queue, bus, venue or chain does when it is struck. Must never: break an obligation of
`ports.py`; whatever happens here may happen to the engine in earnest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from fillwright.adapters.local import LocalBus, LocalQueue
from fillwright.adapters.sim import SimVenue
from fillwright.adapters.sim.chain import height_at
from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.order import Leg, Mode, Order, Recorded, SignedTx, Stamped
from fillwright.ports import (
    Backlog,
    Conflict,
    Inbox,
    Instruction,
    Logged,
    NewOrder,
    News,
    Page,
    Place,
    Sighting,
    Snapshot,
    Stored,
    Switch,
)
from fillwright.sniping import Facts, Listing
from fillwright.units import Atoms, Millis, Mint, OrderId, Signature
from tests.simulation.faults import Dice, WorldChain

T = TypeVar("T")


class Witness(Protocol):
    """Who is told what passes through the ports."""

    def published(self, news: News) -> None: ...

    def broadcast(self, tx: SignedTx) -> None: ...

    def conflict(self) -> None: ...


class FaultyStore:
    """The real store, which may refuse, be slow, or lose its answer after the commit."""

    def __init__(self, inner: SqliteStore, dice: Dice, witness: Witness) -> None:
        self._inner = inner
        self._dice = dice
        self._witness = witness

    async def create(self, new: NewOrder, *tied: NewOrder) -> Stored:
        return await self._faulty(lambda: self._inner.create(new, *tied))

    async def get(self, account: str, order_id: OrderId) -> Order | None:
        return await self._faulty(lambda: self._inner.get(account, order_id))

    async def get_by_client_id(self, account: str, client_order_id: str) -> Order | None:
        return await self._faulty(lambda: self._inner.get_by_client_id(account, client_order_id))

    async def get_by_key(self, account: str, idempotency_key: str) -> Order | None:
        return await self._faulty(lambda: self._inner.get_by_key(account, idempotency_key))

    async def page(self, page: Page) -> list[Order]:
        return await self._faulty(lambda: self._inner.page(page))

    async def history(self, account: str, order_id: OrderId) -> list[Stamped]:
        return await self._faulty(lambda: self._inner.history(account, order_id))

    async def record(self, before: Order, recorded: Sequence[Recorded]) -> None:
        try:
            await self._faulty(lambda: self._inner.record(before, recorded))
        except Conflict:
            self._witness.conflict()
            raise

    async def claim(self, order_ids: Sequence[OrderId], worker: str) -> list[Recorded]:
        return await self._faulty(lambda: self._inner.claim(order_ids, worker))

    async def due(self, worker: str, limit: int) -> list[OrderId]:
        return await self._faulty(lambda: self._inner.due(worker, limit))

    async def backlog(self, limit: int) -> Backlog:
        return await self._faulty(lambda: self._inner.backlog(limit))

    async def heartbeat(self, worker: str) -> None:
        await self._faulty(lambda: self._inner.heartbeat(worker))

    async def retire(self, worker: str) -> None:
        await self._faulty(lambda: self._inner.retire(worker))

    async def alive(self) -> int:
        return await self._faulty(self._inner.alive)

    async def resting(self, after: OrderId | None, limit: int) -> list[Order]:
        return await self._faulty(lambda: self._inner.resting(after, limit))

    async def log(self, after: Place, limit: int, *, resting: bool = False) -> list[Logged]:
        return await self._faulty(lambda: self._inner.log(after, limit, resting=resting))

    async def log_end(self) -> Place:
        return await self._faulty(self._inner.log_end)

    async def log_since(self, at: Millis) -> Place:
        return await self._faulty(lambda: self._inner.log_since(at))

    async def arm(self, account: str, seconds: int) -> Switch:
        return await self._faulty(lambda: self._inner.arm(account, seconds))

    async def disarm(self, account: str, switch: Switch | None = None) -> None:
        await self._faulty(lambda: self._inner.disarm(account, switch))

    async def fired(self, limit: int) -> list[Switch]:
        return await self._faulty(lambda: self._inner.fired(limit))

    async def ping(self) -> None:
        await self._faulty(self._inner.ping)

    async def _faulty(self, call: Callable[[], Awaitable[T]]) -> T:
        dice = self._dice
        if dice.strikes("store.slow"):
            await asyncio.sleep(dice.random.uniform(0.1, 5))
        if dice.strikes("store.error"):
            raise FillwrightError(Code.STORE_UNAVAILABLE, "refused (simulated)")
        result = await call()
        if dice.strikes("store.lost_answer"):
            raise FillwrightError(Code.STORE_UNAVAILABLE, "done, but the answer was lost (simulated)")
        return result


class FaultyQueue:
    """Forgets, repeats and delays hints."""

    def __init__(self, dice: Dice) -> None:
        self._inner = LocalQueue(dice.random.choice((1, 1_000)))
        self._dice = dice

    async def put(self, order_ids: Sequence[OrderId]) -> None:
        for order_id in order_ids:
            if self._dice.strikes("queue.drop"):
                continue
            if self._dice.strikes("queue.delay"):
                self._later(order_id)
                continue
            await self._inner.put([order_id, order_id] if self._dice.strikes("queue.repeat") else [order_id])

    async def take(self, limit: int) -> list[OrderId]:
        return await self._inner.take(limit)

    def depth(self) -> int:
        return self._inner.depth()

    @property
    def dropped(self) -> int:
        return self._inner.dropped

    def _later(self, order_id: OrderId) -> None:
        loop = asyncio.get_running_loop()
        put = self._inner.put
        loop.call_later(self._dice.random.uniform(0.1, 20), lambda: _ignore(loop.create_task(put([order_id]))))


class FaultyBus:
    """Drops, repeats and reorders events, after the witness has seen them."""

    def __init__(self, dice: Dice, witness: Witness) -> None:
        self._inner = LocalBus(dice.random.choice((2, 1_000)))
        self._dice = dice
        self._witness = witness

    async def publish(self, news: Sequence[News]) -> None:
        for each in news:
            self._witness.published(each)
        for each in news:
            if self._dice.strikes("bus.drop"):
                continue
            if self._dice.strikes("bus.reorder"):
                self._later(each)
                continue
            await self._inner.publish([each, each] if self._dice.strikes("bus.repeat") else [each])

    def subscribe(self, order_id: OrderId | None) -> AbstractAsyncContextManager[Inbox]:
        return self._inner.subscribe(order_id)

    @property
    def dropped(self) -> int:
        return self._inner.dropped

    def _later(self, news: News) -> None:
        loop = asyncio.get_running_loop()
        publish = self._inner.publish
        loop.call_later(self._dice.random.uniform(0.01, 5), lambda: _ignore(loop.create_task(publish([news]))))


class FaultyVenue:
    """A venue of the simulated chain that may also hang."""

    def __init__(self, inner: SimVenue, dice: Dice, patience_s: float) -> None:
        self.name = inner.name
        self._inner = inner
        self._dice = dice
        self._patience_s = patience_s

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        await self._hang()
        if self._dice.strikes("venue.error"):
            raise FillwrightError(Code.VENUE_UNAVAILABLE, f"{self.name} answered with an error (simulated)")
        return await self._inner.pools(mints)

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        await self._hang()
        return await self._inner.build(leg, mode=mode, limit=limit)

    async def _hang(self) -> None:
        if self._dice.strikes("venue.hang"):
            await asyncio.sleep(self._patience_s * self._dice.random.uniform(0.5, 3))


class FaultyChain:
    """One host's way to the chain: latency, calls that hang before or after their effect, nodes that lag."""

    landed_is_final = True

    def __init__(self, inner: WorldChain, dice: Dice, witness: Witness, patience_s: float) -> None:
        self._inner = inner
        self._dice = dice
        self._witness = witness
        self._patience_s = patience_s

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        await self._travel()
        return await self._inner.sign(order_id, attempt, instructions)

    async def broadcast(self, tx: SignedTx) -> None:
        self._witness.broadcast(tx)
        await self._travel()
        await self._inner.broadcast(tx)
        await self._travel()

    async def look(self, signature: Signature) -> Sighting:
        sighting = await self._inner.look(signature)
        await self._travel()
        return self._lagging(sighting) if self._dice.strikes("chain.lag") else sighting

    async def ping(self) -> None:
        await self._inner.ping()

    async def _travel(self) -> None:
        hangs = self._dice.strikes("chain.hang")
        seconds = self._patience_s * self._dice.random.uniform(0.5, 3) if hangs else 0.05
        await asyncio.sleep(seconds)

    def _lagging(self, sighting: Sighting) -> Sighting:
        """The same question to a node that is behind: its height and its ledger are both of the past."""
        slot = sighting.slot - self._dice.lag_slots
        seen = sighting.outcome is not None and sighting.outcome.slot <= slot
        return Sighting(height=height_at(slot), slot=slot, outcome=sighting.outcome if seen else None)


class FaultyDiscovery:
    """The same way, to what is new on the chain. What a call tells was true at some moment while it was under way."""

    def __init__(self, inner: WorldChain, dice: Dice, patience_s: float) -> None:
        self._inner = inner
        self._dice = dice
        self._patience_s = patience_s

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        await self._travel()
        return await self._inner.new_pools(within_s)

    async def facts(self, listing: Listing) -> Facts | None:
        await self._travel()
        facts = await self._inner.facts(listing)
        await self._travel()
        return facts

    async def _travel(self) -> None:
        if self._dice.strikes("venue.error"):
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "nobody could say what is new (simulated)")
        hangs = self._dice.strikes("chain.hang")
        await asyncio.sleep(self._patience_s * self._dice.random.uniform(0.5, 3) if hangs else 0.05)


def _ignore(_: object) -> None:
    """The task is kept by the loop."""
