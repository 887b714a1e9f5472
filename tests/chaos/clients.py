"""Clients that place orders through any API, again and again under the same name, until they are acknowledged.

Decides: what is asked for, how often, and which answers a client may be given. Must never: repeat a request under
another name: that would be another order.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.chaos.memory import Memory, Wish

_PAIRS: Final = (("SOL", "USDC", 0.001), ("USDC", "SOL", 0.2), ("SOL", "USDT", 0.001), ("SOL", "BONK", 0.001))
_LOW: Final = "0.0000001"
_HIGH: Final = "100000"
"""Prices that the market never leaves upwards, and never reaches."""
_WAIT_S: Final = 10.0
_PATIENCE: Final = aiohttp.ClientTimeout(total=5)
_PAUSE_S: Final = (0.05, 0.3)
_UNDER_WAY_MAX: Final = 600
"""Wishes that are not acknowledged yet; beyond it no new ones are made."""
_MALFORMED: Final[Sequence[bytes]] = (
    b"",
    b"{",
    b"[]",
    b'{"clientOrderId":"malformed"}',
    b'{"clientOrderId":"malformed","tokenIn":"SOL","tokenOut":"SOL","amount":"1"}',
    b'{"clientOrderId":"malformed","tokenIn":"SOL","tokenOut":"USDC","amount":-1}',
    b'{"clientOrderId":"malformed","tokenIn":"SOL","tokenOut":"USDC","amount":"1e400"}',
    b'{"clientOrderId":"malformed","tokenIn":"SOL","tokenOut":"USDC","amount":"1","surprise":true}',
    b'{"clientOrderId":"malformed\\u0000","tokenIn":"SOL","tokenOut":"USDC","amount":"1"}',
    b'{"clientOrderId":"malformed","tokenIn":"SOL","tokenIn":"USDC","tokenOut":"USDC","amount":"1"}',
    b"\xff\xfe" * 100,
    b"[" * 5_000,
)
CLEAN: Final = (200, 201, 202)
AWAY: Final = 503


@dataclass
class Chances:
    """How often a client does what, of all its wishes."""

    follow: float = 0.3
    cancel: float = 0.1
    repeat: float = 0.1
    misuse: float = 0.04
    malformed: float = 0.04
    tight: float = 0.04
    """Slippage so small that the chain may refuse."""
    limit: float = 0.06
    sliced: float = 0.04
    bracket: float = 0.04
    """Kinds of orders; what is left are market orders."""


@dataclass
class Clients:
    """`urls`: each API as clients reach it."""

    urls: Sequence[str]
    memory: Memory
    dice: random.Random
    rate: float
    placed: "asyncio.Queue[str]"
    """Orders for somebody to follow."""
    chances: Chances = field(default_factory=Chances)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    """Requests without an answer."""
    held_back: int = 0
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, stopped: asyncio.Event) -> None:
        """Offer orders at the rate until stopped; then wait for what is under way."""
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=_PATIENCE, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            begun = loop.time()
            offered = 0
            while not stopped.is_set():
                await asyncio.sleep(0.02)
                while offered < (loop.time() - begun) * self.rate:
                    offered += 1
                    self._offer(session, group, offered)

    def _offer(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup, number: int) -> None:
        if len(self._under_way) >= _UNDER_WAY_MAX:
            self.held_back += 1
            return
        wish = self._wish(number)
        self.memory.asked.append(wish)
        task = group.create_task(self._live(session, wish))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _wish(self, number: int) -> Wish:
        token_in, token_out, unit = self.dice.choice(_PAIRS)
        amount = f"{unit * (1 + number % 997 / 1_000):.6f}"
        body: dict[str, object] = {"tokenIn": token_in, "tokenOut": token_out, "amount": amount}
        body["slippageBps"] = 0 if self._comes(self.chances.tight) else 500
        kind = self.dice.random()
        key = f"key-{number}" if kind < 0.85 else None
        client_order_id = f"order-{number}" if kind > 0.6 else None
        if client_order_id is not None:
            body["clientOrderId"] = client_order_id
        return Wish(number, self._of_some_kind(body), key, client_order_id)

    def _of_some_kind(self, body: dict[str, object]) -> dict[str, object]:
        """At once, or an order that waits: for its price, its slices, or its entry; none of them for ever."""
        chances, kind = self.chances, self.dice.random()
        if kind < chances.limit:
            if body["tokenIn"] == "USDC":  # a buy's worst price is a high one
                met, never = _HIGH, _LOW
            else:
                met, never = _LOW, _HIGH
            price = met if self._comes(0.7) else never
            return {**body, "type": "limit", "limitPrice": price, "expireAt": self._soon()}
        if kind < chances.limit + chances.sliced:
            schedule = {"slices": self.dice.randint(2, 4), "intervalSeconds": 1, "jitterPct": 20}
            return {**body, "type": self.dice.choice(["twap", "dca"]), "schedule": schedule}
        if kind < chances.limit + chances.sliced + chances.bracket:
            entry = {**body, "tokenIn": "USDC", "tokenOut": "SOL", "amount": "0.2"}
            until = self._soon()
            profit = {"type": "take_profit", "trigger": {"price": _LOW}, "slippageBps": 500, "expireAt": until}
            stop = {"type": "stop", "trigger": {"price": _LOW}, "slippageBps": 500, "expireAt": until}
            return {"entry": entry, "exits": [profit, stop]}
        return body

    def _soon(self) -> int:
        return int((time.time() + _WAIT_S) * 1_000)

    # --- a wish's life ------------------------------------------------------------------------------------

    async def _live(self, session: aiohttp.ClientSession, wish: Wish) -> None:
        order_id = await self._place(session, wish)
        if self._comes(self.chances.follow):
            for each in (order_id, *self.memory.exits[wish.number]):
                self.placed.put_nowait(each)
        if self._comes(self.chances.cancel):
            await asyncio.sleep(self.dice.uniform(0, 0.2))
            await self._cancel(session, order_id)
        if self._comes(self.chances.repeat):
            await asyncio.sleep(self.dice.uniform(0, 2))
            await self._place(session, wish)
        if self._comes(self.chances.misuse):
            await self._misuse(session, wish)
        if self._comes(self.chances.malformed):
            await self._send_malformed(session)

    async def _place(self, session: aiohttp.ClientSession, wish: Wish) -> str:
        headers = {} if wish.key is None else {"Idempotency-Key": wish.key}
        while True:
            status, told = await self._ask(session, "POST", wish.path, json=wish.body, headers=headers)
            if status in (200, 201):
                first, exits = told.get("entry", told), tuple(each["id"] for each in told.get("exits", ()))
                self.memory.acknowledge(wish, first["id"], exits)
                return str(first["id"])
            if status != AWAY:
                self.memory.findings.violate("I7", f"wish {wish.number} was answered {status}: {told}")
                await asyncio.sleep(1)
            await self._pause()

    async def _cancel(self, session: aiohttp.ClientSession, order_id: str) -> None:
        """Until there is an answer: canceled, under way, or too late."""
        while True:
            status, told = await self._ask(session, "DELETE", f"/v1/orders/{order_id}")
            if status in (200, 202):
                if told["status"] == "canceled":
                    self.memory.canceled.add(order_id)
                return
            if status == 409:
                return
            if status != AWAY:
                self.memory.findings.violate("I1", f"cancelling {order_id} was answered {status}: {told}")
                return
            await self._pause()

    async def _misuse(self, session: aiohttp.ClientSession, wish: Wish) -> None:
        """Another request under a used name: never an order."""
        headers = {} if wish.key is None else {"Idempotency-Key": wish.key}
        entry = wish.body.get("entry")
        other = {**wish.body, "entry": {**entry, "amount": "0.5"}} if isinstance(entry, dict) else None
        other = other or {**wish.body, "amount": "0.5"}
        while True:
            status, told = await self._ask(session, "POST", wish.path, json=other, headers=headers)
            if status in (409, 422):
                return
            if status != AWAY:
                self.memory.findings.violate("I7", f"misuse of wish {wish.number} was answered {status}: {told}")
                return
            await self._pause()

    async def _send_malformed(self, session: aiohttp.ClientSession) -> None:
        body = self.dice.choice(_MALFORMED)
        headers = {"Content-Type": "application/json"}
        while True:
            status, told = await self._ask(session, "POST", "/v1/orders", data=body, headers=headers)
            if 400 <= status < 500:
                return
            if status != AWAY:
                self.memory.findings.violate("I14", f"{body[:80]!r} was answered {status}: {told}")
                return
            await self._pause()

    # --- one request --------------------------------------------------------------------------------------

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and JSON from any API; where there was no answer at all, it is as good as "come again"."""
        url = self.dice.choice(self.urls) + path
        try:
            async with session.request(method, url, **more) as reply:
                told = await reply.json(content_type=None)
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError):
            self.broken += 1
            return AWAY, None
        self.statuses[reply.status] += 1
        self._check(reply, told)
        return reply.status, told

    def _check(self, reply: aiohttp.ClientResponse, told: Any) -> None:
        """A refusal is a problem document; a server error is only ever "come again", and says when."""
        if reply.status in CLEAN:
            return
        if reply.content_type != "application/problem+json" or not isinstance(told, dict) or "code" not in told:
            self.memory.findings.violate("I14", f"{reply.status} without a problem document: {told}")
        if reply.status >= 500 and (reply.status != AWAY or "Retry-After" not in reply.headers):
            self.memory.findings.violate("I14", f"a server error: {reply.status} {told}")

    def _comes(self, chance: float) -> bool:
        return self.dice.random() < chance

    async def _pause(self) -> None:
        await asyncio.sleep(self.dice.uniform(*_PAUSE_S))
