"""A client of the fourth older engine: `python dialect_d.py http://host:port`. It knows that engine's API alone."""

import asyncio
import sys

import aiohttp


async def main(url: str) -> None:
    order = {"orderType": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1.5, "slippage": 0.05}
    async with aiohttp.ClientSession() as http:
        async with http.post(url + "/api/orders/execute", json=order) as response:
            if response.status != 201:
                sys.exit(f"not accepted: {(await response.json())['error']}")
            order_id = (await response.json())["orderId"]
        print("accepted pending")
        async with http.ws_connect(f"{url.replace('http', 'ws', 1)}/api/orders/status/{order_id}") as socket:
            async for message in socket:
                frame = message.json()
                told = {"building": "chosen", "submitted": "attempt", "confirmed": "txHash"}.get(frame["status"])
                print(frame["status"], told is None or bool(frame[told]))
        async with http.get(f"{url}/api/orders/status/{order_id}") as response:
            print("now", (await response.json())["status"])
        async with http.get(f"{url}/api/health") as response:
            print("health", response.status)


asyncio.run(main(sys.argv[1]))
