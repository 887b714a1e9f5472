"""A client of the fifth older engine: `python dialect_e.py http://host:port`. It knows that engine's API alone."""

import asyncio
import sys

import aiohttp


async def main(url: str) -> None:
    order = {"inputToken": "SOL", "outputToken": "USDC", "amount": "1.5"}
    async with aiohttp.ClientSession() as http, http.ws_connect(url.replace("http", "ws", 1) + "/ws") as socket:
        async with http.post(url + "/api/orders/execute", json=order) as response:
            if response.status != 200:
                sys.exit(f"not accepted: {(await response.json())['error']}")
            order_id = (await response.json())["orderId"]
        print("accepted pending")
        await socket.send_json({"type": "subscribe", "orderId": order_id})
        async for message in socket:
            frame = message.json()
            if frame["status"] == "failed":
                sys.exit(f"failed: {frame['error']}")
            print(frame["status"], frame["orderId"] == order_id)
            if frame["status"] == "confirmed":
                print("told", bool(frame["txHash"]), float(frame["executedPrice"]) > 0)
                break
        async with http.get(f"{url}/api/orders?limit=5") as response:
            print("listed", [each["orderId"] for each in (await response.json())["orders"]][:1] == [order_id])


asyncio.run(main(sys.argv[1]))
