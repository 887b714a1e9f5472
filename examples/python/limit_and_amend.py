"""Let an order wait for a price, change your mind, and see it filled.

python examples/python/limit_and_amend.py
"""

import asyncio
import os
from decimal import Decimal

from fillwright.client import Client, Conflict, OrderRequest

SWAP: OrderRequest = {"pair": "SOL/USDC", "side": "sell", "amount": "1.5"}


async def main() -> None:
    url = os.environ.get("FILLWRIGHT_URL", "http://127.0.0.1:3000")
    async with Client(url, api_key=os.environ.get("FILLWRIGHT_API_KEY")) as client:
        price = Decimal((await client.quote(SWAP)).price)
        dear = f"{price * 2:.2f}"  # at most 12 significant digits
        order = await client.submit({**SWAP, "type": "limit", "limitPrice": dear})
        amended = False
        async for frame in client.watch(order.id):
            print(frame.seq, frame.status, frame.cause, frame.trigger_price or frame.price or frame.error or "")
            if frame.status == "open" and not amended:
                told = await client.explain(order.id)
                print("  ", told.summary, "It has", told.distance_bps, "bps to go.")
                try:  # seq says which state of the order this is meant for
                    await client.amend(order.id, frame.seq, {"limitPrice": f"{price * Decimal('0.9'):.2f}"})
                    amended = True
                except Conflict as moved:
                    print("not changed:", moved.code)
        print("swapped at", (await client.get(order.id)).executed_price)


asyncio.run(main())
