"""What every store promises about the caps of a wallet: see ports.Spending."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fillwright.order import Aborted, Landed, Lapsed, Order, Recorded, Signed, SliceLanded, Started, Status
from fillwright.ports import Excess, Take
from fillwright.units import Atoms, Mint
from tests.conformance.rigs import StoreRig, in_loop
from tests.conformance.samples import BONK, SOL, TWAP, accepted, walked, way_to
from tests.conformance.test_store import keep

DAY_S: Final = 86_400


def opened(stores: StoreRig) -> AbstractAsyncContextManager[Any]:
    """Each call is another process's view of the same spendings."""
    return stores.open()


def take(amount: int, *, order: int | None = None, day: int | None = None, mint: Mint = SOL.mint) -> Take:
    return Take(mint, Atoms(amount), None if order is None else Atoms(order), None if day is None else Atoms(day))


def too_much(amount: int, spent: int, *, of_day: bool) -> Excess:
    return Excess(SOL.mint, Atoms(amount), Atoms(spent), of_day=of_day)


async def building(store: Any, order_id: str, **intent: Any) -> Order:
    return await keep(store, way_to(Status.BUILDING, accepted(order_id, **intent)))


async def move(store: Any, order: Order, *kinds: type) -> Order:
    """What happens to it next."""
    recorded = walked(Recorded(order, Started(worker="w-1")), kinds)[1:]
    await store.record(order, recorded)
    return recorded[-1].order


@in_loop
async def test_orders_of_all_accounts_and_processes_share_the_cap_of_a_day(stores: StoreRig) -> None:
    async with opened(stores) as a, opened(stores) as b:
        first, second = await building(a, "o-1"), await building(a, "o-2", account="bob")
        assert await a.spending.reserve(first.id, [take(6, day=10)]) is None
        assert await b.spending.reserve(second.id, [take(5, day=10)]) == too_much(5, 6, of_day=True)
        assert await b.spending.reserve(second.id, [take(4, day=10)]) is None
        assert await a.spending.spent(SOL.mint) == 10
        assert await a.spending.spent(BONK.mint) == 0


@in_loop
async def test_what_is_left_is_never_given_twice(stores: StoreRig) -> None:
    """Twenty at once, from two processes, for a cap that three fit into."""
    async with opened(stores) as a, opened(stores) as b:
        orders = [await building(a, f"o-{number}") for number in range(20)]
        asked = [(a, b)[i % 2].spending.reserve(each.id, [take(3, day=10)]) for i, each in enumerate(orders)]
        answers = await asyncio.gather(*asked)
        assert answers.count(None) == 3
        assert await b.spending.spent(SOL.mint) == 9


@in_loop
async def test_another_attempt_takes_the_place_of_the_one_before(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1")
        assert await store.spending.reserve(order.id, [take(6, day=10)]) is None
        assert await store.spending.reserve(order.id, [take(7, day=10)]) is None
        assert await store.spending.spent(SOL.mint) == 7
        order = await move(store, order, Signed, Lapsed)
        assert await store.spending.spent(SOL.mint) == 0, "proven to have spent nothing"
        order = await move(store, order, Started)
        assert await store.spending.reserve(order.id, [take(10, day=10)]) is None


@in_loop
async def test_an_order_that_ended_without_a_swap_has_spent_nothing(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1")
        assert await store.spending.reserve(order.id, [take(6, day=10)]) is None
        await move(store, order, Aborted)
        assert await store.spending.spent(SOL.mint) == 0


@in_loop
async def test_what_is_filled_counts_for_a_day(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1")
        assert await store.spending.reserve(order.id, [take(6, day=10)]) is None
        submitted = await move(store, order, Signed)
        assert await store.spending.spent(SOL.mint) == 6
        await move(store, submitted, Landed)
        other = await building(store, "o-3")
        assert await store.spending.reserve(other.id, [take(5, day=10)]) == too_much(5, 6, of_day=True)
        await stores.pass_time(DAY_S - 60)
        assert await store.spending.spent(SOL.mint) == 6
        await stores.pass_time(120)
        assert await store.spending.spent(SOL.mint) == 0
        assert await store.spending.reserve(other.id, [take(5, day=10)]) is None


@in_loop
async def test_the_slices_of_an_order_add_up_against_both_caps(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1", **TWAP)
        assert await store.spending.reserve(order.id, [take(4, order=10, day=100)]) is None
        order = await move(store, order, Signed, SliceLanded, Started)
        assert await store.spending.reserve(order.id, [take(7, order=10, day=100)]) == too_much(7, 4, of_day=False)
        assert await store.spending.reserve(order.id, [take(6, order=10, day=100)]) is None
        assert await store.spending.spent(SOL.mint) == 10


@in_loop
async def test_where_one_token_is_too_much_none_is_counted(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1")
        both = [take(5, day=10, mint=BONK.mint), take(11, order=10)]
        assert await store.spending.reserve(order.id, both) == too_much(11, 0, of_day=False)
        assert await store.spending.spent(BONK.mint) == 0


@in_loop
async def test_it_is_remembered_by_a_process_that_starts(stores: StoreRig) -> None:
    async with opened(stores) as store:
        order = await building(store, "o-1")
        assert await store.spending.reserve(order.id, [take(6)]) is None
    async with opened(stores) as store:
        assert await store.spending.spent(SOL.mint) == 6
