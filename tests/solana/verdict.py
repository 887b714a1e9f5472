"""Did the engine keep its promises on a chain that did all it could? Judged from its database and the chain's record.

Decides: what counts as broken. Must never: ask the engine.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from fillwright.programs import PROGRAMS
from fillwright.programs.token import associated
from fillwright.units import NATIVE_MINT, Mint

ENDED: Final = frozenset({"confirmed", "failed", "canceled", "expired"})
_PAGE: Final = 1_000
_BATCH: Final = 100


@dataclass(frozen=True)
class OrderRow:
    id: str
    status: str
    mint_in: str
    mint_out: str
    filled_in: int | None
    filled_out: int | None
    fill_hash: str | None


@dataclass(frozen=True)
class Executed:
    """A transaction of the wallet that stands in a block, done or undone."""

    signature: str
    order_id: str
    failed: bool
    fee: int
    moved: Mapping[str, int]
    """What the wallet has more or less of, by mint; the fee of SOL included."""


Balances = Mapping[str, int]
"""By mint, in atoms; SOL: the wallet's lamports."""


@dataclass(frozen=True)
class Record:
    """All that is known when everything has stopped."""

    acknowledged: frozenset[str]
    orders: Sequence[OrderRow]
    executed: Sequence[Executed]
    before: Balances
    after: Balances
    seqs: Mapping[str, Sequence[int]]


def broken(record: Record) -> list[str]:
    """Every promise that was broken, in words; empty: none."""
    return [*_lost(record), *_twice(record), *_fills(record), *_balances(record), *_gaps(record)]


def _lost(record: Record) -> list[str]:
    known = {order.id for order in record.orders}
    lost = [f"order {each} was acknowledged and is gone" for each in sorted(record.acknowledged - known)]
    stuck = [f"order {order.id} is still {order.status}" for order in record.orders if order.status not in ENDED]
    return lost + stuck


def _twice(record: Record) -> list[str]:
    times = Counter(each.order_id for each in record.executed if not each.failed)
    return [f"order {order_id} was executed {count} times" for order_id, count in times.items() if count > 1]


def _fills(record: Record) -> list[str]:
    """Confirmed is exactly what the chain has executed."""
    by_chain = {each.order_id: each.signature for each in record.executed if not each.failed}
    by_engine = {order.id: order.fill_hash for order in record.orders if order.status == "confirmed"}
    found = []
    for order_id in sorted(by_chain.keys() | by_engine.keys()):
        chain, engine = by_chain.get(order_id), by_engine.get(order_id)
        if chain != engine:
            found.append(f"order {order_id}: the chain executed {chain}, the engine confirmed {engine}")
    return found


def _balances(record: Record) -> list[str]:
    """To the atom: what the wallet has more or less than before is the sum of the fills, the fees, and what the
    tolerance between two swaps has left of the token between them, which is never less than nothing.
    """
    expected: defaultdict[str, int] = defaultdict(int)
    orders = {order.id: order for order in record.orders}
    found: list[str] = []
    for order in record.orders:
        expected[order.mint_in] -= order.filled_in or 0
        expected[order.mint_out] += order.filled_out or 0
    for each in record.executed:
        expected[NATIVE_MINT] -= each.fee
        between = left_between(each, orders[each.order_id]) if each.order_id in orders else {}
        for mint, amount in between.items():
            expected[mint] += amount
        if any(amount < 0 for amount in between.values()):
            found.append(f"order {each.order_id}: more of a token between two swaps was spent than swapped: {between}")
    moved = {mint: record.after.get(mint, 0) - amount for mint, amount in record.before.items()}
    return found + [
        f"token {mint}: the wallet has {moved.get(mint, 0):+d}, its fills say {expected[mint]:+d}"
        for mint in sorted(moved.keys() | expected.keys())
        if moved.get(mint, 0) != expected[mint]
    ]


def left_between(executed: Executed, order: OrderRow) -> dict[str, int]:
    """Tokens that are neither paid nor asked for, and of which something was left."""
    ends = {order.mint_in, order.mint_out}
    moved = {**executed.moved, NATIVE_MINT: executed.moved.get(NATIVE_MINT, 0) + executed.fee}
    return {mint: amount for mint, amount in moved.items() if mint not in ends and amount}


def _gaps(record: Record) -> list[str]:
    return [
        f"the history of order {order_id} has a gap"
        for order_id, seqs in record.seqs.items()
        if list(seqs) != list(range(1, len(seqs) + 1))
    ]


# --- where it is read ---------------------------------------------------------------------------------------


def stored(folder: Path) -> tuple[list[OrderRow], dict[str, list[int]]]:
    """What a stopped engine has in its file."""
    with closing(sqlite3.connect(folder / "orders.db")) as file:
        rows = file.execute("SELECT id, status, token_in, token_out, filled_in, filled_out, fill_hash FROM orders")
        orders = [OrderRow(*row) for row in rows]
        seqs: defaultdict[str, list[int]] = defaultdict(list)
        for order_id, seq in file.execute("SELECT order_id, seq FROM order_events ORDER BY order_id, seq"):
            seqs[order_id].append(seq)
    return orders, seqs


class Witness:
    """The chain's record, from its honest node."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def call(self, method: str, *params: Any) -> Any:
        [result] = await self.calls([(method, list(params))])
        return result

    async def calls(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        body = [{"jsonrpc": "2.0", "id": at, "method": name, "params": of} for at, (name, of) in enumerate(calls)]
        async with self._session.post(self._url, json=body) as response:
            answers = await response.json()
        assert all("result" in answer for answer in answers), answers
        return [answer["result"] for answer in sorted(answers, key=lambda answer: answer["id"])]

    async def balances(self, wallet: str, mints: Sequence[str]) -> dict[str, int]:
        held: dict[str, int] = {}
        for mint in mints:
            if mint == NATIVE_MINT:
                held[mint] = (await self.call("getBalance", wallet))["value"]
            else:
                told = await self.call("getTokenAccountBalance", associated(wallet, Mint(mint)))
                held[mint] = int(told["value"]["amount"])
        return held

    async def executed(self, wallet: str) -> list[Executed]:
        """Of this engine's transactions: those whose memo says so."""
        history: list[dict[str, Any]] = []
        while True:
            before = {"before": history[-1]["signature"]} if history else {}
            page = await self.call("getSignaturesForAddress", wallet, {"limit": _PAGE, **before})
            history += page
            if len(page) < _PAGE:
                break
        own = [each for each in history if " fw " in (each["memo"] or "")]
        found: list[Executed] = []
        setting = {"encoding": "json", "maxSupportedTransactionVersion": 0}
        for first in range(0, len(own), _BATCH):
            part = own[first : first + _BATCH]
            told = await self.calls([("getTransaction", [each["signature"], setting]) for each in part])
            found += [
                Executed(
                    signature=each["signature"],
                    order_id=each["memo"].split()[2],
                    failed=each["err"] is not None,
                    fee=transaction["meta"]["fee"],
                    moved=_moved(transaction["meta"], wallet),
                )
                for each, transaction in zip(part, told, strict=True)
            ]
        return found

    async def pools(self) -> list[str]:
        """Of all five programs."""
        calls = [
            (
                "getProgramAccounts",
                [program.id, {"encoding": "base64", "filters": [{"dataSize": program.pool_bytes}]}],
            )
            for program in PROGRAMS.values()
        ]
        return [each["pubkey"] for told in await self.calls(calls) for each in told]


def _moved(meta: dict[str, Any], wallet: str) -> dict[str, int]:
    """The wallet pays, so it stands first; its accounts of other tokens are all there before the first order."""
    moved: Counter[str] = Counter({NATIVE_MINT: meta["postBalances"][0] - meta["preBalances"][0]})
    for sign, key in ((-1, "preTokenBalances"), (1, "postTokenBalances")):
        for each in meta[key]:
            if each["owner"] == wallet:
                moved[each["mint"]] += sign * int(each["uiTokenAmount"]["amount"])
    return dict(moved)
