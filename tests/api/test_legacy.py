"""The five older engines' clients, written from the public contract alone."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.running import NOBODY, Server, run, serving

A = {"pair": "SOL/USDC", "side": "buy", "amount": 2, "slippageTolerance": 0.01}
B = {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippageBps": 50}
C = {"clientId": "desk-7", "side": "sell", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1.5}
D = {"orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippage": 0.05}
E = {"inputToken": "SOL", "outputToken": "USDC", "amount": "1.5"}
STATUSES = ["pending", "routing", "building", "submitted", "confirmed"]


@pytest.mark.parametrize(
    ("body", "status", "mode", "bps"),
    [
        (A, 201, "exactOut", 100),
        ({**A, "side": "sell"}, 201, "exactIn", 100),
        ({"pair": "SOL-USDC", "side": "SELL", "amount": "1"}, 201, "exactIn", 100),
        (B, 200, "exactIn", 50),
        ({"tokenIn": "USDC", "tokenOut": "SOL", "amount": 10}, 200, "exactIn", 100),
        (C, 200, "exactIn", 100),
        (D, 201, "exactIn", 500),
        (E, 200, "exactIn", 100),
        ({**D, "slippage": 0.0005}, 201, "exactIn", 5),
        ({**B, "orderType": "MARKET", "slippage": 0.005}, 200, "exactIn", 50),
    ],
)
def test_each_dialect_gets_its_status_and_the_one_answer(
    tmp_path: Path, body: dict[str, Any], status: int, mode: str, bps: int
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/api/orders/execute", body)
            assert answer.status == status
            told = answer.json
            order_id = told["orderId"]
            assert set(told) == {"orderId", "status", "wsUrl", "wsUpgrade", "message"}
            assert told["status"] == "pending"
            assert told["wsUrl"] == f"/ws/orders/{order_id}"
            assert told["wsUpgrade"] == f"ws://127.0.0.1:{server.port}/ws/orders/{order_id}"
            order = (await server.get(f"/api/orders/{order_id}")).json
            assert (order["amountMode"], order["slippageBps"]) == (mode, bps)

    run(script())


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({**A, "slippageTolerance": 1}, "VALIDATION_AMBIGUOUS_SLIPPAGE", "/slippageTolerance"),
        ({**A, "slippageTolerance": "1.0"}, "VALIDATION_AMBIGUOUS_SLIPPAGE", "/slippageTolerance"),
        ({**D, "slippage": 5}, "VALIDATION_AMBIGUOUS_SLIPPAGE", "/slippage"),
        ({**D, "slippage": 0.00001}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": 0.00015}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": -0.01}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": 0.9}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": True}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": "5%"}, "VALIDATION_FAILED", "/slippage"),
        ({**D, "slippage": 0.05, "slippageBps": 50}, "VALIDATION_CONTRADICTION", "/slippage"),
        ({**D, "orderType": "iceberg"}, "VALIDATION_FAILED", "/orderType"),
        ({**D, "orderType": "LIMIT"}, "VALIDATION_FAILED", "/limitPrice"),
        ({**B, "type": "iceberg"}, "VALIDATION_FAILED", "/type"),
        ({**B, "inputToken": "USDC"}, "VALIDATION_CONTRADICTION", "/inputToken"),
        ({**A, "tokenIn": "SOL", "tokenOut": "USDC"}, "VALIDATION_CONTRADICTION", "/pair"),
        ({**A, "baseAsset": "BONK", "quoteAsset": "USDC"}, "VALIDATION_CONTRADICTION", "/baseAsset"),
        ({**C, "baseAsset": "NOPE"}, "TOKEN_UNKNOWN", "/baseAsset"),
        ({**C, "baseAsset": 1}, "VALIDATION_FAILED", "/baseAsset"),
        ({**C, "clientId": ""}, "VALIDATION_FAILED", "/clientId"),
        ({**C, "clientId": "x\ny"}, "VALIDATION_FAILED", "/clientId/0"),
        ({**E, "outputToken": "SOL"}, "TOKEN_SAME", "/outputToken"),
        ({**E, "outputToken": None}, "VALIDATION_FAILED", "/tokenOut"),
        ({**E, "amount": -1}, "VALIDATION_AMOUNT", "/amount"),
        ({**E, "deadlineMs": 5}, "VALIDATION_UNKNOWN_FIELD", "/deadlineMs"),
    ],
)
def test_what_could_mean_two_things_is_refused_in_the_clients_words(
    tmp_path: Path, body: dict[str, Any], code: str, pointer: str
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/api/orders/execute", body)
            assert (answer.status, answer.json["code"]) == (422, code)
            assert answer.json["errors"][0]["pointer"] == pointer
            assert answer.json["error"]
            assert server.rows() == 0

    run(script())


SLICES = {"schedule": {"slices": 2, "intervalSeconds": 3_600}}
HUNT = {"amount": "0.5", "sniper": {"minLiquidity": "1000000"}}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({**A, "side": "sell", "type": "TWAP", **SLICES}, "twap", 201),
        ({**B, "type": "dca", "limitPrice": "1", **SLICES}, "dca", 200),
        ({**C, "type": "twap", **SLICES}, "twap", 200),
        ({**D, "orderType": "DCA", **SLICES}, "dca", 201),
        ({**E, "orderType": "twap", **SLICES}, "twap", 200),
        ({**HUNT, "type": "sniper", "tokenIn": "SOL", "slippageBps": 300}, "sniper", 200),
        ({**HUNT, "orderType": "SNIPER", "tokenIn": "SOL", "slippage": 0.03}, "sniper", 201),
        ({**HUNT, "type": "sniper", "inputToken": "SOL"}, "sniper", 200),
    ],
)
def test_every_dialect_speaks_the_types_that_its_shape_can_express(
    tmp_path: Path, body: dict[str, Any], kind: str, status: int
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/api/orders/execute", body)
            assert answer.status == status, answer.json
            order = (await server.get(f"/api/orders/{answer.json['orderId']}")).json
            assert (order["type"], "schedule" in order, "sniper" in order) == (kind, kind != "sniper", kind == "sniper")

    run(script())


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({**A, "type": "twap", **SLICES}, {"/side"}),
        ({**D, "orderType": "twap"}, {"/schedule"}),
        ({**A, **HUNT, "type": "sniper"}, {"/pair", "/side", "/tokenIn"}),
        ({**C, **HUNT, "type": "sniper"}, {"/baseAsset", "/side", "/tokenIn"}),
        ({**E, **HUNT, "type": "sniper"}, {"/outputToken"}),
        ({**E, "type": "bracket", "exits": []}, {"/exits"}),
    ],
)
def test_what_a_shape_cannot_express_is_refused_at_its_own_members(
    tmp_path: Path, body: dict[str, Any], pointers: set[str]
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/api/orders/execute", body)
            assert answer.status == 422, answer.json
            assert {each["pointer"] for each in answer.json["errors"]} == pointers, answer.json["errors"]
            assert server.rows() == 0

    run(script())


def test_dialects_and_the_canonical_form_mean_one_order(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            key = {"headers": {"Idempotency-Key": "one"}}
            first = await server.post("/v1/orders", {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"}, **key)
            again = await server.post("/api/orders/execute", E, **key)
            assert again.status == 200
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.json["orderId"] == first.json["orderId"]
            other = await server.post("/api/orders/execute", D, **key)
            assert (other.status, other.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")

    run(script())


async def _order(server: Server, body: dict[str, Any]) -> str:
    order_id: str = (await server.post("/api/orders/execute", body)).json["orderId"]
    return order_id


@pytest.mark.parametrize("path", ["/ws/orders/{}", "/api/orders/execute?orderId={}", "/api/orders/status/{}"])
def test_a_late_subscriber_gets_everything_and_one_that_resumes_the_rest(tmp_path: Path, path: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order_id = await _order(server, D)
            path_ = path.format(order_id)
            frames, code = await server.frames(path_)
            again, _ = await server.frames(path_)
            assert code == 1000
            assert again == frames
            assert [frame["status"] for frame in frames] == STATUSES
            assert "chosen" in frames[2]
            assert frames[3]["attempt"] == 1
            assert frames[4]["txHash"]
            assert frames[4]["executedPrice"]
            for after in range(6):
                joined = path_ + ("&" if "?" in path_ else "?") + f"after={after}"
                assert (await server.frames(joined))[0] == frames[after:]
            plain = await server.get(path_)
            assert (plain.status, plain.json["status"], plain.json["orderId"]) == (200, "confirmed", order_id)

    run(script())


@pytest.mark.parametrize(
    "path", ["/ws/orders/{}", "/api/orders/execute?orderId={}", "/api/orders/status/{}", "/api/orders/execute"]
)
def test_an_unknown_order_is_404_before_the_upgrade(tmp_path: Path, path: str) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.get(path.format(NOBODY), headers=upgrade)
            assert (answer.status, answer.json["code"]) == (404, "ORDER_NOT_FOUND")
            order_id = await _order(server, D)
            bad = await server.get(f"/ws/orders/{order_id}?after=x", headers=upgrade)
            assert (bad.status, bad.json["code"]) == (400, "REQUEST_MALFORMED")

    run(script())


def test_dialect_b_upgrades_the_connection_that_carried_the_post(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            body = json.dumps(B).encode()
            head = "POST /api/orders/execute HTTP/1.1\r\nHost: localhost:1\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answered = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(answered.lower().split("content-length: ")[1].split("\r\n")[0])
            told = json.loads(await reader.readexactly(length))
            assert told["wsUpgrade"] == f"ws://localhost:1/ws/orders/{told['orderId']}"
            writer.write(
                f"GET /api/orders/execute?orderId={told['orderId']} HTTP/1.1\r\nHost: localhost:1\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            first, second = await reader.readexactly(2)
            assert first == 0x81
            size = second if second < 126 else int.from_bytes(await reader.readexactly(2), "big")
            frame = json.loads(await reader.readexactly(size))
            assert (frame["orderId"], frame["seq"], frame["status"]) == (told["orderId"], 1, "pending")
            writer.close()
            await writer.wait_closed()

    run(script())


def test_dialect_c_orders_over_its_socket(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect("/api/orders/ws") as ws:
            await ws.send_json(C)
            frames = [await ws.receive_json(timeout=10) for _ in range(6)]
            assert [frame["event"] for frame in frames] == [
                "pending",
                "routing",
                "routing:quotes",
                "building",
                "submitted",
                "confirmed",
            ]
            assert len({frame["orderId"] for frame in frames}) == 1
            assert [frame["seq"] for frame in frames if "seq" in frame] == [1, 2, 3, 4, 5]
            for quote in frames[2]["quotes"]:
                assert quote.keys() >= {"venue", "price", "slippage", "liquidityScore", "latencyMs"}
            order = (await server.get(f"/v1/orders/{frames[0]['orderId']}")).json
            assert order["tags"] == ["clientId:desk-7"]
            await ws.send_json({**C, "amount": 0})
            refused = await ws.receive_json(timeout=10)
            assert (refused["event"], refused["code"]) == ("error", "VALIDATION_AMOUNT")
            await ws.send_str("nonsense")
            assert (await ws.receive_json(timeout=10))["code"] == "REQUEST_MALFORMED"
            await ws.send_json(A)  # the body alone decides the dialect, here too
            assert (await ws.receive_json(timeout=10))["event"] == "pending"

    run(script())


def test_dialect_e_subscribes_on_a_shared_socket(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server, server.http.ws_connect("/ws") as ws:
            ids = [await _order(server, E) for _ in range(3)]
            await ws.send_json({"type": "subscribe", "orderId": NOBODY})
            unknown = await ws.receive_json(timeout=10)
            assert (unknown["type"], unknown["code"], unknown["orderId"]) == ("error", "ORDER_NOT_FOUND", NOBODY)
            assert unknown["error"]
            messages: list[Any] = [{"type": "subscribe"}, {"type": "dance", "orderId": ids[0]}, []]
            for message in messages:
                await ws.send_json(message)
                assert (await ws.receive_json(timeout=10))["type"] == "error"
            for order_id in ids:
                await ws.send_json({"type": "subscribe", "orderId": order_id})
            frames = [await ws.receive_json(timeout=10) for _ in range(15)]
            for order_id in ids:
                own = [frame for frame in frames if frame["orderId"] == order_id]
                assert [frame["status"] for frame in own] == STATUSES
                assert own[-1]["txHash"]
                assert own[-1]["executedPrice"]

    run(script())


def test_history_by_plain_http(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            ids = [await _order(server, E) for _ in range(3)]
            listed = (await server.get("/api/orders?limit=2")).json
            assert [order["orderId"] for order in listed["orders"]] == ids[:0:-1]
            assert (await server.get("/api/health")).json["status"] == "ok"
            assert (await server.get("/health")).json["status"] == "ok"
            for path in ("/ws", "/api/orders/ws"):
                assert (await server.get(path)).status == 400

    run(script())
