"""Clients who tie orders to each other: brackets, and pairs of which at most one swaps.

Decides: what they ask for, and when they have had enough. Must never: end what the engine has to end: once a part is
filled, or the entry is over, they leave the rest to it and wait.
"""

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import sha256
from random import Random
from typing import Any, Final

import msgspec

from fillwright.adapters.sim.market import SOL, USDC, USDT
from fillwright.engine import Bracket, BracketAsked, Engine
from fillwright.errors import RETRYABLE, Code, FillwrightError
from fillwright.order import Intent, Mode, Order, OrderType, Side, Status, TimeInForce
from fillwright.units import Atoms, Bps, OrderId
from tests.simulation.invariants import Witness
from tests.simulation.wishes import ACCOUNT, RESTING, conditional, price_near

change: Final = msgspec.structs.replace
_NOT_NOW: Final = RETRYABLE | {Code.CANCEL_TOO_LATE}
_USUAL: Final = {SOL: 10**9, USDC: 100 * 10**6, USDT: 100 * 10**6}


def bracket(random: Random, number: int) -> BracketAsked:
    first = _swap(random)
    exits = tuple(_exit(random, first) for _ in range(2))
    entry: Intent | None = None
    if random.random() < 0.6:
        entry = change(first, mode=random.choice((Mode.EXACT_IN, Mode.EXACT_OUT)))
        entry = change(entry, amount=Atoms(_USUAL[entry.token_in if entry.mode is Mode.EXACT_IN else entry.token_out]))
        if random.random() < 0.4:
            entry = change(entry, type=OrderType.LIMIT, limit=price_near(random, entry))
        back = Side.BUY if first.side is Side.SELL else Side.SELL
        exits = tuple(_exit(random, change(_reversed(first), side=back)) for _ in range(random.choice((1, 2, 2))))
    asked = BracketAsked(
        account=ACCOUNT,
        entry=entry,
        exits=exits,
        fingerprint=b"",
        client_order_id=random.choice((None, f"b{number}")),
        idempotency_key=f"bracket-{number}",
    )
    return change(asked, fingerprint=sha256(msgspec.json.encode(asked)).digest())


def _swap(random: Random) -> Intent:
    base, quote = random.choice(((SOL, USDC), (SOL, USDT)))
    side = random.choice((Side.BUY, Side.SELL))
    token_in, token_out = (base, quote) if side is Side.SELL else (quote, base)
    return Intent(
        side=side,
        token_in=token_in,
        token_out=token_out,
        amount=Atoms(int(_USUAL[token_in] * random.uniform(0.5, 2))),
        mode=Mode.EXACT_IN,
        slippage_bps=Bps(random.choice((50, 500))),
    )


def _reversed(intent: Intent) -> Intent:
    return change(intent, token_in=intent.token_out, token_out=intent.token_in)


def _exit(random: Random, swap: Intent) -> Intent:
    """Some are met at once, some never; most wait for ever."""
    intent = change(conditional(random, swap, RESTING), time_in_force=TimeInForce.GTC)
    return intent if random.random() < 0.2 else change(intent, deadline_ms=None)


class Tiers:
    """They place their brackets, wait a while, and then cancel what nothing has become of."""

    def __init__(
        self,
        seed: int,
        witness: Witness,
        ask: Callable[[Callable[[Engine], Coroutine[Any, Any, Any]]], Coroutine[Any, Any, Any]],
        acknowledged: dict[str, OrderId],
    ) -> None:
        self._random = Random(f"{seed}:tied")
        self._witness = witness
        self._ask = ask
        self._acknowledged = acknowledged
        self._count = self._random.choice((0, 0, 1, 2, 4))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._trade(bracket(self._random, number), group))

    async def _trade(self, asked: BracketAsked, group: asyncio.TaskGroup) -> None:
        await asyncio.sleep(self._random.uniform(0, 20))
        if self._random.random() < 0.3:
            group.create_task(self._submit(asked))
        orders = await self._submit(asked)
        await asyncio.sleep(self._random.choice((1, 20, 60)) * self._random.uniform(0.2, 1))
        while not self._is_done(found := await self._look(orders), has_entry=asked.entry is not None):
            entry = found[0] if asked.entry is not None else None
            for order in [entry] if entry is not None and not entry.is_terminal else found:
                if order.is_terminal:
                    continue
                reply = await self._ask(lambda engine: engine.cancel(ACCOUNT, order.id))  # noqa: B023
                if isinstance(reply, FillwrightError) and reply.code not in _NOT_NOW:
                    self._witness.violate("I1", f"cancelling {order.id}: {reply.code} {reply}")
            await asyncio.sleep(self._random.uniform(1, 4))
        self._witness.counts["brackets"] += 1

    async def _submit(self, asked: BracketAsked) -> tuple[OrderId, ...]:
        """Ask until there is an answer: the same orders each time, all of them stored."""
        while True:
            reply = await self._ask(lambda engine: engine.submit_bracket(asked))
            if isinstance(reply, Bracket):
                for nth, order in enumerate(reply.orders):
                    self._witness.told(order)
                    name = f"{asked.idempotency_key}#{nth}"
                    if self._acknowledged.setdefault(name, order.id) != order.id:
                        self._witness.violate("I7", f"{name} names {order.id} and {self._acknowledged[name]}")
                if len(reply.orders) != len(asked.exits) + (asked.entry is not None):
                    self._witness.violate("I7", f"{asked.idempotency_key} was answered with {len(reply.orders)} orders")
                return tuple(order.id for order in reply.orders)
            if reply is not None and reply.code not in RETRYABLE:
                self._witness.violate("I7", f"a bracket was refused: {reply.code} {reply}")
            await asyncio.sleep(self._random.uniform(0.2, 3))

    async def _look(self, order_ids: tuple[OrderId, ...]) -> list[Order]:
        found: list[Order] = []
        while len(found) < len(order_ids):
            order_id = order_ids[len(found)]
            reply = await self._ask(lambda engine: engine.get(ACCOUNT, order_id))  # noqa: B023
            if isinstance(reply, Order):
                found.append(reply)
            else:
                await asyncio.sleep(1)
        return found

    def _is_done(self, found: list[Order], *, has_entry: bool) -> bool:
        """Nothing is left, or what is left is the engine's to end."""
        if all(order.is_terminal for order in found):
            return True
        exits = found[1:] if has_entry else found
        if has_entry and found[0].is_terminal and found[0].status is not Status.CONFIRMED:
            return True
        return any(order.status is Status.CONFIRMED for order in exits)
