"""What every store owes the engine (ports.Store), run over each adapter."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import count, pairwise, product
from random import Random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fillwright.errors import FillwrightError
from fillwright.order import (
    TERMINAL,
    Aborted,
    Amended,
    Armed,
    Canceled,
    Expired,
    Failed,
    Landed,
    Lapsed,
    Link,
    Mode,
    Order,
    OrderType,
    Reclaimed,
    Recorded,
    Released,
    Routed,
    Side,
    Signed,
    SliceLanded,
    Slipped,
    Started,
    Status,
    TimeInForce,
    Triggered,
    cancel,
    replay,
    transition,
)
from fillwright.ports import Backlog, Conflict, Logged, Page, Place, Store, Stored
from fillwright.units import Atoms, Bps, Millis, OrderId, Signature
from tests.conformance.rigs import LEASE_S, StoreRig, in_loop
from tests.conformance.samples import (
    BONK,
    NOW,
    PASSING,
    PRICE,
    SOL,
    TWAP,
    USDC,
    accepted,
    event_of,
    new_order,
    stamped,
    walked,
    walks,
    way_to,
)

change: Final = msgspec.structs.replace
LONG_AGO: Final = Millis(NOW - 1_000_000)


async def keep(store: Store, recorded: Sequence[Recorded], *, key: str | None = None) -> Order:
    """Create the order and record the rest of its life, one event at a time."""
    await store.create(new_order(recorded[0], key=key))
    for before, after in pairwise(recorded):
        await store.record(before.order, [after])
    return recorded[-1].order


async def kept(
    store: Store, status: Status, order_id: str = "o-1", *, worker: str = "w-1", at: int = LONG_AGO
) -> Order:
    return await keep(store, way_to(status, accepted(order_id, at=at), worker=worker))


async def raised(call: Coroutine[Any, Any, Any]) -> Exception | None:
    try:
        await call
    except Exception as error:
        return error
    return None


# --- create -------------------------------------------------------------------------------------------------


@in_loop
async def test_a_created_order_is_what_is_read(stores: StoreRig) -> None:
    async with stores.open() as store:
        first = accepted(client_order_id="mine", deadline_ms=Millis(9_000), tags=("a", "b"), venues=("raydium",))
        stored = await store.create(new_order(first, key="k", fingerprint=b"\x00\xff"))
        assert stored == Stored(first.order, b"\x00\xff", is_new=True)
        assert await store.get("alice", first.order.id) == first.order
        assert await store.get_by_client_id("alice", "mine") == first.order
        assert await store.get_by_key("alice", "k") == first.order
        assert await store.history("alice", first.order.id) == stamped([first])


@in_loop
async def test_nothing_is_read_of_what_does_not_exist(stores: StoreRig) -> None:
    async with stores.open() as store:
        assert await store.get("alice", OrderId("none")) is None
        assert await store.get_by_client_id("alice", "none") is None
        assert await store.get_by_key("alice", "none") is None
        assert await store.history("alice", OrderId("none")) == []
        assert await store.page(Page(account="alice", limit=10)) == []
        assert await store.claim([OrderId("none")], "w-1") == []
        await store.ping()


@in_loop
async def test_a_key_names_one_order_for_ever(stores: StoreRig) -> None:
    """I7: the same key gives the first order as it is now, with the first request's fingerprint, and no second row."""
    async with stores.open() as store:
        first = await keep(store, way_to(Status.CONFIRMED), key="k")
        again = await store.create(new_order(accepted("o-2"), key="k", fingerprint=b"other"))
        assert again == Stored(first, b"asked", is_new=False)
        assert await store.get("alice", OrderId("o-2")) is None


@in_loop
async def test_a_client_order_id_names_one_order_for_ever(stores: StoreRig) -> None:
    async with stores.open() as store:
        first = await keep(store, way_to(Status.CANCELED, accepted(client_order_id="mine")))
        again = await store.create(new_order(accepted("o-2", client_order_id="mine"), fingerprint=b"other"))
        assert again == Stored(first, b"asked", is_new=False)
        assert await store.get("alice", OrderId("o-2")) is None


@in_loop
async def test_the_idempotency_key_is_looked_up_before_the_client_order_id(stores: StoreRig) -> None:
    async with stores.open() as store:
        by_key = (await store.create(new_order(accepted("o-1"), key="k"))).order
        by_id = (await store.create(new_order(accepted("o-2", client_order_id="mine")))).order
        both = accepted("o-3", client_order_id="mine")
        assert (await store.create(new_order(both, key="k"))).order == by_key
        assert (await store.create(new_order(both, key="fresh"))).order == by_id


@in_loop
async def test_a_new_key_of_a_known_client_order_id_names_that_order_from_then_on(stores: StoreRig) -> None:
    async with stores.open() as store:
        first = (await store.create(new_order(accepted("o-1", client_order_id="mine"), key="k1"))).order
        again = await store.create(new_order(accepted("o-2", client_order_id="mine"), key="k2"))
        assert (again.order, again.is_new) == (first, False)
        other = await store.create(new_order(accepted("o-3"), key="k2", fingerprint=b"other"))
        assert other == Stored(first, b"asked", is_new=False)
        refused = await store.create(new_order(accepted("o-4", client_order_id="mine"), key="k3", fingerprint=b"other"))
        assert not refused.is_new
        assert (await store.create(new_order(accepted("o-5"), key="k3"))).is_new, "a refused request names nothing"


@in_loop
async def test_orders_without_key_or_client_id_are_all_new(stores: StoreRig) -> None:
    async with stores.open() as store:
        stored = [await store.create(new_order(accepted(f"o-{n}"))) for n in range(3)]
        assert all(each.is_new for each in stored)


@pytest.mark.parametrize("by_key", [True, False], ids=["key", "client id"])
@in_loop
async def test_concurrent_requests_under_one_name_make_one_order(stores: StoreRig, by_key: bool) -> None:
    async with stores.open() as one, stores.open() as other:
        requests = [
            store.create(
                new_order(accepted(f"o-{n}", client_order_id=None if by_key else "mine"), key="k" if by_key else None)
            )
            for n, store in enumerate([one, other] * 10)
        ]
        stored = await asyncio.gather(*requests)
        assert sum(each.is_new for each in stored) == 1
        assert len({each.order.id for each in stored}) == 1
        assert len(await one.page(Page(account="alice", limit=100))) == 1


# --- record: the compare-and-set ------------------------------------------------------------------------------


@in_loop
async def test_a_recorded_batch_moves_the_order_to_its_last_state(stores: StoreRig) -> None:
    async with stores.open() as store:
        life = walked(accepted(), [Started, Routed, Signed, Lapsed, Canceled])
        await store.create(new_order(life[0]))
        await store.record(life[0].order, life[1:4])
        assert await store.get("alice", life[0].order.id) == life[3].order
        await store.record(life[3].order, life[4:])
        assert await store.get("alice", life[0].order.id) == life[-1].order
        assert await store.history("alice", life[0].order.id) == stamped(life)


@in_loop
async def test_of_concurrent_records_exactly_one_wins(stores: StoreRig) -> None:
    async with stores.open() as one, stores.open() as other:
        order = (await one.create(new_order(accepted()))).order
        rivals = [
            Recorded(transition(order, Started(worker=f"w-{n}"), NOW), Started(worker=f"w-{n}")) for n in range(20)
        ]
        results = await asyncio.gather(
            *(raised((one, other)[n % 2].record(order, [rival])) for n, rival in enumerate(rivals))
        )
        assert [type(result) for result in results if result is not None] == [Conflict] * 19
        winner = rivals[results.index(None)]
        assert await one.get("alice", order.id) == winner.order
        assert len(await one.history("alice", order.id)) == 2


@in_loop
async def test_a_conflict_changes_nothing(stores: StoreRig) -> None:
    """I10: a stale worker, however long its batch."""
    async with stores.open() as store:
        life = walked(accepted(), [Started, Routed, Signed])
        order = await keep(store, life)
        stale = life[1].order
        event = event_of(Aborted, stale)
        pending = Recorded(transition(stale, event, NOW), event)
        again = Recorded(transition(pending.order, Started(worker="w-2"), NOW), Started(worker="w-2"))
        with pytest.raises(Conflict):
            await store.record(stale, [pending, again])
        assert await store.get("alice", order.id) == order
        assert await store.history("alice", order.id) == stamped(life)


@in_loop
async def test_an_order_that_does_not_exist_conflicts(stores: StoreRig) -> None:
    async with stores.open() as store:
        first, second = walked(accepted("ghost"), [Started])
        with pytest.raises(Conflict):
            await store.record(first.order, [second])
        assert await store.history("alice", OrderId("ghost")) == []


@in_loop
async def test_a_worker_that_was_taken_for_dead_conflicts_when_it_comes_back(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.heartbeat("old")
        order = (await store.create(new_order(accepted(at=LONG_AGO)))).order
        (claimed,) = await store.claim([order.id], "old")
        await stores.pass_time(LEASE_S + 1)
        (taken,) = await store.claim([order.id], "new")
        event = event_of(Routed, claimed.order)
        with pytest.raises(Conflict):
            await store.record(claimed.order, [Recorded(transition(claimed.order, event, NOW), event)])
        assert await store.get("alice", order.id) == taken.order


_ids = count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_stored_row_is_the_replay_of_its_history(stores: StoreRig, data: st.DataObject) -> None:
    """Any life, recorded in any portions, before and after reopening."""
    life = data.draw(walks(order_id=f"walk-{next(_ids)}"))
    first = life[0].order
    portions, position = [], 0
    while position < len(life) - 1:
        size = data.draw(st.integers(1, 3))
        portions.append((life[position].order, life[position + 1 : position + 1 + size]))
        position += size

    async def check(store: Store, upto: int) -> None:
        history = await store.history("alice", first.id)
        assert history == stamped(life[: upto + 1])
        row = await store.get("alice", first.id)
        assert row == replay(first.id, "alice", history)[-1].order == life[upto].order

    async def main() -> None:
        async with stores.open() as store:
            await store.create(new_order(life[0]))
            for before, portion in portions:
                await store.record(before, portion)
                await check(store, before.seq - 1 + len(portion))
        async with stores.open() as store:
            await check(store, len(life) - 1)

    asyncio.run(main())


# --- constraints (I5, I6): a defect of the engine does not become a false row ------------------------------------


def _wrong(status: Status, **wrong: Any) -> tuple[Status, dict[str, Any]]:
    return status, wrong


@pytest.mark.parametrize(
    ("status", "wrong"),
    [
        _wrong(Status.CONFIRMED, fill=None),
        _wrong(Status.SUBMITTED, tx=None),
        _wrong(Status.PENDING, due_at=None),
        _wrong(Status.ROUTING, due_at=None),
        _wrong(Status.SUBMITTED, due_at=None),
        _wrong(Status.CONFIRMED, due_at=NOW),
        _wrong(Status.FAILED, due_at=NOW),
        _wrong(Status.CANCELED, due_at=NOW),
        _wrong(Status.EXPIRED, due_at=NOW),
        _wrong(Status.PENDING, tx=way_to(Status.SUBMITTED)[-1].order.tx),
        _wrong(Status.CONFIRMED, tx=way_to(Status.SUBMITTED)[-1].order.tx),
        _wrong(Status.FAILED, fill=way_to(Status.CONFIRMED)[-1].order.fill),
        _wrong(Status.CANCELED, fill=way_to(Status.CONFIRMED)[-1].order.fill),
        _wrong(Status.PENDING, fill=way_to(Status.CONFIRMED)[-1].order.fill),
    ],
)
@in_loop
async def test_a_row_that_contradicts_its_status_is_refused(
    stores: StoreRig, status: Status, wrong: dict[str, Any]
) -> None:
    async with stores.open() as store:
        life = way_to(status, accepted()) if status is not Status.PENDING else walked(accepted(), [Started, Aborted])
        before = await keep(store, life[:-1])
        with pytest.raises(FillwrightError):
            await store.record(before, [Recorded(change(life[-1].order, **wrong), life[-1].event)])
        assert await store.get("alice", before.id) == before
        assert await store.history("alice", before.id) == stamped(life[:-1])
        await store.record(before, [life[-1]])


@pytest.mark.parametrize(("mode", "field", "excess"), [("exactIn", "amount_in", 1), ("exactOut", "amount_out", -1)])
@in_loop
async def test_a_fill_beyond_what_was_asked_is_refused(stores: StoreRig, mode: str, field: str, excess: int) -> None:
    """Σ fills ≤ amount for exact in; not an atom less than asked for exact out."""
    async with stores.open() as store:
        life = way_to(Status.CONFIRMED, accepted(mode=Mode(mode)))
        before = await keep(store, life[:-1])
        landed = life[-1].order
        assert landed.fill is not None
        wrong = change(landed, fill=change(landed.fill, **{field: landed.intent.amount + excess}))
        with pytest.raises(FillwrightError):
            await store.record(before, [Recorded(wrong, Landed(fill=landed.fill))])
        assert await store.get("alice", before.id) == before
        await store.record(before, [life[-1]])


@in_loop
async def test_one_transaction_belongs_to_one_order(stores: StoreRig) -> None:
    async with stores.open() as store:
        mine = await kept(store, Status.SUBMITTED, "o-1")
        theirs = await kept(store, Status.BUILDING, "o-2")
        assert mine.tx is not None
        event = Signed(tx=mine.tx)
        with pytest.raises(FillwrightError):
            await store.record(theirs, [Recorded(transition(theirs, event, NOW), event)])
        assert await store.get("alice", theirs.id) == theirs


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": Atoms(0)},
        {"amount": Atoms(-1)},
        {"slippage_bps": Bps(-1)},
        {"slippage_bps": Bps(10_001)},
        {"token_out": SOL},
    ],
)
@in_loop
async def test_an_impossible_intent_is_refused(stores: StoreRig, wrong: dict[str, Any]) -> None:
    async with stores.open() as store:
        with pytest.raises(FillwrightError):
            await store.create(new_order(accepted(**wrong)))
        assert await store.get("alice", OrderId("o-1")) is None


# --- claim and due ------------------------------------------------------------------------------------------------


async def claimed_ids(store: Store, worker: str, *order_ids: OrderId) -> list[str]:
    return sorted(recorded.order.id for recorded in await store.claim(order_ids, worker))


@in_loop
async def test_a_claim_starts_the_order_in_the_claimant_s_name(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.heartbeat("w-1")
        order = (await store.create(new_order(accepted(at=LONG_AGO)))).order
        (claimed,) = await store.claim([order.id, order.id], "w-1")
        assert claimed.event == Started(worker="w-1")
        assert (claimed.order.status, claimed.order.attempt) == (Status.ROUTING, 1)
        assert await store.get("alice", order.id) == claimed.order
        assert (await store.history("alice", order.id))[-1].event == claimed.event


@in_loop
async def test_only_what_is_due_can_be_claimed(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.heartbeat("w-1")
        now = stores.now()
        first = accepted(at=now)
        routing = walked(first, [Started])[-1].order
        event = Aborted(problem=PASSING, retry_at=Millis(now + 2_000))
        waiting = Recorded(transition(routing, event, now), event)
        order = await keep(store, [*walked(first, [Started]), waiting])
        assert await claimed_ids(store, "w-1", order.id) == []
        assert await store.due("w-1", 10) == []
        await stores.pass_time(2.5)
        assert await store.due("w-1", 10) == [order.id]
        assert await claimed_ids(store, "w-1", order.id) == [order.id]


@pytest.mark.parametrize("status", list(Status))
@in_loop
async def test_a_terminal_order_is_nobody_s(stores: StoreRig, status: Status) -> None:
    async with stores.open() as store:
        order = await kept(store, status)
        nobody_s = status in TERMINAL or status is Status.OPEN
        assert await claimed_ids(store, "w-2", order.id) == ([] if nobody_s else [order.id])


HELD: Final = (Status.ROUTING, Status.BUILDING, Status.SUBMITTED)


@pytest.mark.parametrize("status", HELD)
@in_loop
async def test_what_a_living_worker_holds_is_its_own(stores: StoreRig, status: Status) -> None:
    async with stores.open() as store:
        await store.heartbeat("w-1")
        await store.heartbeat("w-2")
        order = await kept(store, status, worker="w-1")
        assert await claimed_ids(store, "w-2", order.id) == []
        assert await store.due("w-2", 10) == []
        (mine,) = await store.claim([order.id], "w-1")
        assert mine.event == Reclaimed(worker="w-1")
        assert (mine.order.status, mine.order.tx, mine.order.route) == (order.status, order.tx, order.route)


@pytest.mark.parametrize("status", HELD)
@in_loop
async def test_what_a_dead_worker_held_goes_on_in_the_state_it_was_left(stores: StoreRig, status: Status) -> None:
    async with stores.open() as store:
        await store.heartbeat("w-1")
        order = await kept(store, status, worker="w-1")
        await stores.pass_time(LEASE_S - 1)
        assert await claimed_ids(store, "w-2", order.id) == []
        await stores.pass_time(2)
        assert await store.due("w-2", 10) == [order.id]
        (taken,) = await store.claim([order.id], "w-2")
        assert taken.event == Reclaimed(worker="w-2")
        assert (taken.order.status, taken.order.tx, taken.order.attempt) == (order.status, order.tx, order.attempt)


@in_loop
async def test_a_heartbeat_renews_the_lease(stores: StoreRig) -> None:
    async with stores.open() as store:
        order = await kept(store, Status.ROUTING, worker="w-1")
        for _ in range(5):
            await store.heartbeat("w-1")
            await stores.pass_time(LEASE_S * 0.6)
            await store.heartbeat("w-2")
            assert await claimed_ids(store, "w-2", order.id) == []


@in_loop
async def test_another_worker_s_heartbeat_buries_only_the_dead(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.heartbeat("dead")
        await stores.pass_time(LEASE_S * 0.7)
        await store.heartbeat("alive")
        await stores.pass_time(LEASE_S * 0.7)
        await store.heartbeat("w-3")
        left = await kept(store, Status.ROUTING, "o-1", worker="dead")
        held = await kept(store, Status.ROUTING, "o-2", worker="alive")
        assert await claimed_ids(store, "w-3", left.id, held.id) == [left.id]


@in_loop
async def test_a_retired_worker_s_orders_are_free_at_once(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.heartbeat("w-1")
        await store.heartbeat("w-2")
        order = await kept(store, Status.SUBMITTED, worker="w-1")
        await store.retire("w-2")
        assert await claimed_ids(store, "w-3", order.id) == []
        await store.retire("w-1")
        assert await claimed_ids(store, "w-3", order.id) == [order.id]


@in_loop
async def test_concurrent_claims_give_each_order_to_one_worker(stores: StoreRig) -> None:
    async with stores.open() as one, stores.open() as other:
        await one.heartbeat("w-1")
        await one.heartbeat("w-2")
        firsts = [accepted(f"o-{n:03}", at=LONG_AGO) for n in range(60)]
        await asyncio.gather(*(one.create(new_order(first)) for first in firsts))
        ids = [first.order.id for first in firsts]
        claims = [
            store.claim(ids[start : start + 15], worker)
            for start, (store, worker) in product(range(0, 60, 5), [(one, "w-1"), (other, "w-2"), (one, "w-2")])
        ]
        taken = [recorded for batch in await asyncio.gather(*claims) for recorded in batch]
        started = [recorded.order.id for recorded in taken if isinstance(recorded.event, Started)]
        assert sorted(started) == ids
        for order_id in ids:
            row = await one.get("alice", order_id)
            workers = {recorded.order.worker for recorded in taken if recorded.order.id == order_id}
            assert row is not None
            assert workers == {row.worker}


@in_loop
async def test_due_names_exactly_what_a_claim_would_take(stores: StoreRig) -> None:
    """Over every status, holder and due time."""
    async with stores.open() as store:
        await store.heartbeat("gone")
        await stores.pass_time(LEASE_S + 1)
        for worker in ("me", "other"):
            await store.heartbeat(worker)
        now = stores.now()
        cases = list(product(Status, ("me", "other", "gone", "never-seen"), (now - 5_000, now - 100, now + 60_000)))
        orders = [
            await kept(store, status, f"o-{n:03}", worker=worker, at=at) for n, (status, worker, at) in enumerate(cases)
        ]
        due = await store.due("me", 1_000)
        assert len(set(due)) == len(due)
        by_id = {order.id: order for order in orders}
        times = [by_id[order_id].due_at for order_id in due]
        assert times == sorted(times, key=lambda at: at or 0), "longest due first"
        assert (await store.due("me", 7)) == due[:7]
        claimed = await claimed_ids(store, "me", *by_id)
        assert claimed == sorted(due)
        expected = [
            order.id for order in orders if order.due_at is not None and order.due_at <= now and order.worker != "other"
        ]
        assert claimed == sorted(expected)


@in_loop
async def test_who_is_alive_is_judged_by_the_last_sign_of_life(stores: StoreRig) -> None:
    async with stores.open() as store:
        assert await store.alive() == 0
        for worker in ("w-1", "w-2", "w-3"):
            await store.heartbeat(worker)
        await store.retire("w-3")
        assert await store.alive() == 2
        await stores.pass_time(LEASE_S - 1)
        await store.heartbeat("w-2")
        assert await store.alive() == 2
        await stores.pass_time(2)
        assert await store.alive() == 1


@in_loop
async def test_the_backlog_is_what_waits_for_a_first_look(stores: StoreRig) -> None:
    """Not what is driven, over, or not yet due; it ages by the store's clock, from when it could have been taken."""
    async with stores.open() as store:
        assert await store.backlog(10) == Backlog(0, 0.0)
        now = stores.now()
        for n, status in enumerate(Status):
            await kept(store, status, f"o-{n}", at=now - 60_000)
        first = accepted("paused", at=now - 60_000)
        routing = walked(first, [Started])[-1]
        event = Aborted(problem=PASSING, retry_at=Millis(now + 5_000))
        paused = Recorded(transition(routing.order, event, now), event)
        await keep(store, [first, routing, paused])
        backlog = await store.backlog(10)
        assert backlog.waiting == 1
        assert 60 <= backlog.oldest_s < 65
        await stores.pass_time(20)
        backlog = await store.backlog(10)
        assert backlog.waiting == 2
        assert 80 <= backlog.oldest_s < 85
        await store.claim([OrderId("o-0")], "w-1")
        backlog = await store.backlog(10)
        assert backlog.waiting == 1
        assert 15 <= backlog.oldest_s < 20, "since it was due, not since it was accepted"


@in_loop
async def test_a_long_backlog_is_counted_up_to_the_limit(stores: StoreRig) -> None:
    async with stores.open() as store:
        now = stores.now()
        firsts = [accepted(f"o-{n}", at=now - 1_000 * (9 - n)) for n in range(9)]
        await asyncio.gather(*(store.create(new_order(first)) for first in firsts))
        assert [(await store.backlog(limit)).waiting for limit in (3, 9, 20)] == [3, 9, 9]
        assert 9 <= (await store.backlog(3)).oldest_s < 14


# --- accounts -----------------------------------------------------------------------------------------------------


@in_loop
async def test_an_account_sees_and_changes_only_its_own(stores: StoreRig) -> None:
    """I15, in every method."""
    async with stores.open() as store:
        order = await keep(store, way_to(Status.ROUTING, accepted(client_order_id="mine")), key="k")
        assert await store.get("bob", order.id) is None
        assert await store.get_by_client_id("bob", "mine") is None
        assert await store.get_by_key("bob", "k") is None
        assert await store.history("bob", order.id) == []
        assert await store.page(Page(account="bob", limit=10)) == []
        stolen = change(order, account="bob")
        canceled = cancel(stolen, NOW)
        assert canceled is not None
        with pytest.raises(Conflict):
            await store.record(stolen, [canceled])
        assert await store.get("alice", order.id) == order
        theirs = await store.create(new_order(accepted("o-2", account="bob", client_order_id="mine"), key="k"))
        assert theirs.is_new
        assert await store.get_by_client_id("alice", "mine") == order
        assert await store.get_by_client_id("bob", "mine") == theirs.order


# --- pages --------------------------------------------------------------------------------------------------------


async def _stock(store: Store) -> list[Order]:
    """Forty orders of many kinds, and some of another account; newest first."""
    dice = Random(1)
    orders = []
    for n in range(40):
        status = dice.choice(list(Status))
        tokens = dice.sample([SOL, USDC, BONK], 2)
        first = accepted(
            f"o-{n:03}", at=NOW + n * 10, side=dice.choice(list(Side)), token_in=tokens[0], token_out=tokens[1]
        )
        orders.append(await keep(store, way_to(status, first)))
        await keep(store, [accepted(f"o-{n:03}-bob", account="bob", at=NOW + n * 10)])
    return orders[::-1]


FILTERS: Final[list[tuple[dict[str, Any], Callable[[Order], bool]]]] = [
    ({}, lambda order: True),
    ({"statuses": frozenset({Status.CONFIRMED, Status.FAILED})}, lambda o: o.status in {"confirmed", "failed"}),
    ({"statuses": frozenset()}, lambda o: False),
    ({"side": Side.BUY}, lambda o: o.intent.side is Side.BUY),
    (
        {"mints": frozenset({SOL.mint, USDC.mint})},
        lambda o: {o.intent.token_in, o.intent.token_out} == {SOL, USDC},
    ),
    ({"since": Millis(NOW + 100), "until": Millis(NOW + 200)}, lambda o: NOW + 100 <= o.created_at < NOW + 200),
    (
        {"side": Side.SELL, "statuses": frozenset({Status.PENDING}), "since": Millis(NOW + 50)},
        lambda o: o.intent.side is Side.SELL and o.status is Status.PENDING and o.created_at >= NOW + 50,
    ),
]


@in_loop
async def test_a_page_is_what_was_filtered_newest_first(stores: StoreRig) -> None:
    async with stores.open() as store:
        orders = await _stock(store)
        for conditions, wanted in FILTERS:
            page = await store.page(Page(account="alice", limit=100, **conditions))
            assert page == [order for order in orders if wanted(order)], conditions


@pytest.mark.parametrize("limit", [1, 7, 40, 41])
@in_loop
async def test_pages_walk_through_all_once_even_while_orders_arrive(stores: StoreRig, limit: int) -> None:
    async with stores.open() as store:
        orders = await _stock(store)
        seen: list[Order] = []
        before: OrderId | None = None
        while page := await store.page(Page(account="alice", limit=limit, before=before)):
            assert len(page) <= limit
            seen += page
            before = page[-1].id
            await store.create(new_order(accepted(f"p-{len(seen)}")))
        assert seen == orders


# --- one transaction for many calls ---------------------------------------------------------------------------------


@in_loop
async def test_a_failing_call_does_not_fail_its_neighbours(stores: StoreRig) -> None:
    """Calls may share a transaction; a refusal, a conflict and a defect each stay with their caller."""
    async with stores.open() as store:
        life = way_to(Status.CONFIRMED, accepted("victim"))
        before = await keep(store, life[:-1])
        stale = life[0].order
        refused = Recorded(change(life[-1].order, fill=None), life[-1].event)
        results = await asyncio.gather(
            *(raised(store.create(new_order(accepted(f"a-{n}")))) for n in range(5)),
            raised(store.record(before, [refused])),
            raised(store.create(new_order(accepted("zero", amount=Atoms(0))))),
            raised(store.record(stale, life[1:2])),
            raised(store.record(before, [Recorded(before, None)])),  # type: ignore[arg-type]
            *(raised(store.create(new_order(accepted(f"b-{n}")))) for n in range(5)),
        )
        assert [type(result).__name__ for result in results[5:8]] == ["FillwrightError", "FillwrightError", "Conflict"]
        assert isinstance(results[8], Exception)
        assert [result for result in results[:5] + results[9:] if result is not None] == []
        assert len(await store.page(Page(account="alice", limit=100))) == 11
        assert await store.get("alice", before.id) == before
        assert await store.history("alice", before.id) == stamped(life[:-1])


@in_loop
async def test_what_was_awaited_is_visible_to_everyone(stores: StoreRig) -> None:
    """I9's ground: nothing is told before it is committed."""
    async with stores.open() as store, stores.open() as witness:

        async def life_of(order_id: str) -> None:
            life = way_to(Status.CONFIRMED, accepted(order_id))
            await store.create(new_order(life[0]))
            assert await witness.get("alice", OrderId(order_id)) == life[0].order
            for before, after in pairwise(life):
                await store.record(before.order, [after])
                assert await witness.get("alice", OrderId(order_id)) == after.order

        await asyncio.gather(*(life_of(f"o-{n}") for n in range(20)))


@in_loop
async def test_reopening_keeps_everything(stores: StoreRig) -> None:
    async with stores.open() as store:
        orders = [await kept(store, status, f"o-{status}") for status in Status]
        await store.create(new_order(accepted("keyed"), key="k"))
        histories = [await store.history("alice", order.id) for order in orders]
    async with stores.open() as store:
        assert [await store.get("alice", order.id) for order in orders] == orders
        assert [await store.history("alice", order.id) for order in orders] == histories
        assert not (await store.create(new_order(accepted("again"), key="k"))).is_new


@in_loop
async def test_a_caller_that_goes_away_harms_nobody(stores: StoreRig) -> None:
    """Its change is made or not, wholly; the others' are made."""
    async with stores.open() as store:
        calls = [asyncio.create_task(store.create(new_order(accepted(f"o-{n}")))) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        await asyncio.wait(calls)
        assert all(call.cancelled() for call in calls[::2])
        assert all(call.result().is_new for call in calls[1::2])
        for n in range(20):
            order = await store.get("alice", OrderId(f"o-{n}"))
            assert order is not None or n % 2 == 0
            assert len(await store.history("alice", OrderId(f"o-{n}"))) == (order is not None)
        assert (await store.create(new_order(accepted("after")))).is_new


@in_loop
async def test_a_confirmed_order_keeps_its_signature(stores: StoreRig) -> None:
    """So no second order can ever claim the same settlement."""
    async with stores.open() as store:
        landed = await kept(store, Status.CONFIRMED, "o-1")
        assert landed.fill is not None
        building = await kept(store, Status.BUILDING, "o-2")
        event = event_of(Signed, building)
        assert isinstance(event, Signed)
        forged = Signed(tx=change(event.tx, signature=Signature(landed.fill.signature)))
        with pytest.raises(FillwrightError):
            await store.record(building, [Recorded(transition(building, forged, NOW), forged)])


# --- dead-man's switches ------------------------------------------------------------------------------------


@in_loop
async def test_a_switch_fires_when_its_time_has_come_by_the_store_s_clock(stores: StoreRig) -> None:
    async with stores.open() as store, stores.open() as other:
        armed = await store.arm("alice", 5)
        assert armed.account == "alice"
        assert abs(armed.fires_at - stores.now() - 5_000) < 2_000
        await store.arm("bob", 60)
        assert await other.fired(10) == []
        await stores.pass_time(7)
        assert [switch.account for switch in await other.fired(10)] == ["alice"]
        await stores.pass_time(60)
        assert [switch.account for switch in await other.fired(10)] == ["alice", "bob"]
        assert [switch.account for switch in await other.fired(1)] == ["alice"]
    async with stores.open() as store:
        assert len(await store.fired(10)) == 2, "they stay until they are removed"


@in_loop
async def test_arming_again_puts_the_switch_off(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.arm("alice", 5)
        await stores.pass_time(4)
        await store.arm("alice", 5)
        await stores.pass_time(4)
        assert await store.fired(10) == []
        await store.disarm("alice")
        await stores.pass_time(9)
        assert await store.fired(10) == []


@in_loop
async def test_a_switch_that_was_armed_again_is_not_removed_with_the_old_one(stores: StoreRig) -> None:
    async with stores.open() as store:
        await store.arm("alice", 1)
        await stores.pass_time(3)
        (fired,) = await store.fired(10)
        await store.arm("alice", 2)
        await store.disarm("alice", fired)
        await stores.pass_time(4)
        (again,) = await store.fired(10)
        await store.disarm("alice", again)
        assert await store.fired(10) == []


@in_loop
async def test_concurrent_arming_leaves_one_switch_an_account(stores: StoreRig) -> None:
    async with stores.open() as store, stores.open() as other:
        await asyncio.gather(*(each.arm(f"a-{n % 3}", 1 + n) for n in range(30) for each in (store, other)))
        await stores.pass_time(60)
        assert sorted(switch.account for switch in await store.fired(100)) == ["a-0", "a-1", "a-2"]


# --- orders that rest ---------------------------------------------------------------------------------------

LIMIT: Final[dict[str, Any]] = {"type": OrderType.LIMIT, "limit": PRICE}


@in_loop
async def test_a_new_order_that_rests_is_armed_by_whoever_claims_it_and_held_by_nobody(stores: StoreRig) -> None:
    async with stores.open() as store:
        await keep(store, [accepted(**LIMIT)])
        (armed,) = await store.claim([OrderId("o-1")], "w-1")
        assert armed.event == Armed()
        assert await store.get("alice", OrderId("o-1")) == armed.order
        assert armed.order.status is Status.OPEN
        assert armed.order.worker is None
        await stores.pass_time(3_600)
        assert await store.due("w-2", 10) == []
        assert await store.claim([armed.order.id], "w-2") == []


@in_loop
async def test_an_order_that_rests_is_due_when_its_time_has_come(stores: StoreRig) -> None:
    async with stores.open() as store:
        intent = {**LIMIT, "deadline_ms": 5_000}
        await keep(store, walked(accepted(at=stores.now(), **intent), [Armed]))
        assert await store.due("w-1", 10) == []
        await stores.pass_time(6)
        assert await store.due("w-1", 10) == ["o-1"]
        (expired,) = await store.claim([OrderId("o-1")], "w-1")
        assert isinstance(expired.event, Expired)
        assert await store.get("alice", OrderId("o-1")) == expired.order


@in_loop
async def test_the_open_orders_of_all_accounts_are_listed_by_id(stores: StoreRig) -> None:
    async with stores.open() as store:
        for n, account in enumerate(("alice", "bob", "alice", "bob")):
            await keep(store, walked(accepted(f"o-{n}", account=account, **LIMIT), [Armed]))
        await keep(store, walked(accepted("o-4", **LIMIT), [Armed, Triggered]))
        await keep(store, [accepted("o-5", **LIMIT)])
        await keep(store, walked(accepted("o-6", **LIMIT), [Armed, Canceled]))
        assert [order.id for order in await store.resting(None, 10)] == ["o-0", "o-1", "o-2", "o-3"]
        assert [order.id for order in await store.resting(OrderId("o-1"), 1)] == ["o-2"]
        assert await store.resting(OrderId("o-3"), 10) == []
        assert (await store.resting(None, 1))[0] == await store.get("alice", OrderId("o-0"))


@in_loop
async def test_the_log_of_resting_orders_leaves_all_others_out(stores: StoreRig) -> None:
    async with stores.open() as store:
        await keep(store, way_to(Status.CONFIRMED, accepted("o-1")))
        await keep(store, walked(accepted("o-2", **LIMIT), [Armed, Amended, Triggered, Started, Slipped]))
        await keep(store, way_to(Status.CONFIRMED, accepted("o-3", time_in_force=TimeInForce.IOC, **LIMIT)))
        whole = await store.log(Place(0, 0), 100)
        told = await store.log(Place(0, 0), 100, resting=True)
        assert told == [each for each in whole if each.order_id == "o-2"]
        assert [each.status for each in told] == ["pending", "open", "open", "pending", "routing", "open"]
        assert await store.log(told[2].place, 2, resting=True) == told[3:5]


# --- orders in slices ---------------------------------------------------------------------------------------

SLICE: Final = (Started, Routed, Signed, SliceLanded)


@in_loop
async def test_between_slices_an_order_is_due_when_the_next_one_is_and_its_claim_starts_that(stores: StoreRig) -> None:
    async with stores.open() as store:
        order = await keep(store, walked(accepted(at=stores.now(), **TWAP), SLICE))
        assert (order.status, order.slice, order.worker) == (Status.OPEN, 2, None)
        assert await store.get("alice", order.id) == order
        assert (await store.due("w-1", 10), await store.claim([order.id], "w-1")) == ([], [])
        await stores.pass_time(5)
        assert await store.due("w-1", 10) == [order.id]
        (started,) = await store.claim([order.id], "w-1")
        assert started.event == Started(worker="w-1")
        assert (started.order.attempt, started.order.slice, started.order.fill) == (1, 2, order.fill)
        assert await store.get("alice", order.id) == started.order


@pytest.mark.parametrize("end", [Canceled, Expired, Failed])
@in_loop
async def test_what_was_filled_stays_however_the_order_ends(stores: StoreRig, end: type) -> None:
    async with stores.open() as store:
        order = await keep(store, walked(accepted(**TWAP), [*SLICE, *SLICE, end]))
        assert (order.is_terminal, order.filled_in, order.filled_out) == (True, 1_000_000_000, 198)
        assert await store.get("alice", order.id) == order


@in_loop
async def test_while_a_slice_is_in_flight_both_its_signature_and_the_latest_fill_s_are_kept(stores: StoreRig) -> None:
    async with stores.open() as store:
        order = await keep(store, walked(accepted(**TWAP), [*SLICE, Started, Routed, Signed]))
        assert order.tx is not None
        assert order.fill is not None
        assert order.tx.signature != order.fill.signature
        assert await store.get("alice", order.id) == order


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ([*SLICE, *SLICE], {"amount_in": 1_500_000_001}),  # more than the whole amount
        ([*SLICE, *SLICE, Started, Routed, Signed, Landed], {"amount_in": 1_499_999_999}),  # confirmed by less
    ],
)
@in_loop
async def test_slices_that_do_not_add_up_are_refused(
    stores: StoreRig, kinds: list[type], wrong: dict[str, int]
) -> None:
    """Σ fills ≤ amount, and all of it once confirmed."""
    async with stores.open() as store:
        life = walked(accepted(**TWAP), kinds)
        before = await keep(store, life[:-1])
        after = life[-1].order
        assert after.fill is not None
        with pytest.raises(FillwrightError):
            await store.record(before, [Recorded(change(after, fill=change(after.fill, **wrong)), life[-1].event)])
        assert await store.get("alice", before.id) == before
        await store.record(before, [life[-1]])


@in_loop
async def test_no_slice_may_have_the_signature_of_another(stores: StoreRig) -> None:
    async with stores.open() as store:
        life = walked(accepted(**TWAP), [*SLICE, Started, Routed])
        order = await keep(store, life)
        (first,) = [each.event for each in life if isinstance(each.event, Signed)]
        with pytest.raises(FillwrightError):
            await store.record(order, [Recorded(transition(order, first, NOW), first)])
        assert await store.get("alice", order.id) == order


@in_loop
async def test_orders_in_slices_are_not_in_the_log_of_those_that_wait_for_the_market(stores: StoreRig) -> None:
    async with stores.open() as store:
        await keep(store, walked(accepted(**TWAP), SLICE))
        assert await store.log(Place(0, 0), 100, resting=True) == []


# --- orders that are tied to each other ---------------------------------------------------------------------


def member(order_id: str, *others: str, group: str = "g", **intent: Any) -> Recorded:
    link = Link(group=OrderId(group), siblings=tuple(map(OrderId, others)))
    return accepted(order_id, link=link, **LIMIT, **intent)


@in_loop
async def test_orders_that_are_tied_are_stored_all_or_none(stores: StoreRig) -> None:
    async with stores.open() as store:
        link = Link(children=(OrderId("b"), OrderId("c")))
        first = accepted("a", client_order_id="mine", link=link)
        tied = [member("b", "c"), member("c", "b")]
        stored = await store.create(new_order(first, key="k"), *map(new_order, tied))
        assert stored == Stored(first.order, b"asked", is_new=True)
        for each in (first, *tied):
            assert await store.get("alice", each.order.id) == each.order
            assert await store.history("alice", each.order.id) == stamped([each])
        again = await store.create(new_order(accepted("d"), key="k"), *map(new_order, [accepted("e")]))
        assert again.order == first.order
        named = await store.create(
            new_order(accepted("d", client_order_id="mine"), key="other"), new_order(accepted("e"))
        )
        assert named.order == first.order
        broken = [new_order(accepted("f")), new_order(accepted("zero", amount=Atoms(0)))]
        results = await asyncio.gather(
            raised(store.create(*broken)), *(raised(store.create(new_order(accepted(f"n-{n}")))) for n in range(3))
        )
        assert isinstance(results[0], FillwrightError)
        assert results[1:] == [None, None, None]
        assert {order.id for order in await store.page(Page(account="alice", limit=100))} == {
            *("a", "b", "c", "n-0", "n-1", "n-2")
        }
        told = await store.log(Place(0, 0), 100, resting=True)
        assert {each.order_id for each in told} == {"a", "b", "c"}, "watchers hear of each that is tied"


@in_loop
async def test_one_order_of_a_group_holds_it_at_a_time(stores: StoreRig) -> None:
    """It is free again where an attempt is proven over for good, and after a fill never."""
    async with stores.open() as store:
        ways: dict[str, list[type]] = {
            "triggered": [Triggered],
            "started": [Triggered, Started],
            "between": [Triggered, Started, Aborted],
            "signed": [Triggered, Started, Routed, Signed],
            "filled": [Triggered, Started, Routed, Signed, Landed],
        }
        free: dict[str, list[type]] = {
            "resting": [],
            "slipped": [Triggered, Started, Slipped],
            "failed": [Triggered, Started, Aborted, Failed],
            "canceled": [Triggered, Canceled],
            "expired": [Triggered, Expired],
        }
        for name, kinds in {**ways, **free}.items():
            life = walked(member(f"{name}-1", group=name), [Armed, *kinds])
            await keep(store, life)
            other = walked(member(f"{name}-2", group=name), [Armed, Triggered])
            await keep(store, other[:-1])
            result = await raised(store.record(other[-2].order, other[-1:]))
            assert life[-1].order.holds == (name in ways)
            assert (type(result) is Conflict) == (name in ways), name
            assert (await store.history("alice", other[0].order.id))[-1].seq == (2 if name in ways else 3)
        strangers = walked(member("x", group="elsewhere"), [Armed, Triggered])
        await keep(store, strangers)
        alone = walked(accepted("y", **LIMIT), [Armed, Triggered])
        await keep(store, alone)


@pytest.mark.parametrize("turn", range(5))
@in_loop
async def test_of_a_group_that_is_triggered_at_once_by_two_processes_one_wins(stores: StoreRig, turn: int) -> None:
    """And whatever shares their transactions is not held up."""
    async with stores.open() as one, stores.open() as two:
        groups = [f"g-{turn}-{n}" for n in range(8)]
        lives = [[walked(member(f"{g}-{k}", group=g), [Armed, Triggered]) for k in range(2)] for g in groups]
        others = [walked(accepted(f"o-{turn}-{n}", **LIMIT), [Armed, Triggered]) for n in range(8)]
        for life in (*(each for pair in lives for each in pair), *others):
            await keep(one, life[:-1])
        calls = []
        for n, (pair, other) in enumerate(zip(lives, others, strict=True)):
            stores_of_pair = ((one, two), (two, one), (one, one), (two, two))[n % 4]
            for store, life in zip(stores_of_pair, pair, strict=True):
                calls.append(raised(store.record(life[-2].order, life[-1:])))
            calls.append(raised((one, two)[n % 2].record(other[-2].order, other[-1:])))
        results = await asyncio.gather(*calls)
        for n in range(8):
            *pair_results, other_result = results[3 * n : 3 * n + 3]
            assert sorted(type(each).__name__ for each in pair_results) == ["Conflict", "NoneType"]
            assert other_result is None


@in_loop
async def test_a_released_order_is_read_with_the_amount_that_it_was_given(stores: StoreRig) -> None:
    async with stores.open() as store:
        child = accepted("c", link=Link(parent=OrderId("p")), **LIMIT)
        life = walked(child, [Armed, Released, Amended, Triggered])
        for upto in (2, 3, 4, 5):
            if upto == 2:
                await keep(store, life[:2])
            else:
                await store.record(life[upto - 2].order, life[upto - 1 : upto])
            assert await store.get("alice", child.order.id) == life[upto - 1].order
        assert [each.order.is_waiting for each in life] == [False, True, False, False, False]
        assert life[2].order.intent.amount == child.order.intent.amount + 1


# --- the log of all events ----------------------------------------------------------------------------------


async def _read_log(store: Store, after: Place, limit: int) -> list[Logged]:
    """All that follows, a few at a time."""
    read: list[Logged] = []
    while part := await store.log(read[-1].place if read else after, limit):
        assert len(part) <= limit
        read += part
    return read


@in_loop
async def test_the_log_has_every_event_once_in_an_order_that_can_be_resumed(stores: StoreRig) -> None:
    async with stores.open() as store:
        assert await store.log_end() == Place(0, 0)
        assert await store.log(Place(0, 0), 10) == []
        await keep(store, way_to(Status.CONFIRMED, accepted("o-1")))
        await keep(store, way_to(Status.CANCELED, accepted("o-2", account="bob")))
        whole = await store.log(Place(0, 0), 100)
        assert [(each.order_id, each.seq) for each in whole if each.account == "alice"] == [
            ("o-1", seq) for seq in range(1, 6)
        ]
        assert [(each.order_id, each.seq) for each in whole if each.account == "bob"] == [("o-2", 1), ("o-2", 2)]
        assert [each.place for each in whole] == sorted({each.place for each in whole})
        assert await store.log_end() == whole[-1].place
        for limit in (1, 2, 3):
            assert await _read_log(store, Place(0, 0), limit) == whole
        for nth, each in enumerate(whole):
            assert await store.log(each.place, 100) == whole[nth + 1 :]


@pytest.mark.parametrize("seed", range(3))
@in_loop
async def test_a_reader_of_the_log_misses_nothing_of_what_several_writers_write(stores: StoreRig, seed: int) -> None:
    """Readers go on after the last event they saw, while writers of several processes commit in any order."""
    random = Random(seed)
    writing = True

    async def write(store: Store, name: str) -> None:
        for n in range(12):
            status = random.choice((Status.CONFIRMED, Status.FAILED, Status.CANCELED))
            await keep(store, way_to(status, accepted(f"{name}-{n}")))
            await asyncio.sleep(random.random() * 0.01)

    async def read(store: Store, limit: int) -> list[Logged]:
        seen: list[Logged] = []
        while True:
            last_look = not writing
            part = await store.log(seen[-1].place if seen else Place(0, 0), limit)
            seen += part
            if last_look and not part:
                return seen
            await asyncio.sleep(0)

    async with stores.open() as one, stores.open() as two, stores.open() as three:
        readers = [asyncio.create_task(read(store, limit)) for store, limit in ((one, 1_000), (two, 1), (three, 7))]
        await asyncio.gather(*(write(store, f"{n}{k}") for n, store in enumerate((one, two, three)) for k in range(5)))
        writing = False
        for seen in await asyncio.gather(*readers):
            assert [each.place for each in seen] == sorted({each.place for each in seen})
            by_order: dict[str, list[int]] = {}
            for each in seen:
                by_order.setdefault(each.order_id, []).append(each.seq)
            assert len(by_order) == 180
            for order_id, seqs in by_order.items():
                history = await one.history("alice", OrderId(order_id))
                assert seqs == [stamp.seq for stamp in history]
