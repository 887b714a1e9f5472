"""What the live parts are made from: nodes of one cluster, tokens as this chain has them, caps in their atoms."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web

from fillwright.adapters.sim.market import BONK, SOL, TOKENS, USDC
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.world import GENESIS, Plan, genesis_of, is_of, rules_of, tokens_of
from fillwright.config import load
from fillwright.errors import Code, FillwrightError
from fillwright.live import plan_of
from fillwright.order import Status
from fillwright.programs import PROGRAMS
from fillwright.tokens import Tokens
from fillwright.units import Token
from tests.live.town import WALLET, ended, engine, place, settings, town

change: Final = msgspec.structs.replace


def plan(**more: str) -> Plan:
    live = load(settings("http://127.0.0.1:1", Path("data"), **more)).live
    assert live is not None
    return plan_of(live)


def on_the_chain(test: Callable[[Rpc], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with town(trade_blocks=0) as (_, url):
            rpc = Rpc([url])
            try:
                await test(rpc)
            finally:
                await rpc.close()

    asyncio.run(main())


def refusal(error: pytest.ExceptionInfo[FillwrightError]) -> str:
    assert error.value.code is Code.CONFIG_INVALID
    return str(error.value)


def test_a_cluster_is_known_by_its_first_block() -> None:
    for cluster, genesis in GENESIS.items():
        assert [name for name in GENESIS if is_of(name, genesis)] == [cluster]
        assert not is_of("localnet", genesis), "a node of a public cluster is no localnet"
    assert is_of("localnet", "anything else")


def test_tokens_are_called_as_they_were_named_and_count_as_the_chain_says() -> None:
    async def test(rpc: Rpc) -> None:
        assert (await tokens_of(plan(), rpc)).all == TOKENS
        named = plan(FILLWRIGHT_MINTS=f"sol,{USDC.mint},MEME={BONK.mint}")
        assert (await tokens_of(named, rpc)).all == (SOL, USDC, Token("MEME", BONK.mint, BONK.decimals))
        with pytest.raises(FillwrightError) as caught:
            await tokens_of(plan(FILLWRIGHT_MINTS=f"SOL,NEW={WALLET}"), rpc)
        assert "NEW is no token on this chain" in refusal(caught)

    on_the_chain(test)


def test_what_this_chain_does_not_have_is_not_offered() -> None:
    """As on devnet, where the mints of mainnet are not."""

    async def test(rpc: Rpc) -> None:
        other = Token("OTHER", USDC.mint[:-4] + "1111", 6)  # type: ignore[arg-type]
        assert (await tokens_of(change(plan(), known=(SOL, other)), rpc)).all == (SOL,)

    on_the_chain(test)


def test_caps_are_of_the_tokens_of_this_chain() -> None:
    tokens = Tokens((SOL, USDC))
    rules = rules_of(plan(FILLWRIGHT_ORDER_CAPS="SOL=0.5,USDC=7", FILLWRIGHT_DAY_CAPS="SOL=2"), tokens, WALLET)
    assert rules.caps is not None
    assert {mint: (cap.order, cap.day) for mint, cap in rules.caps.items()} == {SOL.mint: (500_000_000, 2_000_000_000)}
    for caps, why in (
        ("DOGE=1", "unknown token"),
        ("SOL=0", "greater than zero"),
        ("SOL=0.0000000001", "decimal places"),
    ):
        with pytest.raises(FillwrightError) as caught:
            rules_of(plan(FILLWRIGHT_DAY_CAPS=caps), tokens, WALLET)
        assert f"FILLWRIGHT_DAY_CAPS: {caps}" in refusal(caught)
        assert why in str(caught.value)


def test_lists_become_rules() -> None:
    tokens = Tokens((SOL, USDC))
    assert rules_of(plan(), tokens, WALLET).mints is None
    rules = rules_of(plan(FILLWRIGHT_MINTS="SOL,USDC", FILLWRIGHT_PROGRAMS="dlmm"), tokens, WALLET)
    assert rules.mints == frozenset({SOL.mint, USDC.mint})
    assert list(rules.programs) == [PROGRAMS["dlmm"].id]


@asynccontextmanager
async def late_node(genesis: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A node that is of no use until the event is set; then it tells its network."""
    awake = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        if not awake.is_set() or isinstance(asked, list):
            return web.Response(status=500)
        return web.json_response({"jsonrpc": "2.0", "id": asked.get("id"), "result": genesis})

    app = web.Application()
    app.add_routes([web.post("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", awake
    finally:
        await runner.cleanup()


def test_a_node_that_answers_late_is_judged_then(tmp_path: Path) -> None:
    """It is asked meanwhile, so the engine does not go on once it turns out to be of another cluster."""

    async def main() -> None:
        async with town(trade_blocks=0) as (_, url), late_node(GENESIS["mainnet"]) as (late, awake):
            sockets = ",".join(each.replace("http", "ws") for each in (url, late))
            nodes = {"FILLWRIGHT_RPC": f"{url},{late}", "FILLWRIGHT_RPC_WS": sockets}

            async def traded() -> None:
                async with engine(url, tmp_path, **nodes) as running:
                    order = await place(running, tokenIn="SOL", tokenOut="USDC", amount="1")
                    assert (await ended(running, order)).status is Status.CONFIRMED, "one node is enough to begin"
                    awake.set()
                    await asyncio.sleep(30)

            with pytest.raises(FillwrightError) as caught:
                await traded()
            assert "node 2 is of mainnet, not of localnet" in refusal(caught)

    asyncio.run(main())


def test_a_node_that_does_not_answer_is_no_node_of_any_cluster() -> None:
    assert asyncio.run(genesis_of("http://127.0.0.1:1", 0.3)) is None
