"""Golden swaps: reads this folder's lines, makes them from the full set, and puts them to a pool.

Decides: the shape of a vector. Must never: compute an amount.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.pools import ChainTime, Pool, PoolRefused, Swap
from fillwright.units import Atoms, Mint

HERE: Final = Path(__file__).parent
FULL_SET: Final = HERE.parents[2] / "shared" / "vectors"
NAMES: Final = ("raydium_amm_v4", "raydium_cpmm")
_ROLES: Final = ("pool", "config", "vault_0", "vault_1")

Outcome: TypeAlias = Literal["swapped", "beyond limit", "not open", "cannot fill", "old rule"]
"""What the program did; "beyond limit" only for the taker's limit, "old rule" is judged by each test."""


class Vector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One swap: the accounts before it, what was asked, what the program did.

    `accounts`: role -> base64 of zlib of the bytes; empty for recorded lines, which have `reserves` and
    `fee_rate` (numerator, denominator) instead. `threshold`: the taker's minimum out or maximum in.
    `error`: empty if it went through. `post_pool`: (offset, hex) of the pool bytes that changed.
    """

    id: str
    tags: list[str]
    mode: Literal["exact_in", "exact_out"]
    input_index: int
    amount: int
    threshold: int
    slot: int = 0
    unix_seconds: int = 0
    address: str = ""
    owner: str = ""
    input_mint: str = ""
    accounts: dict[str, str] = {}
    reserves: tuple[int, int] = (0, 0)
    fee_rate: tuple[int, int] = (0, 1)
    error: str = ""
    amount_in: int = 0
    amount_out: int = 0
    fee: int | None = None
    post_pool: list[tuple[int, str]] = []
    post_vaults: tuple[int, int] = (0, 0)

    def account(self, role: str) -> bytes:
        return _unpacked(self.accounts[role])

    @property
    def pool_after(self) -> bytes:
        after = bytearray(self.account("pool"))
        for offset, changed in self.post_pool:
            new = bytes.fromhex(changed)
            after[offset : offset + len(new)] = new
        return bytes(after)

    def accepts(self, swap: Swap) -> bool:
        """The taker's limit, which the chain checks after the pool's own."""
        if self.mode == "exact_in":
            return swap.amount_out >= self.threshold
        return swap.amount_in <= self.threshold


P = TypeVar("P", bound=Pool)


@dataclass(frozen=True)
class Asked(Generic[P]):
    """One question to a pool, as quote and as swap."""

    pool: P
    amount: Atoms
    mint_in: Mint
    now: ChainTime
    exact_in: bool

    @classmethod
    def of(cls, vector: Vector, pool: P) -> Self:
        mint_in = pool.mint_1 if vector.input_index else pool.mint_0
        assert not vector.accounts or vector.input_mint == mint_in
        now = ChainTime(slot=vector.slot, unix_seconds=vector.unix_seconds)
        return cls(pool, Atoms(vector.amount), mint_in, now, vector.mode == "exact_in")

    def quote(self) -> Swap:
        ask = self.pool.quote_in if self.exact_in else self.pool.quote_out
        return ask(self.amount, self.mint_in, self.now)

    def swap(self) -> tuple[Swap, P]:
        act = self.pool.swap_in if self.exact_in else self.pool.swap_out
        return act(self.amount, self.mint_in, self.now)

    def refusal(self) -> Code:
        """Both must refuse, and alike."""
        with pytest.raises(PoolRefused) as of_quote:
            self.quote()
        with pytest.raises(PoolRefused) as of_swap:
            self.swap()
        assert of_quote.value.problem == of_swap.value.problem
        return of_quote.value.code


def load(name: str) -> list[Vector]:
    decode = msgspec.json.Decoder(Vector).decode
    return [decode(line) for line in (HERE / f"{name}.jsonl").read_bytes().splitlines()]


def load_full_set(name: str) -> list[Vector]:
    """Empty where the full set is not there."""
    path = FULL_SET / f"{name}.jsonl"
    if not path.exists():
        return []
    return [_shortened(msgspec.json.decode(line)) for line in path.read_bytes().splitlines()]


def content(vector: Vector) -> tuple[Vector, dict[str, bytes]]:
    """A vector for comparison: other zlib versions may pack the same bytes into another text."""
    accounts = {role: vector.account(role) for role in vector.accounts}
    return msgspec.structs.replace(vector, accounts={}), accounts


def _shortened(full: Mapping[str, Any]) -> Vector:
    swap, result, clock = full["swap"], full["result"], full["clock"] or {}
    asked: dict[str, Any] = {
        "id": full["id"],
        "tags": full["tags"],
        "mode": swap["mode"],
        "input_index": swap["input_index"],
        "input_mint": swap["input_mint"] or "",
        "amount": int(swap["amount"]),
        "threshold": int(swap["other_amount_threshold"]),
        "slot": clock.get("slot") or 0,
        "unix_seconds": clock.get("unix_timestamp") or 0,
    }
    before = _unpacked(full["accounts"]["pool"]["data"]) if "accounts" in full else b""
    return msgspec.convert(asked | _state(full) | _outcome(result, before), Vector)


def _state(full: Mapping[str, Any]) -> dict[str, object]:
    if "reserves" in full:
        return {
            "reserves": (int(full["reserves"]["0"]), int(full["reserves"]["1"])),
            "fee_rate": _fee_rate(full["fee"]),
        }
    accounts = full["accounts"]
    return {
        "address": accounts["pool"]["address"],
        "owner": accounts["pool"]["owner"],
        "accounts": {role: _packed(_unpacked(accounts[role]["data"])) for role in _ROLES if role in accounts},
    }


def _fee_rate(fee: Mapping[str, int]) -> tuple[int, int]:
    if "trade_fee_rate" in fee:
        return fee["trade_fee_rate"], 1_000_000
    return fee["numerator"], fee["denominator"]


def _outcome(result: Mapping[str, Any], before: bytes) -> dict[str, object]:
    if not result["ok"]:
        return {"error": result["error"]}
    amounts: dict[str, object] = {key: int(result[key]) for key in ("amount_in", "amount_out")}
    if "fee" in result:
        amounts["fee"] = int(result["fee"])
    if "post" not in result:
        return amounts
    post = result["post"]
    return amounts | {
        "post_pool": _changes(before, _unpacked(post["pool"])),
        "post_vaults": (int(post["vault_0_amount"]), int(post["vault_1_amount"])),
    }


def _changes(before: bytes, after: bytes) -> list[tuple[int, str]]:
    """Runs of bytes that differ."""
    changed = [offset for offset in range(len(before)) if before[offset] != after[offset]]
    runs = groupby(enumerate(changed), key=lambda pair: pair[1] - pair[0])
    offsets = [[offset for _, offset in run] for _, run in runs]
    return [(run[0], after[run[0] : run[-1] + 1].hex()) for run in offsets]


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _packed(account: bytes) -> str:
    return base64.b64encode(zlib.compress(account, 9)).decode()


def write() -> None:
    for name in NAMES:
        lines = [msgspec.json.encode(vector) + b"\n" for vector in load_full_set(name)]
        (HERE / f"{name}.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    write()
