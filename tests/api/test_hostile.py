"""Requests meant to do harm: each is refused in words, and nothing is stored."""

import asyncio
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.running import SELL, run, serving

LEGACY = {"pair": "SOL/USDC", "side": "sell", "amount": "1"}


BOMB = gzip.compress(b" " * 20_000_000, mtime=0)


def order(**changed: Any) -> bytes:
    return json.dumps({**SELL, **changed}).encode()


def amount(literal: str) -> bytes:
    return f'{{"tokenIn":"SOL","tokenOut":"USDC","amount":{literal}}}'.encode()


FIELDS = [
    *(
        (amount(literal), 422, "/amount")
        for literal in (
            "-1", "0", "0.0", "-0", '"-1"', '"0"', '""', '" 1"', '"1 "', '"1_000"', '"1,5"', '"+1"', "1e2", "1e400",
            '"1e2"', '"NaN"', '"Infinity"', '"0x10"', '"\uff11"', '"\u0663"', '"1."', '".5"', '"01"', "true", "false",
            "null", "[]", "{}", "[1]", '"1.0000000001"', "1" * 400, '"99999999999999999999"', "9223372036.854775808",
            '"1; DROP TABLE orders"',
        )
    ),
    (order(tokenIn="NOPE"), 422, "/tokenIn"),
    (order(tokenIn="SOL'--"), 422, "/tokenIn"),
    (order(tokenIn=""), 422, "/tokenIn"),
    (order(tokenIn=1), 422, "/tokenIn"),
    (order(tokenIn=None), 422, "/tokenIn"),
    (order(tokenIn=["SOL"]), 422, "/tokenIn"),
    (order(tokenIn="S" * 65), 422, "/tokenIn"),
    (order(tokenIn="\uff33OL"), 422, "/tokenIn"),
    (order(tokenOut="SOL"), 422, "/tokenOut"),
    (order(tokenOut="So11111111111111111111111111111111111111112"), 422, "/tokenOut"),
    (order(pair="SOL/USDC"), 422, "/side"),
    (order(side="sell"), 422, "/pair"),
    (order(pair="SOL/USDC", side="buy", amountMode="exactIn"), 422, "/pair"),
    (order(pair="USDC/SOL", side="buy"), 422, "/amountMode"),
    (order(pair="SOLUSDC", side="sell"), 422, "/pair"),
    (order(pair="SOL/USDC/SOL", side="sell"), 422, "/pair"),
    (order(pair="SOL/USDC", side="SELL"), 422, "/side"),
    (order(type="iceberg"), 422, "/type"),
    (order(type=1), 422, "/type"),
    (order(amountMode="exact"), 422, "/amountMode"),
    (order(slippageBps=-1), 422, "/slippageBps"),
    (order(slippageBps=5_001), 422, "/slippageBps"),
    (order(slippageBps=10_000), 422, "/slippageBps"),
    (order(slippageBps=1.5), 422, "/slippageBps"),
    (order(slippageBps=1e2), 422, "/slippageBps"),
    (order(slippageBps=True), 422, "/slippageBps"),
    (order(slippageBps=10**30), 422, "/slippageBps"),
    (order(maxPriceImpactBps="x"), 422, "/maxPriceImpactBps"),
    (order(deadlineMs=0), 422, "/deadlineMs"),
    (order(deadlineMs=86_400_001), 422, "/deadlineMs"),
    (order(clientOrderId=""), 422, "/clientOrderId"),
    (order(clientOrderId="c" * 65), 422, "/clientOrderId"),
    (order(clientOrderId="a\nb"), 422, "/clientOrderId"),
    (order(clientOrderId="ü"), 422, "/clientOrderId"),
    (order(clientOrderId=7), 422, "/clientOrderId"),
    (order(tags="a"), 422, "/tags"),
    (order(tags=["a", "a"]), 422, "/tags"),
    (order(tags=["a", None]), 422, "/tags/1"),
    (order(tags=["a"] * 17), 422, "/tags"),
    (order(tags=[["a"]]), 422, "/tags/0"),
    (order(routing=[]), 422, "/routing"),
    (order(routing={"venues": []}), 422, "/routing/venues"),
    (order(routing={"venues": ["orca"]}), 422, "/routing/venues"),
    (order(routing={"maxHops": 3}), 422, "/routing/maxHops"),
    (order(routing={"maxLegs": True}), 422, "/routing/maxLegs"),
    (order(routing={"maxlegs": 2}), 422, "/routing/maxlegs"),
    (order(limitPrice="1"), 422, "/limitPrice"),
    (order(**{"a/b~c": 1}), 422, "/a~1b~0c"),
    (order(**{"__proto__": 1}), 422, "/__proto__"),
    (order(account="other"), 422, "/account"),
    (b"{}", 422, "/tokenIn"),
]  # fmt: skip
BODIES = [
    b"", b" ", b"null", b"[]", b"1", b'"x"', b"{", b"{}x", b"\xff\xfe", b'{"amount":NaN}', b'{"amount":Infinity}',
    b'{"a":1,"a":1}', b'{"tags":[{"a":1,"a":2}]}', b'{"tokenIn":"\xff"}', b'{"tokenIn":"\\ud800"}',
    b'{"\\udc00":1}', b'{"tokenIn":"SOL\\u0000"}', b'{"tokenIn":"a\x00b"}', b"\xef\xbb\xbf{}", b"[" * 60_000,
    b'{"a":' * 10_000, b'{"amount":01}', b'{"amount":.5}', b"{'amount':1}", b'{"tags":["\\ud83d"]}',
]  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Any]]:
    """One server for all of them: what they leave behind would show."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        async with serving(tmp_path_factory.mktemp("hostile"), start_worker=False) as server:
            found["server"] = server
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=lambda: run(serve(), within_s=600))
    thread.start()
    assert ready.wait(10)
    yield found["server"].port, found["server"].rows
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join()


def send(port: int, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 400:
            assert response.headers["Content-Type"] == "application/problem+json"
            assert answer["error"]
            assert answer["code"]
        return response.status, answer
    finally:
        connection.close()


@pytest.mark.parametrize(("body", "status", "pointer"), FIELDS, ids=lambda value: str(value)[:60])
def test_a_bad_field_is_named(port: tuple[int, Any], body: bytes, status: int, pointer: str) -> None:
    number, rows = port
    before = rows()
    for path in ("/v1/orders", "/v1/orders/preview", "/v1/quotes"):
        answered, problem = send(number, path, body)
        assert (answered, problem["errors"][0]["pointer"]) == (status, pointer)
    assert rows() == before


@pytest.mark.parametrize("path", ["/v1/orders", "/api/orders/execute"])
@pytest.mark.parametrize("body", BODIES, ids=lambda value: repr(value)[:40])
def test_what_is_not_an_object_is_malformed(port: tuple[int, Any], path: str, body: bytes) -> None:
    number, rows = port
    before = rows()
    status, problem = send(number, path, body)
    assert (status, problem["code"]) == (400, "REQUEST_MALFORMED")
    assert rows() == before


@pytest.mark.parametrize("path", ["/v1/orders", "/api/orders/execute"])
def test_too_large_and_the_wrong_kind(port: tuple[int, Any], path: str) -> None:
    number, rows = port
    before = rows()
    assert send(number, path, b'{"tags":["' + b"a" * 70_000 + b'"]}')[1]["code"] == "REQUEST_TOO_LARGE"
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        status, problem = send(number, path, order(), kind)
        assert (status, problem["code"]) == (415, "REQUEST_UNSUPPORTED_MEDIA")
    assert rows() == before
    body = order() if path == "/v1/orders" else json.dumps(LEGACY).encode()
    for kind in ("application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'):
        assert send(number, path, body, kind)[0] == 201


def raw(port: int, request: bytes) -> bytes:
    """The status line's code and body of what is answered before the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        told = b""
        while chunk := connection.recv(65_536):
            told += chunk
        return told


HEAD = b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        HEAD + b"Content-Length: 50\r\n\r\n{",
        HEAD + b"Content-Length: -5\r\n\r\n{}",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"X-Request-Id: \xff\xfe\r\nIdempotency-Key: \xff\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
    ids=lambda value: repr(value[82:148]),
)
def test_a_broken_transport_is_the_clients_fault(port: tuple[int, Any], request_: bytes) -> None:
    number, rows = port
    before = rows()
    told = raw(number, request_)
    assert not told or told.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), told
    assert rows() == before
    assert send(number, "/v1/orders", order())[0] == 201  # and the server is well


def test_several_faults_are_told_at_once(port: tuple[int, Any]) -> None:
    _, problem = send(port[0], "/v1/orders", order(amount="-1", slippageBps=-1, x=1, tags=7))
    pointers = [each["pointer"] for each in problem["errors"]]
    assert set(pointers) == {"/amount", "/slippageBps", "/x", "/tags"}
    assert pointers[-1] == "/x"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        *("clientOrderId", "type", "tokenIn", "tokenOut", "pair", "side", "amount", "amountMode", "slippageBps"),
        *("maxPriceImpactBps", "deadlineMs", "routing", "tags", "clientId", "baseAsset", "quoteAsset", "orderType"),
        *("slippage", "slippageTolerance", "inputToken", "outputToken"),
    ]
)
LIKELY = st.sampled_from(["SOL", "USDC", "SOL/USDC", "sell", "buy", "market", "1", "0.01", 1, 0.01, "exactOut"])
BODY = st.dictionaries(KEYS, LIKELY | ANY_JSON, max_size=8)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY | ANY_JSON, path=st.sampled_from(["/v1/orders", "/api/orders/execute", "/v1/quotes"]))
def test_no_body_breaks_the_server(port: tuple[int, Any], body: Any, path: str) -> None:
    number, rows = port
    before = rows()
    status, answer = send(number, path, json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert status in {200, 201, 400, 409, 422}, answer
    stored = status in {200, 201} and path != "/v1/quotes"
    assert rows() == before + stored or (status == 200 and rows() == before)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_break_the_server(port: tuple[int, Any], body: bytes) -> None:
    assert send(port[0], "/v1/orders", body)[0] in {400, 422}
