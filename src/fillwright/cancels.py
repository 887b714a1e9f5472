"""Canceling: one order, all of an account's, and those of an account that has fallen silent.

Decides: what a cancel request does to an order in any state. Must never: cancel what may still land: a live transaction
makes it a note, honoured once that is proven over.
"""

import asyncio
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.executor import Executor
from fillwright.order import TERMINAL, Order, Status, cancel
from fillwright.ports import Conflict, Page
from fillwright.units import Mint, OrderId

_AT_ONCE: Final = 200
"""Orders canceled side by side; the store writes them together."""
_SWITCHES_MAX: Final = 100
_OPEN: Final = frozenset(Status) - TERMINAL


class Withdrawal(msgspec.Struct, frozen=True):
    """What became of one order's cancel request: the order as it is now, or why there is no answer."""

    order: Order
    problem: Problem | None = None


class Cancels:
    """Cancel requests, carried out by the compare-and-set of the order's seq."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._store = executor.store
        self._clock = executor.clock

    async def one(self, account: str, order_id: OrderId) -> Order:
        """Cancel now, or as soon as the live transaction is proven over (the order is then still submitted).

        Raises FillwrightError: ORDER_NOT_FOUND; CANCEL_TOO_LATE where it ended otherwise.
        """
        return await self._cancel(await self._get(account, order_id))

    async def all(self, account: str, mints: frozenset[Mint] | None = None) -> list[Withdrawal]:
        """Cancel every order that is open when its turn comes, of this pair of tokens where given; newest first."""
        done: list[Withdrawal] = []
        page = Page(account=account, limit=_AT_ONCE, statuses=_OPEN, mints=mints)
        while found := await self._store.page(page):
            done += await asyncio.gather(*(self._try(order) for order in found))
            page = msgspec.structs.replace(page, before=found[-1].id)
        return done

    async def fire(self) -> None:
        """Carry out the switches whose time has come. One that is not done to the end stays for the next sweep.

        Raises FillwrightError(STORE_UNAVAILABLE).
        """
        for switch in await self._store.fired(_SWITCHES_MAX):
            for withdrawal in await self.all(switch.account):
                if withdrawal.problem is not None and withdrawal.problem.code is not Code.CANCEL_TOO_LATE:
                    raise FillwrightError(withdrawal.problem.code, withdrawal.problem.detail)
            await self._store.disarm(switch.account, switch)

    async def _try(self, order: Order) -> Withdrawal:
        try:
            return Withdrawal(await self._cancel(order))
        except FillwrightError as error:
            return Withdrawal(order, error.problem)

    async def _cancel(self, order: Order) -> Order:
        while order.status is not Status.CANCELED:
            recorded = cancel(order, self._clock.now())
            if recorded is None:
                return order
            try:
                await self._store.record(order, [recorded])
            except Conflict:  # the order moved on meanwhile; it has few moves left, so this ends
                order = await self._get(order.account, order.id)
            else:
                await self._executor.announce([recorded])
                return recorded.order
        return order

    async def _get(self, account: str, order_id: OrderId) -> Order:
        order = await self._store.get(account, order_id)
        if order is None:
            raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
        return order
