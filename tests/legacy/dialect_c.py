"""A client of the third older engine: `python dialect_c.py http://host:port`. It knows that engine's API alone."""

import asyncio
import sys

import aiohttp


async def main(url: str) -> None:
    order = {"clientId": "desk-7", "side": "sell", "baseAsset": "SOL", "quoteAsset": "USDC", "amount": 1.5}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url.replace("http", "ws", 1) + "/api/orders/ws") as socket,
    ):
        await socket.send_json(order)
        order_id = None
        async for message in socket:
            frame = message.json()
            if frame["event"] == "error":
                sys.exit(f"not accepted: {frame['error']}")
            if frame["event"] == "pending":
                order_id = frame["orderId"]
            for quote in frame.get("quotes", ()):
                print(
                    "quote", *(name in quote for name in ("venue", "price", "slippage", "liquidityScore", "latencyMs"))
                )
            print(frame["event"], frame["orderId"] == order_id)
            if frame["event"] in ("confirmed", "failed"):
                break


asyncio.run(main(sys.argv[1]))
