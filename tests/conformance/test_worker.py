"""The worker on real adapters in virtual time: nothing is given up, nothing is driven twice, nothing is overrun."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from fillwright.adapters.local import LocalQueue
from fillwright.adapters.sim import PRESETS, Preset, SimChain, SimVenue
from fillwright.adapters.sim.newcomers import Newcomers
from fillwright.errors import Code, FillwrightError
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
    SliceLanded,
    Started,
    Status,
    transition,
)
from fillwright.ports import Discovery, Instruction, Snapshot, Venue
from fillwright.sniping import DECLINES_MAX, UNCHOSEN, Facts, Listing, Snipe
from fillwright.units import ATOMS_MAX, Atoms, Bps, Millis, Mint
from tests.conformance.plant import POLICY, Nowhere, Plant, Simulation, simulation, stopped
from tests.conformance.samples import SOL, TWAP, accepted, fill_of, new_order, walked

__all__ = ["simulation"]


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


class Away(SimVenue):
    """A venue that nobody reaches until a time."""

    until = float("inf")

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        if asyncio.get_running_loop().time() < self.until:
            raise FillwrightError(Code.VENUE_UNAVAILABLE, "away (on purpose)")
        return await super().pools(mints)


def test_an_outage_of_seconds_fails_no_order(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        plant.venues = [Away("raydium", plant.chain, plant.clock, plant.preset, seed=1)]
        Away.until = plant.loop.time() + 12
        running = asyncio.create_task(plant.worker("w-1").run())
        ids = await plant.submit(4)
        await plant.until_ended(ids)
        assert await plant.statuses(ids) == {Status.CONFIRMED: 4}
        assert {(await plant.order(each)).attempt for each in ids} == {1}
        running.cancel()

    simulation.run(scenario)


def test_an_outage_that_stays_ends_the_order_all_the_same(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        plant.venues = [Away("raydium", plant.chain, plant.clock, plant.preset, seed=1)]
        Away.until = float("inf")
        running = asyncio.create_task(plant.worker("w-1").run())
        [order_id] = await plant.submit(1)
        await plant.until_ended([order_id])
        order = await plant.order(order_id)
        assert (order.status, order.attempt) == (Status.FAILED, POLICY.attempts_max)
        assert 15_000 <= order.updated_at - order.created_at <= 25_000
        running.cancel()

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
