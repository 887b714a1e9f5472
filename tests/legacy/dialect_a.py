"""A client of the first older engine: `python dialect_a.py http://host:port`. It knows that engine's API alone."""

import asyncio
import sys

import aiohttp


async def main(url: str) -> None:
    order = {"pair": "SOL/USDC", "side": "buy", "amount": 2, "slippageTolerance": 0.01}
    async with aiohttp.ClientSession() as http:
        async with http.post(url + "/api/orders/execute", json=order) as response:
            if response.status != 201:
                sys.exit(f"not accepted: {(await response.json())['error']}")
            accepted = await response.json()
        print("accepted", accepted["status"])
        async with http.ws_connect(url.replace("http", "ws", 1) + accepted["wsUrl"]) as socket:
            async for message in socket:
                frame = message.json()
                print(frame["status"], frame["orderId"] == accepted["orderId"], sep=" ")
        async with http.get(f"{url}/api/orders/{accepted['orderId']}") as response:
            print("now", (await response.json())["status"])


asyncio.run(main(sys.argv[1]))
