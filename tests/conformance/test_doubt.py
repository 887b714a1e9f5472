"""What the chain does not tell, or takes back: alarms, an operator's word, and a swap that is landed once more."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest

from fillwright.errors import Code, FillwrightError
from fillwright.finality import Finality
from fillwright.landing import proves_lapse
from fillwright.order import Fill, Order, Signed, SignedTx, Status
from fillwright.policy import Policy
from fillwright.ports import Chain, Instruction, Sighting
from fillwright.resolving import Outcome, Statement, settle_by_hand
from fillwright.units import Atoms, OrderId, Signature
from tests.conformance.plant import Nowhere, Plant, Simulation, simulation, stopped

__all__ = ["simulation"]

PATIENT = Policy(concurrency=4, land_s=10.0, unknown_s=60.0)
LANDED = Statement(
    outcome=Outcome.LANDED, by="fw_1", evidence="an explorer", amount_in=Atoms(10_000_000), amount_out=Atoms(2_000_000)
)
LAPSED = Statement(outcome=Outcome.LAPSED, by="fw_1", evidence="two nodes")


class Scripted(Chain):
    """The simulated chain, whose word is not final: `look` is answered by `told`, where that has an answer."""

    landed_is_final = False

    def __init__(self, chain: Chain, told: Callable[[Sighting], Awaitable[Sighting]]) -> None:
        self._chain = chain
        self._told = told
        self.looks = 0

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        return await self._chain.sign(order_id, attempt, instructions)

    async def broadcast(self, tx: SignedTx) -> None:
        await self._chain.broadcast(tx)

    async def look(self, signature: Signature) -> Sighting:
        self.looks += 1
        return await self._told(await self._chain.look(signature))

    async def ping(self) -> None:
        await self._chain.ping()


async def honest(sighting: Sighting) -> Sighting:
    return sighting


async def submitted(plant: Plant, chain: Chain) -> tuple[OrderId, "asyncio.Task[None]"]:
    """An order whose transaction is signed, and the worker that waits for it."""
    [order_id] = await plant.submit(1)
    running = asyncio.create_task(plant.worker("w-1", chain=chain).run())
    while (await plant.order(order_id)).status is not Status.SUBMITTED:  # noqa: ASYNC110  # the store is what is judged
        await asyncio.sleep(0.1)
    return order_id, running


async def causes(plant: Plant, order_id: OrderId) -> list[str]:
    return [str(each.event.__struct_config__.tag) for each in await plant.store.history("alice", order_id)]


# --- no proof ---------------------------------------------------------------------------------------------


def test_a_transaction_without_proof_stays_submitted_and_raises_an_alarm(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        await asyncio.sleep(50)
        assert plant.alarms == []
        await asyncio.sleep(100)
        assert {(alarm.order_id, alarm.what) for alarm in plant.alarms} == {(order_id, "unknown")}
        assert (await plant.order(order_id)).status is Status.SUBMITTED
        running.cancel()

    simulation.run(scenario, policy=PATIENT)


def test_an_operator_s_word_settles_what_the_chain_does_not_tell(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        await asyncio.sleep(70)
        order = await settle_by_hand(plant.executor(Nowhere(plant.chain)), await plant.order(order_id), LANDED)
        assert order.status is Status.CONFIRMED
        assert order.fill == Fill(
            signature=(await signed(plant, order_id)),
            slot=order.fill.slot if order.fill else 0,
            amount_in=Atoms(10_000_000),
            amount_out=Atoms(2_000_000),
        )
        assert await plant.order(order_id) == order
        assert (await causes(plant, order_id))[-2:] == ["attested", "landed"]
        running.cancel()

    simulation.run(scenario, policy=PATIENT)


async def signed(plant: Plant, order_id: OrderId) -> Signature:
    history = await plant.store.history("alice", order_id)
    return [each.event.tx.signature for each in history if isinstance(each.event, Signed)][-1]


def test_after_a_lapse_by_an_operator_s_word_the_order_goes_on(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        await asyncio.sleep(70)
        running.cancel()
        order = await settle_by_hand(plant.executor(Nowhere(plant.chain)), await plant.order(order_id), LAPSED)
        assert (order.status, order.problem and order.problem.code) == (Status.PENDING, Code.CHAIN_LAPSED)
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        await plant.until_ended([order_id])
        await stopped(worker, running)
        plant.settled_once([order_id])

    simulation.run(scenario, policy=PATIENT)


async def refused(plant: Plant, chain: Chain, order: Order, told: Statement) -> FillwrightError:
    with pytest.raises(FillwrightError) as caught:
        await settle_by_hand(plant.executor(chain), order, told)
    assert await plant.order(order.id) == order
    return caught.value


def test_nobody_s_word_is_taken_too_early(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        running.cancel()
        await asyncio.sleep(50)
        error = await refused(plant, Nowhere(plant.chain), await plant.order(order_id), LAPSED)
        assert error.code is Code.ORDER_NOT_IN_DOUBT

    simulation.run(scenario, policy=PATIENT)


def test_nobody_s_word_is_taken_against_the_chain_s(simulation: Simulation) -> None:
    """Where it landed, and where it may still land."""

    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        running.cancel()
        await asyncio.sleep(20)
        impatient = msgspec.structs.replace(plant.policy, unknown_s=10.0)
        plant.policy = impatient
        order = await plant.order(order_id)
        assert order.tx is not None
        error = await refused(plant, plant.chain, order, LAPSED)
        assert (error.code, "may still land" in str(error)) == (Code.ORDER_NOT_IN_DOUBT, True)
        await plant.chain.broadcast(order.tx)
        await asyncio.sleep(10)
        for told in (LANDED, LAPSED):
            error = await refused(plant, plant.chain, order, told)
            assert (error.code, "the chain knows" in str(error)) == (Code.ORDER_NOT_IN_DOUBT, True)

    simulation.run(scenario, policy=PATIENT)


@pytest.mark.parametrize(
    ("amount_in", "amount_out", "pointer"),
    [(10_000_001, 2_000_000, "/amountIn"), (0, 2_000_000, "/amountIn"), (10_000_000, 1, "/amountOut")],
)
def test_amounts_that_the_transaction_could_not_have_swapped_are_refused(
    simulation: Simulation, amount_in: int, amount_out: int, pointer: str
) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        running.cancel()
        await asyncio.sleep(70)
        told = msgspec.structs.replace(LANDED, amount_in=Atoms(amount_in), amount_out=Atoms(amount_out))
        error = await refused(plant, Nowhere(plant.chain), await plant.order(order_id), told)
        assert (error.code, error.problem.pointer) == (Code.VALIDATION_CONTRADICTION, pointer)

    simulation.run(scenario, policy=PATIENT, seeds=(1,))


def test_nobody_s_word_is_taken_for_a_landing_that_the_chain_disproves(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        running.cancel()
        await asyncio.sleep(90)
        order = await plant.order(order_id)
        assert proves_lapse(order.tx, await plant.chain.look(order.tx.signature))  # type: ignore[arg-type, union-attr]
        error = await refused(plant, plant.chain, order, LANDED)
        assert (error.code, "never landed" in str(error)) == (Code.ORDER_NOT_IN_DOUBT, True)

    simulation.run(scenario, policy=PATIENT)


def test_what_somebody_vouched_for_is_not_opened_again_for_a_chain_that_has_forgotten(simulation: Simulation) -> None:
    """It would be taken for lapsed next, and swapped a second time."""

    async def scenario(plant: Plant) -> None:
        order_id, running = await submitted(plant, Nowhere(plant.chain))
        await asyncio.sleep(70)
        await settle_by_hand(plant.executor(Nowhere(plant.chain)), await plant.order(order_id), LANDED)
        running.cancel()
        await asyncio.sleep(60)
        await Finality(plant.executor(Scripted(plant.chain, honest))).check()
        assert (await causes(plant, order_id))[-1] == "landed"
        assert {alarm.what for alarm in plant.alarms} <= {"unknown"}

    simulation.run(scenario, policy=PATIENT)


# --- taken back -------------------------------------------------------------------------------------------


def test_a_swap_that_the_chain_takes_back_is_landed_once_more(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        gone = False

        async def told(sighting: Sighting) -> Sighting:
            nonlocal gone
            if not gone and sighting.outcome is not None and plant.seen[-1].order.status is Status.CONFIRMED:
                gone = True
                return msgspec.structs.replace(sighting, slot=sighting.outcome.slot + 40, outcome=None)
            return sighting

        chain = Scripted(plant.chain, told)
        worker = plant.worker("w-1", chain=chain)
        running = asyncio.create_task(worker.run())
        [order_id] = await plant.submit(1)
        await plant.until_ended([order_id])
        await asyncio.sleep(30)
        await plant.until_ended([order_id])
        await stopped(worker, running)
        assert (await causes(plant, order_id))[-4:] == ["landed", "reopened", "reclaimed", "landed"]
        assert [(alarm.order_id, alarm.what) for alarm in plant.alarms] == [(order_id, "taken_back")]
        plant.settled_once([order_id])

    simulation.run(scenario)


def test_a_node_that_lags_behind_takes_nothing_back(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        async def told(sighting: Sighting) -> Sighting:
            if sighting.outcome is not None and plant.seen[-1].order.status is Status.CONFIRMED:
                return msgspec.structs.replace(sighting, slot=sighting.outcome.slot, outcome=None)
            return sighting

        worker = plant.worker("w-1", chain=Scripted(plant.chain, told))
        running = asyncio.create_task(worker.run())
        [order_id] = await plant.submit(1)
        await plant.until_ended([order_id])
        await asyncio.sleep(60)
        await stopped(worker, running)
        assert (await causes(plant, order_id))[-1] == "landed"
        assert plant.alarms == []

    simulation.run(scenario)


def test_a_swap_that_is_final_is_not_looked_at_again_and_one_of_before_a_start_is(simulation: Simulation) -> None:
    async def scenario(plant: Plant) -> None:
        worker = plant.worker("w-1")
        running = asyncio.create_task(worker.run())
        ids = await plant.submit(3)
        await plant.until_ended(ids)
        await stopped(worker, running)
        await asyncio.sleep(60)
        chain = Scripted(plant.chain, honest)
        finality = Finality(plant.executor(chain))
        await finality.check()
        assert chain.looks == 3
        await finality.check()
        assert chain.looks == 3

    simulation.run(scenario)
