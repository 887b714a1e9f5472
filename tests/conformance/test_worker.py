"""The worker on real adapters in virtual time: nothing is given up, nothing is driven twice, nothing is overrun."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from fillwright.adapters.local import LocalBus, LocalQueue
from fillwright.adapters.sim import PRESETS, Preset, SimChain, SimVenue, default_market
from fillwright.adapters.sim.market import HUBS
from fillwright.adapters.sim.newcomers import Newcomers
from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.executor import Executor
from fillwright.order import (
    Declined,
    Leg,
    Mode,
    Order,
    OrderType,
    Reclaimed,
    Recorded,
    Routed,
    Side,
    Signed,
    SignedTx,
    SliceLanded,
    Started,
    Status,
    transition,
)
from fillwright.policy import Policy
from fillwright.ports import Chain, Discovery, Instruction, Queue, Sighting, Snapshot, Venue
from fillwright.sniping import DECLINES_MAX, UNCHOSEN, Facts, Listing, Snipe
from fillwright.units import ATOMS_MAX, Atoms, Bps, Millis, Mint, OrderId, Signature
from fillwright.wire.frames import news_of
from fillwright.worker import Failure, Worker
from tests.conformance.samples import SOL, TWAP, LoopClock, accepted, fill_of, new_order, walked
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
        executor = Executor(
            store=self.store,
            bus=LocalBus(),
            venues=self.venues,
            chain=chain or self.chain,
            discovery=discovery or self.chain,
            clock=self.clock,
            policy=self.policy,
            hubs=HUBS,
            observe=self.seen.append,
            news_of=news_of,
        )
        return Worker(name, executor, queue or self.queue, self.failures.append)

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


# --- many orders ----------------------------------------------------------------------------------------------


def test_every_order_is_driven_to_its_end_and_settles_once(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(20)
        await plant.until_ended(ids)
        await stopped(worker, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 20}
        plant.settled_once(ids)
        assert plant.failures == []

    simulation.run(scenario)


def test_the_sweep_finds_orders_that_no_hint_has_named(simulation: Simulation) -> None:
    """I11: the queue forgets everything; the orders are carried out all the same."""

    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(9, hint=False)
        await plant.until_ended(ids)
        await stopped(worker, running)
        plant.settled_once(ids)

    simulation.run(scenario)


def test_no_more_orders_run_at_once_than_allowed_and_as_many_as_allowed_do(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        most = 0

        def watch() -> None:
            nonlocal most
            most = max(most, worker.running)
            assert worker.running <= POLICY.concurrency

        plant.loop.on_step = watch
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(15)
        await plant.until_ended(ids)
        await stopped(worker, running)
        assert most == POLICY.concurrency

    simulation.run(scenario)


def test_a_slice_is_not_signed_whose_fill_could_not_be_stored_beside_the_others(simulation: Simulation) -> None:
    """Each amount is at most 2^63-1, and so is their sum."""

    async def scenario(plant: Plant) -> None:
        life = walked(accepted(at=plant.clock.now(), **TWAP), [Started, Routed, Signed])
        held = life[-1].order
        assert held.tx is not None
        fill = msgspec.structs.replace(fill_of(held), amount_out=Atoms(ATOMS_MAX - 1_000))
        life.append(Recorded(transition(held, SliceLanded(fill=fill), held.updated_at), SliceLanded(fill=fill)))
        await plant.store.create(new_order(life[0]))
        for before, after in pairwise(life):
            await plant.store.record(before.order, [after])
        worker = plant.worker("w-1")
        working = asyncio.create_task(worker.run())
        await plant.until_ended([held.id])
        worker.stop()
        await working
        order = await plant.order(held.id)
        assert (order.status, order.filled_out) == (Status.FAILED, ATOMS_MAX - 1_000)
        assert plant.chain.settlements() == []
        assert plant.failures == []

    simulation.run(scenario)


def test_an_order_in_flight_is_never_driven_twice(simulation: Simulation) -> None:
    """However often it is hinted at, and although the store would let its holder claim it again."""

    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(3)
        for _ in range(100):
            await plant.queue.put(ids * 2)
            await asyncio.sleep(0.05)
        await plant.until_ended(ids)
        await stopped(worker, running)
        for order_id in ids:
            history = [type(stamped.event) for stamped in await plant.store.history("alice", order_id)]
            assert history.count(Started) == 1
            assert Reclaimed not in history
        plant.settled_once(ids)
        assert plant.failures == []

    simulation.run(scenario)


def test_two_workers_share_the_orders_and_settle_each_once(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        queues = [LocalQueue(), LocalQueue()]
        workers = [plant.worker(f"w-{n}", queue=queue) for n, queue in enumerate(queues)]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        ids = await plant.submit(16, hint=False)
        for queue in queues:
            await queue.put(ids)
        await plant.until_ended(ids)
        for worker, task in zip(workers, running, strict=True):
            await stopped(worker, task)
        plant.settled_once(ids)
        started = [each for each in plant.seen if isinstance(each.event, Started)]
        assert len(started) == 16
        assert {each.order.worker for each in started} == {"w-0", "w-1"}
        assert not any(isinstance(each.event, Reclaimed) for each in plant.seen)

    simulation.run(scenario)


def test_a_failed_attempt_is_tried_again_after_its_pause(simulation: Simulation) -> None:
    """At 40 % reverts three attempts are not always enough, but nobody settles twice and all end."""

    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(12)
        await plant.until_ended(ids)
        await stopped(worker, running)
        ended = await plant.statuses(ids)
        assert set(ended) <= {Status.CONFIRMED, Status.FAILED}
        confirmed = [order_id for order_id in ids if (await plant.order(order_id)).status is Status.CONFIRMED]
        plant.settled_once(confirmed)
        orders = [await plant.order(order_id) for order_id in ids]
        assert max(order.attempt for order in orders) > 1
        assert all(order.attempt == 3 for order in orders if order.status is Status.FAILED)

    preset = Preset(faults=msgspec.structs.replace(PRESETS["instant"].faults, revert=0.4))
    simulation.run(scenario, preset=preset)


# --- stopping ---------------------------------------------------------------------------------------------------


def test_a_drain_finishes_what_runs_and_takes_no_more(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(10)
        await asyncio.sleep(1)
        assert worker.running == POLICY.concurrency
        await stopped(worker, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 4, Status.PENDING: 6}
        assert worker.running == 0
        assert plant.failures == []

    simulation.run(scenario)


def test_an_idle_worker_stops_at_once(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(1)
        stopped_at = plant.loop.time()
        await stopped(worker, running)
        assert plant.loop.time() - stopped_at < 0.1

    simulation.run(scenario)


class Nowhere(Chain):
    """A network that takes everything and tells nothing."""

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


def test_a_drain_ends_in_time_and_leaves_the_rest_to_the_next_worker(simulation: Simulation) -> None:
    """The transactions stay submitted, with their bytes; whoever comes next need not wait for a lease."""

    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1", chain=Nowhere(plant.chain))
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(2)
        await asyncio.sleep(5)
        stopped_at = plant.loop.time()
        await stopped(worker, running)
        assert POLICY.drain_s <= plant.loop.time() - stopped_at <= POLICY.drain_s + 0.5
        assert await plant.statuses(ids) == {Status.SUBMITTED: 2}
        heir = plant.worker("w-2")
        running = asyncio.create_task(heir.run())
        resumed_at = plant.loop.time()
        await plant.until_ended(ids)
        assert plant.loop.time() - resumed_at < POLICY.lease_s
        await stopped(heir, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 2}
        plant.settled_once(ids)

    simulation.run(scenario)


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.4, 1.0, 2.4])
def test_a_killed_worker_s_orders_are_finished_by_another(simulation: Simulation, after_s: float) -> None:
    """SIGKILL at several moments of an order's life: quoting, signing, landing."""

    async def scenario(plant: Plant) -> None:
        _ = plant.loop.spawn("first", plant.worker("w-1").run())
        ids = await plant.submit(6)
        await asyncio.sleep(after_s)
        plant.loop.kill("first")
        plant.open_store()  # the old one died with its process, perhaps in the middle of a commit
        heir = plant.worker("w-2", queue=LocalQueue())
        running = asyncio.create_task(heir.run())
        await plant.until_ended(ids)
        await stopped(heir, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 6}
        plant.settled_once(ids)

    simulation.run(scenario)


# --- stumbling --------------------------------------------------------------------------------------------------


class Clumsy(Venue):
    """A venue with a defect: its first answers raise what nobody expects."""

    def __init__(self, venue: Venue, failures: int) -> None:
        self.name = venue.name
        self._venue = venue
        self._left = failures

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        if self._left:
            self._left -= 1
            raise ZeroDivisionError("a defect")
        return await self._venue.pools(mints)

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        return await self._venue.build(leg, mode=mode, limit=limit)


def test_an_unexpected_failure_costs_those_orders_a_pause_and_the_worker_nothing(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        plant.venues = [Clumsy(plant.venue("raydium"), failures=2)]
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(4)
        await plant.until_ended(ids)
        await stopped(worker, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 4}
        plant.settled_once(ids)
        assert {(failure.where, type(failure.error)) for failure in plant.failures} == {("drive", ZeroDivisionError)}
        assert {failure.order_id for failure in plant.failures} <= set(ids)

    simulation.run(scenario)


def test_an_order_that_always_fails_unexpectedly_does_not_spin(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        plant.venues = [Clumsy(plant.venue("raydium"), failures=10**6)]
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        await plant.submit(1)
        await asyncio.sleep(30)
        await stopped(worker, running)
        assert 15 <= len(plant.failures) <= 31

    simulation.run(scenario)


@pytest.mark.parametrize("down_at_s", [0.0, 0.5, 2.0])
def test_a_store_that_comes_back_finds_its_workers_at_work(simulation: Simulation, down_at_s: float) -> None:
    async def scenario(plant: Plant) -> None:
        store = plant.store
        ids = await plant.submit(5)
        worker = plant.worker("w-1")
        store.down = down_at_s == 0
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(down_at_s)
        store.down = True
        await asyncio.sleep(15)
        store.down = False
        await plant.until_ended(ids)
        await stopped(worker, running)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 5}
        plant.settled_once(ids)
        assert {type(failure.error) for failure in plant.failures} == {FillwrightError}

    simulation.run(scenario)


def test_a_store_that_is_gone_for_good_does_not_keep_a_worker_from_stopping(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        store = plant.store
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        await plant.submit(3)
        await asyncio.sleep(0.5)
        store.down = True
        stopped_at = plant.loop.time()
        await stopped(worker, running)
        assert plant.loop.time() - stopped_at <= POLICY.drain_s + 1
        assert plant.failures[-1].where == "retire"

    simulation.run(scenario)


# --- new pools ------------------------------------------------------------------------------------------------


class Told:
    """The chain's word on new pools, changed on its way."""

    def __init__(self, chain: SimChain, change: Callable[[Facts, int], Facts]) -> None:
        """`change` is told how often this pool was asked about."""
        self._chain = chain
        self._change = change
        self._asked = Counter[str]()

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        return await self._chain.new_pools(within_s)

    async def facts(self, listing: Listing) -> Facts | None:
        facts = await self._chain.facts(listing)
        self._asked[listing.address] += 1
        return None if facts is None else self._change(facts, self._asked[listing.address])


async def hunted(plant: Plant, discovery: Discovery, snipe: Snipe = Snipe(), **changes: Any) -> Order:  # noqa: B008
    """What becomes of a sniper for any new pool."""
    intent: dict[str, Any] = {
        "type": OrderType.SNIPER,
        "side": Side.BUY,
        "token_in": SOL,
        "token_out": UNCHOSEN,
        "snipe": snipe,
        **changes,
    }
    first = accepted("o-1", at=plant.clock.now(), amount=Atoms(10_000_000), slippage_bps=Bps(500), **intent)
    await plant.store.create(new_order(first))
    worker = plant.worker("w-1", discovery=discovery)
    running = asyncio.create_task(worker.run())
    await plant.until_ended([first.order.id])
    await stopped(worker, running)
    return await plant.order(first.order.id)


def test_a_pool_that_fails_after_signing_costs_no_attempt(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        def change(facts: Facts, asked: int) -> Facts:
            """As it is when it is found, bad when it is signed, and as it is from then on."""
            return msgspec.structs.replace(facts, freeze_authority=facts.freeze_authority or asked == 2)

        order = await hunted(plant, Told(plant.chain, change))
        assert (order.status, order.attempt) == (Status.CONFIRMED, 1)
        declined = [each.event for each in plant.seen if isinstance(each.event, Declined)]
        assert [[problem.code for problem in event.problems] for event in declined] == [[Code.SNIPE_FREEZABLE]]
        plant.settled_once([order.id])

    simulation.run(scenario)


def test_a_pool_that_turns_to_and_fro_makes_no_endless_history(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        def change(facts: Facts, asked: int) -> Facts:
            """Whatever it is: fine at every look, frozen whenever it is signed for."""
            return msgspec.structs.replace(
                facts,
                mint_authority=False,
                freeze_authority=asked % 2 == 0,
                extensions=(),
                sellable=True,
                locked_bps=10_000,
                unix_seconds=0,
            )

        snipe = Snipe(mint=Newcomers(1, 5).number(0).token.mint)
        order = await hunted(plant, Told(plant.chain, change), snipe=snipe, deadline_ms=Millis(20_000))
        assert (order.status, order.attempt) == (Status.EXPIRED, 0)
        assert len([each for each in plant.seen if isinstance(each.event, Declined)]) == DECLINES_MAX
        assert plant.chain.settlements() == []

    simulation.run(scenario)


def test_what_is_known_from_before_the_signature_is_not_believed(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        lagging = Told(plant.chain, lambda facts, _: msgspec.structs.replace(facts, slot=facts.slot - 20))
        order = await hunted(plant, lagging)
        assert (order.status, order.problem and order.problem.code) == (Status.FAILED, Code.CHAIN_UNAVAILABLE)
        assert plant.chain.settlements() == []

    simulation.run(scenario)
