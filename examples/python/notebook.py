"""The same without asyncio: for scripts and notebooks.

python examples/python/notebook.py
"""

import os

from fillwright.client import SyncClient

url = os.environ.get("FILLWRIGHT_URL", "http://127.0.0.1:3000")
with SyncClient(url, api_key=os.environ.get("FILLWRIGHT_API_KEY")) as client:
    quote = client.quote({"pair": "SOL/USDC", "side": "sell", "amount": "10"})
    print(f"10 SOL are {quote.amount_out} USDC now, impact {quote.price_impact_bps} bps: {quote.reason}")

    order = client.submit({"pair": "SOL/USDC", "side": "sell", "amount": "10"})
    for frame in client.watch(order.id):
        print(frame.status, frame.reason or frame.error or "")
    print("swapped at", client.get(order.id).executed_price)

    for each in client.orders(status="closed", page_size=50):
        print(each.id, each.status, each.amount, each.pair)
