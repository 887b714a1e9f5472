"""An operator's word on a transaction that the chain says nothing of, over HTTP."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fillwright.adapters.sim import SimChain
from fillwright.errors import Code, FillwrightError
from fillwright.policy import Policy
from tests.api.running import SELL, Server, run, serving
from tests.api.test_resting import reached

DUMB = Policy(unknown_s=0.0, drain_s=0.1)


async def nothing(*_: Any) -> Any:
    raise FillwrightError(Code.CHAIN_UNAVAILABLE, "no node answers")


async def submitted(server: Server) -> Any:
    answer = await server.post("/v1/orders", SELL)
    return await reached(server, answer.json["orderId"], "submitted")


async def said(server: Server, order: Any, **told: Any) -> Any:
    return await server.post(f"/v1/orders/{order['orderId']}/resolve", told)


def test_what_somebody_vouches_for_is_recorded_with_their_evidence(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=DUMB) as server:
            order = await submitted(server)
            amounts = {"amountIn": "1.5", "amountOut": order["minOut"]}
            answer = await said(server, order, outcome="landed", evidence="two explorers", **amounts)
            assert (answer.status, answer.json["status"]) == (200, "confirmed")
            events = (await server.get(f"/v1/orders/{order['orderId']}/events")).json["data"]
            assert [event["cause"] for event in events][-2:] == ["attested", "landed"]
            assert events[-2]["evidence"] == "two explorers"
            assert events[-2]["by"] == "operator"
            again = await said(server, order, outcome="lapsed", evidence="none")
            assert (again.status, again.json["code"]) == (409, "ORDER_NOT_IN_DOUBT")

    with mock.patch.object(SimChain, "look", nothing), mock.patch.object(SimChain, "broadcast", nothing):
        run(script())


@pytest.mark.parametrize(
    ("told", "pointer"),
    [
        ({}, "/outcome"),
        ({"outcome": "lost", "evidence": "x"}, "/outcome"),
        ({"outcome": "lapsed"}, "/evidence"),
        ({"outcome": "lapsed", "evidence": ""}, "/evidence"),
        ({"outcome": "lapsed", "evidence": "x", "amountIn": "1"}, "/amountIn"),
        ({"outcome": "landed", "evidence": "x", "amountIn": "1.5"}, "/amountOut"),
        ({"outcome": "landed", "evidence": "x", "amountIn": "1.5", "amountOut": "0.000001"}, "/amountOut"),
        ({"outcome": "landed", "evidence": "x", "amountIn": "1.6", "amountOut": "999999"}, "/amountIn"),
        ({"outcome": "lapsed", "evidence": "x", "sure": True}, "/sure"),
    ],
)
def test_a_word_that_does_not_say_what_happened_is_refused(tmp_path: Path, told: dict[str, Any], pointer: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=DUMB) as server:
            order = await submitted(server)
            answer = await said(server, order, **told)
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)
            assert (await server.get(f"/v1/orders/{order['orderId']}")).json["status"] == "submitted"

    with mock.patch.object(SimChain, "look", nothing), mock.patch.object(SimChain, "broadcast", nothing):
        run(script())
