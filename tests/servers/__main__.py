"""`make prod-demo`: a whole deployment on this machine, a few orders, and one worker killed in the middle of them.

Decides: what is shown. Must never: report a success that the chain's own ledger does not have.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.servers.fleet import Fleet

ORDERS: Final = 60
ENDED: Final = frozenset({"confirmed", "failed", "expired", "canceled"})
PATIENCE_S: Final = 120.0


def wish(number: int) -> dict[str, str]:
    pairs = (("SOL", "USDC", "0.25"), ("USDC", "SOL", "40"), ("SOL", "BONK", "0.1"), ("SOL", "USDT", "1.5"))
    token_in, token_out, amount = pairs[number % len(pairs)]
    return {"clientOrderId": f"demo-{number}", "tokenIn": token_in, "tokenOut": token_out, "amount": amount}


async def ended(session: aiohttp.ClientSession, url: str, order_id: str) -> dict[str, Any]:
    """The order's last frame, over as many connections as it takes."""
    after = 0
    while True:
        try:
            async with session.ws_connect(f"{url}/ws/orders/{order_id}?after={after}") as stream:
                async for message in stream:
                    frame: dict[str, Any] = message.json()
                    after = frame.get("seq", after)
                    if frame.get("status") in ENDED:
                        return frame
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)


async def place(fleet: Fleet) -> dict[str, dict[str, Any]]:
    begun = time.monotonic()
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        following: dict[str, asyncio.Task[dict[str, Any]]] = {}
        for number in range(ORDERS):
            api = fleet.apis[number % len(fleet.apis)]
            async with session.post(f"{api.url}/v1/orders", json=wish(number)) as reply:
                reply.raise_for_status()
                order_id = (await reply.json())["id"]
            other = fleet.apis[(number + 1) % len(fleet.apis)]
            following[order_id] = group.create_task(ended(session, other.url, order_id))
            if number == ORDERS // 2:
                fleet.workers[0].kill9()
                print(f"{time.monotonic() - begun:6.1f} s  {number + 1} orders are in; worker 1 is killed (kill -9)")
        print(f"{time.monotonic() - begun:6.1f} s  all {ORDERS} are accepted, each by one API and watched on the other")
    print(f"{time.monotonic() - begun:6.1f} s  all have ended; the killed worker's were taken over after its lease")
    return {order_id: task.result() for order_id, task in following.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", choices=("classic", "instant"), default="classic")
    parser.add_argument("--without-redis", action="store_true", help="PostgreSQL carries hints and events as well")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fillwright-prod-") as folder,
        Fleet(Path(folder), with_redis=not args.without_redis, settings={"FILLWRIGHT_SIM": args.sim}) as fleet,
    ):
        print(f"PostgreSQL {fleet.database}")
        print(f"Redis      {'none' if fleet.redis is None else f'port {fleet.redis.port}'}")
        print(f"chain      {fleet.chain.url}")
        print(f"API        {', '.join(api.url for api in fleet.apis)}")
        print(f"workers    {len(fleet.workers)} processes\n")
        frames = asyncio.run(place(fleet))
        codes = [process.stop() for process in (*fleet.apis, *fleet.workers[1:], fleet.chain)]
        with closing(sqlite3.connect(fleet.ledger)) as ledger:
            settled = [row[0] for row in ledger.execute("SELECT order_id FROM ledger WHERE problem IS NULL")]
    confirmed = sorted(order_id for order_id, frame in frames.items() if frame["status"] == "confirmed")
    agrees = sorted(settled) == confirmed
    print(f"\n{len(confirmed)} confirmed, {len(frames) - len(confirmed)} failed (of {ORDERS})")
    print(
        "the chain's ledger agrees: each confirmed order settled once, no other did" if agrees else "THE LEDGER DIFFERS"
    )
    print(f"orderly stop of every process: exit codes {sorted(set(codes))}")
    return 0 if agrees and len(confirmed) > ORDERS // 2 and not any(codes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
