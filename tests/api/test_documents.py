"""The documents are complete and true: every address, every field, every code. And nothing in them is a dead end."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fillwright.api.documents import asyncapi, openapi
from fillwright.api.problems import KINDS
from fillwright.api.shapes import LegacyRequest, OrderRequest
from fillwright.dialects import CONDITIONS, DIALECTS
from fillwright.errors import Code, FillwrightError
from fillwright.tokens import Tokens
from fillwright.wire.reading import Json
from fillwright.wire.requests import parse_order
from tests.api.contract import hold
from tests.api.running import SELL, run, serving
from tests.conformance.samples import SOL, USDC
from tests.errors import shown, table


def test_the_documents_list_what_is_served_and_nothing_else(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            app = server.runner.app
            assert app is not None
            served = {
                (route.method, route.resource.canonical)
                for route in app.router.routes()
                if route.resource is not None and route.method != "HEAD"
            }
            told = {(verb.upper(), path) for path, verbs in openapi()["paths"].items() for verb in verbs}
            sockets = {("GET", channel["address"]) for channel in asyncapi()["channels"].values()}
            files = {(verb, path) for verb, path in served if re.search(r"\.(js|css)$|^/console/", path)}
            assert served - files == told | sockets

    run(script())


def test_the_documents_are_served_as_they_are_made(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            assert (await server.get("/openapi.json")).json == json.loads(json.dumps(openapi()))
            assert (await server.get("/asyncapi.json")).json == json.loads(json.dumps(asyncapi()))
            page = (await server.get("/docs")).body.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?:|//", page)
            for path in re.findall(r'(?:src|href)="([^"]+)"', page):
                asset = await server.get(path)
                assert asset.status == 200
            assert "innerHTML" not in (await server.get("/docs.js")).body.decode()

    run(script())


@pytest.mark.parametrize("document", [openapi(), asyncapi()], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_everything_is_used(document: dict[str, Any]) -> None:
    references = {value for key, value in _walk(document) if key == "$ref"}
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in references
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_names_of_operations_are_different() -> None:
    names = [told["operationId"] for verbs in openapi()["paths"].values() for told in verbs.values()]
    assert len(names) == len(set(names))


def test_the_order_s_schema_has_the_fields_that_are_read() -> None:
    assert set(OrderRequest.__struct_encode_fields__) == _asked({}, "")
    routing = openapi()["components"]["schemas"]["RoutingRequest"]
    assert set(routing["properties"]) == _asked({"routing": {}}, "routing")
    assert set(LegacyRequest.__struct_encode_fields__) == frozenset[str]().union(
        CONDITIONS, *(each.keys for each in DIALECTS)
    )


class _Recording(dict[str, Json]):
    def __init__(self, members: dict[str, Json]) -> None:
        super().__init__(members)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def _asked(members: dict[str, Json], inside: str) -> set[str]:
    """The members that a request is asked for."""
    sample: dict[str, Json] = {"tokenIn": "SOL", "tokenOut": "USDC"}
    for name, member in members.items():
        sample[name] = _Recording(member) if isinstance(member, dict) else member
    body = _Recording(sample)
    with pytest.raises(FillwrightError):
        parse_order(body, Tokens((SOL, USDC)), ("raydium",))
    recording = sample[inside] if inside else body
    assert isinstance(recording, _Recording)
    return recording.asked


def test_the_contract_refuses_what_is_not_announced() -> None:
    ok = {"Content-Type": "application/json"}
    hold("GET", "/livez", 200, ok, b'{"status":"ok"}')
    for answer in (
        ("GET", "/livez", 200, ok, b'{"status":1}'),
        ("GET", "/livez", 204, ok, b""),
        ("GET", "/livez", 200, {"Content-Type": "text/plain"}, b"ok"),
        ("GET", "/nowhere", 200, ok, b"{}"),
        ("GET", "/v1/orders/1/explain", 404, {"Content-Type": "application/problem+json"}, b'{"code":"X"}'),
    ):
        with pytest.raises(AssertionError):
            hold(*answer)


def test_the_table_of_codes_is_the_enum_s() -> None:
    assert shown() == table(), "run `python -m tests.errors`"
    assert all(f"`{code}`" in table() for code in Code)
    assert set(KINDS) == set(Code)


def test_a_documented_example_is_accepted(tmp_path: Path) -> None:
    """Every field at once, as the schema shows it."""
    order = {
        **SELL,
        "clientOrderId": "mine-1",
        "type": "stop",
        "trigger": {"op": "lte", "price": "50"},
        "limitPrice": "49.5",
        "timeInForce": "gtd",
        "expireAt": "2100-01-01T00:00:00Z",
        "pair": "SOL/USDC",
        "side": "sell",
        "amountMode": "exactIn",
        "slippageBps": 100,
        "maxPriceImpactBps": "300",
        "deadlineMs": 15_000,
        "routing": {"venues": ["raydium"], "maxLegs": 3, "maxHops": 2},
        "tags": ["a"],
    }
    document = openapi()
    schema = document["paths"]["/v1/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": document["components"]})
    assert validator.is_valid(order)
    assert not validator.is_valid({**order, "nonsense": 1})
    assert not validator.is_valid({**order, "amount": "-1"})
    assert {*order, "trail", "schedule", "sniper"} == set(OrderRequest.__struct_encode_fields__)

    async def script() -> None:
        async with serving(tmp_path) as server:
            assert (await server.post("/v1/orders", order)).status == 201

    run(script())


def _walk(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str):
                yield key, value
            yield from _walk(value)
    elif isinstance(node, list):
        for item in node:
            yield from _walk(item)
