"""The market on a whole localnet: all its pools, while an outside trader moves them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fillwright.adapters.sim.listing import TOKENS, start_pools
from fillwright.adapters.solana.market import SLOT_S, Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.venue import SolanaVenue
from fillwright.localnet.bank import Rules
from fillwright.localnet.faults import Faults
from fillwright.localnet.server import Network, serving
from fillwright.localnet.world import Plan, open_network
from fillwright.pools import Pool
from fillwright.tokens import Tokens
from tests.solana.rig import in_loop

SEED: Final = 3
MINTS: Final = frozenset(token.mint for token in TOKENS)


@asynccontextmanager
async def localnet(block_s: float | None) -> AsyncIterator[tuple[Network, Rpc]]:
    plan = Plan(
        seed=SEED,
        rules=Rules(confirmed_after=1, finalized_after=4),
        faults=Faults(skipped_slots=0.0),
    )
    network = open_network(plan, Tokens(TOKENS), unix_seconds=int(time.time()))
    async with serving(network, "127.0.0.1", 0, block_s=block_s) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)], probe_s=0.2)
        try:
            yield network, rpc
        finally:
            await rpc.close()


@in_loop
async def test_all_pools_of_the_market_are_found_and_offered_while_they_are_traded() -> None:
    async with localnet(0.1) as (network, rpc):
        market = Market(rpc, MarketSettings(each_max=9))
        before: dict[str, Pool] = {}
        changed = 0
        for _ in range(4):
            offered: list[Pool] = []
            for name in ("raydium", "meteora"):
                snapshot = await SolanaVenue(name, market).pools(MINTS)
                assert all(pool.venue == name for pool in snapshot.pools)
                assert network.bank.tip.slot - snapshot.time.slot <= 20
                offered += snapshot.pools
            assert len(offered) == len(list(start_pools()))
            changed += sum(pool != before.get(pool.address, pool) for pool in offered)
            before = {pool.address: pool for pool in offered}
            await asyncio.sleep(SLOT_S)
        assert changed
        assert not market.refused
        await market.close()
