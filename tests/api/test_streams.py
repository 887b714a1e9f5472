"""`/v1/stream`, and what every socket owes its client and its neighbours."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fillwright.api import sockets, stream
from fillwright.errors import Code, FillwrightError
from tests.api.running import NOBODY, SELL, TERMINAL, Server, heard, run, serving


def test_subscribe_tells_the_snapshot_and_then_every_event(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect("/v1/stream") as ws:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            await server.ended(order_id)
            await ws.send_json({"type": "subscribe", "reqId": "r", "orderId": order_id, "fromSeq": 2})
            assert await ws.receive_json() == {"type": "subscribed", "reqId": "r", "orderId": order_id}
            snapshot = await ws.receive_json()
            assert (snapshot["type"], snapshot["seq"], snapshot["order"]["status"]) == ("snapshot", 5, "confirmed")
            assert [(await ws.receive_json())["seq"] for _ in range(3)] == [3, 4, 5]

    run(script())


def test_orders_are_sent_watched_and_cancelled_over_one_socket(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server, server.http.ws_connect("/v1/stream") as ws:
            await ws.send_json({"type": "subscribe", "reqId": 1, "orderId": None})
            assert (await ws.receive_json())["type"] == "subscribed"
            submit = {"type": "submit", "reqId": 2, "order": SELL, "idempotencyKey": "k"}
            await ws.send_json(submit)
            ack = await heard(ws, "ack")
            order_id = ack["orderId"]
            assert ack["reqId"] == 2
            await ws.send_json(submit)
            again = await heard(ws, "ack")
            assert (again["orderId"], again["replayed"]) == (order_id, True)
            await ws.send_json({"type": "cancel", "reqId": 3, "orderId": order_id})
            seen = [await ws.receive_json(timeout=10) for _ in range(2)]
            assert {frame["type"] for frame in seen} == {"event", "ack"}
            await ws.send_json({"type": "unsubscribe", "reqId": 4, "orderId": None})
            assert (await heard(ws, "ack"))["reqId"] == 4
            await server.post("/v1/orders", SELL)
            await ws.send_json({"type": "ping", "reqId": 5})
            assert (await ws.receive_json()) == {"type": "ack", "reqId": 5}

    run(script())


@pytest.mark.parametrize(
    ("message", "code", "req_id"),
    [
        ("nonsense", "REQUEST_MALFORMED", None),
        ("[]", "REQUEST_MALFORMED", None),
        ("{}", "VALIDATION_FAILED", None),
        ({"type": "dance", "reqId": 9}, "VALIDATION_FAILED", 9),
        ({"type": "subscribe", "reqId": 1, "orderId": NOBODY}, "ORDER_NOT_FOUND", 1),
        ({"type": "subscribe", "reqId": 1, "orderId": "x"}, "ORDER_NOT_FOUND", 1),
        ({"type": "subscribe", "reqId": 1, "orderId": 7}, "VALIDATION_FAILED", 1),
        ({"type": "subscribe", "reqId": 1, "fromSeq": -1}, "VALIDATION_FAILED", 1),
        ({"type": "subscribe", "reqId": 1, "x": 1}, "VALIDATION_UNKNOWN_FIELD", 1),
        ({"type": "cancel", "reqId": "a", "orderId": NOBODY}, "ORDER_NOT_FOUND", "a"),
        ({"type": "cancel", "reqId": [1]}, "VALIDATION_FAILED", None),
        ({"type": "submit", "reqId": 1.5}, "VALIDATION_FAILED", None),
        ({"type": "submit", "reqId": 2, "order": {**SELL, "amount": 0}}, "VALIDATION_AMOUNT", 2),
    ],
)
def test_a_bad_message_is_answered_and_the_socket_stays(tmp_path: Path, message: Any, code: str, req_id: Any) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect("/v1/stream") as ws:
            await ws.send_str(message if isinstance(message, str) else json.dumps(message))
            error = await ws.receive_json(timeout=10)
            assert (error["type"], error["code"], error.get("reqId")) == ("error", code, req_id)
            assert error["problem"]["type"] == f"/problems/{code}"
            if isinstance(message, dict) and "order" in message:
                assert error["problem"]["errors"][0]["pointer"] == "/order/amount"
            await ws.send_json({"type": "ping", "reqId": 1})
            assert (await heard(ws, "ack"))["reqId"] == 1

    run(script())


def test_a_client_that_reconnects_misses_and_repeats_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, sim="classic") as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            frames: list[Any] = []
            while not frames or frames[-1]["status"] not in {"confirmed", "failed"}:
                async with server.http.ws_connect(f"/ws/orders/{order_id}?after={len(frames)}") as ws:
                    frames.append(await ws.receive_json(timeout=20))
            assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
            assert (await server.get(f"/v1/orders/{order_id}/events")).json["data"] == frames

    run(script())


@pytest.mark.parametrize("path", ["/v1/stream", "/ws", "/api/orders/ws"])
def test_a_message_of_more_than_4_kib_ends_the_socket(tmp_path: Path, path: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            async with server.http.ws_connect(path) as ws:
                await ws.send_str(json.dumps({"x": "a" * 4_087}))
                assert (await ws.receive_json(timeout=10))["type"] == "error"
            async with server.http.ws_connect(path) as ws:
                await ws.send_str(json.dumps({"x": "a" * 4_088}))
                assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
                assert ws.close_code == 1009

    run(script())


@pytest.mark.parametrize("path", ["/v1/stream", "/ws", "/api/orders/ws"])
def test_more_than_20_messages_a_second_end_the_socket(tmp_path: Path, path: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect(path) as ws:
            for _ in range(21):
                await ws.send_str("{}")
            answers = [message async for message in ws]
            assert len(answers) == 20
            assert ws.close_code == 4029

    run(script())


@pytest.mark.parametrize("path", ["/v1/stream", "/ws", "/api/orders/ws"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "not an origin"])
def test_another_sites_page_gets_no_socket(tmp_path: Path, path: str, origin: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.http.ws_connect(path, headers={"Origin": origin})
            assert refused.value.status == 403
            own = {"Origin": f"http://127.0.0.1:{server.port}"}
            async with server.http.ws_connect(path, headers=own) as ws:
                assert not ws.closed

    run(script())


def test_a_shutdown_tells_every_client_to_come_back(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            opened = [await server.http.ws_connect(path) for path in ("/v1/stream", "/ws", f"/ws/orders/{order_id}")]
            assert (await opened[2].receive_json(timeout=5))["seq"] == 1
            closing = asyncio.create_task(server.runner.cleanup())
            for ws in opened:
                assert (await ws.receive_json(timeout=5))["type"] == "shutdown"
                assert (await ws.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
                assert ws.close_code == 1012
            await closing

    run(script())


def test_a_quiet_stream_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)

    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect("/v1/stream") as ws:
            first, second = await heard(ws, "heartbeat"), await heard(ws, "heartbeat")
            assert 40 <= second["timestamp"] - first["timestamp"] < 2_000

    run(script())


def test_a_stream_that_cannot_go_on_says_so_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]

            async def unavailable(*_: object) -> None:
                raise FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer")

            monkeypatch.setattr(server.engine, "history", unavailable)
            frames, code = await server.frames(f"/ws/orders/{order_id}")
            assert [(frame["type"], frame["code"]) for frame in frames] == [("error", "STORE_UNAVAILABLE")]
            assert code == 1011  # not 1000: this is not the order's end

    run(script())


def test_fifty_watchers_of_one_order_see_the_same(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, sim="classic") as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            watched = await asyncio.gather(*(server.frames(f"/ws/orders/{order_id}") for _ in range(50)))
            assert all(frames == watched[0][0] and code == 1000 for frames, code in watched)

    run(script())


async def _handshake(server: Server, receive_buffer: int) -> socket.socket:
    """A WebSocket whose client does nothing but what the test tells it to."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", server.port))
    await loop.sock_sendall(
        raw,
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    while b"\r\n\r\n" not in await loop.sock_recv(raw, 1_024):
        pass
    message = json.dumps({"type": "subscribe", "orderId": None}).encode()
    await loop.sock_sendall(raw, bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    return raw


def test_a_reader_that_stands_still_is_let_go_and_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CLOSE_S", 60)  # it wakes up late, and is to see why it was let go

    async def script() -> None:
        async with serving(tmp_path, send_buffer=4_096) as server, server.http.ws_connect("/v1/stream") as healthy:
            await healthy.send_json({"type": "subscribe", "orderId": None})
            await heard(healthy, "subscribed")
            slow = await _handshake(server, 4_096)
            seqs: dict[str, list[int]] = {}

            async def listen(count: int) -> None:
                ended = 0
                while ended < count:
                    frame = await heard(healthy, "event")
                    seqs.setdefault(frame["orderId"], []).append(frame["seq"])
                    ended += frame["status"] in TERMINAL

            listening = asyncio.create_task(listen(100))  # enough to fill its queue, and soon done
            for _ in range(10):
                await asyncio.gather(*(server.post("/v1/orders", SELL) for _ in range(10)))
            await asyncio.wait_for(listening, 30)
            assert all(seen == list(range(1, len(seen) + 1)) for seen in seqs.values())
            await asyncio.sleep(1.5)
            told = b""
            while chunk := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(slow, 65_536), 10):
                told += chunk
            slow.close()
            assert told.endswith(b"\x88\x02" + (4008).to_bytes(2, "big"))
            assert told.count(b'"type":"event"') < sum(map(len, seqs.values()))

    run(script())


def test_a_reader_that_stands_still_does_not_hold_up_the_shutdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "CLOSE_S", 0.3)

    async def script() -> float:
        loop = asyncio.get_running_loop()
        async with serving(tmp_path, send_buffer=4_096) as server:
            slow = await _handshake(server, 4_096)
            for _ in range(20):
                await asyncio.gather(*(server.post("/v1/orders", SELL) for _ in range(10)))
            await asyncio.sleep(1.5)  # it is let go meanwhile, and reads nothing of it
            left_at = loop.time()
        slow.close()
        return loop.time() - left_at

    assert run(script()) < 10
