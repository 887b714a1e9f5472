"""The commands of a client: place, look at, follow and cancel orders of a running engine.

Decides: how a request is written on a command line, and which outcome is a success. Must never: send an order twice.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from fillwright.client import (
    Amendment,
    Client,
    ExitRequest,
    ExplainView,
    Frame,
    NotFound,
    OrderRequest,
    OrderView,
    OutcomeUnknown,
)
from fillwright.commands import show
from fillwright.config import SERVE_PORT, Config
from fillwright.errors import Code, FillwrightError

_BUDGET_S: Final = 6.0
"""Somebody is waiting, and can ask again."""
_encode: Final = msgspec.json.Encoder().encode


def run(asked: argparse.Namespace, config: Config) -> int:
    """The exit code. Raises ClientError, FillwrightError(CONFIG_INVALID)."""
    return asyncio.run(_run(asked, config))


async def _run(asked: argparse.Namespace, config: Config) -> int:
    url = config.url or f"http://{_reachable(config.host)}:{config.port or SERVE_PORT}"
    api_key = config.api_key.reveal() if config.api_key else None
    async with Client(url, api_key=api_key, budget_s=_BUDGET_S) as client:
        match asked.command:
            case "order":
                return await _order(client, asked)
            case "bracket":
                await _bracket(client, asked)
            case "quote":
                route = await client.quote(_request(asked))
                _print(asked, route, show.quote_lines(route))
            case "get":
                await _get(client, asked)
            case "amend":
                await _amend(client, asked)
            case "resolve":
                await _resolve(client, asked)
            case "list":
                await _list(client, asked)
            case "watch":
                return await _watch(client, asked)
            case "cancel":
                _print_order(asked, await client.cancel((await _find(client, asked.id)).id))
            case "explain":
                await _explain(client, asked)
            case document:
                _print_json(await client.document(f"/{document}.json"))
    return 0


def _reachable(host: str) -> str:
    """Where this machine finds what listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what others may listen on
    return f"[{host}]" if ":" in host else host


# --- the commands -----------------------------------------------------------------------------------------


async def _order(client: Client, asked: argparse.Namespace) -> int:
    request = _request(asked)
    if asked.client_id is not None:
        request["clientOrderId"] = asked.client_id
    with _telling_the_key():
        order = await client.submit(request, idempotency_key=asked.key)
    if asked.watch:
        return await _follow(client, order.id, asked)
    if asked.wait:
        order = await client.wait(order.id)
        _print_order(asked, order)
        return _verdict(order.status)
    _print_order(asked, order)
    return 0


async def _bracket(client: Client, asked: argparse.Namespace) -> None:
    entry, exits = _tied(asked)
    with _telling_the_key():
        bracket = await client.bracket(entry, *exits, idempotency_key=asked.key)
    orders = bracket.exits if bracket.entry is None else (bracket.entry, *bracket.exits)
    _print(asked, bracket, [line for order in orders for line in show.order_lines(order)])


@contextmanager
def _telling_the_key() -> Iterator[None]:
    """Where no clear answer comes, how to learn what became of it."""
    try:
        yield
    except OutcomeUnknown as unknown:
        why = f"{unknown}; the same command with --key {unknown.idempotency_key} tells"
        raise OutcomeUnknown(why, unknown.idempotency_key) from unknown


async def _get(client: Client, asked: argparse.Namespace) -> None:
    """An order that rests is shown to a person with what it waits for."""
    order = await _find(client, asked.id)
    waits = order.status == "open" and not asked.json
    explained = show.waiting_lines(order, await client.explain(order.id)) if waits else []
    _print(asked, order, [*show.order_lines(order), *explained])


async def _amend(client: Client, asked: argparse.Namespace) -> None:
    changes = {name: None if told == "none" else told for name, told in (_conditions(asked) | _bounds(asked)).items()}
    if asked.amount is not None:
        changes["amount"] = asked.amount
    if not changes:
        raise _wrong("say what to change, such as --limit 99.5")
    order = await _find(client, asked.id)
    seq = order.seq if asked.seq is None else asked.seq
    _print_order(asked, await client.amend(order.id, seq, cast(Amendment, changes)))


async def _resolve(client: Client, asked: argparse.Namespace) -> None:
    order = await _find(client, asked.id)
    resolved = await client.resolve(
        order.id, asked.outcome, evidence=asked.evidence, amount_in=asked.amount_in, amount_out=asked.amount_out
    )
    _print_order(asked, resolved)


async def _list(client: Client, asked: argparse.Namespace) -> None:
    orders: list[OrderView] = []
    found = client.orders(
        status=asked.status,
        pair=asked.pair,
        side=asked.side,
        since=asked.since,
        until=asked.until,
        page_size=min(asked.limit, 1_000),
    )
    async for order in found:
        orders.append(order)
        if len(orders) == asked.limit:
            break
    if asked.json:
        for order in orders:
            _print_json(order)
    else:
        print("\n".join(show.table(orders)))


async def _watch(client: Client, asked: argparse.Namespace) -> int:
    if asked.id is not None:
        return await _follow(client, (await _find(client, asked.id)).id, asked)
    live = None if asked.json or asked.lines or not sys.stdout.isatty() else show.LiveTable()
    async with aclosing(client.watch_all()) as frames:
        async for frame in frames:
            if live is not None:
                live.show(frame, shutil.get_terminal_size().columns)
            else:
                _print_event(asked, frame)
    return 0


async def _follow(client: Client, order_id: str, asked: argparse.Namespace) -> int:
    status = ""
    async with aclosing(client.watch(order_id)) as frames:
        async for frame in frames:
            _print_event(asked, frame)
            status = frame.status
    return _verdict(status)


async def _explain(client: Client, asked: argparse.Namespace) -> None:
    order = await _find(client, asked.id)
    try:
        told: ExplainView = await client.explain(order.id)
    except NotFound:  # an engine of a version that cannot say
        explanation: dict[str, Any] = {"orderId": order.id, "status": order.status, "waitsFor": waits_for(order)}
    else:
        explanation = msgspec.to_builtins(told)
    candidates = explanation.get("candidates") or []
    told_lines = [f"{name:<16} {_text(told)}" for name, told in explanation.items() if name != "candidates"]
    _print(asked, explanation, [*told_lines, *(show.candidate_line(each) for each in candidates)])


def waits_for(order: OrderView) -> str:
    """In plain words, as far as the order itself tells."""
    match order.status:
        case "pending" if order.retry_at is not None:
            return f"its next attempt at {order.retry_at}; the last one ended with: {order.error}"
        case "pending":
            return "a worker that takes it"
        case "open":
            return f"the market to reach {show.awaited(order) or 'a first price'}"
        case "routing":
            return "the venues' quotes"
        case "building":
            return "its transaction to be built and signed"
        case "submitted":
            return f"the chain's word on transaction {order.tx_hash}"
        case "confirmed" | "failed" | "canceled" | "expired":
            return f"nothing: it is over{f', {order.error}' if order.error else ''}"
        case _:
            return "a condition that this version of the client does not know"


def _verdict(status: str) -> int:
    return 0 if status == "confirmed" else 1


async def _find(client: Client, name: str) -> OrderView:
    """By its id, or by the client's own."""
    try:
        return await client.get(name)
    except NotFound:
        return await client.get_by_client_id(name)


# --- the request ------------------------------------------------------------------------------------------


def _request(asked: argparse.Namespace) -> OrderRequest:
    request: dict[str, Any] = _from_file(asked.file) if asked.file is not None else {}
    request |= _swap(asked)
    request |= _bounds(asked)
    if asked.command == "order":
        request |= _told(type=asked.type, timeInForce=asked.tif) | _conditions(asked)
        request |= _told(schedule=_schedule(asked) or None)
        hunt = _hunt(asked)
        if asked.type == "sniper":  # it has no route before it has chosen a pool: its venues stand there
            request["sniper"] = hunt | _told(venues=asked.venue)
        else:
            request |= _told(sniper=hunt or None)
    if "sniper" not in request:
        request |= _told(routing=asked.venue and {"venues": asked.venue})
    request |= _told(tags=asked.tag)
    for field in asked.field:
        name, given, text = field.partition("=")
        if not given:
            raise _wrong("--field must be NAME=VALUE")
        request[name] = _json_of(text, f"--field {name}") if text.startswith(("{", "[")) else text
    if not request:
        raise _wrong("say what to swap: sell 1.5 SOL/USDC, buy 2 SOL/USDC or swap 100 USDC/SOL; or --file")
    return cast(OrderRequest, request)


def _bounds(asked: argparse.Namespace) -> dict[str, Any]:
    return _told(slippageBps=asked.slippage_bps, maxPriceImpactBps=asked.max_impact_bps)


def _conditions(asked: argparse.Namespace) -> dict[str, Any]:
    """What the order waits for. Which type needs what, the engine knows."""
    return _told(
        limitPrice=asked.limit,
        trigger=asked.trigger and {"price": asked.trigger},
        trail=asked.trail_bps and {"bps": asked.trail_bps},
        expireAt=asked.expire_at,
    )


def _schedule(asked: argparse.Namespace) -> dict[str, Any]:
    return _told(slices=asked.slices, intervalSeconds=asked.interval, jitterPct=asked.jitter)


def _hunt(asked: argparse.Namespace) -> dict[str, Any]:
    given_up = set(asked.give_up or ())
    if asked.burned and "liquidity" in given_up:
        raise _wrong("--burned asks for more of the liquidity, --give-up liquidity for less")
    require = {name: word for condition, (name, word) in _GIVING_UP.items() if condition in given_up}
    if asked.burned:
        require["liquidity"] = "burned"
    return _told(
        mint=asked.mint,
        creator=asked.creator,
        minLiquidity=asked.min_liquidity,
        maxAgeSeconds=asked.max_age,
        require=require or None,
    )


_GIVING_UP: Final[dict[str, tuple[str, str | bool]]] = {
    "mint-authority": ("mintAuthority", "any"),
    "freeze-authority": ("freezeAuthority", "any"),
    "liquidity": ("liquidity", "any"),
    "extensions": ("extensions", "any"),
    "sellable": ("sellable", False),
}
"""What `--give-up` names, in a request."""


def _tied(asked: argparse.Namespace) -> tuple[OrderRequest | None, list[ExitRequest]]:
    """The entry and its exits. The same slippage and venues hold for all; what else is told is the entry's."""
    exits = [
        _told(type=kind, **condition)
        for kind, condition in (
            ("take_profit", _told(trigger=asked.take_profit and {"price": asked.take_profit})),
            ("stop", _told(trigger=asked.stop and {"price": asked.stop})),
            ("trailing_stop", _told(trail=asked.trail_bps and {"bps": asked.trail_bps})),
        )
        if condition
    ]
    if not exits:
        raise _wrong("say when to swap back: --take-profit, --stop or --trail-bps")
    swap: dict[str, Any] = {**_request(asked)}
    if asked.no_entry:
        if asked.limit is not None:
            raise _wrong("--limit is the entry's price, and with --no-entry there is no entry")
        whole = [{**swap, **each} for each in exits]
        whole[0] |= _told(clientOrderId=asked.client_id)
        return None, cast(list[ExitRequest], whole)
    shared = {name: swap[name] for name in ("slippageBps", "maxPriceImpactBps", "routing", "tags") if name in swap}
    swap |= _told(type=asked.limit and "limit", limitPrice=asked.limit, clientOrderId=asked.client_id)
    return cast(OrderRequest, swap), cast(list[ExitRequest], [{**shared, **each} for each in exits])


def _told(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _swap(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.side is None:
        return {}
    if asked.amount is None or asked.pair is None:
        raise _wrong(f"{asked.side} needs an amount and a pair, such as {asked.side} 1.5 SOL/USDC")
    if asked.side != "swap":
        return {"pair": asked.pair, "side": asked.side, "amount": asked.amount}
    token_in, _, token_out = asked.pair.partition("/")
    return {"tokenIn": token_in, "amount": asked.amount} | _told(tokenOut=token_out or None)


def _from_file(name: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _wrong(f"--file {name} cannot be read: {error}") from error
    request = _json_of(text, f"--file {name}")
    if not isinstance(request, dict):
        raise _wrong(f"--file {name} must hold one JSON object")
    return request


def _json_of(text: str, name: str) -> Any:
    """Fractions stay the text that was written: an amount never meets a float."""
    try:
        return json.loads(text, parse_float=str)
    except ValueError as error:
        raise _wrong(f"{name} is not JSON: {error}") from error


def _wrong(why: str) -> FillwrightError:
    return FillwrightError(Code.CONFIG_INVALID, why)


# --- printing ---------------------------------------------------------------------------------------------


def _print_order(asked: argparse.Namespace, order: OrderView) -> None:
    _print(asked, order, show.order_lines(order))


def _print_event(asked: argparse.Namespace, frame: Frame) -> None:
    _print(asked, frame, [show.event_line(frame)])


def _print(asked: argparse.Namespace, value: object, lines: list[str]) -> None:
    if asked.json:
        _print_json(value)
    else:
        print("\n".join(lines), flush=True)


def _print_json(value: object) -> None:
    print(_encode(value).decode(), flush=True)


def _text(told: Any) -> str:
    return told if isinstance(told, str) else _encode(told).decode()
