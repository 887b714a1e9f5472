"""Several live processes on one database: one wallet, one set of caps."""

import asyncio
from pathlib import Path

from fillwright.errors import Code
from fillwright.order import Status
from tests.live.town import Town, ended, engine, place, town
from tests.servers.postgres import PostgresServer


def test_two_engines_on_postgresql_never_spend_more_than_the_day_allows(tmp_path: Path) -> None:
    """Eight orders at once, for a cap that three fit into: which three is open, how many is not."""

    async def trade(database: str, url: str, chain: Town) -> None:
        more = {"DATABASE_URL": database, "FILLWRIGHT_DAY_CAPS": "SOL=3.5"}
        async with engine(url, tmp_path / "a", **more) as a, engine(url, tmp_path / "b", **more) as b:
            sell = {"tokenIn": "SOL", "tokenOut": "BONK", "amount": "1"}
            orders = await asyncio.gather(*(place((a, b)[number % 2], **sell) for number in range(8)))
            over = [await ended(a, order) for order in orders]
            assert sum(order.status is Status.CONFIRMED for order in over) == 3
            refused = [order.problem for order in over if order.status is not Status.CONFIRMED]
            assert {problem and problem.code for problem in refused} == {Code.LIMIT_EXCEEDED}
            got = sum(order.filled_out for order in over)
            bonk = over[0].swap.token_out
            assert chain.held(bonk) - 10**9 * 10**bonk.decimals == got

    async def main(database: str) -> None:
        async with town(trade_blocks=0) as (chain, url):
            await trade(database, url, chain)

    with PostgresServer() as server, server.database() as database:
        asyncio.run(main(database))
