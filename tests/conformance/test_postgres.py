"""What the PostgreSQL store promises beyond the port: crashes, restarts and silence of the server, and its schema."""

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec
import pytest

from fillwright.adapters.postgres import PostgresStore, batch, link
from fillwright.adapters.postgres import store as store_module
from fillwright.errors import Code, FillwrightError
from fillwright.order import Armed, Link, OrderType, Started, Status, Triggered, replay
from fillwright.ports import Conflict, Page, Place
from fillwright.units import OrderId
from tests.conformance.rigs import LEASE_S, PostgresRig, in_loop
from tests.conformance.samples import PRICE, accepted, new_order, walked, way_to
from tests.conformance.test_webhooks import hook
from tests.servers.postgres import PostgresServer

PATIENCE_S: Final = 30.0


@pytest.fixture
def rig(postgres_url: str) -> PostgresRig:
    return PostgresRig(postgres_url)


async def code_of(call: Coroutine[Any, Any, Any]) -> Code | None:
    """None where it succeeds."""
    try:
        await call
    except FillwrightError as error:
        return error.code
    return None


async def until_it_works(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await code_of(call()) is not None:  # noqa: ASYNC110  # nobody tells when a server is back
            await asyncio.sleep(0.05)


# --- group commit -------------------------------------------------------------------------------------------


@in_loop
async def test_concurrent_calls_share_transactions(rig: PostgresRig) -> None:
    async with rig.open() as store, rig.sql() as sql:
        firsts = [accepted(f"o-{n:03}") for n in range(200)]
        await asyncio.gather(*(store.create(new_order(first, key=first.order.id)) for first in firsts))
        assert await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM orders") <= 3
        await asyncio.gather(*(store.claim([first.order.id], "w-1") for first in firsts))
        assert await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM orders WHERE seq = 2") <= 3


@in_loop
async def test_text_that_a_database_cannot_hold_fails_its_own_call_only(rig: PostgresRig) -> None:
    async with rig.open() as store:
        names = ["fine", "with \x00 zero", "broken \ud800 surrogate", "fine too"]
        calls = [store.create(new_order(accepted(f"o-{n}", client_order_id=name))) for n, name in enumerate(names)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, True, False]
        assert [order.id for order in await store.page(Page(account="alice", limit=9))] == ["o-3", "o-0"]


@in_loop
async def test_calls_about_one_order_happen_in_the_order_they_were_made(rig: PostgresRig) -> None:
    """Though they wait together."""
    async with rig.open() as store:
        life = way_to(Status.CONFIRMED, accepted())
        steps = [store.record(before.order, [after]) for before, after in pairwise(life)]
        await asyncio.gather(store.create(new_order(life[0])), *steps)
        assert await store.get("alice", life[0].order.id) == life[-1].order


@in_loop
async def test_processes_that_race_for_the_same_names_make_one_order_each(rig: PostgresRig) -> None:
    """Whatever the order in which each process comes upon them, and whichever name they share."""
    async with rig.open() as one, rig.open() as two, rig.open() as three:
        stores = [one, two, three]
        names = range(60)
        calls = []
        for turn, store in enumerate(stores):
            for n in names if turn % 2 else reversed(names):
                first = accepted(f"o-{turn}-{n:02}", client_order_id=f"mine-{n}" if n % 3 else None)
                calls.append(store.create(new_order(first, key=f"key-{n}" if n % 3 != 1 else f"key-{turn}-{n}")))
        stored = await asyncio.gather(*calls)
        assert sum(each.is_new for each in stored) == len(names)
        assert len({each.order.id for each in stored}) == len(names)
        again = await one.create(new_order(accepted("o-x"), key="key-2-1"))
        assert again.order.client_order_id == "mine-1", "each key of a repetition names the one order"


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "undone"])
@pytest.mark.parametrize("company", [True, False], ids=["in a batch", "alone"])
@in_loop
async def test_a_group_that_another_process_is_about_to_hold_is_waited_for(
    rig: PostgresRig, commits: bool, company: bool
) -> None:
    """No look can see it before its commit: the index makes the second one wait, and it fails alone or not at all."""
    async with rig.open() as store, rig.sql() as sql:
        link = Link(group=OrderId("g"))
        held, wanted = (accepted(name, type=OrderType.LIMIT, limit=PRICE, link=link) for name in ("held", "wanted"))
        lives = [walked(held, [Armed]), walked(wanted, [Armed, Triggered]), walked(accepted("other"), [Started])]
        for life in lives:
            await store.create(new_order(life[0]))
        for life in lives[:2]:
            await store.record(life[0].order, life[1:2])
        await sql.execute("BEGIN")
        await sql.execute("UPDATE orders SET holds = true WHERE id = 'held'")
        calls = [store.record(life[-2].order, life[-1:]) for life in lives[1 : 3 if company else 2]]
        asked = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(0.3)
        assert not asked.done()
        await sql.execute("COMMIT" if commits else "ROLLBACK")
        triggered, *others = await asked
        assert type(triggered) is (Conflict if commits else type(None))
        assert others in ([], [None])
        order = await store.get("alice", OrderId("wanted"))
        assert order is not None
        assert order.status == ("open" if commits else "pending")


@pytest.mark.parametrize(
    ("statement", "condition"),
    [
        (batch._FIND, "((account = a.account) AND (client_order_id = a.client_order_id))"),
        (batch._CLAIMED, "(id = (c.id)::text)"),
        (batch._MOVE, "(id = (m.id)::text)"),
        (store_module._DUE, "(due_at <= "),
        (store_module._BACKLOG, "(due_at <= "),
        (store_module._FIRED, "(fires_at <= "),
        (store_module._LOG_OF_ALL, "(ROW(txid, id) > ROW("),
        (store_module._LOG_OF_RESTING, "(ROW(txid, id) > ROW("),
        (store_module._RESTING, "(id > "),
        (store_module._LOG_END, "(txid < "),
    ],
    ids=["find", "claim", "move", "due", "backlog", "fired", "log", "log of resting", "resting", "log end"],
)
@in_loop
async def test_a_plan_made_on_empty_tables_is_good_for_full_ones(
    rig: PostgresRig, statement: str, condition: str
) -> None:
    """Each order is found by its own name in an index, however many wait. Plans are kept for as long as a session."""
    async with rig.open():
        connection = await link.connect(rig.url)
        await connection.execute(f"PREPARE asked AS {statement}")
        nulls = ", ".join(["NULL"] * len({*re.findall(r"\$\d+", statement)}))
        values = f"({nulls})" if nulls else ""
        plan = [row[0] for row in await connection.fetch(f"EXPLAIN (COSTS off) EXECUTE asked{values}")]
        await connection.close()
    assert not [line for line in plan if "Seq Scan" in line or "Bitmap" in line]
    assert any(condition in line for line in plan if "Index Cond:" in line)


# --- the server goes away -------------------------------------------------------------------------------------


@pytest.fixture
def unharmed(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The server, which runs as usual again afterwards."""
    yield postgres
    postgres.restart()


@pytest.mark.parametrize("crash", [False, True], ids=["restart", "crash"])
@in_loop
async def test_nothing_acknowledged_is_lost_when_the_server_goes_down(
    rig: PostgresRig, unharmed: PostgresServer, crash: bool
) -> None:
    answered: dict[OrderId, int] = {}
    refusals: list[FillwrightError] = []
    ended = asyncio.Event()

    async def client(store: PostgresStore, number: int) -> None:
        """Order after order, each with two steps; what fails is left as it is."""
        count = 0
        while not ended.is_set():
            count += 1
            first, started, routed = way_to(Status.BUILDING, accepted(f"o-{number}-{count}"))
            try:
                await store.create(new_order(first, key=first.order.id))
                answered[first.order.id] = 1
                await store.record(first.order, [started])
                answered[first.order.id] = 2
                await store.record(started.order, [routed])
                answered[first.order.id] = 3
            except FillwrightError as error:
                refusals.append(error)
                await asyncio.sleep(0.02)

    async with rig.open() as store, asyncio.timeout(PATIENCE_S):
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(client(store, number))
            await asyncio.sleep(0.3)
            if crash:
                await asyncio.to_thread(unharmed.kill9)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(unharmed.start)
            else:
                await asyncio.to_thread(unharmed.restart)
            before = len(answered)
            while len(answered) < before + 100:  # noqa: ASYNC110  # it works again, by itself
                await asyncio.sleep(0.01)
            ended.set()
        assert {error.code for error in refusals} == {Code.STORE_UNAVAILABLE}
        for order_id, seq in answered.items():
            history = await store.history("alice", order_id)
            assert len(history) >= seq
            assert await store.get("alice", order_id) == replay(order_id, "alice", history)[-1].order


@in_loop
async def test_a_silent_server_is_waited_for_within_bounds(
    rig: PostgresRig, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("COMMAND_S", "CONNECT_S"):
        monkeypatch.setattr(link, limit, 0.3)
    async with rig.open() as store, asyncio.timeout(PATIENCE_S):
        await store.create(new_order(accepted("before")))
        began = time.monotonic()
        with postgres.frozen():
            calls = [
                *(code_of(store.create(new_order(accepted(f"o-{n}")))) for n in range(5)),
                *(code_of(store.heartbeat(f"w-{n}")) for n in range(5)),
                *(code_of(store.get("alice", OrderId("before"))) for _ in range(10)),
            ]
            assert set(await asyncio.gather(*calls)) == {Code.STORE_UNAVAILABLE}
            assert await code_of(store.heartbeat("again")) is Code.STORE_UNAVAILABLE
        assert time.monotonic() - began < 10
        await until_it_works(lambda: store.heartbeat("w-1"))
        await until_it_works(store.ping)
        assert (await store.create(new_order(accepted("after")))).is_new


@in_loop
async def test_an_answer_that_comes_too_late_is_not_guessed(rig: PostgresRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told that the outcome is unknown, reads again, and its next record meets the fence or wins."""
    monkeypatch.setattr(link, "COMMAND_S", 0.3)
    async with rig.open() as store, rig.sql() as sql:
        first, started = walked(accepted(), [Started])
        await store.create(new_order(first))
        async with sql.transaction():
            await sql.execute("SELECT 1 FROM orders FOR UPDATE")
            assert await code_of(store.record(first.order, [started])) is Code.STORE_UNAVAILABLE
        await until_it_works(lambda: store.heartbeat("w-1"))
        row = await store.get("alice", first.order.id)
        assert row in (first.order, started.order)
        if row == first.order:
            await store.record(first.order, [started])
        assert len(await store.history("alice", first.order.id)) == 2


@in_loop
async def test_a_database_that_cannot_be_used_is_said_to_be_one(postgres: PostgresServer) -> None:
    for url, code in (
        (postgres.url("no_such"), Code.CONFIG_INVALID),
        ("postgresql://127.0.0.1:not-a-port/x", Code.CONFIG_INVALID),
        ("postgresql://127.0.0.1:1/x", Code.STORE_UNAVAILABLE),
    ):
        assert await code_of(PostgresStore.open(url, lease_s=LEASE_S)) is code, url


# --- durability ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
@in_loop
async def test_a_server_that_may_forget_a_commit_is_refused(
    rig: PostgresRig, unharmed: PostgresServer, setting: str
) -> None:
    unharmed.restart(**{setting: "off"})
    with pytest.raises(FillwrightError, match=f"{setting} is off.*FILLWRIGHT_ALLOW_UNSAFE_DATABASE") as refused:
        await PostgresStore.open(rig.url, lease_s=LEASE_S)
    assert refused.value.code is Code.CONFIG_INVALID
    async with rig.sql() as sql:
        assert await sql.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    store = await PostgresStore.open(rig.url, lease_s=LEASE_S, allow_unsafe=True)
    assert (await store.create(new_order(accepted()))).is_new
    await store.close()


@in_loop
async def test_the_store_s_sessions_weaken_nothing(rig: PostgresRig) -> None:
    connection = await link.connect(rig.url)
    rows = await connection.fetch("SELECT name, setting FROM pg_settings")
    settings: dict[str, str] = {row[0]: row[1] for row in rows}
    await connection.close()
    assert settings["synchronous_commit"] == "on"
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert 0 < int(settings[limit]) < 1_000 * max(link.COMMAND_S, 10.1)


# --- schema -------------------------------------------------------------------------------------------------------


@in_loop
async def test_processes_that_start_at_once_on_an_empty_database_all_work(rig: PostgresRig) -> None:
    stores = await asyncio.gather(*(PostgresStore.open(rig.url, lease_s=LEASE_S) for _ in range(6)))
    firsts = [accepted(f"o-{n}") for n in range(len(stores))]
    calls = [store.create(new_order(first, key="k")) for store, first in zip(stores, firsts, strict=True)]
    stored = await asyncio.gather(*calls)
    assert sum(each.is_new for each in stored) == 1
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE schema_migrations SET sha256 = 'other'", "0001_orders.sql"),
        ("INSERT INTO schema_migrations (number, name, sha256) VALUES (999, 'later', '')", "999"),
    ],
    ids=["edited", "newer"],
)
@in_loop
async def test_a_schema_that_this_version_does_not_know_is_refused(rig: PostgresRig, change: str, named: str) -> None:
    async with rig.open():
        pass
    async with rig.sql() as sql:
        await sql.execute(change)
        before = await sql.fetch("SELECT * FROM schema_migrations")
        with pytest.raises(FillwrightError, match=named) as refused:
            await PostgresStore.open(rig.url, lease_s=LEASE_S)
        assert refused.value.code is Code.CONFIG_INVALID
        assert await sql.fetch("SELECT * FROM schema_migrations") == before


@in_loop
async def test_a_process_of_the_version_before_slices_may_confirm_orders_beside_this_one(rig: PostgresRig) -> None:
    async with rig.open() as store, rig.sql() as sql:
        life = way_to(Status.CONFIRMED, accepted())
        await store.create(new_order(life[0]))
        for before, after in pairwise(life):
            await store.record(before.order, [after])
        await sql.execute("UPDATE orders SET fill_hash = NULL")  # as that one writes it
        assert await store.get("alice", life[-1].order.id) == life[-1].order


@in_loop
async def test_older_tools_find_the_history_under_its_old_name(rig: PostgresRig) -> None:
    async with rig.open() as store, rig.sql() as sql:
        first = accepted()
        await store.create(new_order(first))
        ((order_id, status, payload, at),) = await sql.fetch(
            "SELECT order_id, status, payload, created_at FROM order_status_history WHERE id > 0"
        )
        assert (order_id, status) == ("o-1", "pending")
        assert msgspec.json.decode(payload)["type"] == "accepted"
        assert round(at.timestamp() * 1_000) == first.order.created_at


@in_loop
async def test_a_signature_belongs_to_its_attempt_for_ever(rig: PostgresRig) -> None:
    """Even when that attempt is over: nothing that was signed once may be signed again for another order."""
    async with rig.open() as store:
        mine = way_to(Status.CONFIRMED, accepted("o-1"))
        theirs = way_to(Status.SUBMITTED, accepted("o-2"))
        for life in (mine, theirs[:-1]):
            await store.create(new_order(life[0]))
            for before, after in pairwise(life):
                await store.record(before.order, [after])
        signed, again = mine[-2], theirs[-1]
        stolen = msgspec.structs.replace(
            again, order=msgspec.structs.replace(again.order, tx=signed.order.tx), event=signed.event
        )
        assert await code_of(store.record(theirs[-2].order, [stolen])) is Code.STORE_UNAVAILABLE
        assert await store.get("alice", again.order.id) == theirs[-2].order


# --- the database's clock -------------------------------------------------------------------------------------------


@in_loop
async def test_a_lease_and_a_claim_are_told_by_the_database_s_clock(rig: PostgresRig) -> None:
    async with rig.open() as store, rig.sql() as sql:
        await store.heartbeat("w-1")
        await store.create(new_order(accepted(at=rig.now() + 3_600_000)))  # by a process whose clock is an hour ahead
        (claimed,) = await store.claim([OrderId("o-1")], "w-1")
        ((seen_at, now),) = await sql.fetch("SELECT seen_at, clock_timestamp() FROM workers")
        assert 0 <= (now - seen_at).total_seconds() < 5
        assert abs(now.timestamp() * 1_000 - claimed.order.updated_at) < 5_000


# --- the log of all events ----------------------------------------------------------------------------------

_LATE: Final = (
    "INSERT INTO order_events (created_at, seq, order_id, status, event, payload)"
    " VALUES (now(), 2, 'o-1', 'canceled', 'canceled', '{\"type\":\"canceled\"}')"
)


@in_loop
async def test_an_event_that_is_committed_late_is_not_passed_over(rig: PostgresRig) -> None:
    """Its id is the lower one, and it becomes visible after the higher ones: they wait for it."""
    start = Place(0, 0)
    async with rig.open() as store, rig.sql() as sql:
        await store.create(new_order(accepted("o-1")))
        seen = await store.log(start, 10)
        late = sql.transaction()
        await late.start()
        await sql.execute(_LATE)
        await store.create(new_order(accepted("o-2")))
        assert await store.log(start, 10) == seen, "what follows an open transaction may lack company"
        assert await store.log_end() == seen[-1].place
        await late.commit()
        after = await store.log(seen[-1].place, 10)
        assert [(each.order_id, each.seq) for each in after] == [("o-1", 2), ("o-2", 1)]


@in_loop
async def test_an_event_that_is_never_committed_holds_nothing_up_for_ever(rig: PostgresRig) -> None:
    async with rig.open() as store, rig.sql() as sql:
        await store.create(new_order(accepted("o-1")))
        late = sql.transaction()
        await late.start()
        await sql.execute(_LATE)
        await store.create(new_order(accepted("o-2")))
        await late.rollback()
        assert [each.order_id for each in await store.log(Place(0, 0), 10)] == ["o-1", "o-2"]


@in_loop
async def test_events_of_another_server_s_dump_are_the_log_s_beginning(rig: PostgresRig) -> None:
    """Their transactions' numbers are ahead of this server's, as if they had not ended."""
    async with rig.open() as store, rig.sql() as sql:
        for n in range(3):
            await store.create(new_order(accepted(f"o-{n}")))
        await sql.execute("UPDATE order_events SET txid = 1::bigint << 60 WHERE order_id <> 'o-0'")
        assert [each.order_id for each in await store.log(Place(0, 0), 10)] == ["o-0"]
    async with rig.open() as store:
        await store.create(new_order(accepted("o-3")))
        whole = await store.log(Place(0, 0), 10)
        assert [each.order_id for each in whole] == ["o-1", "o-2", "o-0", "o-3"]


@in_loop
async def test_a_webhook_goes_on_in_another_server_s_dump_where_it_was(rig: PostgresRig) -> None:
    """Its place counts transactions of the other server as well: it may tell an event twice, and leaves none out."""
    async with rig.open() as store, rig.sql() as sql:
        for n in range(6):
            await store.create(new_order(accepted(f"o-{n}")))
        made = hook()
        await store.webhooks.add(made, (await store.log(Place(0, 0), 10))[2].place, 20)
        await sql.execute("UPDATE order_events SET txid = txid + (1::bigint << 60)")
        await sql.execute("UPDATE webhooks SET place_transaction = place_transaction + (1::bigint << 60)")
    async with rig.open() as store:
        (follower,) = await store.webhooks.following(10)
        assert [entry.order_id for entry in await store.log(follower.place, 10)] == ["o-3", "o-4", "o-5"]
        await store.create(new_order(accepted("o-6")))
        assert [entry.order_id for entry in await store.log(follower.place, 10)][-1] == "o-6"
    async with rig.open() as store:
        assert (await store.webhooks.following(10))[0].place == follower.place, "only where there is something to mend"
