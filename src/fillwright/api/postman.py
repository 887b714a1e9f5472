"""The Postman collection: a walk through the interface with checks, then a call of every other operation there is.

Decides: what the walk does and expects. Must never: hold an address or a status of its own: those are the document's
(`documents.openapi`), and what the walk leaves out follows by itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from fillwright.api.documents import Document, openapi

_NOBODY: Final = "01890000-0000-7000-8000-000000000000"
_SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_WHAT: Final = (
    "Every call of the order execution engine, with checks. Set `baseUrl`, and `apiKey` where the engine asks for one."
)
_SHOW_KEY: Final = (
    'const key = pm.variables.get("apiKey");',
    'if (key) pm.request.headers.upsert({ key: "Authorization", value: `Bearer ${key}` });',
)
_VARIABLES: Final = {"baseUrl": "http://127.0.0.1:3000"} | dict.fromkeys(
    ("apiKey", "idempotencyKey", "orderId", "cancelId", "clientOrderId", "restingId", "restingSeq"), ""
)
_SAMPLES: Final = {"id": "{{orderId}}", "orderId": "{{orderId}}"}
"""What stands for a parameter that a call of its own does not give."""


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `expects`: the statuses, all that are documented where it names none; `checks`: name and condition
    over `told`, the answer's JSON, and `saved`, the collection's variables."""

    name: str
    operation: str
    what: str = ""
    params: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    key: str | None = None
    seen: str | None = None
    """The seq of the order as it was seen, for `If-Match`."""
    body: Mapping[str, Any] | None = None
    before: tuple[str, ...] = ()
    expects: tuple[int, ...] = ()
    saves: Mapping[str, str] = {}
    """Variable to member of the answer."""
    checks: Mapping[str, str] = {}


# --- the walk ---------------------------------------------------------------------------------------------

_SELL: Final = {"pair": "SOL/USDC", "side": "sell", "amount": "1.5", "slippageBps": 50}
_ITS_KEY: Final = "{{idempotencyKey}}"
_SAME: Final = "pm.expect(told.id).to.eql(saved.orderId)"
_REPLAYED: Final = 'pm.expect(pm.response.headers.get("Idempotent-Replayed")).to.eql("true")'


def _refused(code: str) -> dict[str, str]:
    kind = 'pm.expect(pm.response.headers.get("Content-Type")).to.include("application/problem+json")'
    return {"a problem with its code": f'pm.expect(told.code).to.eql("{code}"); {kind}'}


def _older(dialect: str, status: int, body: Mapping[str, Any]) -> _Call:
    stream = 'pm.expect(told.status).to.eql("pending"); pm.expect(told.wsUrl).to.include(told.orderId)'
    return _Call(
        name=f"Dialect {dialect}",
        operation="executeOrder",
        body=body,
        expects=(status,),
        checks={"is pending, with its stream": stream},
    )


def _its(name: str, operation: str, **checks: str) -> _Call:
    return _Call(name=name, operation=operation, expects=(200,), checks=checks)


_WALK: Final[Mapping[str, tuple[_Call, ...]]] = {
    "Orders": (
        _Call(
            name="Quote",
            operation="quote",
            body={"pair": "SOL/USDC", "side": "sell", "amount": "10"},
            expects=(200,),
            checks={"quotes were compared": "pm.expect(told.quotes).to.not.be.empty"},
        ),
        _Call(
            name="Preview",
            operation="previewOrder",
            body=_SELL,
            expects=(200,),
            checks={"with the bound that would be signed": 'pm.expect(told.minOut).to.be.a("string")'},
        ),
        _Call(
            name="Place an order",
            operation="submitOrder",
            what="Without an Idempotency-Key or a clientOrderId every request is a new order.",
            key=_ITS_KEY,
            body=_SELL,
            before=('pm.collectionVariables.set("idempotencyKey", pm.variables.replaceIn("{{$guid}}"));',),
            expects=(201,),
            saves={"orderId": "id"},
            checks={"amounts are text": 'pm.expect(told.amount).to.eql("1.5")'},
        ),
        _Call(
            name="The same request again",
            operation="submitOrder",
            key=_ITS_KEY,
            body=_SELL,
            expects=(200,),
            checks={"is the same order": _SAME, "and says so": _REPLAYED},
        ),
        _Call(
            name="The key with another request",
            operation="submitOrder",
            key=_ITS_KEY,
            body={**_SELL, "amount": "2"},
            expects=(422,),
            checks=_refused("IDEMPOTENCY_KEY_REUSED"),
        ),
        _its("Get the order", "getOrder", **{"by its id": _SAME}),
        _its(
            "Its events",
            "eventsOfOrder",
            **{"numbered from 1 on": "told.data.forEach((event, at) => pm.expect(event.seq).to.eql(at + 1))"},
        ),
        _its("Its attempts", "attemptsOfOrder"),
        _its("Its fills", "fillsOfOrder"),
        _its("Its route", "routeOfOrder"),
        _its("In plain words", "explainOfOrder", **{"a sentence": 'pm.expect(told.summary).to.be.a("string")'}),
        _Call(
            name="List orders",
            operation="listOrders",
            query={"status": "all", "limit": "2"},
            expects=(200,),
            checks={"one page": "pm.expect(told.data.length).to.be.within(1, 2)"},
        ),
        _Call(
            name="Place one to cancel",
            operation="submitOrder",
            body={"pair": "SOL/USDC", "side": "buy", "amount": "2", "clientOrderId": "{{clientOrderId}}"},
            before=('pm.collectionVariables.set("clientOrderId", pm.variables.replaceIn("{{$guid}}"));',),
            expects=(201,),
            saves={"cancelId": "id"},
        ),
        _Call(
            name="Find it by your own name",
            operation="getOrderByClientId",
            params={"id": "{{clientOrderId}}"},
            expects=(200,),
            checks={"the same order": "pm.expect(told.id).to.eql(saved.cancelId)"},
        ),
        _Call(
            name="Cancel it",
            operation="cancelOrder",
            what="200 canceled; 202 in flight, the outcome is known by `outcomeKnownBy`; 409 too late.",
            params={"id": "{{cancelId}}"},
            expects=(200, 202, 409),
        ),
        _Call(
            name="Cancel all in a minute",
            operation="cancelAfter",
            what="Unless this is called again before.",
            body={"timeoutSeconds": 60},
            expects=(200,),
            checks={"says when": 'pm.expect(told.firesAt).to.be.a("string")'},
        ),
        _Call(
            name="Call that off",
            operation="cancelAfter",
            body={"timeoutSeconds": 0},
            expects=(200,),
            checks={"is off": "pm.expect(told.firesAt).to.be.null"},
        ),
        _Call(
            name="Cancel all of a pair",
            operation="cancelAllOrders",
            body={"pair": "SOL/USDC"},
            expects=(200,),
            checks={"each with its outcome": "told.data.forEach((each) => pm.expect(each.outcome).to.not.be.empty)"},
        ),
    ),
    "Orders that wait": (
        _Call(
            name="Place a limit order",
            operation="submitOrder",
            what="It rests until a swap of its size would get its price or better.",
            body={**_SELL, "type": "limit", "limitPrice": "100000"},
            expects=(201,),
            saves={"restingId": "id"},
            checks={"its price is text": 'pm.expect(told.limitPrice).to.eql("100000")'},
        ),
        _Call(
            name="What it waits for",
            operation="explainOfOrder",
            params={"id": "{{restingId}}"},
            before=("setTimeout(() => {}, 500); // until it rests",),
            expects=(200,),
            checks={"a sentence": 'pm.expect(told.summary).to.be.a("string")'},
        ),
        _Call(
            name="Look at it",
            operation="getOrder",
            params={"id": "{{restingId}}"},
            expects=(200,),
            saves={"restingSeq": "seq"},
        ),
        _Call(
            name="Amend it",
            operation="amendOrder",
            what="As it was seen: If-Match is its ETag, which is its seq. 409 where it does not rest.",
            params={"id": "{{restingId}}"},
            seen="{{restingSeq}}",
            body={"amount": "2"},
            expects=(200, 409),
            checks={
                "changed, or why not": 'pm.expect(told.code ?? told.amount).to.be.oneOf(["2", "ORDER_NOT_OPEN"])',
            },
        ),
        _Call(
            name="Amend it as it was before",
            operation="amendOrder",
            params={"id": "{{restingId}}"},
            seen="1",
            body={"amount": "3"},
            expects=(412, 409),
            checks={"refused": 'pm.expect(told.code).to.be.oneOf(["ORDER_CHANGED", "ORDER_NOT_OPEN"])'},
        ),
        _Call(
            name="Orders that rest",
            operation="listOrders",
            query={"status": "resting"},
            expects=(200,),
            checks={"all of them": 'told.data.forEach((order) => pm.expect(order.status).to.eql("open"))'},
        ),
        _Call(
            name="Vouch for it",
            operation="resolveOrder",
            what="Only where the chain has given no proof for long; never against the chain's own word.",
            params={"id": "{{restingId}}"},
            body={"outcome": "lapsed", "evidence": "two explorers and a finalized height beyond its last"},
            expects=(409,),
            checks={"refused": 'pm.expect(told.code).to.eql("ORDER_NOT_IN_DOUBT")'},
        ),
        _Call(
            name="Cancel it as well",
            operation="cancelOrder",
            params={"id": "{{restingId}}"},
            expects=(200,),
            checks={"at once": 'pm.expect(told.status).to.eql("canceled")'},
        ),
    ),
    "Market": (
        _Call(
            name="Pools of a pair",
            operation="listPools",
            query={"pair": "SOL/USDC"},
            expects=(200,),
            checks={"with their age": 'told.data.forEach((pool) => pm.expect(pool.ageMs).to.be.a("number"))'},
        ),
        _its("Venues", "listVenues", **{"at least one": "pm.expect(told.data).to.not.be.empty"}),
    ),
    "Refusals": (
        _Call(
            name="A bad amount",
            operation="submitOrder",
            body={**_SELL, "amount": "-1"},
            expects=(422,),
            checks={
                **_refused("VALIDATION_AMOUNT"),
                "names the field": 'pm.expect(told.errors[0].pointer).to.eql("/amount")',
            },
        ),
        _Call(
            name="An unknown field",
            operation="submitOrder",
            body={**_SELL, "amuont": "1"},
            expects=(422,),
            checks=_refused("VALIDATION_UNKNOWN_FIELD"),
        ),
        _Call(
            name="An unknown token",
            operation="submitOrder",
            body={**_SELL, "pair": "SOL/NOPE"},
            expects=(422,),
            checks=_refused("TOKEN_UNKNOWN"),
        ),
        _Call(
            name="An unknown order",
            operation="getOrder",
            params={"id": _NOBODY},
            expects=(404,),
            checks=_refused("ORDER_NOT_FOUND"),
        ),
        _Call(
            name="What a problem means",
            operation="problem",
            params={"code": "ORDER_NOT_FOUND"},
            expects=(200,),
        ),
    ),
    "Older clients": (
        _older("A", 201, {"pair": "SOL/USDC", "side": "sell", "amount": 1.5, "slippageTolerance": 0.01}),
        _older("B", 200, {"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippageBps": 100}),
        _older("C", 200, {"clientId": "me", "side": "buy", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1}),
        _older(
            "D", 201, {"orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippage": 0.05}
        ),
        _older("E", 200, {"inputToken": "SOL", "outputToken": "USDC", "amount": 1.5}),
    ),
    "Engine": (_its("Ready", "readyz", **{"says so": 'pm.expect(told.status).to.eql("ok")'}),),
}
_REST: Final = "Every other call"


# --- the collection ---------------------------------------------------------------------------------------


def collection() -> Document:
    """In the format of Postman's collections, version 2.1."""
    operations = {told["operationId"]: (verb, path, told) for verb, path, told in _operations(openapi())}
    walked = {call.operation for calls in _WALK.values() for call in calls}
    rest = tuple(_plain(name, told) for name, (_, _, told) in operations.items() if name not in walked)
    return {
        "info": {"name": "Fillwright", "description": _WHAT, "schema": _SCHEMA},
        "event": [_script("prerequest", _SHOW_KEY)],
        "variable": [{"key": name, "value": value} for name, value in _VARIABLES.items()],
        "item": [
            {"name": folder, "item": [_item(call, *operations[call.operation]) for call in calls]}
            for folder, calls in {**_WALK, _REST: rest}.items()
        ],
    }


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """All but streams, which do not end."""
    for path, verbs in document["paths"].items():
        for verb, told in verbs.items():
            if "text/event-stream" not in told["responses"].get("200", {}).get("content", {}):
                yield verb, path, told


def _plain(name: str, told: Document) -> _Call:
    required = [each["name"] for each in told.get("parameters", []) if each["required"] and each["in"] == "query"]
    return _Call(
        name=name,
        operation=name,
        what=told["summary"],
        query={each: _SAMPLES.get(each, "1") for each in required},
        body={} if "requestBody" in told else None,
    )


def _item(call: _Call, verb: str, path: str, told: Document) -> Document:
    statuses = [int(status) for status in told["responses"]]
    before = [_script("prerequest", call.before)] if call.before else []
    return {
        "name": call.name,
        "protocolProfileBehavior": {"followRedirects": False},
        "event": [*before, _script("test", tuple(_test(call, statuses)))],
        "request": {
            "method": verb.upper(),
            "header": _headers(call),
            "url": _url(path, call),
            **({} if call.body is None else {"body": _body(call.body)}),
            "description": call.what or told["summary"],
        },
    }


def _test(call: _Call, documented: list[int]) -> Iterator[str]:
    expected = list(call.expects or documented)
    yield _check(f"{call.name}: answered as promised", f"pm.expect(pm.response.code).to.be.oneOf({expected})")
    if call.saves or call.checks:
        yield "const told = pm.response.json();"
        yield "const saved = pm.collectionVariables.toObject();"
    for variable, member in call.saves.items():
        yield f'pm.collectionVariables.set("{variable}", told.{member});'
    for name, condition in call.checks.items():
        yield _check(name, condition)


def _check(name: str, condition: str) -> str:
    return f"pm.test({json.dumps(name)}, () => {{ {condition}; }});"


def _script(when: str, lines: tuple[str, ...]) -> Document:
    return {"listen": when, "script": {"type": "text/javascript", "exec": list(lines)}}


def _headers(call: _Call) -> list[Document]:
    headers = {"Idempotency-Key": call.key} if call.key else {}
    headers |= {"If-Match": f'"{call.seen}"'} if call.seen else {}
    headers |= {} if call.body is None else {"Content-Type": "application/json"}
    return [{"key": name, "value": value} for name, value in headers.items()]


def _url(path: str, call: _Call) -> Document:
    given = {**_SAMPLES, **call.params}
    path = re.sub(r"{(\w+)}", lambda param: given.get(param[1], "1"), path)
    query = [{"key": name, "value": value} for name, value in call.query.items()]
    asked = f"?{urlencode(call.query, safe='/{}')}" if query else ""
    return {
        "raw": f"{{{{baseUrl}}}}{path}{asked}",
        "host": ["{{baseUrl}}"],
        "path": path.strip("/").split("/"),
        **({"query": query} if query else {}),
    }


def _body(body: Mapping[str, Any]) -> Document:
    return {"mode": "raw", "raw": json.dumps(body, indent=2), "options": {"raw": {"language": "json"}}}
