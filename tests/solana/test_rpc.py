"""Several nodes as one place to ask: who is asked, who takes over, and whose word is evidence."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from fillwright.adapters.solana.protocol import Holds, Size, Told
from fillwright.adapters.solana.rpc import Rpc, socket_url
from fillwright.adapters.solana.subscriptions import AccountChanged, Feed, Followed, Heard, Logged, SlotBegun, Topic
from fillwright.adapters.solana.vitals import LAG_SLOTS, Vitals, agree, behind, believed
from fillwright.errors import Code, FillwrightError
from fillwright.programs import Account
from tests.solana.nodes import Error, ScriptedNode, scripted
from tests.solana.rig import in_loop

_integer = msgspec.json.Decoder(int).decode
_told = msgspec.json.Decoder(Told[int]).decode


@asynccontextmanager
async def asking(*nodes: ScriptedNode, probe_s: float = 60.0) -> AsyncIterator[Rpc]:
    async with scripted(*nodes) as urls:
        rpc = Rpc(urls, sockets=[url.replace("http", "ws") for url in urls], probe_s=probe_s)
        try:
            yield rpc
        finally:
            await rpc.close()


async def slot(rpc: Rpc) -> int:
    return await rpc.call("getSlot", [], _integer)


async def unavailable(work: Any) -> str:
    with pytest.raises(FillwrightError) as failed:
        await work
    assert failed.value.code is Code.CHAIN_UNAVAILABLE
    return str(failed.value)


# --- who is asked -------------------------------------------------------------------------------------------


@in_loop
async def test_the_first_node_that_is_well_answers() -> None:
    first, second = ScriptedNode(slot=1_000_001), ScriptedNode(slot=1_000_002)
    async with asking(first, second) as rpc:
        assert await slot(rpc) == 1_000_001
        first.replies["getSlot"] = lambda _: Error(-32005)
        assert await slot(rpc) == 1_000_002
        second.replies["getSlot"] = lambda _: Error(-32005)
        assert "code -32005" in await unavailable(slot(rpc))


BROKEN = {
    "5xx": web.Response(status=502),
    "a redirect": web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    "no JSON": web.Response(body=b"<html>"),
    "half of it": web.Response(body=b'{"jsonrpc":"2.0","resu'),
    "deep": web.Response(body=b"[" * 100_000),
    "another answer": web.Response(body=b'{"jsonrpc":"2.0","id":7,"result":1}'),
    "no result": web.Response(body=b'{"jsonrpc":"2.0","id":0}'),
    "another type": web.Response(body=b'{"jsonrpc":"2.0","id":0,"result":"x"}'),
}


@pytest.mark.parametrize("how", BROKEN)
@in_loop
async def test_another_node_takes_over_whatever_the_first_one_says(how: str) -> None:
    first, second = ScriptedNode(), ScriptedNode(slot=5)
    async with asking(first, second) as rpc:
        first.broken = BROKEN[how]
        assert await slot(rpc) == 5


@in_loop
async def test_a_node_that_does_not_answer_costs_one_limit_and_then_rests() -> None:
    first, second = ScriptedNode(), ScriptedNode(slot=5)
    async with asking(first, second) as rpc:
        await slot(rpc)
        first.delay_s = 60.0
        began = time.monotonic()
        assert await slot(rpc) == 5
        assert 1.5 < time.monotonic() - began < 4.0
        asked = first.requests
        assert await slot(rpc) == 5
        assert first.requests == asked, "it rests"


@in_loop
async def test_nobody_waits_longer_than_a_call_may_take() -> None:
    nodes = [ScriptedNode() for _ in range(4)]
    async with asking(*nodes) as rpc:
        await slot(rpc)
        for node in nodes:
            node.delay_s = 60.0
        began = time.monotonic()
        await unavailable(slot(rpc))
        assert time.monotonic() - began < 7.0


@pytest.mark.parametrize(
    "busy",
    [
        web.Response(status=429, headers={"Retry-After": "1"}),
        web.Response(status=503, headers={"Retry-After": "1"}),
        web.Response(body=b'{"jsonrpc":"2.0","id":null,"error":{"code":429,"message":"slow down"}}'),
    ],
)
@in_loop
async def test_a_node_that_asks_for_a_pause_gets_it(busy: web.Response) -> None:
    first, second = ScriptedNode(slot=4), ScriptedNode(slot=5)
    async with asking(first, second, probe_s=0.1) as rpc:
        await slot(rpc)
        first.broken = busy
        assert await slot(rpc) == 5
        first.broken, asked = None, first.requests
        for _ in range(5):
            assert await slot(rpc) == 5
        assert first.requests == asked
        await asyncio.sleep(1.1)
        await slot(rpc)
        assert await slot(rpc) == 4


@in_loop
async def test_a_wrong_question_is_asked_once() -> None:
    first, second = ScriptedNode(), ScriptedNode()
    async with asking(first, second) as rpc:
        first.replies["getSlot"] = lambda _: Error(-32602)
        assert "refuse" in await unavailable(slot(rpc))
        assert "getSlot" not in second.asked


@in_loop
async def test_no_address_is_shown_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a key: here its path does."""
    node = ScriptedNode()
    words: list[str] = []
    async with asking(node) as rpc:
        await slot(rpc)
        for broken in BROKEN.values():
            node.broken = broken
            words.append(await unavailable(slot(rpc)))
        node.broken = web.Response(status=502)
        words.append(await unavailable(rpc.broadcast(b"raw")))
        async with rpc.subscribe():
            pass
        words.append(repr(rpc))
    rpc = Rpc(["http://127.0.0.1:9/hunter2"])
    words.append(await unavailable(slot(rpc)))
    await rpc.close()
    told = "".join(words) + caplog.text
    assert "hunter2" not in told
    assert "127.0.0.1" not in told


# --- what is asked ------------------------------------------------------------------------------------------


def account(byte: int) -> dict[str, Any]:
    return {"owner": "owner", "lamports": 1, "data": [f"{chr(65 + byte)}A==", "base64"], "executable": False}


@in_loop
async def test_accounts_are_of_one_node_and_never_older_than_asked_for() -> None:
    stale, fresh = ScriptedNode(), ScriptedNode()
    stale.replies["getMultipleAccounts"] = lambda asked: stale.context([account(0) for _ in asked[0]], ahead=-1)
    fresh.replies["getMultipleAccounts"] = lambda asked: fresh.context(
        [None if address == "nothing" else account(1) for address in asked[0]]
    )
    async with asking(stale, fresh) as rpc:
        found, held = await rpc.accounts(["one", "nothing", "two"], min_slot=1_000_000)
        assert found == 1_000_030
        assert held == {address: Account("owner", b"\x04") for address in ("one", "two")}
        many = [f"a{number}" for number in range(250)]
        _, held = await rpc.accounts(many, min_slot=1_000_000)
        assert list(held) == many
        assert fresh.asked.count("getMultipleAccounts") == 4
        assert await rpc.accounts([]) == (0, {})


@in_loop
async def test_chunks_of_different_slots_are_asked_for_again() -> None:
    node = ScriptedNode()

    def moving(asked: list[Any]) -> Any:
        node.slot += 1 if node.asked.count("getMultipleAccounts") == 2 else 0
        return node.context([account(1) for _ in asked[0]])

    node.replies["getMultipleAccounts"] = moving
    async with asking(node) as rpc:
        found, held = await rpc.accounts([f"a{number}" for number in range(150)])
        assert (found, len(held)) == (1_000_032, 150)
        assert node.asked.count("getMultipleAccounts") == 4


@in_loop
async def test_a_search_names_its_filters_as_nodes_want_them() -> None:
    node = ScriptedNode()
    seen: list[Any] = []

    def search(asked: list[Any]) -> Any:
        seen.append(asked)
        return node.context([{"pubkey": "pool", "account": account(2)}])

    node.replies["getProgramAccounts"] = search
    async with asking(node) as rpc:
        assert await rpc.program_accounts("program", [Size(752), Holds(400, b"\x01")]) == (
            1_000_030,
            {"pool": Account("owner", b"\x08")},
        )
        [[program, setting]] = seen
        assert program == "program"
        assert setting["filters"] == [
            {"dataSize": 752},
            {"memcmp": {"offset": 400, "bytes": "AQ==", "encoding": "base64"}},
        ]
        assert setting["withContext"] is True


@in_loop
async def test_one_node_that_takes_a_transaction_is_enough() -> None:
    refusing, slow, taking = ScriptedNode(), ScriptedNode(), ScriptedNode()
    refusing.replies["sendTransaction"] = lambda _: Error(-32002)
    async with asking(refusing, slow, taking) as rpc:
        await slot(rpc)
        slow.delay_s = 60.0
        began = time.monotonic()
        await rpc.broadcast(b"raw")
        assert time.monotonic() - began < 1.0, "nobody waits for the slow one"
        assert all("sendTransaction" in node.asked for node in (refusing, slow, taking))
        taking.replies["sendTransaction"] = lambda _: Error(-32002)
        slow.delay_s = 0.0
        slow.replies["sendTransaction"] = lambda _: Error(-32002)
        await unavailable(rpc.broadcast(b"raw"))


# --- whose word is evidence ---------------------------------------------------------------------------------


def answering(node: ScriptedNode, *, ahead: int = 30) -> ScriptedNode:
    node.replies["getValue"] = lambda _: node.context(node.slot, ahead=ahead)
    return node


async def witness(rpc: Rpc) -> int:
    """The slot of the finalized bank of the one who testifies."""
    return (await rpc.testify(("getValue", []), _told)).vitals.slot


@in_loop
async def test_a_testimony_is_not_older_than_the_finalized_bank_beside_it() -> None:
    stale, good = answering(ScriptedNode(), ahead=-1), answering(ScriptedNode(slot=1_000_001, height=900_001))
    async with asking(stale, good) as rpc:
        assert await witness(rpc) == 1_000_001
    async with asking(stale) as rpc:
        assert "older" in await unavailable(witness(rpc))


@in_loop
async def test_a_lagging_node_is_no_witness() -> None:
    lagging = answering(ScriptedNode(slot=1_000_000 - LAG_SLOTS - 1, height=900_000 - LAG_SLOTS - 1))
    good, better = answering(ScriptedNode()), answering(ScriptedNode(slot=1_000_002, height=900_002))
    async with asking(lagging, good, better) as rpc:
        assert await witness(rpc) == 1_000_000
        assert rpc.finalized_slot == 1_000_002


@pytest.mark.parametrize("others", [1, 2])
@in_loop
async def test_a_node_that_tells_its_slot_as_its_height_is_no_witness(others: int) -> None:
    """Even where only one other contradicts it."""
    lying = answering(ScriptedNode(slot=1_000_001, height=1_000_001))
    async with asking(lying, *(answering(ScriptedNode()) for _ in range(others))) as rpc:
        assert await witness(rpc) == 1_000_000


@in_loop
async def test_a_node_that_contradicts_itself_is_not_believed_for_a_while() -> None:
    """Alone: a height that grows by more than its slots, or goes back while the slot goes on."""
    for change in (+50, -50):
        node = answering(ScriptedNode())
        async with asking(node) as rpc:
            assert await witness(rpc) == 1_000_000
            node.slot, node.height = node.slot + 10, node.height + change
            assert "contradict" in await unavailable(witness(rpc))
            node.slot, node.height = node.slot + 1, node.height + 1
            await unavailable(witness(rpc))


@in_loop
async def test_a_node_that_goes_back_is_no_witness_while_it_does() -> None:
    node = answering(ScriptedNode())
    async with asking(node) as rpc:
        assert await witness(rpc) == 1_000_000
        node.slot, node.height = 999_990, 899_990
        assert "went back" in await unavailable(witness(rpc))
        node.slot, node.height = 1_000_005, 900_004
        assert await witness(rpc) == 1_000_005


@in_loop
async def test_a_second_witness_is_another_one() -> None:
    first, second = answering(ScriptedNode()), answering(ScriptedNode(slot=1_000_001, height=900_001))
    async with asking(first, second) as rpc:
        said = await rpc.testify(("getValue", []), _told)
        other = await rpc.testify(("getValue", []), _told, besides={said.node})
        assert (said.vitals.slot, other.vitals.slot) == (1_000_000, 1_000_001)
        await unavailable(rpc.testify(("getValue", []), _told, besides={said.node, other.node}))


def test_who_agrees_with_whom() -> None:
    here = Vitals(1_000, 900)
    assert agree(here, here)
    assert agree(here, Vitals(1_010, 910))
    assert agree(here, Vitals(1_010, 900)), "ten slots without a block"
    assert not agree(here, Vitals(1_010, 911))
    assert not agree(here, Vitals(1_010, 899))
    assert not agree(here, Vitals(1_000, 901))
    assert believed({"a": here, "b": Vitals(1_001, 901), "liar": Vitals(1_001, 1_001)}) == {"a", "b"}
    assert believed({"a": here, "liar": Vitals(1_001, 1_001)}) == {"a"}
    assert believed({"impossible": Vitals(10, 11)}) == frozenset()
    assert behind({"a": here, "ahead": Vitals(9_000, 8_000), "b": Vitals(1_001, 901)}) == frozenset()
    assert behind({}) == frozenset()


# --- subscriptions ------------------------------------------------------------------------------------------


async def heard(feed: Feed, count: int) -> list[Any]:
    notices: list[Any] = []
    async with asyncio.timeout(5):
        while len(notices) < count:
            notices += [each for each in (await feed.take(1.0)).notices if not isinstance(each, SlotBegun)]
    return notices


ACCOUNT, LOGS, PROGRAM = Topic("account", "a"), Topic("logs", "p"), Topic("program", "p", (Size(9),))
SLOTS = Followed(Topic("slot"))


@in_loop
async def test_what_is_followed_is_told_from_the_moment_that_is_told() -> None:
    node = ScriptedNode()
    async with asking(node) as rpc, rpc.subscribe() as feed:
        feed.follow([ACCOUNT, LOGS, PROGRAM])
        assert set(await heard(feed, 4)) == {SLOTS, Followed(ACCOUNT), Followed(LOGS), Followed(PROGRAM)}
        assert feed.live_since(ACCOUNT) is not None
        await node.tell("accountSubscribe", node.context(account(1), ahead=1))
        await node.tell("accountSubscribe", node.context(account(1) | {"lamports": 0}, ahead=2))
        await node.tell("logsSubscribe", node.context({"signature": "s", "err": None, "logs": ["one"]}, ahead=3))
        await node.tell("programSubscribe", node.context({"pubkey": "new", "account": account(1)}, ahead=4))
        assert await heard(feed, 4) == [
            AccountChanged(ACCOUNT, 1_000_001, "a", Account("owner", b"\x04")),
            AccountChanged(ACCOUNT, 1_000_002, "a", None),
            Logged(LOGS, 1_000_003, "s", False, ("one",)),
            AccountChanged(PROGRAM, 1_000_004, "new", Account("owner", b"\x04")),
        ]
        feed.unfollow([ACCOUNT])
        await asyncio.sleep(0.2)
        assert "accountUnsubscribe" in [method for method, _ in node.subscriptions.values()]
        assert feed.live_since(ACCOUNT) is None
        await node.tell("accountSubscribe", node.context(account(1)))
        assert await feed.take(0.1) == Heard((), lossy=False)


@in_loop
async def test_a_lost_socket_is_told_and_the_next_node_takes_over() -> None:
    first, second = ScriptedNode(), ScriptedNode()
    async with asking(first, second) as rpc, rpc.subscribe() as feed:
        feed.follow([ACCOUNT])
        assert set(await heard(feed, 2)) == {SLOTS, Followed(ACCOUNT)}
        first.broken = web.Response(status=502)
        await slot(rpc)  # now the first one rests
        await first.hang_up()
        lost = await feed.take(5.0)
        assert lost.lossy
        assert feed.live_since(ACCOUNT) is None
        assert set(await heard(feed, 2)) == {SLOTS, Followed(ACCOUNT)}
        assert second.sockets
        assert feed.live_since(ACCOUNT) is not None


@in_loop
async def test_a_slow_reader_loses_and_is_told() -> None:
    node = ScriptedNode()
    async with asking(node) as rpc, rpc.subscribe(inbox_max=5) as feed:
        feed.follow([ACCOUNT])
        await heard(feed, 2)
        for _ in range(9):
            await node.tell("accountSubscribe", node.context(account(1)))
        await asyncio.sleep(0.2)
        full = await feed.take(1.0)
        assert (len(full.notices), full.lossy) == (5, True)
        assert await feed.take(0.05) == Heard((), lossy=False)


@in_loop
async def test_a_socket_that_says_nothing_is_given_up() -> None:
    """Slots pass all the time: silence is no quiet chain."""
    node = ScriptedNode()
    async with scripted(node) as [url], Feed(lambda: [url.replace("http", "ws")], 10, silence_s=0.3) as feed:
        assert await heard(feed, 1) == [SLOTS]
        assert (await feed.take(2.0)).lossy
        assert await heard(feed, 1) == [SLOTS]


def test_a_socket_stands_beside_the_port_for_requests() -> None:
    assert socket_url("http://127.0.0.1:8899") == "ws://127.0.0.1:8900"
    assert socket_url("https://node.example/key?x=1") == "wss://node.example/key?x=1"
    assert socket_url("https://user:word@node.example:8443/key") == "wss://user:word@node.example:8444/key"
