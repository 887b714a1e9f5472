"""Orders that wait for a new pool, against the running server and its schedule of honest newcomers and traps."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import PRESETS, SimChain, default_market, node
from fillwright.adapters.sim.newcomers import Newcomer, Newcomers, Trap
from fillwright.policy import Policy
from fillwright.units import NATIVE_MINT
from tests.api.running import SELL, Server, run, serving
from tests.api.test_resting import reached

SNIPER: Final[dict[str, Any]] = {"type": "sniper", "tokenIn": "SOL", "amount": "0.5", "slippageBps": 300}
EVERY_SLOTS: Final = 2
"""Of FILLWRIGHT_NEW_POOLS_S=1."""
PATIENT: Final = {"maxAgeSeconds": 3_600}
CODES: Final = {
    Trap.MINTABLE: "SNIPE_MINTABLE",
    Trap.FREEZABLE: "SNIPE_FREEZABLE",
    Trap.SHALLOW: "SNIPE_LIQUIDITY",
    Trap.UNLOCKED: "SNIPE_UNLOCKED",
    Trap.UNSELLABLE: "SNIPE_UNSELLABLE",
    Trap.TAXED: "SNIPE_EXTENSIONS",
}
GIVEN_UP: Final[dict[Trap, dict[str, Any]]] = {
    Trap.MINTABLE: {"require": {"mintAuthority": "any"}},
    Trap.FREEZABLE: {"require": {"freezeAuthority": "any"}},
    Trap.SHALLOW: {"minLiquidity": "0.001"},
    Trap.UNLOCKED: {"require": {"liquidity": "any"}},
    Trap.UNSELLABLE: {"require": {"sellable": False}},
    Trap.TAXED: {"require": {"extensions": "any"}},
}


def first_like(wanted: Callable[[Newcomer], bool]) -> tuple[int, Newcomer]:
    """A seed whose very first newcomer is this one, against SOL."""
    for seed in range(1, 10_000):
        newcomer = Newcomers(seed, EVERY_SLOTS).number(0)
        if newcomer.against.mint == NATIVE_MINT and wanted(newcomer):
            return seed, newcomer
    raise AssertionError("no seed begins with such a newcomer")


def hunting(**sniper: Any) -> dict[str, Any]:
    return {**SNIPER, "sniper": {**PATIENT, **sniper}}


async def placed(server: Server, **fields: Any) -> Any:
    answer = await server.post("/v1/orders", fields)
    assert answer.status == 201, answer.json
    return answer.json


async def explained(server: Server, order_id: str) -> Any:
    """What the order says once it has seen a pool."""
    async with asyncio.timeout(20):
        while True:
            told = (await server.get(f"/v1/orders/{order_id}/explain")).json
            assert told["status"] in {"pending", "open"}, told
            if told.get("candidates"):
                return told
            await asyncio.sleep(0.05)


def test_a_sniper_swaps_on_an_honest_new_pool_and_tells_which(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, new_pools_s=1) as server:
            order = await placed(server, **hunting())
            assert (order["tokenOut"], order["pair"], order["side"]) == ("?", "?/SOL", "buy")
            assert order["sniper"]["require"] == {
                "mintAuthority": "revoked",
                "freezeAuthority": "none",
                "liquidity": "locked",
                "extensions": "none",
                "sellable": True,
            }
            frames, _ = await server.frames(order["wsUrl"])
            causes = [frame["cause"] for frame in frames]
            assert causes == ["accepted", "armed", "sniped", "started", "routed", "signed", "landed"]
            done = (await server.get(f"/v1/orders/{order['orderId']}")).json
            assert done["status"] == "confirmed"
            found = next(n for n in map(Newcomers(1, EVERY_SLOTS).number, range(100)) if n.pool.address == done["pool"])
            assert found.trap is None
            assert (frames[2]["pool"], frames[2]["tokenOut"]) == (done["pool"], found.token.mint)
            assert done["mintOut"] == found.token.mint
            assert float(done["amountOut"]) > 0
            assert len(done["amountOut"].partition(".")[2]) <= found.token.decimals
            assert float(done["executedPrice"]) == pytest.approx(0.5 / float(done["amountOut"]), rel=1e-6)
            (fill,) = (await server.get(f"/v1/orders/{order['orderId']}/fills")).json["data"]
            assert fill["amountOut"] == done["amountOut"]
            (leg,) = (await server.get(f"/v1/orders/{order['orderId']}/route")).json["route"]["legs"]
            assert leg["pool"] == done["pool"]
        async with serving(tmp_path, new_pools_s=1) as server:
            assert (await server.get(f"/v1/orders/{order['orderId']}")).json == done

    run(script())


@pytest.mark.parametrize("trap", CODES)
def test_a_trap_is_left_alone_with_its_reason_until_the_condition_is_given_up(tmp_path: Path, trap: Trap) -> None:
    seed, newcomer = first_like(lambda each: each.trap is trap)

    async def script() -> None:
        async with serving(tmp_path, seed=seed, new_pools_s=1) as server:
            mint = newcomer.token.mint
            for path in ("/v1/quotes", "/v1/orders/preview"):
                refused = await server.post(path, hunting(mint=mint))
                assert (refused.status, refused.json["code"]) == (422, "ROUTE_NONE")
            order = await placed(server, **hunting(mint=mint, minLiquidity="10"))
            assert order["tokenOut"] == mint
            told = await explained(server, order["orderId"])
            (candidate,) = told["candidates"]
            assert (candidate["pool"], candidate["mint"]) == (newcomer.pool.address, mint)
            assert [refusal["code"] for refusal in candidate["refusals"]] == [CODES[trap]]
            assert all(refusal["detail"] for refusal in candidate["refusals"])
            assert (told["waitsFor"], "currentPrice" in told) == ("pool", False)
            bold = await placed(server, **hunting(mint=mint, **GIVEN_UP[trap]))
            assert (await reached(server, bold["orderId"], "confirmed"))["pool"] == newcomer.pool.address
            assert (await server.get(f"/v1/orders/{order['orderId']}")).json["status"] == "open"

    run(script())


def test_a_pool_whose_liquidity_was_pulled_is_left_alone_by_the_boldest(tmp_path: Path) -> None:
    seed, newcomer = first_like(lambda each: each.pulled_at is not None and each.pulled_at < 6)

    async def script() -> None:
        async with serving(tmp_path, seed=seed, new_pools_s=1) as server:
            await asyncio.sleep(2.5)
            bold = {"liquidity": "any", "extensions": "any", "sellable": False}
            ids = {}
            for name, told in (("bold", {"minLiquidity": "10", "require": bold}), ("careful", {})):
                ids[name] = (await placed(server, **hunting(mint=newcomer.token.mint, **told)))["orderId"]
            for name, code in (("bold", "SNIPE_LIQUIDITY"), ("careful", "SNIPE_UNLOCKED")):
                (candidate,) = (await explained(server, ids[name]))["candidates"]
                assert [refusal["code"] for refusal in candidate["refusals"]] == [code]

    run(script())


def test_age_creator_and_venue_choose_among_new_pools(tmp_path: Path) -> None:
    seed, newcomer = first_like(lambda each: each.trap is None)

    async def script() -> None:
        async with serving(tmp_path, seed=seed, new_pools_s=1) as server:
            await asyncio.sleep(2.5)
            late = await placed(server, **SNIPER, sniper={"mint": newcomer.token.mint, "maxAgeSeconds": 1})
            (candidate,) = (await explained(server, late["orderId"]))["candidates"]
            assert [refusal["code"] for refusal in candidate["refusals"]] == ["SNIPE_AGE"]
            other = "meteora" if newcomer.pool.venue == "raydium" else "raydium"
            elsewhere = await placed(server, **hunting(mint=newcomer.token.mint, venues=[other]))
            stranger = await placed(server, **hunting(creator="1" * 44))
            by_name = await placed(server, **hunting(creator=newcomer.creator))
            assert (await reached(server, by_name["orderId"], "confirmed"))["sniper"]["creator"] == newcomer.creator
            for order in (late, elsewhere, stranger):
                assert (await server.get(f"/v1/orders/{order['orderId']}")).json["status"] == "open"

    run(script())


def test_a_resting_sniper_is_amended_canceled_or_expires(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, new_pools_s=0) as server:
            order = await placed(server, **hunting(minLiquidity="3"))
            path = f"/v1/orders/{order['orderId']}"
            await reached(server, order["orderId"], "open")
            tag = (await server.get(path)).headers["ETag"]
            amended = await server.send("PATCH", path, json={"amount": "0.25"}, headers={"If-Match": tag})
            assert (amended.status, amended.json["amount"]) == (200, "0.25")
            assert amended.json["sniper"] == order["sniper"]
            assert (await server.get(f"{path}/explain")).json["candidates"] == []
            assert (await server.post(f"{path}/cancel")).json["status"] == "canceled"
            brief = await placed(server, **hunting(), deadlineMs=400)
            done = await server.ended(brief["orderId"])
            assert (done["status"], done["code"]) == ("expired", "EXECUTION_DEADLINE")

    run(script())


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"sniper": None}, "/sniper"),
        ({"tokenOut": "USDC"}, "/tokenOut"),
        ({"pair": "SOL/USDC"}, "/pair"),
        ({"amountMode": "exactOut"}, "/amountMode"),
        ({"limitPrice": "1"}, "/limitPrice"),
        ({"timeInForce": "ioc"}, "/timeInForce"),
        ({"tokenIn": None}, "/tokenIn"),
        ({"routing": {"venues": ["raydium"]}}, "/routing"),
        ({"sniper": {"mint": "0OIl"}}, "/sniper/mint"),
        ({"sniper": {"mint": NATIVE_MINT}}, "/sniper/mint"),
        ({"sniper": {"venues": ["nowhere"]}}, "/sniper/venues"),
        ({"sniper": {"minLiquidity": "0.0000000001"}}, "/sniper/minLiquidity"),
        ({"sniper": {"maxAgeSeconds": 0}}, "/sniper/maxAgeSeconds"),
        ({"sniper": {"require": {"liquidity": "melted"}}}, "/sniper/require/liquidity"),
        ({"sniper": {"require": {"sellable": "yes"}}}, "/sniper/require/sellable"),
        ({"sniper": {"require": {"luck": "good"}}}, "/sniper/require/luck"),
        ({"type": "limit", "tokenOut": "USDC", "limitPrice": "1"}, "/sniper"),
    ],
)
def test_a_hunt_that_makes_no_sense_names_its_field(tmp_path: Path, fields: dict[str, Any], pointer: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            refused = await server.post("/v1/orders", {**hunting(), **fields})
            assert refused.status == 422
            assert pointer in {each["pointer"] for each in refused.json["errors"]}
            assert server.rows() == 0

    run(script())


def test_a_sniper_finds_its_pool_on_a_chain_that_is_far_away(tmp_path: Path) -> None:
    async def script() -> None:
        market = default_market(1, newcomer_every_slots=EVERY_SLOTS)
        with closing(SimChain(tmp_path / "chain.db", SystemClock(), market, PRESETS["instant"], 1)) as chain:
            async with (
                node.serving(chain, "127.0.0.1", 0) as url,
                serving(tmp_path / "engine", chain=url) as server,
            ):
                order = await placed(server, **hunting())
                done = await server.ended(order["orderId"])
            (settled,) = chain.settlements()
        assert (done["status"], done["txHash"]) == ("confirmed", settled.signature)
        assert settled.order_id == order["orderId"]

    run(script())


def test_a_chain_that_does_not_tell_what_is_new_holds_up_nobody_else(tmp_path: Path) -> None:
    async def silent(_chain: SimChain, _within_s: int) -> Any:
        asked.set()
        await asyncio.Event().wait()

    async def script() -> None:
        async with serving(tmp_path, policy=Policy(chain_timeout_s=3_600.0)) as server:
            sniper = await placed(server, **hunting())
            await asyncio.wait_for(asked.wait(), 20)
            other = await server.post("/v1/orders", {**SELL, "type": "limit", "limitPrice": "1"})
            ended = await asyncio.wait_for(server.ended(other.json["orderId"]), 20)
            assert ended["status"] == "confirmed"
            assert (await server.get(f"/v1/orders/{sniper['orderId']}")).json["status"] == "open"

    asked = asyncio.Event()
    with mock.patch.object(SimChain, "new_pools", silent):
        run(script())


def test_an_older_shape_asks_for_a_sniper_as_well(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, new_pools_s=0) as server:
            body = {"orderType": "SNIPER", "tokenIn": "SOL", "amount": 0.5, "slippage": 0.03, "sniper": {}}
            answer = await server.post("/api/orders/execute", body)
            assert answer.status == 201
            order = await reached(server, answer.json["orderId"], "open")
            assert (order["type"], order["slippageBps"], order["sniper"]["maxAgeSeconds"]) == ("sniper", 300, 60)

    run(script())
