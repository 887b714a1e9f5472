"""Who may come in: keys, scopes, accounts, host names, tickets, quotas; and no secret ever comes out."""

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fillwright.access import Key, Limits, Scope, make_key
from fillwright.adapters.local import SystemClock
from fillwright.api import edge, operations
from fillwright.api.access import Cost, Rule, rule_of
from fillwright.errors import Code, FillwrightError
from fillwright.units import Atoms, Bps, Mint, parse_atoms
from tests.api.running import NOBODY, SELL, Server, heard, run, serving

SOL = Mint("So11111111111111111111111111111111111111112")
BUY = {"pair": "SOL/USDC", "side": "buy", "amount": "1"}
CALLERS = ("none", "other", "read", "trade", "admin", "revoked", "guessed")
HOLDER = {Scope.READ: "read", Scope.TRADE: "trade", Scope.ADMIN: "admin"}
HOOK = {"url": "https://receiver.invalid/hook"}
ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}

# Every route: the scope it needs (None: open to everybody), what is sent, and the answers to the one who holds the
# scope in the account that has the order, and to one with every scope in another account.
MATRIX: dict[tuple[str, str], tuple[Scope | None, Any, int, int]] = {
    ("GET", "/"): (None, None, 200, 200),
    ("GET", "/test"): (None, None, 302, 302),
    ("GET", "/order-tester.html"): (None, None, 302, 302),
    ("GET", "/console/{name}"): (None, None, 200, 200),
    ("GET", "/problems/{code}"): (None, None, 200, 200),
    ("GET", "/livez"): (None, None, 200, 200),
    ("GET", "/startupz"): (None, None, 200, 200),
    ("GET", "/readyz"): (None, None, 200, 200),
    ("GET", "/health"): (None, None, 200, 200),
    ("GET", "/api/health"): (None, None, 200, 200),
    ("GET", "/metrics"): (Scope.ADMIN, None, 200, 200),
    ("POST", "/v1/orders"): (Scope.TRADE, ORDER, 201, 201),
    ("GET", "/v1/orders"): (Scope.READ, None, 200, 200),
    ("POST", "/v1/orders/preview"): (Scope.READ, ORDER, 200, 200),
    ("POST", "/v1/quotes"): (Scope.READ, ORDER, 200, 200),
    ("GET", "/v1/orders/by-client-id/{id}"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/orders/{id}"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/orders/{id}/events"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/orders/{id}/attempts"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/orders/{id}/fills"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/orders/{id}/route"): (Scope.READ, None, 200, 404),
    ("PATCH", "/v1/orders/{id}"): (Scope.TRADE, {"amount": "2"}, 422, 422),
    ("DELETE", "/v1/orders/{id}"): (Scope.TRADE, None, 200, 404),
    ("POST", "/v1/orders/{id}/cancel"): (Scope.TRADE, None, 200, 404),
    ("POST", "/v1/orders/{id}/resolve"): (Scope.ADMIN, {"outcome": "lapsed", "evidence": "seen"}, 409, 404),
    ("GET", "/v1/orders/{id}/explain"): (Scope.READ, None, 200, 404),
    ("POST", "/v1/orders/cancel-all"): (Scope.TRADE, {"pair": "USDC/BONK"}, 200, 200),
    ("POST", "/v1/brackets"): (Scope.TRADE, {}, 422, 422),
    ("POST", "/v1/cancel-after"): (Scope.TRADE, {"timeoutSeconds": 0}, 200, 200),
    ("POST", "/v1/webhooks"): (Scope.TRADE, HOOK, 201, 201),
    ("GET", "/v1/webhooks"): (Scope.READ, None, 200, 200),
    ("GET", "/v1/webhooks/{id}"): (Scope.READ, None, 200, 404),
    ("PATCH", "/v1/webhooks/{id}"): (Scope.TRADE, {"enabled": True}, 200, 404),
    ("DELETE", "/v1/webhooks/{id}"): (Scope.TRADE, None, 204, 404),
    ("POST", "/v1/webhooks/{id}/secret"): (Scope.TRADE, None, 200, 404),
    ("POST", "/v1/webhooks/{id}/test"): (Scope.TRADE, None, 202, 404),
    ("POST", "/v1/webhooks/{id}/replay"): (Scope.TRADE, {"onlyFailed": True}, 202, 404),
    ("GET", "/v1/webhooks/{id}/deliveries"): (Scope.READ, None, 200, 404),
    ("GET", "/v1/pools"): (Scope.READ, None, 200, 200),
    ("GET", "/v1/venues"): (Scope.READ, None, 200, 200),
    ("GET", "/v1/status"): (Scope.READ, None, 200, 200),
    ("GET", "/v1/events"): (Scope.READ, None, 200, 200),
    ("GET", "/v1/sim/faults"): (Scope.ADMIN, None, 200, 200),
    ("PUT", "/v1/sim/faults"): (Scope.ADMIN, {}, 200, 200),
    ("POST", "/v1/sim/workers/kill"): (Scope.ADMIN, None, 404, 404),  # nobody works here
    ("GET", "/v1/sim/audit"): (Scope.ADMIN, None, 200, 200),
    ("GET", "/openapi.json"): (None, None, 200, 200),
    ("GET", "/asyncapi.json"): (None, None, 200, 200),
    ("GET", "/docs"): (None, None, 200, 200),
    ("GET", "/docs.js"): (None, None, 200, 200),
    ("GET", "/docs.css"): (None, None, 200, 200),
    ("POST", "/v1/stream-ticket"): (Scope.READ, None, 201, 201),
    ("GET", "/v1/stream"): (Scope.READ, None, 101, 101),
    ("POST", "/api/orders/execute"): (Scope.TRADE, BUY, 201, 201),
    ("GET", "/api/orders/execute"): (Scope.READ, None, 101, 404),
    ("GET", "/api/orders"): (Scope.READ, None, 200, 200),
    ("GET", "/api/orders/ws"): (Scope.READ, None, 101, 101),
    ("GET", "/api/orders/status/{id}"): (Scope.READ, None, 101, 404),
    ("GET", "/api/orders/{id}"): (Scope.READ, None, 101, 404),
    ("GET", "/ws/orders/{id}"): (Scope.READ, None, 101, 404),
    ("GET", "/ws"): (Scope.READ, None, 101, 101),
}


class Guarded:
    """A server with a key of every kind, and an order of the account that all but `other` belong to."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tokens: dict[str, str] = {}
        self.keys: dict[str, Key] = {}
        self.order_id = ""
        self.webhook_id = ""

    async def add(self, name: str, *scopes: Scope, account: str = "mine", limits: Limits | None = None) -> str:
        key, token = make_key(
            account=account,
            label=name,
            scopes=frozenset(scopes),
            limits=limits or Limits(),
            now=SystemClock().now(),
            entropy=os.urandom,
        )
        await self.server.keys.add(key)
        await self.server.access.refresh()
        self.keys[name], self.tokens[name] = key, token
        return token

    async def revoke(self, name: str) -> None:
        await self.server.keys.revoke(self.keys[name].id, SystemClock().now())
        await self.server.access.refresh()

    def headers(self, caller: str) -> dict[str, str]:
        return {} if caller == "none" else {"Authorization": f"Bearer {self.tokens[caller]}"}


@asynccontextmanager
async def guarded(folder: Path, **settings: Any) -> AsyncIterator[Guarded]:
    async with serving(folder, start_worker=False, **settings) as server:
        world = Guarded(server)
        for scope, name in HOLDER.items():
            await world.add(name, scope)
        await world.add("other", *Scope, account="theirs")
        await world.add("revoked", *Scope)
        await world.revoke("revoked")
        world.tokens["guessed"] = world.tokens["trade"][:-64] + "0" * 64
        stored = await server.post("/v1/orders", {**SELL, "clientOrderId": "c"}, headers=world.headers("trade"))
        world.order_id = stored.json["orderId"]
        made = await server.post("/v1/webhooks", HOOK, headers=world.headers("trade"))
        world.webhook_id = made.json["id"]
        yield world


async def status_of(world: Guarded, method: str, path: str, body: Any, headers: dict[str, str], upgrade: bool) -> int:
    if path == "/v1/events":  # its answer has no end
        async with world.server.http.get(path, headers=headers) as stream:
            return stream.status
    if not upgrade:
        return (await world.server.send(method, path, json=body, headers=headers)).status
    try:
        async with world.server.http.ws_connect(path, headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


def rows_in_order() -> list[tuple[str, str]]:
    """What changes the order comes last, and what removes the webhook last of all."""
    last = ("DELETE", "/v1/webhooks/{id}")
    return sorted(MATRIX, key=lambda route: (route == last, rule_of(*route).cost, route))


async def judged(world: Guarded, caller: str, route: tuple[str, str]) -> tuple[int, int]:
    """How this caller is answered there, and how the matrix says."""
    (method, path), (scope, body, own, others) = route, MATRIX[route]
    told = path.replace("{code}", "ORDER_NOT_FOUND").replace("{name}", "icon.svg")
    told = told.replace("by-client-id/{id}", "by-client-id/c")
    told = told.replace("webhooks/{id}", f"webhooks/{world.webhook_id}").replace("{id}", world.order_id)
    if route == ("GET", "/api/orders/execute"):
        told += f"?orderId={world.order_id}"
    if scope is None or HOLDER[scope] == caller:
        expected = own
    elif caller == "other":
        expected = others
    else:
        expected = 401 if caller in ("none", "revoked", "guessed") else 403
    return await status_of(world, method, told, body, world.headers(caller), own == 101), expected


@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_answers_every_caller_as_the_matrix_says(tmp_path: Path, caller: str) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            resources = world.server.runner.app.router.resources()
            routes = {(route.method, resource.canonical) for resource in resources for route in resource}
            assert {(method, path) for method, path in routes if method != "HEAD"} == set(MATRIX), "a route has no row"
            for route in rows_in_order():
                status, expected = await judged(world, caller, route)
                assert status == expected, (route, caller)

    run(script())


def test_every_operation_and_channel_of_the_documents_has_its_row() -> None:
    documented = {(operation.method.upper(), operation.path) for operation in operations.OPERATIONS}
    assert documented | {("GET", channel.path) for channel in operations.CHANNELS} <= set(MATRIX)


def test_a_route_that_forgets_its_scope_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every route in turn is given the scope of another, and then none: its row of the matrix no longer holds."""
    weaker = {Scope.READ: Scope.TRADE, Scope.TRADE: Scope.READ, Scope.ADMIN: Scope.READ}

    async def script() -> None:
        async with guarded(tmp_path) as world:
            for route in rows_in_order():
                scope = MATRIX[route][0]
                if scope is None:
                    continue
                for rule, caller in ((Rule(weaker[scope]), HOLDER[weaker[scope]]), (Rule(None), "none")):
                    forgetful = {route: rule}
                    monkeypatch.setattr(
                        edge, "rule_of", lambda *asked, told=forgetful: told.get(asked) or rule_of(*asked)
                    )
                    status, expected = await judged(world, caller, route)
                    assert status != expected, (route, caller)

    run(script())


def test_another_account_sees_and_changes_nothing(tmp_path: Path) -> None:
    """Where the matrix answers both accounts with 200, what they are told is not the same."""

    async def script() -> None:
        async with guarded(tmp_path) as world:
            server, theirs = world.server, world.headers("other")
            assert (await server.get("/v1/orders", headers=theirs)).json["data"] == []
            assert (await server.get("/api/orders", headers=theirs)).json["orders"] == []
            assert (await server.post("/v1/orders/cancel-all", headers=theirs)).json["data"] == []
            switched = await server.post("/v1/cancel-after", {"timeoutSeconds": 1}, headers=world.headers("trade"))
            assert switched.json["firesAt"]
            assert (await server.post("/v1/cancel-after", {"timeoutSeconds": 0}, headers=theirs)).status == 200
            assert [switch.account for switch in await _armed(world)] == ["mine"]
            (own,) = (await server.get("/v1/orders", headers=world.headers("read"))).json["data"]
            assert (own["orderId"], own["status"]) == (world.order_id, "pending")
            for caller, seen in (("read", True), ("other", False)):
                assert (world.order_id in await _first_events(world, caller)) == seen

    run(script())


async def _armed(world: Guarded) -> list[Any]:
    """The switches that are armed, once their time is over."""
    store = world.server.engine._store
    async with asyncio.timeout(10):
        while not (fired := await store.fired(10)):  # noqa: ASYNC110 - time has to pass
            await asyncio.sleep(0.05)
    return fired


async def _first_events(world: Guarded, caller: str) -> str:
    """What a stream of all events from the first on tells at once."""
    told = ""
    async with world.server.http.get("/v1/events?sinceId=0", headers=world.headers(caller)) as stream:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                async for line in stream.content:
                    told += line.decode()
    return told


def test_an_order_of_another_account_is_not_followed_on_an_older_socket(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            for caller, seen in (("other", {"code": "ORDER_NOT_FOUND"}), ("read", {"status": "pending"})):
                async with world.server.http.ws_connect("/ws", headers=world.headers(caller)) as ws:
                    await ws.send_json({"type": "subscribe", "orderId": world.order_id})
                    told = json.loads((await ws.receive(timeout=10)).data)
                    assert told.items() >= {"orderId": world.order_id, **seen}.items()

    run(script())


def test_a_route_that_nobody_thought_of_needs_a_key() -> None:
    assert rule_of("GET", "/v1/new") == Rule(Scope.READ)
    assert rule_of("HEAD", "/metrics") == Rule(Scope.ADMIN)
    assert rule_of("POST", "/v1/new") == Rule(Scope.TRADE)
    assert rule_of("POST", "/v1/orders/cancel-all") == Rule(Scope.TRADE, Cost.CANCELS)
    assert rule_of("DELETE", "/v1/orders/{id}") == Rule(Scope.TRADE, Cost.CANCELS)


def test_a_revoked_key_s_stream_of_events_ends(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            stream = world.server.http.get("/v1/events", headers=world.headers("read"))
            other = world.server.http.get("/v1/events", headers=world.headers("trade"))
            async with stream as revoked:
                assert (await revoked.content.readline()).startswith(b"retry")
                await world.revoke("read")
                async with asyncio.timeout(5):
                    while await revoked.content.readline():
                        pass
            async with other as refused:
                assert refused.status == 403

    run(script())


def test_an_address_that_does_not_exist_tells_strangers_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            for caller, status in (("none", 401), ("guessed", 401), ("read", 404)):
                assert (await world.server.get("/v1/nope", headers=world.headers(caller))).status == status

    run(script())


OPERATIONS: dict[str, tuple[dict[str, Any], Scope]] = {
    "subscribe": ({"orderId": True}, Scope.READ),
    "unsubscribe": ({"orderId": True}, Scope.READ),
    "ping": ({}, Scope.READ),
    "submit": ({"order": ORDER}, Scope.TRADE),
    "cancel": ({"orderId": True}, Scope.TRADE),
}


def test_every_stream_operation_answers_every_caller(tmp_path: Path) -> None:
    """A socket needs `read`; what it is told to do may need more, and another account's order does not exist."""

    async def script() -> None:
        async with guarded(tmp_path) as world:
            known = await _operations(world)
            assert known == set(OPERATIONS), "an operation has no row"
            await world.add("both", Scope.READ, Scope.TRADE)
            for caller in ("read", "other", "both"):
                async with world.server.http.ws_connect("/v1/stream", headers=world.headers(caller)) as ws:
                    for name, (members, scope) in OPERATIONS.items():
                        sent = {key: world.order_id if told is True else told for key, told in members.items()}
                        await ws.send_json({"type": name, "reqId": name, **sent})
                        answer = await _answer(ws, name)
                        code = answer.get("code")
                        if caller == "read" and scope is Scope.TRADE:
                            assert code == "ACCESS_SCOPE", (caller, name)
                        elif caller == "other" and "orderId" in sent and name != "unsubscribe":
                            assert code == "ORDER_NOT_FOUND", (caller, name)
                        else:
                            assert code is None, (caller, name, answer)

    run(script())


async def _operations(world: Guarded) -> set[str]:
    async with world.server.http.ws_connect("/v1/stream", headers=world.headers("read")) as ws:
        await ws.send_json({"type": "?"})
        told = (await heard(ws, "error"))["error"]
        return set(re.findall(r"\w+", told.partition("must be ")[2])) - {"or"}


async def _answer(ws: aiohttp.ClientWebSocketResponse, req_id: str) -> Any:
    while True:
        frame = json.loads((await ws.receive(timeout=10)).data)
        if frame.get("reqId") == req_id:
            return frame


def test_an_older_socket_takes_orders_only_from_who_may_trade(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            wish = {"clientId": "c", "side": "sell", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1}
            async with world.server.http.ws_connect("/api/orders/ws", headers=world.headers("read")) as ws:
                await ws.send_json(wish)
                frame = json.loads((await ws.receive(timeout=10)).data)
                assert (frame["event"], frame["code"]) == ("error", "ACCESS_SCOPE")
            assert world.server.rows() == 1

    run(script())


# --- credentials ------------------------------------------------------------------------------------------


def test_both_headers_carry_a_key_and_two_different_ones_are_refused(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            read, trade = world.tokens["read"], world.tokens["trade"]
            for headers, status in [
                ({"X-API-Key": read}, 200),
                ({"Authorization": f"bearer  {read}"}, 200),
                ({"X-API-Key": read, "Authorization": f"Bearer {read}"}, 200),
                ({"X-API-Key": read, "Authorization": f"Bearer {trade}"}, 401),
                ({"X-API-Key": ""}, 401),
                ({"Authorization": "Bearer"}, 401),
                ({"Authorization": "Basic dTpw"}, 401),
                ({"X-API-Key": read, "Authorization": "Basic dTpw"}, 200),
            ]:
                answer = await world.server.get("/v1/orders", headers=headers)
                assert answer.status == status, headers
                if status == 401:
                    assert answer.json["code"] == "ACCESS_UNAUTHENTICATED"
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            by_query = await world.server.get(f"/v1/orders?ticket={read}")
            assert by_query.status == 401

    run(script())


def test_a_key_made_or_revoked_elsewhere_counts_within_seconds_and_open_streams_end(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            anyone = await server.http.ws_connect("/v1/stream")
            key, token = make_key(
                account="a",
                label="l",
                scopes=frozenset({Scope.READ}),
                limits=Limits(),
                now=SystemClock().now(),
                entropy=os.urandom,
            )
            await server.keys.add(key)  # as another process would
            headers = {"X-API-Key": token}
            assert (await anyone.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
            assert anyone.close_code == 4001
            assert (await server.get("/v1/orders")).status == 401
            sockets = [await server.http.ws_connect(path, headers=headers) for path in ("/v1/stream", "/ws")]
            await server.keys.revoke(key.id, SystemClock().now())
            for ws in sockets:
                assert (await ws.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
                assert ws.close_code == 4001
            assert (await server.get("/v1/orders", headers=headers)).status == 401
            assert (await server.get("/v1/orders")).status == 401, "the last key gone does not open the door again"

    run(script())


def test_keys_that_cannot_be_read_again_are_believed_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillwright.api.access.STALE_S", 0.0)
    monkeypatch.setattr("fillwright.api.access.REFRESH_S", 60.0)

    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.get("/v1/orders")
            assert (answer.status, answer.json["code"]) == (503, "STORE_UNAVAILABLE")
            assert (await server.get("/livez")).status == 200

    run(script())


# --- no key -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({}, "localhost", 200),
        ({}, "LOCALHOST:3000", 200),
        ({}, "127.0.0.1:1", 200),
        ({}, "[::1]:3000", 200),
        ({}, "evil.example", 421),
        ({}, "localhost.evil.example:3000", 421),
        ({}, "192.168.0.7", 421),
        ({}, "[::1", 421),
        ({"open_to": frozenset({"proxy.example"})}, "proxy.example:80", 200),
        ({"open_to": frozenset({"proxy.example"})}, "10.0.0.3:3000", 200),
        ({"open_to": frozenset({"proxy.example"})}, "evil.example", 421),
        ({"open_to": frozenset({"*"})}, "evil.example", 200),
        ({"host": "0.0.0.0"}, "localhost", 401),
        ({"host": "0.0.0.0", "open_to": frozenset({"localhost"})}, "localhost:3000", 200),
        ({"host": "0.0.0.0", "open_to": frozenset({"localhost"})}, "evil.example", 421),
    ],
)
def test_without_a_key_only_known_host_names_are_answered(
    tmp_path: Path, settings: dict[str, Any], host: str, status: int
) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False, **settings) as server:
            for path in ("/v1/orders", "/metrics"):
                assert (await server.get(path, headers={"Host": host})).status == status
            assert (await server.get("/livez", headers={"Host": host})).status == 200

    run(script())


@pytest.mark.parametrize("header", ["Forwarded", "via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"])
def test_a_proxy_on_this_machine_does_not_let_the_world_in(tmp_path: Path, header: str) -> None:
    """Many proxies ask under the address that they forward to: the host name alone would look like this machine's."""

    async def script() -> None:
        async with serving(tmp_path / "local", start_worker=False) as server:
            answer = await server.get("/v1/orders", headers={header: "203.0.113.9"})
            assert (answer.status, answer.json["code"]) == (401, "ACCESS_UNAUTHENTICATED")
        async with serving(tmp_path / "open", start_worker=False, open_to=frozenset({"localhost"})) as server:
            assert (await server.get("/v1/orders", headers={header: "203.0.113.9"})).status == 200
        async with guarded(tmp_path / "guarded") as world:
            headers = {**world.headers("read"), header: "203.0.113.9"}
            assert (await world.server.get("/v1/orders", headers=headers)).status == 200

    run(script())


def test_a_key_is_good_under_any_host_name(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path, host="0.0.0.0") as world:
            headers = {**world.headers("read"), "Host": "orders.example"}
            assert (await world.server.get("/v1/orders", headers=headers)).status == 200

    run(script())


# --- tickets ----------------------------------------------------------------------------------------------


def test_a_ticket_opens_one_stream_once_in_its_keys_name(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            http = world.server.http
            answer = await world.server.post("/v1/stream-ticket", headers=world.headers("read"))
            assert answer.headers["Cache-Control"] == "no-store"
            ticket = answer.json["ticket"]
            async with http.ws_connect(f"/v1/stream?ticket={ticket}") as ws:
                await ws.send_json({"type": "subscribe", "orderId": world.order_id})
                assert (await heard(ws, "snapshot"))["orderId"] == world.order_id
                await ws.send_json({"type": "cancel", "orderId": world.order_id})
                assert (await heard(ws, "error"))["code"] == "ACCESS_SCOPE"
            for bad in (ticket, "", "fwt_" + "0" * 64, world.tokens["read"]):
                async with http.ws_connect(f"/v1/stream?ticket={bad}") as ws:
                    await ws.receive(timeout=10)
                    assert ws.close_code == 4001
            assert (await world.server.get(f"/v1/orders?ticket={ticket}")).status == 401
            broken = await world.server.get(f"/v1/stream?ticket={ticket}", headers={"Upgrade": "websocket"})
            assert (broken.status, broken.json["code"]) == (400, "REQUEST_MALFORMED")

    run(script())


def test_a_ticket_ends_with_its_key_and_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillwright.api.access.REFRESH_S", 60.0)  # it must be the door that closes them

    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("brief", Scope.READ)
            revoked = (await world.server.post("/v1/stream-ticket", headers=world.headers("brief"))).json["ticket"]
            await world.revoke("brief")
            monkeypatch.setattr("fillwright.api.access.TICKET_MS", 0)
            late = (await world.server.post("/v1/stream-ticket", headers=world.headers("read"))).json["ticket"]
            for ticket in (revoked, late):
                async with world.server.http.ws_connect(f"/v1/stream?ticket={ticket}") as ws:
                    await ws.receive(timeout=10)
                    assert ws.close_code == 4001

    run(script())


# --- limits -----------------------------------------------------------------------------------------------


def test_a_key_that_asks_too_fast_is_told_when_to_come_back_and_can_still_cancel(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("fast", *Scope, limits=Limits(rate=1, burst=3))
            headers = world.headers("fast")
            first = await world.server.get("/v1/orders", headers=headers)
            assert first.headers["RateLimit-Policy"] == '"requests";q=3;w=3'
            assert first.headers["RateLimit"] == '"requests";r=2;t=1'
            answers = [first]
            while answers[-1].status == 200 and len(answers) < 30:  # a busy machine may leave time to fill up again
                answers.append(await world.server.get("/v1/orders", headers=headers))
            assert len(answers) >= 4
            refused = answers[-1]
            assert refused.status == 429
            assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')
            assert (refused.headers["Retry-After"], refused.json["code"]) == ("1", "REQUEST_RATE_LIMITED")
            assert 0 < refused.json["retryAfterMs"] <= 1_001
            canceled = await world.server.send("DELETE", f"/v1/orders/{world.order_id}", headers=headers)
            assert canceled.status == 200
            assert canceled.headers["RateLimit"] == '"cancels";r=2;t=1'
            assert (await world.server.get("/v1/orders", headers=world.headers("read"))).status == 200
            assert "RateLimit" not in (await world.server.get("/livez")).headers
            await asyncio.sleep(refused.json["retryAfterMs"] / 1_000)
            assert (await world.server.get("/v1/orders", headers=headers)).status == 200

    run(script())


def test_messages_on_a_stream_pay_like_requests(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("slow", *Scope, limits=Limits(rate=1, burst=2))
            async with world.server.http.ws_connect("/v1/stream", headers=world.headers("slow")) as ws:
                codes: list[str | None] = []
                while "REQUEST_RATE_LIMITED" not in codes and len(codes) < 15:
                    await ws.send_json({"type": "submit", "reqId": f"{len(codes)}", "order": ORDER})
                    codes.append((await _answer(ws, f"{len(codes)}")).get("code"))
                assert codes[0] is None, "the upgrade cost one, this the other"
                assert codes[-1] == "REQUEST_RATE_LIMITED"
                await ws.send_json({"type": "cancel", "reqId": "x", "orderId": world.order_id})
                assert "code" not in await _answer(ws, "x")

    run(script())


def test_an_order_beyond_its_keys_caps_is_refused_through_every_door(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            capped = Limits(amount_max={SOL: Atoms(2_000_000_000)}, slippage_bps_max=Bps(100))
            await world.add("capped", *Scope, limits=capped)
            headers, before = world.headers("capped"), world.server.rows()
            for path, body in [
                ("/v1/orders", {**ORDER, "amount": "2.000000001"}),
                ("/v1/orders", {**ORDER, "slippageBps": 101}),
                ("/v1/orders", {"tokenIn": "USDC", "tokenOut": "SOL", "amount": "1"}),
                ("/api/orders/execute", {**BUY, "amount": "3"}),
            ]:
                answer = await world.server.post(path, body, headers=headers)
                assert (answer.status, answer.json["code"]) == (403, "ACCESS_LIMIT"), body
            async with world.server.http.ws_connect("/v1/stream", headers=headers) as ws:
                await ws.send_json({"type": "submit", "reqId": 1, "order": {**ORDER, "amount": "3"}})
                assert (await heard(ws, "error"))["code"] == "ACCESS_LIMIT"
            assert world.server.rows() == before
            assert (await world.server.post("/v1/orders", {**ORDER, "amount": "2"}, headers=headers)).status == 201

    run(script())


USDT_SELL = {"tokenIn": "USDT", "tokenOut": "SOL", "amount": "100"}
WORTH = [
    ({"tokenIn": "USDC", "tokenOut": "SOL", "amount": "100"}, True),
    ({"tokenIn": "USDC", "tokenOut": "SOL", "amount": "100.000001"}, False),
    (USDT_SELL, True),
    ({**USDT_SELL, "amount": "100.000001"}, False),
    ({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "100", "amountMode": "exactOut"}, True),
    ({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "100.000001", "amountMode": "exactOut"}, False),
    ({"tokenIn": "SOL", "tokenOut": "USDC", "amount": "0.5"}, True),  # a SOL is some 100 to 200 USDC here
    ({"tokenIn": "SOL", "tokenOut": "BONK", "amount": "0.5"}, True),
    ({"tokenIn": "SOL", "tokenOut": "BONK", "amount": "1.5"}, False),
    ({"tokenIn": "BONK", "tokenOut": "SOL", "amount": "1.5", "amountMode": "exactOut"}, False),
    ({"pair": "SOL/USDC", "side": "buy", "amount": "1.5"}, False),
    ({"pair": "SOL/USDC", "side": "buy", "amount": "0.5"}, True),
    ({"pair": "SOL/USDC", "side": "buy", "amount": "1000000000"}, False),  # more than there is: no price
]


@pytest.mark.parametrize(("order", "within"), WORTH, ids=str)
def test_a_cap_in_usdc_holds_for_any_tokens(tmp_path: Path, order: dict[str, Any], within: bool) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("capped", *Scope, limits=Limits(worth_max=Atoms(100_000_000)))
            headers, before = world.headers("capped"), world.server.rows()
            answer = await world.server.post("/v1/orders", order, headers=headers)
            assert (answer.status, answer.json.get("code")) == ((201, None) if within else (403, "ACCESS_LIMIT"))
            if not within:
                assert "USDC" in answer.json["detail"]
                assert answer.json["errors"][0]["pointer"] == "/amount"
            assert world.server.rows() == before + within

    run(script())


@pytest.mark.parametrize(
    ("order", "amount"),
    [
        ({"tokenIn": "SOL", "tokenOut": "BONK", "amount": "1.5"}, "amountOut"),
        ({"tokenIn": "BONK", "tokenOut": "SOL", "amount": "1.5", "amountMode": "exactOut"}, "amountIn"),
    ],
)
def test_an_order_s_worth_is_what_its_quote_says_to_the_atom(
    tmp_path: Path, order: dict[str, Any], amount: str
) -> None:
    """Over a market that stands still: with a cap of that worth it is accepted, with one of an atom less refused."""

    async def script() -> None:
        async with guarded(tmp_path) as world:
            await _stand_still(world)
            quoted = {**order, "tokenOut" if amount == "amountOut" else "tokenIn": "USDC"}
            quote = (await world.server.post("/v1/quotes", quoted, headers=world.headers("read"))).json
            worth = parse_atoms(quote[amount], decimals=6)
            for cap, status in ((worth, 201), (worth - 1, 403)):
                await world.add("capped", *Scope, limits=Limits(worth_max=Atoms(cap)))
                answer = await world.server.post("/v1/orders", order, headers=world.headers("capped"))
                assert answer.status == status, (quote, answer.json)

    run(script())


async def _stand_still(world: Guarded) -> None:
    every = frozenset(token.mint for token in world.server.engine.tokens.all)
    for venue in world.server.engine._executor.venues:
        snapshot = await venue.pools(every)

        async def same(_: object, snapshot: object = snapshot) -> object:
            return snapshot

        venue._venue.pools = same  # type: ignore[attr-defined]


def test_a_cap_in_usdc_lets_nothing_through_while_no_venue_answers(tmp_path: Path) -> None:
    async def refuse(_: object) -> None:
        raise FillwrightError(Code.VENUE_UNAVAILABLE, "away")

    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("capped", *Scope, limits=Limits(worth_max=Atoms(10**15)))
            for venue in world.server.engine._executor.venues:
                venue._venue.pools = refuse  # type: ignore[attr-defined]
            headers, before = world.headers("capped"), world.server.rows()
            answer = await world.server.post("/v1/orders", ORDER, headers=headers)
            assert (answer.status, answer.json["code"], answer.json["retryable"]) == (503, "ROUTE_UNAVAILABLE", True)
            assert "cap in USDC" in answer.json["detail"]
            assert world.server.rows() == before
            dollars = {"tokenIn": "USDC", "tokenOut": "SOL", "amount": "5"}  # these need no price
            assert (await world.server.post("/v1/orders", dollars, headers=headers)).status == 201
            assert (await world.server.post("/v1/orders", ORDER, headers=world.headers("trade"))).status == 201

    run(script())


def test_a_cap_in_usdc_holds_at_every_door_and_a_repetition_is_answered_at_any_price(tmp_path: Path) -> None:
    async def script() -> None:
        async with guarded(tmp_path) as world:
            await world.add("capped", *Scope, limits=Limits(worth_max=Atoms(1_000_000)))
            named = {**world.headers("trade"), "Idempotency-Key": "k"}
            first = await world.server.post("/v1/orders", {**ORDER, "clientOrderId": "mine"}, headers=named)
            assert first.status == 201
            headers, before = world.headers("capped"), world.server.rows()
            for path, body in [("/v1/orders", ORDER), ("/api/orders/execute", BUY)]:
                answer = await world.server.post(path, body, headers=headers)
                assert (answer.status, answer.json["code"]) == (403, "ACCESS_LIMIT"), path
            async with world.server.http.ws_connect("/v1/stream", headers=headers) as ws:
                await ws.send_json({"type": "submit", "reqId": 1, "order": ORDER})
                assert (await heard(ws, "error"))["code"] == "ACCESS_LIMIT"
            async with world.server.http.ws_connect("/api/orders/ws", headers=headers) as ws:
                await ws.send_json(
                    {"clientId": "c", "side": "sell", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1}
                )
                assert json.loads((await ws.receive(timeout=10)).data)["code"] == "ACCESS_LIMIT"
            assert world.server.rows() == before
            for again in ({**headers, "Idempotency-Key": "k"}, headers):
                answer = await world.server.post("/v1/orders", {**ORDER, "clientOrderId": "mine"}, headers=again)
                assert (answer.status, answer.json["orderId"]) == (200, first.json["orderId"])

    run(script())


# --- secrets ----------------------------------------------------------------------------------------------


def test_no_secret_is_ever_printed_stored_or_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every token and ticket, used well and badly, against all that the server logged, answered, counted and stored."""
    caplog.set_level(logging.DEBUG)

    async def script() -> tuple[list[str], bytes]:
        told: list[bytes] = []
        async with guarded(tmp_path) as world:
            server = world.server
            ticket = (await server.post("/v1/stream-ticket", headers=world.headers("read"))).json["ticket"]
            secrets = [token.rpartition("_")[2] for token in (*world.tokens.values(), ticket)]
            for caller in CALLERS[1:]:
                headers = world.headers(caller)
                for path in ("/v1/orders", f"/v1/orders/{NOBODY}", "/nope", "/metrics", f"/v1/orders?limit={ticket}x"):
                    answer = await server.get(path, headers=headers)
                    told += [answer.body, str(answer.headers).encode()]
                broken = await server.post("/v1/orders", {world.tokens[caller][:3]: 1}, headers=headers)
                told += [broken.body, str(broken.headers).encode()]
            for _ in range(2):
                async with server.http.ws_connect(f"/v1/stream?ticket={ticket}") as ws:
                    await ws.send_json({"type": "subscribe", "orderId": world.order_id})
                    told.append(str((await ws.receive(timeout=5)).data).encode())
            await server.access.note_use()
        return secrets, b"\n".join(told)

    secrets, told = run(script())
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    logged = "".join(f"{record.__dict__}" for record in caplog.records) + caplog.text
    for secret in secrets:
        assert secret.encode() not in told
        assert secret not in logged
        assert secret.encode() not in stored
        assert bytes.fromhex(secret) not in stored or set(secret) == {"0"}
    assert b"ORDER_NOT_FOUND" in told  # the net was in the water
