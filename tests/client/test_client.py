"""The client's promises: an order is sent once however often it is tried, streams resume, refusals are types."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fillwright.client import (
    Client,
    Conflict,
    ExitRequest,
    Frame,
    NotFound,
    OrderRequest,
    OutcomeUnknown,
    Refused,
    SyncClient,
    Unauthorized,
    Unavailable,
    Unreachable,
    streams,
)
from tests.api.running import NOBODY, Server, run, serving
from tests.chaos.proxy import Link
from tests.servers.machine import free_port

SELL: OrderRequest = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}
PATH = ["pending", "routing", "building", "submitted", "confirmed"]


@asynccontextmanager
async def wired(folder: Path, *, timeout_s: float = 1.0, **settings: Any) -> AsyncIterator[tuple[Server, Link, Client]]:
    """A server, the wire to it, and a client at the wire's other end."""
    async with serving(folder, **settings) as server:
        link = Link(server.port)
        await link.open()
        try:
            async with Client(f"http://127.0.0.1:{link.port}", timeout_s=timeout_s, budget_s=20) as client:
                yield server, link, client
        finally:
            await link.close()


@asynccontextmanager
async def answering(*statuses: int, body: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Any]:
    """A server that is not the engine: answers so, one after another, then 201 with what it was sent."""
    heard: list[web.Request] = []
    waiting = list(statuses)

    async def answer(request: web.Request) -> web.Response:
        heard.append(request)
        status = waiting.pop(0) if waiting else 500
        return web.Response(status=status, text=body, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}", heard
    finally:
        await runner.cleanup()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.02)


# --- orders -----------------------------------------------------------------------------------------------


def test_an_order_is_sent_watched_and_looked_at(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            order = await client.submit({**SELL, "clientOrderId": "mine"})
            frames = [frame async for frame in client.watch(order.id)]
            assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
            statuses = [frame.status for frame in frames]
            assert statuses == PATH or set(statuses) >= set(PATH)
            ended = await client.wait(order.id)
            assert (ended.status, ended.tx_hash) == ("confirmed", frames[-1].tx_hash)
            assert await client.get_by_client_id("mine") == ended
            assert [fill.tx_hash for fill in await client.fills(order.id)] == [ended.tx_hash]
            assert (await client.attempts(order.id))[-1].outcome == "landed"
            assert await client.events(order.id) == frames
            route = await client.route(order.id)
            assert route is not None
            assert len(route.quotes) >= 2
            assert float((await client.quote(SELL)).amount_out) > 0
            assert (await client.preview(SELL)).order.pair == "SOL/USDC"

    run(work())


def test_a_torn_connection_never_makes_a_second_order(tmp_path: Path) -> None:
    """Each submission's connection is reset half-way, some before and some after the order was stored."""

    async def work() -> None:
        async with wired(tmp_path) as (server, link, client):
            orders = []
            for _ in range(10):
                link.tear()
                orders.append(await client.submit(SELL))
            assert link.torn == 10
            assert len({order.id for order in orders}) == 10
            assert server.rows() == 10

    run(work())


def test_an_answer_that_does_not_come_is_asked_for_again_under_the_same_key(tmp_path: Path) -> None:
    async def work() -> None:
        async with wired(tmp_path, timeout_s=0.5) as (server, link, client):
            await client.submit(SELL)
            link.silence()
            sending = asyncio.create_task(client.submit(SELL))
            await until(lambda: bool(link.withheld))
            await asyncio.sleep(0.6)
            link.heal()
            await sending
            await asyncio.sleep(0.2)  # for every try that was on its way
            assert server.rows() == 2

    run(work())


def test_no_clear_answer_is_told_as_unknown_and_with_the_key(tmp_path: Path) -> None:
    async def work() -> None:
        async with answering(*[504] * 9) as (url, heard), Client(url, budget_s=0.7) as client:
            with pytest.raises(OutcomeUnknown) as told:
                await client.submit(SELL)
            keys = {request.headers["Idempotency-Key"] for request in heard}
            assert keys == {told.value.idempotency_key}
            assert len(heard) > 1
            with pytest.raises(OutcomeUnknown):
                await client.cancel(NOBODY)
        async with answering(*[500] * 9) as (url, _), Client(url, budget_s=0.7) as client:
            with pytest.raises(OutcomeUnknown):
                await client.submit(SELL)
        async with answering(504, 401) as (url, _), Client(url) as client:
            with pytest.raises(OutcomeUnknown, match="401"):
                await client.submit(SELL)

    run(work())


def test_what_certainly_was_not_done_is_not_told_as_unknown(tmp_path: Path) -> None:
    overloaded = '{"status":503,"code":"ENGINE_OVERLOADED","detail":"later","retryable":true,"retryAfterMs":100}'

    async def work() -> None:
        async with Client(f"http://127.0.0.1:{free_port()}", budget_s=0.5) as client:
            with pytest.raises(Unreachable):
                await client.submit(SELL)
        async with answering(*[503] * 99, body=overloaded) as (url, _), Client(url, budget_s=0.5) as client:
            with pytest.raises(Unavailable) as told:
                await client.submit(SELL)
            assert (told.value.code, told.value.retryable, told.value.retry_after) == ("ENGINE_OVERLOADED", True, 0.1)
        async with answering(*[504] * 99) as (url, _), Client(url, budget_s=0.5) as client:
            with pytest.raises(Unavailable):
                await client.quote(SELL)

    run(work())


def test_an_order_that_rests_is_amended_as_it_was_seen(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            placed = await client.submit({**SELL, "type": "limit", "limitPrice": "100000"})
            async with aclosing(client.watch(placed.id)) as frames:
                assert [(await anext(frames)).status for _ in range(2)] == ["pending", "open"]
            seen = await client.get(placed.id)
            assert [order.id async for order in client.orders(status="resting")] == [placed.id]
            changed = await client.amend(seen.id, seen.seq, {"amount": "2", "expireAt": "2100-01-01T00:00:00Z"})
            assert (changed.amount, changed.limit_price, changed.time_in_force) == ("2", "100000", "gtd")
            with pytest.raises(Conflict) as stale:
                await client.amend(seen.id, seen.seq, {"amount": "3"})
            assert stale.value.code == "ORDER_CHANGED"
            await client.amend(seen.id, changed.seq, {"limitPrice": "1", "expireAt": None})
            done = await client.wait(seen.id)
            assert (done.status, done.amount_in, done.time_in_force) == ("confirmed", "2", "gtc")
            with pytest.raises(Conflict) as over:
                await client.amend(seen.id, done.seq, {"amount": "3"})
            assert over.value.code == "ORDER_NOT_OPEN"

    run(work())


def test_a_bracket_is_placed_once_and_of_its_exits_one_swaps(tmp_path: Path) -> None:
    """However often it is torn: three orders, tied, and no half of them."""

    async def work() -> None:
        async with wired(tmp_path) as (server, link, client):
            far: ExitRequest = {"type": "take_profit", "trigger": {"price": "100000"}}
            near: ExitRequest = {"type": "take_profit", "trigger": {"price": "1"}}
            link.tear()
            told = await client.bracket({"pair": "SOL/USDC", "side": "buy", "amount": "1"}, far, near)
            assert server.rows() == 3
            assert told.entry is not None
            assert (await client.wait(told.entry.id)).status == "confirmed"
            profit, stop = [await client.get(each.id) for each in told.exits]
            assert profit.linked_to is not None
            assert (profit.linked_to.parent, profit.linked_to.siblings) == (told.entry.id, (stop.id,))
            ends = {(await client.wait(each.id)).status for each in told.exits}
            assert ends == {"canceled", "confirmed"}
            assert (await client.get(profit.id)).code == "ORDER_SIBLING_FILLED"
            with pytest.raises(Refused, match="/exits/0/amount"):
                await client.bracket(SELL, {"type": "stop", "trigger": {"price": "1"}, "amount": "1"})
            low: OrderRequest = {**SELL, "type": "stop", "trigger": {"price": "1"}}
            pair = await client.bracket(None, low, {**SELL, **far}, idempotency_key="pair")
            again = await client.bracket(None, low, {**SELL, **far}, idempotency_key="pair")
            assert pair.entry is None
            assert [each.id for each in pair.exits] == [each.id for each in again.exits]

    run(work())


def test_slices_and_a_new_pool_are_asked_for_by_type(tmp_path: Path) -> None:
    async def work() -> None:
        settings: dict[str, Any] = {"new_pools_s": 1}
        async with serving(tmp_path, **settings) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            sliced = await client.submit({**SELL, "type": "dca", "schedule": {"slices": 2, "intervalSeconds": 1}})
            hunting: OrderRequest = {"type": "sniper", "tokenIn": "SOL", "amount": "0.5", "slippageBps": 500}
            hunting["sniper"] = {"minLiquidity": "1", "require": {"liquidity": "any"}}
            hunter = await client.submit(hunting)
            assert hunter.sniper is not None
            assert (hunter.sniper.min_liquidity, hunter.sniper.require.liquidity) == ("1", "any")
            done = await client.wait(sliced.id)
            assert (done.status, done.filled_in, done.leaves) == ("confirmed", SELL["amount"], "0")
            assert [fill.slice for fill in await client.fills(sliced.id)] == [1, 2]
            bought = await client.wait(hunter.id, timeout_s=60)
            assert (bought.status, bought.pool is not None) == ("confirmed", True)

    run(work())


def test_an_amendment_whose_answer_is_lost_is_not_told_as_refused(tmp_path: Path) -> None:
    """The second try meets what the first one may have done: that is no proof that nothing was done."""

    async def work() -> None:
        async with answering(504, 412) as (url, heard), Client(url) as client:
            with pytest.raises(OutcomeUnknown):
                await client.amend(NOBODY, 4, {"amount": "2"})
            assert [request.headers["If-Match"] for request in heard] == ['"4"', '"4"']
        async with answering(412) as (url, _), Client(url) as client:
            with pytest.raises(Conflict):
                await client.amend(NOBODY, 4, {"amount": "2"})

    run(work())


def test_the_wait_that_is_told_is_waited(tmp_path: Path) -> None:
    async def work() -> None:
        later = {"Retry-After": "1"}
        async with answering(429, 422, headers=later) as (url, heard), Client(url) as client:
            begun = asyncio.get_running_loop().time()
            with pytest.raises(Refused):
                await client.get(NOBODY)
            assert asyncio.get_running_loop().time() - begun >= 1
            assert len(heard) == 2

    run(work())


def test_refusals_are_types_with_codes(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            with pytest.raises(NotFound) as missing:
                await client.get(NOBODY)
            assert (missing.value.code, missing.value.status) == ("ORDER_NOT_FOUND", 404)
            with pytest.raises(NotFound):
                await anext(client.watch(NOBODY))
            with pytest.raises(Refused) as wrong:
                await client.submit({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "-1"})
            assert wrong.value.problem.errors[0].pointer == "/amount"
            first = await client.submit({**SELL, "clientOrderId": "x"})
            with pytest.raises(Conflict) as taken:
                await client.submit({**SELL, "amount": "2", "clientOrderId": "x"})
            assert taken.value.problem.order_id == first.id
            again = await client.submit(SELL, idempotency_key="k")
            assert (await client.submit(SELL, idempotency_key="k")).id == again.id
        with pytest.raises(ValueError, match="http://host:port"):
            Client("localhost:3000")

    run(work())


def test_the_api_key_goes_with_every_call() -> None:
    async def work() -> None:
        async with answering(401, 401) as (url, heard), Client(url, api_key="secret") as client:
            with pytest.raises(Unauthorized):
                await client.get(NOBODY)
            with pytest.raises(Unauthorized):
                await anext(client.watch_all())
            assert {request.headers["Authorization"] for request in heard} == {"Bearer secret"}
            assert len(heard) == 2

    run(work())


def test_pages_follow_each_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            sent = [(await client.submit(SELL)).id for _ in range(7)]
            assert [order.id async for order in client.orders(page_size=3)] == sent[::-1]
            assert [order.id async for order in client.orders(pair="BONK/SOL")] == []

    run(work())


# --- streams ----------------------------------------------------------------------------------------------


def test_an_order_is_watched_across_outages_without_gap_or_repetition(tmp_path: Path) -> None:
    async def work() -> None:
        async with wired(tmp_path, sim="classic") as (_, link, client):
            order = await client.submit(SELL)
            frames = []
            async for frame in client.watch(order.id):
                frames.append(frame)
                await link.reset()
            assert frames == await client.events(order.id)
            assert [frame async for frame in client.watch(order.id, after=3)] == frames[3:]
            assert [frame async for frame in client.watch(order.id, after=frames[-1].seq)] == []

    run(work())


def test_all_orders_are_watched_across_outages_without_gap_or_repetition(tmp_path: Path) -> None:
    """Orders are sent past the wire while it breaks again and again, also while it is cut for longer."""

    async def work() -> None:
        async with wired(tmp_path, sim="classic") as (server, link, client):
            direct = Client(f"http://127.0.0.1:{server.port}")
            before = await direct.submit(SELL)
            await direct.wait(before.id)
            running = await direct.submit(SELL)
            heard: list[Frame] = []
            note = heard.append

            async def watching() -> None:
                async with aclosing(client.watch_all()) as frames:
                    async for frame in frames:
                        note(frame)

            watch = asyncio.create_task(watching())
            await until(lambda: bool(heard))
            sent = []
            for turn in range(12):
                sent.append((await direct.submit(SELL)).id)
                await asyncio.sleep(0.15)
                if turn == 6:
                    link.silence()
                    await asyncio.sleep(1.0)
                    link.heal()
                await link.reset()
            for order_id in sent:
                await direct.wait(order_id)
            expected = {order_id: [frame.seq for frame in await direct.events(order_id)] for order_id in sent}
            with suppress(TimeoutError):
                await until(lambda: {order_id: frames_of(heard, order_id) for order_id in sent} == expected)
            watch.cancel()
            await asyncio.wait([watch])
            await direct.close()
            assert {order_id: frames_of(heard, order_id) for order_id in sent} == expected
            late = frames_of(heard, running.id)
            assert late == list(range(late[0], late[-1] + 1)), "an order that was under way is told from there on"
            assert not frames_of(heard, before.id), "what was over before is not told"

    run(work(), within_s=90)


def test_an_old_order_that_ends_in_an_outage_is_told_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_RECENT_MS", 0)  # so that an order is old as soon as there is a newer one

    async def work() -> None:
        async with wired(tmp_path, sim="classic") as (server, link, client):
            direct = Client(f"http://127.0.0.1:{server.port}")
            heard: list[Frame] = []
            note = heard.append

            async def watching() -> None:
                async with aclosing(client.watch_all()) as frames:
                    async for frame in frames:
                        note(frame)

            watch = asyncio.create_task(watching())
            await until(lambda: link.connections >= 2)  # the stream's, and the survey's
            await asyncio.sleep(0.2)
            old, new = (await direct.submit(SELL)).id, (await direct.submit(SELL)).id
            await until(lambda: {frame.order_id for frame in heard} == {old, new})
            link.silence()
            ends = [await direct.wait(order_id) for order_id in (old, new)]
            assert heard[-1].status != "confirmed"
            link.heal()
            await link.reset()
            expected = {order.id: list(range(1, order.seq + 1)) for order in ends}
            with suppress(TimeoutError):
                await until(lambda: {order_id: frames_of(heard, order_id) for order_id in expected} == expected)
            watch.cancel()
            await asyncio.wait([watch])
            await direct.close()
            assert {order_id: frames_of(heard, order_id) for order_id in expected} == expected

    run(work())


def frames_of(heard: list[Frame], order_id: str) -> list[int]:
    return [frame.seq for frame in heard if frame.order_id == order_id]


def test_a_stream_that_does_not_come_back_ends_with_its_reason(tmp_path: Path) -> None:
    async def work() -> None:
        async with Client(f"http://127.0.0.1:{free_port()}", budget_s=0.5) as client:
            with pytest.raises(Unreachable):
                await anext(client.watch(NOBODY))
            with pytest.raises(Unreachable):
                await anext(client.watch_all())

    run(work())


def test_waiting_has_a_limit_and_the_order_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path, sim="classic") as server, Client(f"http://127.0.0.1:{server.port}") as client:
            order = await client.submit(SELL)
            with pytest.raises(TimeoutError):
                await client.wait(order.id, timeout_s=0.2)
            assert (await client.wait(order.id)).status == "confirmed"

    run(work())


def test_all_orders_or_those_of_a_pair_are_canceled_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path, start_worker=False) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            sold = [(await client.submit(SELL)).id for _ in range(3)]
            other = (await client.submit({"pair": "BONK/USDC", "side": "buy", "amount": "5"})).id
            told = await client.cancel_all(pair="SOL/USDC")
            assert {(each.order_id, each.outcome) for each in told} == {(order_id, "canceled") for order_id in sold}
            assert (await client.get(other)).status == "pending"
            assert [each.order_id for each in await client.cancel_all()] == [other]
            assert await client.cancel_all() == []

    run(work())


def test_a_switch_fires_unless_it_is_called_off(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path, sim="classic") as server, Client(f"http://127.0.0.1:{server.port}") as client:
            armed = await client.cancel_after(60)
            assert armed.timeout_seconds == 60
            assert armed.fires_at is not None
            assert (await client.cancel_after(0)).fires_at is None
            orders = [(await client.submit(SELL)).id for _ in range(40)]
            await client.cancel_after(1)
            ended = [(await client.wait(order_id)).status for order_id in orders]
            assert "canceled" in ended

    run(work())


def test_a_lost_answer_to_a_switch_is_asked_for_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with wired(tmp_path) as (_, link, client):
            for _ in range(5):
                link.tear()
                assert (await client.cancel_after(60)).fires_at is not None
            link.tear()
            assert await client.cancel_all() == []

    run(work())


def test_markets_and_an_order_in_plain_words(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(tmp_path, start_worker=False) as server, Client(f"http://127.0.0.1:{server.port}") as client:
            venues = await client.venues()
            assert {(venue.venue, venue.status) for venue in venues} == {("raydium", "ok"), ("meteora", "ok")}
            everything, of_pair = await client.pools(), await client.pools(pair="SOL/USDC", venue="raydium")
            assert len(everything) == sum(venue.pools for venue in venues) > len(of_pair) > 0
            assert {(pool.pair, pool.venue) for pool in of_pair} == {("SOL/USDC", "raydium")}
            order = await client.submit(SELL)
            told = await client.explain(order.id)
            assert (told.order_id, told.status, told.waits_for) == (order.id, "pending", "worker")
            with pytest.raises(Refused):
                await client.pools(venue="nowhere")

    run(work())


# --- without asyncio --------------------------------------------------------------------------------------


def test_the_same_calls_without_asyncio(tmp_path: Path) -> None:
    def calls(url: str) -> None:
        with SyncClient(url) as client:
            order = client.submit(SELL)
            frames = list(client.watch(order.id))
            assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
            assert client.wait(order.id).status == "confirmed"
            assert [each.id for each in client.orders()] == [order.id]
            assert client.events(order.id) == frames
            with pytest.raises(NotFound):
                client.get(NOBODY)
            with pytest.raises(Conflict):
                client.cancel(order.id)
            assert client.explain(order.id).waits_for == "nothing"
            assert client.cancel_all() == []
            assert client.cancel_after(60).fires_at is not None
            assert client.cancel_after(0).fires_at is None
            assert {venue.venue for venue in client.venues()} == {pool.venue for pool in client.pools()}
            left_open = client.watch(order.id)
            assert next(left_open) == frames[0]
        client.close()

    async def work() -> None:
        async with serving(tmp_path) as server:
            await asyncio.to_thread(calls, f"http://127.0.0.1:{server.port}")

    run(work())


def test_both_faces_have_the_same_calls() -> None:
    def public(face: type) -> set[str]:
        return {name for name in vars(face) if not name.startswith("_")}

    assert public(SyncClient) == public(Client)
