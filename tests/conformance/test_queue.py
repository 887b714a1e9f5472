"""What every queue owes the engine (ports.Queue): hints that may be lost, but never block."""

import asyncio

import pytest

from fillwright.units import OrderId
from tests.conformance.conftest import QueueOf
from tests.conformance.rigs import in_loop

SOON_S = 0.02
LIMIT_S = 5


def ids(*numbers: int) -> list[OrderId]:
    return [OrderId(f"o-{number}") for number in numbers]


@in_loop
async def test_what_was_put_is_taken_up_to_the_limit(queue_of: QueueOf) -> None:
    async with queue_of(100) as queue:
        await queue.put(ids(1, 2, 3))
        await queue.put(ids(4))
        assert queue.depth() == 4
        taken = await queue.take(3)
        assert len(taken) == 3
        taken += await queue.take(3)
        assert sorted(taken) == ids(1, 2, 3, 4)
        assert queue.depth() == 0


@in_loop
async def test_a_taker_waits_and_is_woken(queue_of: QueueOf) -> None:
    async with queue_of(100) as queue:
        taking = asyncio.create_task(queue.take(5))
        await asyncio.sleep(SOON_S)
        assert not taking.done()
        await queue.put([])
        await asyncio.sleep(SOON_S)
        assert not taking.done(), "nothing was put"
        await queue.put(ids(7))
        assert await asyncio.wait_for(taking, LIMIT_S) == ids(7)


@in_loop
async def test_several_takers_are_all_served(queue_of: QueueOf) -> None:
    async with queue_of(100) as queue:
        takers = [asyncio.create_task(queue.take(1)) for _ in range(5)]
        await asyncio.sleep(0)
        await queue.put(ids(1, 2))
        await queue.put(ids(3, 4, 5))
        taken = await asyncio.wait_for(asyncio.gather(*takers), LIMIT_S)
        assert sorted(order_id for batch in taken for order_id in batch) == ids(1, 2, 3, 4, 5)


@in_loop
async def test_a_taker_that_gives_up_takes_nothing_along(queue_of: QueueOf) -> None:
    async with queue_of(100) as queue:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.take(1), SOON_S)
        await queue.put(ids(1))
        assert await asyncio.wait_for(queue.take(1), LIMIT_S) == ids(1)


@in_loop
async def test_a_full_queue_forgets_and_never_blocks_or_grows(queue_of: QueueOf) -> None:
    """I13: memory is bounded; the sweep finds what is forgotten here."""
    async with queue_of(10) as queue:
        async with asyncio.timeout(LIMIT_S):
            for number in range(50):
                await queue.put(ids(number, number))
                assert queue.depth() <= 10
            assert len(await queue.take(1_000)) == 10
            await queue.put(ids(99))
            assert await queue.take(1_000) == ids(99), "there is room again"
