"""Place orders at once and follow each to its end, with asyncio.

python examples/python/place_and_watch.py
"""

import asyncio
import os

from fillwright.client import ApiError, Client, OrderRequest

WISHES: list[OrderRequest] = [
    {"pair": "SOL/USDC", "side": "sell", "amount": "1.5", "slippageBps": 50},
    {"pair": "SOL/USDC", "side": "buy", "amount": "2"},
    {"tokenIn": "USDC", "tokenOut": "BONK", "amount": "25"},
]


async def follow(client: Client, wish: OrderRequest) -> None:
    """A lost connection changes nothing: the order is sent under one key, the stream resumes where it was."""
    order = await client.submit(wish)
    async for frame in client.watch(order.id):
        print(f"{order.id}  {frame.seq}  {frame.status:<10} {frame.reason or frame.tx_hash or frame.error or ''}")
    ended = await client.get(order.id)
    print(f"{order.id}  {ended.amount_in} {ended.token_in} -> {ended.amount_out} {ended.token_out}")


async def main() -> None:
    url = os.environ.get("FILLWRIGHT_URL", "http://127.0.0.1:3000")
    async with Client(url, api_key=os.environ.get("FILLWRIGHT_API_KEY")) as client:
        await asyncio.gather(*(follow(client, wish) for wish in WISHES))
        try:
            await client.submit({"pair": "SOL/USDC", "side": "sell", "amount": "0"})
        except ApiError as refused:
            print(f"refused: {refused.code} {refused} (again later: {refused.retryable})")


asyncio.run(main())
