"""An engine that is killed again and again, on a localnet that drops, delays, forks, lags and lies.

Decides: what is offered, and when what goes wrong. Must never: help the engine, or judge it (verdict does).

Engine and localnet are processes of their own. The engine is given four nodes, of which one lies, one lags, and one is
flaky. Half of the orders are offered while 60 % of all sends are dropped, the other half while 97 % are; throughout,
30 % of all answers are lost, some sends come late, and unconfirmed blocks are taken back. When all are accepted the
faults go on for a while; then they cease, and what has begun must end.
"""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from solders.keypair import Keypair

from fillwright.units import NATIVE_MINT
from tests.servers.fleet import Process
from tests.servers.machine import free_port
from tests.solana.verdict import Record, Witness, stored

TOKENS: Final = {
    "SOL": NATIVE_MINT,
    "USDC": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "USDT": "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB",
    "mSOL": "mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So",
}
_FUNDS: Final = "SOL:100000,USDC:5000000,USDT:5000000,mSOL:50000"
_PAIRS: Final = (("SOL", "USDC"), ("SOL", "USDT"), ("mSOL", "SOL"), ("USDC", "USDT"), ("mSOL", "USDC"))
_AMOUNTS: Final = {"SOL": "0.0{}", "mSOL": "0.0{}", "USDC": "1.{}", "USDT": "2.{}"}
_FAULTS: Final = {"lostAnswers": 0.3, "lateSends": 0.05, "forks": 0.02, "skippedSlots": 0.06}
_DROPPED: Final = (0.6, 0.97)
_CLIENTS: Final = 32
_OPEN_MAX: Final = 400
_ANSWER_S: Final = 10.0
_ASKED_MAX: Final = 1_000
_SETTLE_S: Final = 240.0
"""From the last acknowledgement, or the end of the faults: by then every order must have ended."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    orders: int = 5_000
    seed: int = 1
    block_ms: int = 50
    kill_s: tuple[float, float] = (8.0, 20.0)
    """Between two kills of the engine."""
    concurrency: int = 100
    fork_depth_max: int = 1
    """Blocks that a fork takes back; more than one, and confirmed swaps vanish."""
    gullible: bool = False
    """A control: an engine that believes every node (tests.solana.gullible)."""


@dataclass
class Result:
    plan: Plan
    record: Record
    kills: int
    struck: Mapping[str, int]
    answers: Mapping[str, int]
    seconds: float


async def run(plan: Plan, folder: Path) -> Result:
    """In `folder`, which is empty."""
    began = time.monotonic()
    key = Keypair.from_seed(plan.seed.to_bytes(32, "little"))
    wallet = str(key.pubkey())
    localnet = _localnet(plan, folder, wallet)
    engine = _engine(plan, folder, localnet.url, key)
    await asyncio.to_thread(localnet.start)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
            witness = Witness(localnet.url, session)
            await asyncio.sleep(plan.block_ms / 1_000 * 12)
            before = await witness.balances(wallet, list(TOKENS.values()))
            (folder / "pools.txt").write_text("\n".join(await witness.pools()))
            await asyncio.to_thread(engine.start)
            campaign = _Campaign(plan, engine, witness, session)
            try:
                await campaign.run()
            finally:
                await asyncio.to_thread(engine.stop if engine.alive else engine.start)
            await asyncio.sleep(plan.block_ms / 1_000 * 12)
            orders, seqs = stored(folder / "data")
            record = Record(
                acknowledged=frozenset(campaign.acknowledged),
                orders=orders,
                executed=await witness.executed(wallet),
                before=before,
                after=await witness.balances(wallet, list(TOKENS.values())),
                seqs=seqs,
            )
            struck = (await witness.call("localnet_getFaults"))["struck"]
    finally:
        if engine.alive:
            engine.kill9()
        localnet.kill9()
    return Result(plan, record, campaign.kills, struck, campaign.answers, time.monotonic() - began)


def _localnet(plan: Plan, folder: Path, wallet: str) -> Process:
    port = free_port()
    command = ["localnet", "--port", str(port), "--block-ms", str(plan.block_ms), "--final-after", "8"]
    command += ["--seed", str(plan.seed), "--fund", f"{wallet}={_FUNDS}"]
    return Process("localnet", command, port=port, env={"FILLWRIGHT_DATA": str(folder)}, log=folder / "localnet.log")


def _engine(plan: Plan, folder: Path, url: str, key: Keypair) -> Process:
    file = folder / "wallet.json"
    file.touch(0o600)
    file.write_text(json.dumps(list(bytes(key))))
    nodes = [f"{url}/{name}" for name in ("lying", "flaky", "", "lagging")]
    env = {
        "FILLWRIGHT_CLUSTER": "localnet",
        "FILLWRIGHT_RPC": ",".join(nodes),
        "FILLWRIGHT_RPC_WS": ",".join(node.replace("http", "ws") for node in nodes),
        "FILLWRIGHT_WALLET": str(file),
        "FILLWRIGHT_DATA": str(folder / "data"),
        "FILLWRIGHT_POOLS": str(folder / "pools.txt"),
        "FILLWRIGHT_POOL_SLOTS_MAX": "200",  # of a tenth of the usual length
        "CONCURRENCY": str(plan.concurrency),
    }
    module = "tests.solana.gullible" if plan.gullible else "fillwright.cli"
    return Process("engine", ["serve", "--live"], port=free_port(), env=env, log=folder / "engine.log", module=module)


class _Campaign:
    def __init__(self, plan: Plan, engine: Process, witness: Witness, session: aiohttp.ClientSession) -> None:
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.kills = 0
        self._plan = plan
        self._engine = engine
        self._witness = witness
        self._session = session
        self._random = random.Random(plan.seed)
        self._offered = iter(range(plan.orders))
        self._half = asyncio.Event()
        self._calm = False
        self._counted_at = float("-inf")
        self._open = 0

    async def run(self) -> None:
        await self._fault(dropped=_DROPPED[0])
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill())
            clients = [group.create_task(self._submit()) for _ in range(_CLIENTS)]
            turn = group.create_task(self._turn())
            await asyncio.wait(clients)
            await turn
            await asyncio.sleep(self._plan.kill_s[1])
            self._calm = True
            await killing
        await self._fault(dropped=0.0, calm=True)
        self._counted_at = float("-inf")
        await self._until_open(0, within_s=_SETTLE_S)

    # --- what goes wrong ----------------------------------------------------------------------------------

    async def _fault(self, *, dropped: float, calm: bool = False) -> None:
        faults = {"droppedSends": dropped, "forkDepthMax": self._plan.fork_depth_max, **_FAULTS}
        await self._witness.call("localnet_setFaults", {} if calm else faults)

    async def _turn(self) -> None:
        """To the worse faults, once half of the orders are accepted."""
        await self._half.wait()
        await self._fault(dropped=_DROPPED[1])

    async def _kill(self) -> None:
        while not self._calm:
            await asyncio.sleep(self._random.uniform(*self._plan.kill_s))
            self.kills += 1
            await asyncio.to_thread(self._once_more)

    def _once_more(self) -> None:
        self._engine.kill9()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._engine.start()

    # --- what is offered ----------------------------------------------------------------------------------

    async def _submit(self) -> None:
        for number in self._offered:
            self.acknowledged.add(await self._accepted(self._wish(number)))
            if len(self.acknowledged) >= self._plan.orders // 2:
                self._half.set()
            await self._until_open(_OPEN_MAX, within_s=_SETTLE_S)

    def _wish(self, number: int) -> dict[str, Any]:
        random_ = random.Random(self._plan.seed * 1_000_003 + number)
        pair = random_.sample(random_.choice(_PAIRS), 2)
        mode = random_.choice(("exactIn", "exactOut"))
        fixed = pair[0] if mode == "exactIn" else pair[1]
        return {
            "clientOrderId": f"c-{number}",
            "tokenIn": pair[0],
            "tokenOut": pair[1],
            "amount": _AMOUNTS[fixed].format(random_.randint(1, 99_999)),
            "amountMode": mode,
            "slippageBps": random_.choice((1, 50, 100, 300)),
        }

    async def _accepted(self, body: dict[str, Any]) -> str:
        """The order's id. The same is asked again until it is told, across the engine's lives."""
        for _ in range(_ASKED_MAX):
            if (order_id := await self._post(body)) is not None:
                return order_id
            await asyncio.sleep(0.3)
        raise TimeoutError(body)

    async def _post(self, body: dict[str, Any]) -> str | None:
        """None where there was no answer, or none yet."""
        try:
            async with self._session.post(f"{self._engine.url}/v1/orders", json=body) as response:
                self.answers[str(response.status)] += 1
                told = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            self.answers["none"] += 1
            return None
        if response.status in (200, 201):
            return str(told["id"])
        assert response.status in (429, 503), told
        return None

    async def _until_open(self, most: int, *, within_s: float) -> None:
        """Until no more than so many orders have not ended."""
        async with asyncio.timeout(within_s):
            for wait_s in itertools.chain([0.0], itertools.repeat(1.0)):
                await asyncio.sleep(wait_s)
                if time.monotonic() - self._counted_at > 1.0:
                    self._counted_at = time.monotonic()
                    self._open = await self._count()
                if self._open <= most:
                    return

    async def _count(self) -> int:
        """How many have not ended, as far as one page tells; very many while the engine is away."""
        try:
            async with self._session.get(f"{self._engine.url}/v1/orders?status=open&limit=1000") as response:
                return len((await response.json())["data"])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
            return 1_000
