"""Every order type of the engine, end to end on a localnet: real transactions, and balances that agree to the unit."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from fillwright.app import Assembled
from fillwright.order import Order, OrderType, Status
from fillwright.units import NATIVE_MINT, Mint
from tests.live.town import ACCOUNT, PURSE, ended, engine, place, place_bracket, price, told, town

SELL: Final[dict[str, Any]] = {"pair": "SOL/USDC", "side": "sell", "amount": "1"}
SALES_MAX: Final = 12
SCHEDULE: Final[dict[str, Any]] = {"schedule": {"slices": 3, "intervalSeconds": 1}, "routing": {"maxHops": 1}}


def moved(orders: Iterable[Order]) -> Counter[Mint]:
    """What the orders say has become of each token but SOL, out of which fees are paid as well."""
    total: Counter[Mint] = Counter()
    for order in orders:
        if order.fill is not None:
            total[order.swap.token_in.mint] -= order.fill.amount_in
            total[order.swap.token_out.mint] += order.fill.amount_out
    del total[NATIVE_MINT]
    return total


async def pressed(running: Assembled, trailing: Order) -> list[Order]:
    """Sales that push the price down, pool by pool, until the trailing stop has had enough."""
    sales: list[Order] = []
    await ended(running, trailing, within_s=3.0)  # it has seen prices by then
    while len(sales) < SALES_MAX and not (await running.engine.get(ACCOUNT, trailing.id)).is_terminal:
        sales.append(await place(running, **{**SELL, "amount": "300"}))
        await ended(running, sales[-1])
    return sales


def test_every_order_type_runs_and_the_chain_agrees(tmp_path: Path) -> None:
    async def main() -> None:
        async with town(trade_blocks=0, newcomer_blocks=5) as (chain, url), engine(url, tmp_path) as running:
            now = await price(running, "sell", "1")
            above, below = f"{now * 1.2:.4f}", f"{now * 0.8:.4f}"
            orders = [
                await place(running, **SELL),
                await place(running, tokenIn="USDC", tokenOut="SOL", amount="2", amountMode="exactOut"),
                await place(running, tokenIn="BONK", tokenOut="USDC", amount="5000000"),  # by way of another token
                await place(running, **SELL, type="limit", limitPrice=below),
                await place(running, **SELL, type="stop", trigger={"op": "lte", "price": above}),
                await place(running, **SELL, type="take_profit", trigger={"op": "gte", "price": below}),
                await place(running, **SELL, type="trailing_stop", trail={"bps": 10}),
                await place(running, **{**SELL, "amount": "3"}, type="twap", **SCHEDULE),
                await place(running, **{**SELL, "amount": "0.3"}, type="dca", **SCHEDULE),
                await place(running, type="sniper", tokenIn="SOL", amount="0.1", slippageBps=1_000, sniper={}),
            ]
            orders += await pressed(running, orders[6])
            over = await asyncio.gather(*(ended(running, order) for order in orders))
            assert not [told(order) for order in over if order.status is not Status.CONFIRMED]
            assert {order.intent.type for order in over} == set(OrderType)

            exits = [
                {"type": "take_profit", "trigger": {"op": "gte", "price": below}},
                {"type": "stop", "trigger": {"op": "lte", "price": f"{now * 0.5:.4f}"}},
            ]
            entry = {"pair": "SOL/USDC", "side": "buy", "amount": "1", "slippageBps": 300}
            bracket = await place_bracket(running, entry, exits)
            tied = [await ended(running, order) for order in bracket.orders]
            statuses = [order.status for order in tied]
            assert statuses == [Status.CONFIRMED, Status.CONFIRMED, Status.CANCELED], [told(each) for each in tied]

            everything = [*over, *tied]
            tokens = {token.mint: token for each in everything for token in (each.swap.token_in, each.swap.token_out)}
            for mint, change in moved(everything).items():
                before = PURSE.get(tokens[mint].symbol, 0) * 10 ** tokens[mint].decimals
                assert chain.held(tokens[mint]) - before == change, tokens[mint].symbol

    asyncio.run(main())
