"""A simulated chain that many processes share: what its node says, and what its callers make of it."""

import asyncio
import base64
import gzip
import io
import json
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from fillwright.adapters import jsonrpc
from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import PRESETS, Preset, SimChain, default_market, line, rpc
from fillwright.adapters.sim.node import Node, serving
from fillwright.adapters.sim.remote import RemoteChain
from fillwright.adapters.sim.transactions import BYTES_MAX, VALID_BLOCKS, SimTx, signature_of
from fillwright.errors import Code, FillwrightError
from fillwright.landing import proves_lapse
from fillwright.order import Fill, Mode, SignedTx
from fillwright.ports import Rejection
from fillwright.units import ATOMS_MAX, OrderId, Signature
from tests.conformance.rigs import ChainRig, RemoteChainRig, in_loop, wish
from tests.conformance.samples import BONK, SOL, USDC, HandClock
from tests.conformance.simchain import NodeProcess
from tests.servers.machine import free_port

PAIR = frozenset({SOL.mint, USDC.mint})
SLOT_0 = 415_822_000


@pytest.fixture
def rig(tmp_path: Path) -> RemoteChainRig:
    return RemoteChainRig(tmp_path)


@asynccontextmanager
async def served(rig: ChainRig, port: int = 0) -> AsyncIterator[str]:
    with rig.running() as network:
        async with serving(network, "127.0.0.1", port) as url:
            yield url


async def posted(url: str, body: Any, **headers: str) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes | io.BytesIO) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=data, headers={"Content-Type": "application/json"} | headers) as response,
    ):
        return response.status, await response.read()


def call(method: str, *params: object, **rest: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)} | rest


async def result(url: str, method: str, *params: object) -> Any:
    status, body = await posted(url, call(method, *params))
    assert status == 200
    answer = json.loads(body)
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 1)
    return answer["result"]


def send_params(raw: bytes) -> list[object]:
    return [base64.b64encode(raw).decode(), {"encoding": "base64"}]


def forged(**changes: Any) -> bytes:
    """A transaction that this chain takes, but for the changes."""
    tx: dict[str, Any] = {
        "order_id": OrderId("o-1"),
        "attempt": 1,
        "nonce": 1,
        "last_valid_height": 393_900_000 + VALID_BLOCKS,
        "instructions": (wish(limit=1),),
    }
    return msgspec.msgpack.encode(SimTx(**(tx | changes)))


async def unavailable(work: Awaitable[object], code: Code = Code.CHAIN_UNAVAILABLE) -> str:
    with pytest.raises(FillwrightError) as failed:
        await work
    assert failed.value.code is code
    return str(failed.value)


# --- the protocol -------------------------------------------------------------------------------------------------


@in_loop
async def test_answers_have_solana_s_shapes(rig: RemoteChainRig) -> None:
    async with served(rig) as url:
        assert await result(url, "getHealth") == "ok"
        slot, height = await result(url, "getSlot"), await result(url, "getBlockHeight", {"commitment": "confirmed"})
        assert (slot, height) == (SLOT_0, 393_900_000)
        tip = await result(url, "getLatestBlockhash")
        assert tip["context"] == {"slot": slot}
        assert tip["value"].keys() == {"blockhash", "lastValidBlockHeight"}
        assert tip["value"]["lastValidBlockHeight"] == height + 150
        assert 32 <= len(tip["value"]["blockhash"]) <= 44
        raw, bad = forged(), forged(nonce=2, instructions=(wish(limit=10**18),))
        signature = await result(url, "sendTransaction", *send_params(raw))
        reverted = await result(url, "sendTransaction", *send_params(bad))
        assert signature == signature_of(raw)
        statuses = await result(
            url, "getSignatureStatuses", [signature, "unknown", reverted], {"searchTransactionHistory": True}
        )
        assert statuses["context"] == {"slot": slot}
        landed, unknown, undone = statuses["value"]
        assert unknown is None
        assert landed["fillwright"].pop("amountOut") > 0
        assert landed == {
            "slot": slot,
            "confirmations": None,
            "err": None,
            "confirmationStatus": "finalized",
            "fillwright": {"amountIn": 1_000_000_000},
        }
        assert undone["err"] == {"InstructionError": [0, "GenericError"]}
        assert undone["fillwright"]["problem"]["code"] == "CHAIN_SLIPPAGE"
        [line] = (await result(url, "fillwright_getSettlements"))["value"]
        assert (line["signature"], line["order_id"]) == (signature, "o-1")
        assert (await result(url, "fillwright_getSettlements", line["number"]))["value"] == []
        assert await result(url, "fillwright_getInFlight") == 0


@in_loop
async def test_a_batch_is_worked_through_in_order_and_answered_by_id(rig: RemoteChainRig) -> None:
    """A status after a send sees it; before it, not."""
    async with served(rig) as url:
        raw = forged()
        look = call("getSignatureStatuses", [signature_of(raw)])
        batch = [look, call("sendTransaction", *send_params(raw), id="x"), look | {"id": None}, look | {"id": 2.5}]
        del batch[0]["id"]  # a notification: done, not answered
        status, body = await posted(url, [look | {"id": 0}, *batch])
        answers = json.loads(body)
        assert status == 200
        assert [answer["id"] for answer in answers] == [0, "x", None, 2.5]
        assert answers[0]["result"]["value"] == [None]
        assert answers[2]["result"]["value"][0]["fillwright"]["amountIn"] == 1_000_000_000
        assert await posted(url, [batch[0], batch[0]]) == (204, b"")
        assert await posted(url, batch[0]) == (204, b"")


_VALID = call("getSlot")
_BAD_CALLS: list[tuple[object, int]] = [
    (b"", jsonrpc.PARSE_ERROR),
    (b"{", jsonrpc.PARSE_ERROR),
    (b"[", jsonrpc.PARSE_ERROR),
    (b"[1,]", jsonrpc.PARSE_ERROR),
    (b"\xff\xfe", jsonrpc.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', jsonrpc.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', jsonrpc.PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":NaN,"method":"getSlot"}', jsonrpc.PARSE_ERROR),
    (b"[" * 100_000, jsonrpc.PARSE_ERROR),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, jsonrpc.PARSE_ERROR),
    ([], jsonrpc.INVALID_REQUEST),
    ([_VALID] * 257, jsonrpc.INVALID_REQUEST),
    (1, jsonrpc.INVALID_REQUEST),
    (None, jsonrpc.INVALID_REQUEST),
    ("getSlot", jsonrpc.INVALID_REQUEST),
    ({}, jsonrpc.INVALID_REQUEST),
    (_VALID | {"jsonrpc": "1.0"}, jsonrpc.INVALID_REQUEST),
    (_VALID | {"jsonrpc": 2.0}, jsonrpc.INVALID_REQUEST),
    (_VALID | {"method": 1}, jsonrpc.INVALID_REQUEST),
    (_VALID | {"id": []}, jsonrpc.INVALID_REQUEST),
    (_VALID | {"id": True}, jsonrpc.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":"getSlot","id":' + b"9" * 5_000 + b"}", jsonrpc.INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":"getSlot","id":1e999}', jsonrpc.INVALID_REQUEST),
    (_VALID | {"method": "getslot"}, jsonrpc.METHOD_NOT_FOUND),
    (_VALID | {"method": "__init__"}, jsonrpc.METHOD_NOT_FOUND),
    (_VALID | {"params": {}}, jsonrpc.INVALID_PARAMS),
    (_VALID | {"params": 1}, jsonrpc.INVALID_PARAMS),
    (call("getSlot", "finalized"), jsonrpc.INVALID_PARAMS),
    (call("getSlot", {"commitment": "soon"}), jsonrpc.INVALID_PARAMS),
    (call("getSlot", {}, {}), jsonrpc.INVALID_PARAMS),
    (call("sendTransaction"), jsonrpc.INVALID_PARAMS),
    (call("sendTransaction", "AAAA"), jsonrpc.INVALID_PARAMS),
    (call("sendTransaction", "AAAA", {"encoding": "base58"}), jsonrpc.INVALID_PARAMS),
    (call("sendTransaction", "!", {"encoding": "base64"}), jsonrpc.INVALID_PARAMS),
    (call("sendTransaction", "", {"encoding": "base64"}), jsonrpc.INVALID_PARAMS),
    (call("getSignatureStatuses"), jsonrpc.INVALID_PARAMS),
    (call("getSignatureStatuses", "abc"), jsonrpc.INVALID_PARAMS),
    (call("getSignatureStatuses", ["s"] * 257), jsonrpc.INVALID_PARAMS),
    (call("getSignatureStatuses", ["s" * 129]), jsonrpc.INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"getSignatureStatuses","params":[["\xff"]]}', jsonrpc.INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"getSignatureStatuses","params":[["\\ud800"]]}', jsonrpc.PARSE_ERROR),
    (call("fillwright_getPools", "raydium"), jsonrpc.INVALID_PARAMS),
    (call("fillwright_getPools", "raydium", [str(n) for n in range(65)]), jsonrpc.INVALID_PARAMS),
    (call("fillwright_getSettlements", -1), jsonrpc.INVALID_PARAMS),
    (call("fillwright_getSettlements", 2**63), jsonrpc.INVALID_PARAMS),
    (call("fillwright_getSettlements", 0, 0), jsonrpc.INVALID_PARAMS),
]


@in_loop
async def test_bad_input_is_refused_in_json_rpc_s_words(rig: RemoteChainRig) -> None:
    async with served(rig) as url:
        for body, code in _BAD_CALLS:
            status, answered = await posted(url, body)
            answer = json.loads(answered)
            assert (status, answer.get("error", {}).get("code")) == (200, code), body
            assert answer.keys() == {"jsonrpc", "error", "id"}, body
            known = code in (jsonrpc.METHOD_NOT_FOUND, jsonrpc.INVALID_PARAMS)
            assert answer["id"] == (1 if known else None), body
        mixed = [1, _VALID, {"jsonrpc": "2.0"}, call("nothing", id=2)]
        answers = json.loads((await posted(url, mixed))[1])
        assert [answer["id"] for answer in answers] == [None, 1, None, 2]
        assert answers[1]["result"] == SLOT_0, "one bad call spoils no other"


@in_loop
async def test_what_is_not_even_a_call_gets_a_4xx(rig: RemoteChainRig) -> None:
    async with served(rig) as url, aiohttp.ClientSession() as session:
        valid = json.dumps(_VALID).encode()
        assert (await posted(url, valid, **{"Content-Type": "text/plain"}))[0] == 415
        assert (await posted(url, valid, **{"Content-Type": "application/json; charset=utf-8"}))[0] == 200
        assert (await posted(url, io.BytesIO(b" " * (rpc.BODY_MAX + 1))))[0] == 413
        status, body = await posted(url, gzip.compress(valid), **{"Content-Encoding": "gzip"})
        assert (status, json.loads(body)["error"]["code"]) == (200, jsonrpc.PARSE_ERROR), "nothing is unpacked"
        async with session.get(url) as response:
            assert response.status == 405
        async with session.post(f"{url}/elsewhere") as response:
            assert response.status == 404
        async with session.get(f"{url}/health") as response:
            assert (response.status, await response.text()) == (200, "ok")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["method", "params", "id", "x"]), inner)
    ),
    max_leaves=12,
)
_methods = st.sampled_from(
    ["getSlot", "getLatestBlockhash", "sendTransaction", "getSignatureStatuses", "fillwright_getPools", "?"]
)
_calls = st.builds(lambda method, params, id_: call(method) | {"params": params, "id": id_}, _methods, _json, _json)


@given(st.binary() | st.builds(lambda value: json.dumps(value).encode(), _json | _calls | st.lists(_calls | _json)))
def test_whatever_is_sent_the_answer_is_json_rpc(body: bytes) -> None:
    chain = SimChain(":memory:", HandClock(), default_market(1), PRESETS["instant"], seed=1)
    try:
        answer = Node(chain).answer(body)
    finally:
        chain.close()
    for each in msgspec.json.decode(answer, type=list[dict[str, Any]] | dict[str, Any]) if answer else []:
        assert isinstance(each, str) or ("result" in each) != ("error" in each)


_BAD_BYTES = {
    "no bytes of ours": b"\x00" * 64,
    "too long": forged(order_id="o" * BYTES_MAX),
    "no instruction": forged(instructions=()),
    "too many instructions": forged(instructions=(wish(limit=1, pool="p"),) * 17),
    "two modes": forged(instructions=(wish(limit=1), wish(limit=1, mode=Mode.EXACT_OUT))),
    "no amount": forged(instructions=(wish(limit=1, amount=0),)),
    "an amount the ledger cannot hold": forged(instructions=(wish(limit=1, amount=ATOMS_MAX + 1),)),
    "limits that only overflow together": forged(instructions=(wish(limit=ATOMS_MAX), wish(limit=1))),
    "a limit below zero": forged(instructions=(wish(limit=-1),)),
    "an attempt below zero": forged(attempt=-1),
    "valid for ever": forged(last_valid_height=ATOMS_MAX + 1),
    "a long name": forged(order_id="o" * 129),
}


@pytest.mark.parametrize("raw", _BAD_BYTES.values(), ids=_BAD_BYTES)
@in_loop
async def test_bytes_that_are_no_transaction_are_refused_and_the_chain_goes_on(rig: RemoteChainRig, raw: bytes) -> None:
    async with served(rig) as url:
        answer = json.loads((await posted(url, call("sendTransaction", *send_params(raw))))[1])
        assert answer["error"]["code"] == jsonrpc.INVALID_PARAMS
        signature = await result(url, "sendTransaction", *send_params(forged()))
        rig.pass_slots(1)
        assert [each.signature for each in rig.network.settlements()] == [signature]


@in_loop
async def test_a_port_that_is_taken_is_a_matter_of_configuration(rig: RemoteChainRig) -> None:
    async with served(rig) as url:
        with pytest.raises(FillwrightError) as failed:
            async with serving(rig.network, "127.0.0.1", int(url.rsplit(":", 1)[1])):
                pass
        assert failed.value.code is Code.CONFIG_INVALID


@in_loop
async def test_bytes_that_the_chain_takes_never_stop_it(rig: RemoteChainRig) -> None:
    """Sound numbers, senseless wishes: they revert, or do what they say."""
    odd = [
        (wish(limit=0, amount=ATOMS_MAX), wish(limit=0, amount=ATOMS_MAX, pool="sim-raydium-cpmm-SOL-USDC")),
        (wish(limit=0, token_in=BONK, token_out=BONK),),
        (wish(limit=0), wish(limit=0, token_in=USDC, token_out=SOL), wish(limit=0)),
        (wish(limit=ATOMS_MAX, amount=1, mode=Mode.EXACT_OUT),),
        (wish(limit=0, pool=""),),
    ]
    async with served(rig) as url:
        for nonce, instructions in enumerate(odd):
            raw = forged(nonce=nonce, instructions=instructions)
            signature = await result(url, "sendTransaction", *send_params(raw))
            [status] = (await result(url, "getSignatureStatuses", [signature]))["value"]
            assert status is not None


@in_loop
async def test_a_transaction_cannot_be_signed_on_a_block_to_come(rig: RemoteChainRig) -> None:
    """Otherwise it would stay valid for longer than anybody waits."""
    async with served(rig) as url:
        early = forged(last_valid_height=393_900_000 + VALID_BLOCKS + 1)
        answer = json.loads((await posted(url, call("sendTransaction", *send_params(early))))[1])
        assert answer["error"]["code"] == rpc.UNHEALTHY
        rig.pass_slots(1)
        await result(url, "sendTransaction", *send_params(early))
        assert len(rig.network.settlements()) == 1


# --- the caller's side: batches -----------------------------------------------------------------------------------


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every body that a node was sent."""
    bodies: list[bytes] = []
    answer = Node.answer

    def noted(node: Node, body: bytes) -> bytes:
        bodies.append(body)
        return answer(node, body)

    monkeypatch.setattr(Node, "answer", noted)
    return bodies


@in_loop
async def test_concurrent_calls_share_requests(rig: RemoteChainRig, requests: list[bytes]) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        signing = (chain.sign(OrderId(f"o-{n}"), 1, [wish(limit=1, amount=1_000_000 + n)]) for n in range(300))
        transactions = await asyncio.gather(*signing)
        assert len(requests) == 1, "one tip for all"
        await asyncio.gather(*(chain.broadcast(tx) for tx in transactions))
        assert len(requests) <= 1 + 3
        sightings = await asyncio.gather(*(chain.look(tx.signature) for tx in transactions))
        assert len(requests) <= 1 + 3 + 2
        for number, (tx, sighting) in enumerate(zip(transactions, sightings, strict=True)):
            assert isinstance(sighting.outcome, Fill)
            assert (sighting.outcome.signature, sighting.outcome.amount_in) == (tx.signature, 1_000_000 + number)


@in_loop
async def test_calls_that_come_while_others_are_under_way_go_together(
    rig: RemoteChainRig, requests: list[bytes]
) -> None:
    async def late(chain: RemoteChain, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await chain.look(Signature("unknown"))

    async with served(rig) as url, rig.connected(url) as chain:
        await chain.ping()
        del requests[:]
        await asyncio.gather(*(late(chain, turns) for turns in range(50)))
        assert len(requests) < 25


@in_loop
async def test_a_look_is_one_request_with_the_height_first(rig: RemoteChainRig, requests: list[bytes]) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        await asyncio.gather(*(chain.look(Signature(name)) for name in "abc"))
        [height, statuses] = json.loads(requests[0])
        assert (height["method"], statuses["method"]) == ("getBlockHeight", "getSignatureStatuses")
        assert statuses["params"] == [["a", "b", "c"], {"searchTransactionHistory": True}]


@in_loop
async def test_a_caller_who_leaves_disturbs_no_other(rig: RemoteChainRig) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        rig.pass_slots(100)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: chain.look(tx.signature),
            lambda: chain.broadcast(tx),
            lambda: chain.pools_of("raydium", PAIR),
            lambda: chain.sign(OrderId("o-1"), 2, [wish(limit=1)]),
        ]
        for asked in calls:
            leaving, staying = asyncio.ensure_future(asked()), asyncio.ensure_future(asked())
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait_for(staying, 1)
            assert leaving.cancelled()


# --- the caller's side: what is kept --------------------------------------------------------------------------------


@in_loop
async def test_signing_asks_nobody_while_the_tip_is_fresh(rig: RemoteChainRig, requests: list[bytes]) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        first = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        rig.clock.at += 300
        again = await chain.sign(OrderId("o-2"), 1, [wish(limit=1)])
        assert (again.signed_slot, again.signed_height) == (first.signed_slot, first.signed_height)
        assert len(requests) == 1
        rig.clock.at += 1_000
        usable = await chain.sign(OrderId("o-3"), 1, [wish(limit=1)])
        assert usable.signed_slot == first.signed_slot, "good enough, and a new one is asked for"
        for _ in range(2):
            await chain.ping()
        fresh = await chain.sign(OrderId("o-4"), 1, [wish(limit=1)])
        assert fresh.signed_slot == first.signed_slot + 3
        rig.pass_slots(10)
        waited = await chain.sign(OrderId("o-5"), 1, [wish(limit=1)])
        assert waited.signed_slot == first.signed_slot + 13, "too old to sign on"


@in_loop
async def test_without_a_node_nothing_is_signed_on_an_old_tip(rig: RemoteChainRig) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        url_is_gone = RemoteChain("http://127.0.0.1:1", rig.clock, os.urandom)
        await unavailable(url_is_gone.sign(OrderId("o-1"), 1, [wish(limit=1)]))
        await url_is_gone.close()
    async with rig.connected(url) as chain:
        async with served(rig, int(url.rsplit(":", 1)[1])):
            await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        rig.clock.at += 1_500
        await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        rig.clock.at += 600
        await unavailable(chain.sign(OrderId("o-1"), 1, [wish(limit=1)]))


@in_loop
async def test_what_was_signed_on_a_kept_tip_is_judged_rightly(rig: RemoteChainRig) -> None:
    """The tip's slot and height are of one moment, so a true sighting is never taken for a lie, nor early."""
    async with served(rig) as url, rig.connected(url) as chain:
        for _ in range(30):
            await chain.sign(OrderId("o-0"), 1, [wish(limit=1)])
            rig.clock.at += 700
            tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
            while (sighting := await chain.look(tx.signature)).height <= tx.last_valid_height:
                assert not proves_lapse(tx, sighting)
                rig.pass_slots(7)
            assert proves_lapse(tx, sighting)


@in_loop
async def test_pools_are_fetched_once_a_slot_and_shared(rig: RemoteChainRig, requests: list[bytes]) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        views = await asyncio.gather(*(chain.pools_of("raydium", PAIR) for _ in range(50)))
        assert len(requests) == 1
        assert all(view is views[0] for view in views)
        assert await chain.pools_of("raydium", PAIR) is views[0]
        assert views[0] == rig.network.view("raydium", PAIR), "nothing is lost on the way"
        rig.pass_slots(1)
        later = await chain.pools_of("raydium", PAIR)
        assert later.time.slot == views[0].time.slot + 1
        assert len(requests) == 2
        assert all(new is old for new, old in zip(later.pools, views[0].pools, strict=True)), "none has moved"


@in_loop
async def test_every_kind_of_pool_travels_unchanged(rig: RemoteChainRig) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        mints = frozenset(mint for pool in rig.market.pools for mint in (pool.mint_0, pool.mint_1))
        for _ in range(3):
            there = [pool for venue in ("raydium", "meteora") for pool in (await chain.pools_of(venue, mints)).pools]
            assert {pool.address: pool for pool in there} == {pool.address: pool for pool in rig.network.all_pools()}
            rig.pass_slots(50)


@in_loop
async def test_no_two_clients_sign_alike(rig: RemoteChainRig) -> None:
    """Not even the same order, at the same time, in two processes."""
    async with served(rig) as url, rig.connected(url) as one, rig.connected(url) as other:
        signing = (chain.sign(OrderId("o-1"), 1, [wish(limit=1)]) for chain in (one, other) for _ in range(100))
        transactions = await asyncio.gather(*signing)
        assert len({tx.signature for tx in transactions}) == 200


@in_loop
async def test_an_audit_reads_the_whole_ledger(rig: RemoteChainRig) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        for batch in range(9):
            signing = (chain.sign(OrderId(f"o-{batch}-{n}"), 1, [wish(limit=1, amount=10_000)]) for n in range(250))
            await asyncio.gather(*(chain.broadcast(tx) for tx in await asyncio.gather(*signing)))
        assert await chain.settlements() == rig.network.settlements()
        assert len(rig.network.settlements()) == 2_250
        assert await chain.quiet()


# --- a node that fails ----------------------------------------------------------------------------------------------


@in_loop
async def test_a_node_that_went_away_is_told_and_found_again(rig: RemoteChainRig) -> None:
    port = free_port()
    async with rig.connected(f"http://127.0.0.1:{port}") as chain:
        async with served(rig, port):
            tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
            await chain.broadcast(tx)
            before = await chain.look(tx.signature)
        rig.pass_slots(1)
        async with asyncio.timeout(1):
            await unavailable(chain.ping())
            await unavailable(chain.look(tx.signature))
            await unavailable(chain.broadcast(tx))
            await unavailable(chain.pools_of("raydium", PAIR), Code.VENUE_UNAVAILABLE)
        async with served(rig, port):
            await chain.ping()
            await chain.broadcast(tx)
            assert (await chain.look(tx.signature)).outcome == before.outcome
            assert (await chain.pools_of("raydium", PAIR)).pools


@asynccontextmanager
async def impostor(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A server that takes calls and answers as it likes."""
    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


_NONSENSE: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "not JSON": lambda _: b"<html>",
    "nested without end": lambda _: b"[" * 100_000,
    "one error for all": lambda _: {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}},
    "nothing": lambda _: [],
    "other ids": lambda calls: [{"jsonrpc": "2.0", "id": c["id"] + 100, "result": 1} for c in calls],
    "errors": lambda calls: [{"jsonrpc": "2.0", "id": c["id"], "error": {"code": 1, "message": "no"}} for c in calls],
    "no result": lambda calls: [{"jsonrpc": "2.0", "id": c["id"]} for c in calls],
    "null": lambda calls: [{"jsonrpc": "2.0", "id": c["id"], "result": None} for c in calls],
    "other types": lambda calls: [{"jsonrpc": "2.0", "id": c["id"], "result": {"value": []}} for c in calls],
    "too few statuses": lambda calls: [
        {"jsonrpc": "2.0", "id": c["id"], "result": 5 if n == 0 else {"context": {"slot": 5}, "value": []}}
        for n, c in enumerate(calls)
    ],
    "a status that may yet be undone": lambda calls: [
        {"jsonrpc": "2.0", "id": calls[0]["id"], "result": 5},
        *(
            {
                "jsonrpc": "2.0",
                "id": c["id"],
                "result": {
                    "context": {"slot": 5},
                    "value": [{"slot": 5, "err": None, "confirmationStatus": "processed", "fillwright": {}}],
                },
            }
            for c in calls[1:]
        ),
    ],
}


@pytest.mark.parametrize("nonsense", _NONSENSE.values(), ids=_NONSENSE)
@in_loop
async def test_nonsense_is_no_evidence(rig: RemoteChainRig, nonsense: Callable[[list[dict[str, Any]]], object]) -> None:
    """Least of all that a transaction is unknown."""

    async def answer(request: web.Request) -> web.Response:
        said = nonsense(await request.json())
        return web.Response(body=said if isinstance(said, bytes) else json.dumps(said).encode())

    async with impostor(answer) as url, rig.connected(url) as chain, asyncio.timeout(2):
        await unavailable(chain.look(Signature("s")))
        await unavailable(chain.sign(OrderId("o-1"), 1, [wish(limit=1)]))
        await unavailable(chain.pools_of("raydium", PAIR), Code.VENUE_UNAVAILABLE)
        await unavailable(chain.ping())


@pytest.mark.parametrize("status", [204, 302, 401, 404, 413, 429, 500, 503])
@in_loop
async def test_any_other_status_is_a_failure(rig: RemoteChainRig, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/secret"})

    async with impostor(answer) as url, rig.connected(url) as chain:
        assert "secret" not in await unavailable(chain.look(Signature("s")))


@in_loop
async def test_a_node_that_hangs_holds_nobody_up_for_long(rig: RemoteChainRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those in the request, nor those behind it, nor those who go on when it answers again."""
    monkeypatch.setattr(line, "_REQUEST_S", 0.2)
    monkeypatch.setattr(line, "_WAIT_S", 0.2)

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with impostor(answer) as url, rig.connected(url) as chain, asyncio.timeout(1):
        looks = [asyncio.ensure_future(unavailable(chain.look(Signature(f"s{n}")))) for n in range(2_000)]
        sends = [
            asyncio.ensure_future(unavailable(chain.pools_of("raydium", frozenset({SOL.mint})), Code.VENUE_UNAVAILABLE))
        ]
        await asyncio.gather(*looks, *sends)


@in_loop
async def test_closing_leaves_nobody_waiting(rig: RemoteChainRig) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with impostor(answer) as url, asyncio.timeout(2):
        chain = RemoteChain(url, rig.clock, os.urandom)
        waiting = [
            asyncio.ensure_future(unavailable(work))
            for work in (chain.look(Signature("s")), chain.ping(), chain.sign(OrderId("o-1"), 1, [wish(limit=1)]))
        ]
        await asyncio.sleep(0.05)
        waiting.append(asyncio.ensure_future(unavailable(chain.look(Signature("t")))))
        await chain.close()
        await asyncio.gather(*waiting)
        await unavailable(chain.ping())


# --- the chain's file -----------------------------------------------------------------------------------------------


@in_loop
async def test_a_clock_that_was_set_back_takes_no_chain_back(rig: RemoteChainRig) -> None:
    """A node starts again with a wrong clock: what was proven lapsed must stay dead."""
    with rig.running() as chain:
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        rig.pass_slots(200)
        lapsed = await chain.look(tx.signature)
        assert proves_lapse(tx, lapsed)
    rig.pass_slots(-190)
    with rig.running() as chain:
        assert chain.slot() >= lapsed.slot
        await chain.broadcast(tx)
        rig.pass_slots(20)
        assert (await chain.look(tx.signature)).outcome is None
        assert chain.slot() == lapsed.slot + 20


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow: real writes fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@in_loop
async def test_where_the_file_cannot_be_written_nobody_is_told_what_may_be_forgotten(rig: RemoteChainRig) -> None:
    async with served(rig) as url, rig.connected(url) as chain:
        first, second = [await chain.sign(OrderId(f"o-{n}"), 1, [wish(limit=1)]) for n in range(2)]
        await chain.broadcast(first)
        rig.pass_slots(1)
        fill = (await chain.look(first.signature)).outcome
        pools = rig.network.all_pools()
        with full_disk():
            await unavailable(chain.broadcast(second))
        sighting = await chain.look(second.signature)
        assert sighting.outcome is None, "it reached nobody"
        assert rig.network.all_pools() == pools, "and moved nothing"
        assert (await chain.look(first.signature)).outcome == fill
        await chain.broadcast(second)
        assert isinstance((await chain.look(second.signature)).outcome, Fill)
        assert [line.signature for line in await chain.settlements()] == [first.signature, second.signature]


def test_a_killed_node_forgets_nothing_it_told_and_settles_nothing_twice(tmp_path: Path) -> None:
    """kill -9 again and again, under two clients that send the same bytes until they know."""
    node = NodeProcess(tmp_path / "chain.db", free_port())
    orders, kills = 240, 5
    told: dict[Signature, Fill | Rejection] = {}

    async def follow(chain: RemoteChain, tx: SignedTx) -> None:
        while True:
            with suppress(FillwrightError):
                await chain.broadcast(tx)
            with suppress(FillwrightError):
                outcome = (await chain.look(tx.signature)).outcome
                if outcome is not None:
                    assert told.setdefault(tx.signature, outcome) == outcome, "an outcome is for ever"
                    return
            await asyncio.sleep(0.02)

    async def order(chains: list[RemoteChain], number: int) -> None:
        await asyncio.sleep(number / 60)
        tx = None
        while tx is None:
            with suppress(FillwrightError):
                tx = await chains[number % 2].sign(OrderId(f"o-{number}"), 1, [wish(limit=1, amount=1_000_000)])
            await asyncio.sleep(0.02)
        await asyncio.gather(*(follow(chain, tx) for chain in chains))

    async def scenario() -> list[Signature]:
        chains = [RemoteChain(node.url, SystemClock(), os.urandom) for _ in range(2)]
        orders_done = [asyncio.ensure_future(order(chains, number)) for number in range(orders)]
        for kill in range(kills):
            while len(told) < (kill + 1) * orders // (kills + 2):  # noqa: ASYNC110  # callers in other tasks tell
                await asyncio.sleep(0.005)
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)
        await asyncio.gather(*orders_done)
        settled = [each.signature for each in await chains[0].settlements()]
        assert await chains[1].quiet()
        for chain in chains:
            await chain.close()
        return settled

    node.start()
    try:
        settled = asyncio.run(scenario())
    finally:
        node.kill()
    assert len(settled) == len(set(settled))
    assert set(settled) == {signature for signature, outcome in told.items() if isinstance(outcome, Fill)}
    assert not any(isinstance(outcome, Rejection) for outcome in told.values())
    assert len(told) == orders
    with sim_chain(tmp_path / "chain.db") as chain:
        assert [each.signature for each in chain.settlements()] == settled


@contextmanager
def sim_chain(file: Path) -> Iterator[SimChain]:
    chain = SimChain(file, SystemClock(), default_market(1), Preset(), seed=1)
    try:
        yield chain
    finally:
        chain.close()
