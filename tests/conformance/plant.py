"""A store, a chain and workers in one virtual time, for scenarios of the worker's duties."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from fillwright.adapters.local import LocalBus, LocalQueue
from fillwright.adapters.sim import Preset, SimChain, SimVenue, default_market
from fillwright.adapters.sim.market import HUBS
from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.executor import Alarm, Executor
from fillwright.order import (
    Order,
    Recorded,
    SignedTx,
    Status,
)
from fillwright.policy import Policy
from fillwright.ports import Chain, Discovery, Instruction, Queue, Sighting, Venue
from fillwright.units import Atoms, Bps, OrderId, Signature
from fillwright.wire.frames import news_of
from fillwright.worker import Failure, Worker
from tests.conformance.samples import LoopClock, accepted, new_order
from tests.simulation.loop import SimLoop, run

SLOW = Preset(quote_ms=(100, 200), execute_ms=(2_000, 3_000))
POLICY = Policy(concurrency=4)
PATIENCE_S = 120


class Fickle(SqliteStore):
    """A store that is out of reach for a while."""

    down = False

    async def _write(self, statement: Any) -> Any:
        self._check()
        return await super()._write(statement)

    async def _read(self, sql: str, values: Any) -> Any:
        self._check()
        return await super()._read(sql, values)

    def _check(self) -> None:
        if self.down:
            raise FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer (on purpose)")


class Plant:
    """A store, a chain and a queue, and workers on them; all in one virtual time."""

    def __init__(self, loop: SimLoop, folder: Path, *, preset: Preset, policy: Policy) -> None:
        self.loop = loop
        self.clock = LoopClock(loop)
        self.policy = policy
        self.preset = preset
        self._folder = folder
        self._stores: list[Fickle] = []
        self.open_store()
        market = default_market(1, newcomer_every_slots=5)
        self.chain = SimChain(folder / "chain.db", self.clock, market, preset, seed=1)
        self.queue = LocalQueue()
        self.venues: list[Venue] = [self.venue(name) for name in ("raydium", "meteora")]
        self.failures: list[Failure] = []
        self.seen: list[Recorded] = []
        self.alarms: list[Alarm] = []

    def open_store(self) -> None:
        """As another process would, on the same file."""
        self.store = Fickle(self._folder / "orders.db", self.clock, lease_s=self.policy.lease_s)
        self._stores.append(self.store)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self.chain.close()

    def venue(self, name: str) -> SimVenue:
        return SimVenue(name, self.chain, self.clock, self.preset, seed=1)

    def worker(
        self,
        name: str,
        *,
        queue: Queue | None = None,
        chain: Chain | None = None,
        discovery: Discovery | None = None,
    ) -> Worker:
        return Worker(name, self.executor(chain, discovery), queue or self.queue, self.failures.append)

    def executor(self, chain: Chain | None = None, discovery: Discovery | None = None) -> Executor:
        return Executor(
            store=self.store,
            bus=LocalBus(),
            venues=self.venues,
            chain=chain or self.chain,
            discovery=discovery or self.chain,
            clock=self.clock,
            policy=self.policy,
            hubs=HUBS,
            observe=self.seen.append,
            alarm=self.alarms.append,
            news_of=news_of,
        )

    async def submit(self, count: int, *, hint: bool = True) -> list[OrderId]:
        firsts = [
            accepted(f"o-{n:03}", at=self.clock.now(), amount=Atoms(10_000_000), slippage_bps=Bps(500))
            for n in range(count)
        ]
        await asyncio.gather(*(self.store.create(new_order(first)) for first in firsts))
        ids = [first.order.id for first in firsts]
        if hint:
            await self.queue.put(ids)
        return ids

    async def order(self, order_id: OrderId) -> Order:
        order = await self.store.get("alice", order_id)
        assert order is not None
        return order

    async def statuses(self, ids: Sequence[OrderId]) -> Counter[Status]:
        return Counter([(await self.order(order_id)).status for order_id in ids])

    async def until_ended(self, ids: Sequence[OrderId]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for order_id in ids:
                while not (await self.order(order_id)).is_terminal:  # noqa: ASYNC110  # the store is what is judged
                    await asyncio.sleep(0.1)

    def settled_once(self, ids: Sequence[OrderId]) -> None:
        """The chain's own witness."""
        assert Counter(line.order_id for line in self.chain.settlements()) == Counter(ids)


Scenario: TypeAlias = Callable[[Plant], Awaitable[None]]


class Simulation:
    """Runs a scenario in a plant of its own, with a few orders of events (seeds)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(
        self, scenario: Scenario, *, preset: Preset = SLOW, policy: Policy = POLICY, seeds: Sequence[int] = (1, 2, 3)
    ) -> None:
        for seed in seeds:
            folder = self.folder / str(seed)
            folder.mkdir()

            async def main(loop: SimLoop, folder: Path = folder) -> None:
                with _built(loop, folder, preset=preset, policy=policy) as plant:
                    await scenario(plant)

            run(seed, main)


@contextmanager
def _built(loop: SimLoop, folder: Path, *, preset: Preset, policy: Policy) -> Iterator[Plant]:
    plant = Plant(loop, folder, preset=preset, policy=policy)
    try:
        yield plant
    finally:
        plant.close()


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path)


async def stopped(worker: Worker, running: "asyncio.Task[None]") -> None:
    worker.stop()
    await running


class Nowhere(Chain):
    """A network that takes everything and tells nothing."""

    landed_is_final = True

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        return await self._chain.sign(order_id, attempt, instructions)

    async def broadcast(self, tx: SignedTx) -> None:
        await asyncio.Event().wait()

    async def look(self, signature: Signature) -> Sighting:
        raise await asyncio.Future()

    async def ping(self) -> None:
        await asyncio.Event().wait()
