"""What every store of webhooks promises: see ports.Webhooks."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from fillwright.order import Status
from fillwright.ports import Due, Place
from fillwright.units import Millis, OrderId
from fillwright.webhooks import (
    Delivery,
    Message,
    Off,
    Outcome,
    Secret,
    State,
    Webhook,
    WebhookId,
    message_of,
    new_id,
    new_secret,
)
from tests.conformance.rigs import StoreRig, in_loop
from tests.conformance.samples import NOW, accepted, way_to
from tests.conformance.test_store import keep

change: Final = msgspec.structs.replace
START: Final = Place(0, 0)
FAILING_S: Final = 1_000
DONE: Final = Outcome(delivered=True, gone=False, status=200, error=None, again_after_s=None)
AGAIN: Final = Outcome(delivered=False, gone=False, status=500, error=None, again_after_s=300.0)
LOST: Final = Outcome(delivered=False, gone=False, status=None, error="no answer in time", again_after_s=None)
GONE: Final = Outcome(delivered=False, gone=True, status=410, error=None, again_after_s=None)


def opened(stores: StoreRig) -> AbstractAsyncContextManager[Any]:
    """Each call is another process's view of the same webhooks."""
    return stores.open()


def hook(account: str = "alice", **changed: Any) -> Webhook:
    told: dict[str, Any] = {
        "id": new_id(os.urandom),
        "account": account,
        "url": "https://example.com/hook?a=b",
        "events": frozenset(),
        "description": "",
        "secrets": (new_secret(os.urandom),),
        "off": None,
        "failing_since": None,
        "created_at": NOW,
        "idempotency_key": None,
        "fingerprint": b"asked",
    }
    return Webhook(**{**told, **changed})


def messages(webhook: Webhook, count: int, order_id: str = "o-1") -> list[Message]:
    return [message_of(webhook, OrderId(order_id), seq, "pending") for seq in range(1, count + 1)]


async def added(store: Any, *webhooks: Webhook) -> None:
    for webhook in webhooks:
        assert await store.webhooks.add(webhook, START, 20) == webhook


async def taken(store: Any, limit: int = 10, each: int = 10, without: tuple[WebhookId, ...] = ()) -> list[Due]:
    due: list[Due] = await store.webhooks.take(limit, each, without, 60.0)
    return due


async def one(store: Any, webhook: Webhook) -> Delivery:
    """The only delivery."""
    (delivery,) = await store.webhooks.deliveries(webhook.account, webhook.id, 10)
    assert isinstance(delivery, Delivery)
    return delivery


# --- webhooks ---------------------------------------------------------------------------------------------


@in_loop
async def test_a_webhook_comes_back_as_it_was_made_to_its_account_only(stores: StoreRig) -> None:
    secrets = (Secret(os.urandom(32)), Secret(b"\0" * 32, Millis(NOW + 5)))
    made = hook(events=frozenset({"confirmed", "failed"}), description="Zoë's", secrets=secrets, idempotency_key="k")
    async with opened(stores) as a, opened(stores) as b:
        await added(a, made)
        assert await b.webhooks.get("alice", made.id) == made
        assert await b.webhooks.of("alice") == [made]
        assert await b.webhooks.get("bob", made.id) is None
        assert await b.webhooks.of("bob") == []
        assert await b.webhooks.deliveries("bob", made.id, 10) == []
        assert not await b.webhooks.change(change(made, account="bob", url="https://evil.example/"))
        await b.webhooks.rewind("bob", made.id, START)
        assert await b.webhooks.revive("bob", made.id) == 0
        assert not await b.webhooks.remove("bob", made.id)
        assert await a.webhooks.get("alice", made.id) == made


@in_loop
async def test_an_account_has_no_more_webhooks_than_it_may_however_many_ask_at_once(stores: StoreRig) -> None:
    async with opened(stores) as a, opened(stores) as b:
        asked = [store.webhooks.add(hook(), START, 3) for store in (a, b) for _ in range(4)]
        answers = await asyncio.gather(*asked)
        assert sum(answer is not None for answer in answers) == 3
        assert len(await a.webhooks.of("alice")) == 3
        await added(a, hook("bob"))


@in_loop
async def test_an_idempotency_key_names_one_webhook_of_its_account(stores: StoreRig) -> None:
    async with opened(stores) as a, opened(stores) as b:
        asked = [store.webhooks.add(hook(idempotency_key="k"), START, 1) for store in (a, b) for _ in range(4)]
        answers = await asyncio.gather(*asked)
        assert len({answer.id for answer in answers}) == 1
        other = hook("bob", idempotency_key="k")
        assert await b.webhooks.add(other, START, 1) == other


@in_loop
async def test_of_two_who_change_one_webhook_one_has_to_look_again(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as a, opened(stores) as b:
        await added(a, made)
        wishes = [change(made, description="a"), change(made, secrets=(new_secret(os.urandom), *made.secrets))]
        won = await asyncio.gather(a.webhooks.change(wishes[0]), b.webhooks.change(wishes[1]))
        assert sorted(won) == [False, True]
        stored = await a.webhooks.get("alice", made.id)
        assert stored == change(wishes[won.index(True)], revision=1)


@in_loop
async def test_a_webhook_goes_with_its_deliveries(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        await store.webhooks.put(messages(made, 3))
        (first, *_) = await taken(store, limit=1)
        assert await store.webhooks.remove("alice", made.id)
        assert await store.webhooks.get("alice", made.id) is None
        assert await taken(store) == []
        assert await store.webhooks.settle(first.delivery, DONE, FAILING_S) is None
        await store.webhooks.put(messages(made, 1))
        assert await taken(store) == [], "nothing is kept for one that is gone"


# --- from the log to messages -----------------------------------------------------------------------------


@in_loop
async def test_a_place_moves_on_together_with_its_messages_and_for_one_of_two_processes(stores: StoreRig) -> None:
    made, other = hook(), hook("bob")
    ahead = Place(0, 7)
    async with opened(stores) as a, opened(stores) as b:
        await added(a, made, other)
        ids = [made.id, other.id]
        both = [*messages(made, 2), *messages(other, 1)]
        await asyncio.gather(*(store.webhooks.advance(ids, START, ahead, both) for store in (a, b)))
        assert {each.webhook.id: each.place for each in await b.webhooks.following(100)} == dict.fromkeys(ids, ahead)
        assert [each.message.seq for each in await a.webhooks.deliveries("alice", made.id, 10)] == [2, 1]
        late = messages(made, 3, "o-2")
        await b.webhooks.advance(ids, START, Place(0, 9), late)
        assert len(await a.webhooks.deliveries("alice", made.id, 10)) == 2, "who is late adds nothing"
        assert {each.place for each in await a.webhooks.following(100)} == {ahead}


@in_loop
async def test_only_enabled_webhooks_with_room_follow_the_log(stores: StoreRig) -> None:
    made, off = hook(), hook(off=Off.ASKED)
    async with opened(stores) as store:
        await added(store, made, off)
        await store.webhooks.put(messages(made, 3))
        assert [each.webhook for each in await store.webhooks.following(4)] == [made]
        assert await store.webhooks.following(3) == []
        await store.webhooks.settle((await taken(store, 1))[0].delivery, DONE, FAILING_S)
        assert [each.webhook for each in await store.webhooks.following(3)] == [made]
        await store.webhooks.advance([off.id], START, Place(0, 5), messages(off, 1))
        assert await store.webhooks.deliveries("alice", off.id, 10) == []


@in_loop
async def test_a_place_is_moved_back_never_ahead(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await store.webhooks.add(made, Place(3, 7), 20)
        for asked, expected in ((Place(4, 0), Place(3, 7)), (Place(3, 8), Place(3, 7)), (Place(2, 99), Place(2, 99))):
            await store.webhooks.rewind("alice", made.id, asked)
            (follower,) = await store.webhooks.following(9)
            assert follower.place == expected


@in_loop
async def test_the_log_since_a_time_begins_before_the_first_event_of_then(stores: StoreRig) -> None:
    async with stores.open() as store:
        for n in range(9):
            await keep(store, way_to(Status.CONFIRMED, accepted(f"o-{n}", at=NOW + 1_000 * n)))
        for n in range(10):
            at = Millis(NOW + 1_000 * n)
            told = [entry.order_id for entry in await store.log(await store.log_since(at), 100)]
            wanted = [f"o-{k}" for k in range(n, 9)]
            assert [name for name in dict.fromkeys(told) if name >= f"o-{n}"] == wanted
            assert len(dict.fromkeys(told)) <= len(wanted) + 1, "it does not begin much earlier"
        assert await store.log(await store.log_since(Millis(0)), 100) == await store.log(START, 100)


# --- deliveries -------------------------------------------------------------------------------------------


@in_loop
async def test_a_delivery_is_taken_by_one_process_until_its_lease_ends(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as a, opened(stores) as b:
        await added(a, made)
        await a.webhooks.put(messages(made, 20))
        rounds = await asyncio.gather(*(taken(store, 5) for store in (a, b) for _ in range(8)))
        early = [due for each in rounds for due in each]
        seqs = [due.delivery.message.seq for due in early]
        assert len(seqs) == len(set(seqs)), "one was taken twice"
        rest = await taken(b, 20, 20)
        assert {*seqs, *(due.delivery.message.seq for due in rest)} == set(range(1, 21))
        assert await taken(a) == []
        await stores.pass_time(59)
        assert await taken(a) == []
        await stores.pass_time(2)
        again = await taken(b, 20, 20)
        assert {due.delivery.tries for due in again} == {2}
        assert await a.webhooks.settle(early[0].delivery, DONE, FAILING_S) is None
        assert all(each.state is State.WAITING for each in await a.webhooks.deliveries("alice", made.id, 50)), (
            "who was away longer than its lease decides nothing"
        )


@in_loop
async def test_one_long_queue_hides_nobody_else_s(stores: StoreRig) -> None:
    slow, quick, off = hook(), hook("bob"), hook("eve", off=Off.FAILING)
    async with opened(stores) as store:
        await added(store, slow, quick, off)
        for webhook, count in ((slow, 50), (off, 5), (quick, 1)):
            await store.webhooks.put(messages(webhook, count))
        found = await taken(store, 10, 2)
        assert sorted(due.webhook.account for due in found) == ["alice", "alice", "bob"]
        assert await taken(store, 10, 2, (slow.id,)) == []
        assert {due.webhook.account for due in await taken(store, 1, 2)} == {"alice"}


@in_loop
async def test_what_was_taken_is_told_with_its_webhook_as_it_is_now(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        (message,) = messages(made, 1)
        await store.webhooks.put([message])
        assert await store.webhooks.change(change(made, url="https://example.org/"))
        (due,) = await taken(store)
        assert due.webhook == change(made, url="https://example.org/", revision=1)
        assert due.delivery == await one(store, made)
        assert (due.delivery.message, due.delivery.tries, due.delivery.state) == (message, 1, State.WAITING)


@in_loop
async def test_each_outcome_leaves_its_trace(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        for outcome, state in ((DONE, State.DELIVERED), (LOST, State.FAILED), (AGAIN, State.WAITING)):
            (message,) = messages(made, 1)
            await store.webhooks.put([message])
            (due,) = await taken(store)
            assert await store.webhooks.settle(due.delivery, outcome, FAILING_S) is None
            delivery = await one(store, made)
            assert (delivery.state, delivery.status, delivery.error) == (state, outcome.status, outcome.error)
            assert (delivery.due_at is None) == (state is not State.WAITING)
        assert await taken(store) == []
        await stores.pass_time(299)
        assert await taken(store) == []
        await stores.pass_time(2)
        assert len(await taken(store)) == 1


@in_loop
async def test_a_message_that_is_known_is_sent_once_more_unless_it_is_being_sent(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        (message,) = messages(made, 1)
        await store.webhooks.put([message])
        (due,) = await taken(store)
        await store.webhooks.put([message])
        assert await taken(store) == []
        await store.webhooks.settle(due.delivery, DONE, FAILING_S)
        await store.webhooks.put([message])
        (again,) = await taken(store)
        assert (again.delivery.message, again.delivery.tries) == (message, 1)
        assert again.delivery.claim > due.delivery.claim, "an answer to the first does not settle the second"


@in_loop
async def test_what_failed_or_waits_is_revived(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        await store.webhooks.put(messages(made, 4))
        for due, outcome in zip(await taken(store, 3), (DONE, LOST, AGAIN), strict=True):
            await store.webhooks.settle(due.delivery, outcome, FAILING_S)
        (being_sent,) = await taken(store)
        assert await store.webhooks.revive("alice", made.id) == 2
        revived = await taken(store)
        assert {due.delivery.message.seq for due in revived} == {2, 3}
        assert {due.delivery.tries for due in revived} == {1}
        assert being_sent.delivery.message.seq == 4


@in_loop
async def test_success_ends_the_failing_and_lets_the_others_go_at_once(stores: StoreRig) -> None:
    made, other = hook(), hook("bob")
    async with opened(stores) as store:
        await added(store, made, other)
        await store.webhooks.put([*messages(made, 3), *messages(other, 1)])
        for due in await taken(store):
            await store.webhooks.settle(due.delivery, AGAIN, FAILING_S)
        assert (await store.webhooks.get("alice", made.id)).failing_since is not None
        (fresh,) = messages(made, 1, "o-2")
        await store.webhooks.put([fresh])
        (due,) = await taken(store)
        assert await store.webhooks.settle(due.delivery, DONE, FAILING_S) is None
        assert (await store.webhooks.get("alice", made.id)).failing_since is None
        assert (await store.webhooks.get("bob", other.id)).failing_since is not None
        assert [due.webhook.account for due in await taken(store)] == ["alice"] * 3


@in_loop
async def test_a_receiver_that_is_gone_or_fails_too_long_is_disabled_and_that_is_told_once(stores: StoreRig) -> None:
    gone, failing = hook(), hook("bob")
    async with opened(stores) as store:
        await added(store, gone, failing)
        await store.webhooks.put([*messages(gone, 2), *messages(failing, 3)])
        due = {(each.webhook.account, each.delivery.message.seq): each.delivery for each in await taken(store)}
        told = await store.webhooks.settle(due["alice", 1], GONE, FAILING_S)
        assert (told.id, told.off) == (gone.id, Off.GONE)
        assert await store.webhooks.settle(due["alice", 2], GONE, FAILING_S) is None
        assert await store.webhooks.settle(due["bob", 1], AGAIN, FAILING_S) is None
        await stores.pass_time(FAILING_S - 1)
        assert await store.webhooks.settle(due["bob", 2], AGAIN, FAILING_S) is None
        await stores.pass_time(2)
        told = await store.webhooks.settle(due["bob", 3], AGAIN, FAILING_S)
        assert (told.id, told.off) == (failing.id, Off.FAILING)
        assert not await store.webhooks.change(change(failing, url="https://late.example/")), "the revision counted on"
        assert await store.webhooks.following(100) == []
        await stores.pass_time(10_000)
        assert await taken(store) == []
        assert await store.webhooks.oldest_s() == 0.0


@in_loop
async def test_the_oldest_message_tells_how_long_it_has_waited(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        assert await store.webhooks.oldest_s() == 0.0
        await store.webhooks.put(messages(made, 1))
        await stores.pass_time(60)
        await store.webhooks.put(messages(made, 1, "o-2"))
        assert 60 <= await store.webhooks.oldest_s() < 65


@in_loop
async def test_deliveries_are_listed_page_by_page_newest_first(stores: StoreRig) -> None:
    made = hook()
    async with opened(stores) as store:
        await added(store, made)
        await store.webhooks.put(messages(made, 5))
        first = await store.webhooks.deliveries("alice", made.id, 3)
        second = await store.webhooks.deliveries("alice", made.id, 3, first[-1].number)
        assert [each.message.seq for each in (*first, *second)] == [5, 4, 3, 2, 1]


@in_loop
async def test_what_is_over_is_forgotten_in_time_and_what_waits_is_not(stores: StoreRig) -> None:
    made, off = hook(), hook("bob", off=Off.ASKED)
    async with opened(stores) as store:
        await added(store, made, off)
        await store.webhooks.put([*messages(made, 2), *messages(off, 1)])
        (due,) = await taken(store, 1)
        await store.webhooks.settle(due.delivery, DONE, FAILING_S)
        assert await store.webhooks.forget(100, 10) == 0
        await stores.pass_time(101)
        assert await store.webhooks.forget(100, 1) == 1
        assert await store.webhooks.forget(100, 10) == 1
        assert (await one(store, made)).message.seq == 2
