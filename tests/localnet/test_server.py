"""The network on real sockets: faults that strike, sockets that are told what happens, and none that costs memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.localnet import server, subscriptions
from fillwright.localnet.server import Network, serving
from tests.localnet.chain import SOL, funded, lamports, make_bank, make_network, payment, produce, signed
from tests.localnet.test_node import text

WAIT_S = 10.0


class Caller:
    """One HTTP client of one localnet."""

    def __init__(self, session: aiohttp.ClientSession, network: Network) -> None:
        self.session = session
        self.network = network
        self.bank = network.bank

    async def __call__(self, method: str, *params: object, path: str = "/") -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(path, json=asked) as response:
            response.raise_for_status()
            return await response.json()

    async def send(self, wallet: Keypair, to: Pubkey, lamports: int, path: str = "/") -> str | None:
        """The signature; None where there was no answer."""
        sent = signed(wallet, self.bank.tip.hash, payment(wallet, to, lamports))
        try:
            await self("sendTransaction", text(sent), {"encoding": "base64", "skipPreflight": True}, path=path)
        except aiohttp.ClientError:
            return None
        return str(sent.signatures[0])

    @asynccontextmanager
    async def socket(self, path: str = "/") -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.session.ws_connect(path) as socket:
            yield socket


@asynccontextmanager
async def by_hand(network: Network) -> AsyncIterator[Caller]:
    async with (
        serving(network, "127.0.0.1", 0, block_s=None) as url,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(WAIT_S)) as session,
    ):
        yield Caller(session, network)


async def ask(socket: aiohttp.ClientWebSocketResponse, method: str, *params: object) -> Any:
    await socket.send_json({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    return await socket.receive_json(timeout=WAIT_S)


# --- faults -----------------------------------------------------------------------------------------------


def test_dropped_sends_are_answered_and_never_land() -> None:
    async def scenario() -> None:
        network = make_network(dropped_sends=0.6)
        wallet, friend = funded(network.bank, 1_000 * SOL), Keypair().pubkey()
        async with by_hand(network) as call:
            sent = [await call.send(wallet, friend, 10**6 + number) for number in range(200)]
        produce(network.bank)
        landed = sum(network.bank.view("processed").landed(signature or "") is not None for signature in sent)
        assert None not in sent
        assert 200 - landed == network.dice.struck["dropped"]
        assert 90 <= network.dice.struck["dropped"] <= 150

    asyncio.run(scenario())


def test_late_sends_land_in_later_blocks() -> None:
    async def scenario() -> None:
        network = make_network(late_sends=1.0)
        wallet = funded(network.bank, 1_000 * SOL)
        async with by_hand(network) as call:
            for number in range(40):
                await call.send(wallet, Keypair().pubkey(), 10**6 + number)
        slot = network.bank.tip.slot
        produce(network.bank, 25)
        slots = [landed.slot - slot for landed in network.bank.view("processed").naming(wallet.pubkey())][:40]
        assert min(slots) > 1
        assert len(set(slots)) > 5

    asyncio.run(scenario())


def test_a_lost_answer_is_a_cut_connection_after_the_deed() -> None:
    async def scenario() -> None:
        network = make_network(lost_answers=1.0)
        wallet, friend = funded(network.bank), Keypair().pubkey()
        async with by_hand(network) as call:
            assert await call.send(wallet, friend, SOL) is None
            assert (await call("localnet_getFaults"))["result"]["struck"]["lost"] >= 1
        produce(network.bank)
        assert lamports(network.bank, friend) == SOL

    asyncio.run(scenario())


def test_faults_can_be_changed_while_it_runs_and_have_bounds() -> None:
    async def scenario() -> None:
        network = make_network()
        wallet, friend = funded(network.bank), Keypair().pubkey()
        async with by_hand(network) as call:
            await call("localnet_setFaults", {"droppedSends": 1.0})
            await call.send(wallet, friend, SOL)
            produce(network.bank)
            assert lamports(network.bank, friend) == 0
            for wrong in ({"droppedSends": 1.1}, {"droped": 0.1}, 7):
                assert (await call("localnet_setFaults", wrong))["error"]["code"] == -32602

    asyncio.run(scenario())


def test_only_the_honest_node_takes_commands() -> None:
    async def scenario() -> None:
        async with by_hand(make_network(flaky=0.0)) as call:
            assert "result" in await call("localnet_produceBlocks")
            for path in ("/lagging", "/lying", "/flaky"):
                assert (await call("localnet_produceBlocks", path=path))["error"]["code"] == -32601

    asyncio.run(scenario())


def test_blocks_are_forked_and_slots_skipped_as_often_as_asked() -> None:
    network = make_network(forks=0.3, resent=0.0, skipped_slots=0.2)
    bank = network.bank
    heights = []
    for _ in range(200):
        network.produce()
        heights.append(bank.tip.height)
    struck = network.dice.struck
    assert 30 <= struck["forked"] <= 90
    assert 25 <= struck["skipped"] <= 80
    first = make_bank().tip.height
    assert 0 <= bank.tip.height - (first + 200 - struck["forked"]) <= 3  # of the first block nothing can be taken back
    assert bank.tip.slot - make_bank().tip.slot == 200 + struck["skipped"]
    assert any(later <= earlier for earlier, later in pairwise(heights))


def test_the_same_seed_strikes_alike() -> None:
    def heights(seed: int) -> list[int]:
        network = make_network(seed=seed, forks=0.3, skipped_slots=0.2)
        for _ in range(50):
            network.produce()
        return [network.bank.tip.height, network.bank.tip.slot, *network.dice.struck.values()]

    assert heights(1) == heights(1)
    assert heights(1) != heights(2)


def test_the_flaky_node_fails_in_every_way_and_does_nothing_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SLOW_S", 0.02)

    async def scenario() -> None:
        network = make_network(flaky=0.8)
        wallet, friend = funded(network.bank, 100 * SOL), Keypair().pubkey()
        seen: set[str] = set()
        waits: dict[int, str | None] = {}
        told = 0
        async with by_hand(network) as call:
            for number in range(60):
                sent = signed(wallet, call.bank.tip.hash, payment(wallet, friend, SOL // 10 + number))
                try:
                    options = {"encoding": "base64", "skipPreflight": True}
                    await call("sendTransaction", text(sent), options, path="/flaky")
                    told += 1
                except aiohttp.ClientResponseError as error:
                    seen.add(str(error.status))
                    waits |= {error.status: error.headers.get("Retry-After") if error.headers else None}
                except (json.JSONDecodeError, aiohttp.ClientError) as error:
                    seen.add(type(error).__name__)
        produce(network.bank)
        assert waits[429] == "1"
        assert seen >= {"429", "503", "504", "JSONDecodeError", "ServerDisconnectedError"}
        assert len(network.bank.tip.transactions) == told == 60 - network.dice.struck["flaky"]

    asyncio.run(scenario())


# --- sockets ----------------------------------------------------------------------------------------------


def test_a_socket_is_told_of_blocks_accounts_logs_and_ends() -> None:
    async def scenario() -> None:
        network = make_network()
        bank = network.bank
        wallet, friend = funded(bank), Keypair().pubkey()
        sent = signed(wallet, bank.tip.hash, payment(wallet, friend, SOL))
        signature = str(sent.signatures[0])
        async with by_hand(network) as call, call.socket() as socket:
            kinds = {}
            wanted: dict[str, list[object]] = {
                "account": [str(friend), {"encoding": "base64", "commitment": "confirmed"}],
                "program": [str(Pubkey.default()), {"encoding": "base64", "commitment": "processed"}],
                "logs": [{"mentions": [str(friend)]}, {"commitment": "finalized"}],
                "signature": [signature, {"commitment": "confirmed"}],
                "slot": [],
            }
            for kind, params in wanted.items():
                kinds[(await ask(socket, f"{kind}Subscribe", *params))["result"]] = kind
            await call("sendTransaction", text(sent), {"encoding": "base64", "skipPreflight": True})
            slot = bank.tip.slot
            told: list[tuple[str, int, Any]] = []
            for number in range(8):
                network.produce()
                while True:
                    try:
                        frame = await socket.receive_json(timeout=0.1)
                    except TimeoutError:
                        break
                    kind = kinds[frame["params"]["subscription"]]
                    assert frame["method"] == f"{kind}Notification"
                    told.append((kind, number, frame["params"]["result"]))
        assert [number for kind, number, _ in told if kind == "slot"] == list(range(8))
        assert [number for kind, number, _ in told if kind == "signature"] == [1]
        (account,) = [(number, result) for kind, number, result in told if kind == "account"]
        assert (account[0], account[1]["value"]["lamports"]) == (1, SOL)
        assert account[1]["context"]["slot"] == slot + 1
        programs = {result["value"]["pubkey"] for kind, number, result in told if kind == "program" and number == 0}
        assert programs >= {str(friend), str(wallet.pubkey())}
        (logs,) = [(number, result["value"]) for kind, number, result in told if kind == "logs"]
        assert (logs[0], logs[1]["signature"], logs[1]["err"]) == (4, signature, None)

    asyncio.run(scenario())


def test_who_asks_for_the_end_of_what_is_over_is_told_at_once() -> None:
    async def scenario() -> None:
        network = make_network()
        wallet = funded(network.bank)
        async with by_hand(network) as call, call.socket() as socket:
            signature = await call.send(wallet, Keypair().pubkey(), SOL)
            produce(network.bank, 3)
            number = (await ask(socket, "signatureSubscribe", signature))["result"]
            assert number  # not final yet
            produce(network.bank, 3)
            number = (await ask(socket, "signatureSubscribe", signature))["result"]
            told = await socket.receive_json(timeout=WAIT_S)
            assert told["params"] == {
                "result": {"context": told["params"]["result"]["context"], "value": {"err": None}},
                "subscription": number,
            }
            assert "error" in await ask(socket, "signatureUnsubscribe", number)

    asyncio.run(scenario())


def test_after_unsubscribing_nothing_more_is_told() -> None:
    async def scenario() -> None:
        network = make_network()
        async with by_hand(network) as call, call.socket() as socket:
            number = (await ask(socket, "slotSubscribe"))["result"]
            assert (await ask(socket, "slotUnsubscribe", number))["result"] is True
            network.produce()
            with pytest.raises(TimeoutError):
                await socket.receive_json(timeout=0.3)
            assert (await ask(socket, "slotUnsubscribe", number))["error"]["code"] == -32602

    asyncio.run(scenario())


def test_who_was_told_of_a_lost_block_is_told_what_became_of_its_accounts() -> None:
    async def scenario() -> None:
        network = make_network()
        bank = network.bank
        wallet, friend = funded(bank), Keypair().pubkey()
        async with by_hand(network) as call, call.socket() as socket:
            await ask(socket, "accountSubscribe", str(friend), {"encoding": "base64", "commitment": "processed"})
            await call.send(wallet, friend, SOL)
            network.produce()
            assert (await socket.receive_json(timeout=WAIT_S))["params"]["result"]["value"]["lamports"] == SOL
            bank.fork(1)
            network.produce()
            assert (await socket.receive_json(timeout=WAIT_S))["params"]["result"]["value"]["lamports"] == 0

    asyncio.run(scenario())


def test_a_block_is_told_once_however_the_chain_forks() -> None:
    async def scenario() -> None:
        network = make_network(forks=0.5, fork_depth_max=3)
        async with by_hand(network) as call, call.socket() as socket:
            wallet = funded(network.bank, 100 * SOL)
            watch = {"encoding": "base64", "commitment": "finalized"}
            await ask(socket, "accountSubscribe", str(wallet.pubkey()), watch)
            for number in range(60):
                await call.send(wallet, Keypair().pubkey(), SOL // 10 + number)
                network.produce()
            assert network.dice.struck["forked"] > 10
            slots = []
            while True:
                try:
                    frame = await socket.receive_json(timeout=0.3)
                except TimeoutError:
                    break
                slots.append(frame["params"]["result"]["context"]["slot"])
        assert len(slots) > 10
        assert slots == sorted(set(slots))

    asyncio.run(scenario())


def test_a_socket_has_only_so_many_subscriptions_and_survives_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_MAX", 3)

    async def scenario() -> None:
        async with by_hand(make_network()) as call, call.socket() as socket:
            answers = [await ask(socket, "slotSubscribe") for _ in range(4)]
            assert ["result" in answer for answer in answers] == [True, True, True, False]
            await socket.send_str("{")
            assert (await socket.receive_json(timeout=WAIT_S))["error"]["code"] == -32700
            await socket.send_bytes(b"\xff")
            assert (await socket.receive_json(timeout=WAIT_S))["error"]["code"] == -32700
            assert (await ask(socket, "getSlot"))["error"]["code"] == -32601

    asyncio.run(scenario())


def test_who_does_not_read_loses_the_socket_and_costs_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "OUTBOX_MAX", 50)

    async def scenario() -> None:
        network = make_network()
        async with by_hand(network) as call, call.socket() as socket:
            for _ in range(100):
                await ask(socket, "slotSubscribe")
            network.produce()
            (session,) = network._sockets
            assert session.is_overrun
            for _ in range(1_000):
                network.produce()
            assert len(session.outbox) <= 51
            messages = [await socket.receive(timeout=WAIT_S) for _ in range(200)]
            assert aiohttp.WSMsgType.CLOSE in {message.type for message in messages}
            assert socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER

    asyncio.run(scenario())


def test_what_is_no_json_or_too_long_is_refused() -> None:
    async def scenario() -> None:
        async with by_hand(make_network()) as call:
            async with call.session.post("/", data="x") as response:
                assert response.status == 415
            async with call.session.post("/", data=BytesIO(bytes(17 * 1024 * 1024)), headers=_JSON) as response:
                assert response.status == 413
            async with call.session.get("/") as response:
                assert response.status == 405
            async with call.session.post("/", data=b'{"jsonrpc":"2.0","method":"getSlot"}', headers=_JSON) as response:
                assert response.status == 204

    asyncio.run(scenario())


_JSON = {"Content-Type": "application/json"}
