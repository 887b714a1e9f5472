"""Golden swaps of Raydium CLMM: reads the folder's lines, and makes them from the full set.

Decides: the shape of a line. A line holds only what no earlier line of the same pool has told: an account is left
out if it is as the swaps before left it. Must never: compute an amount.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from tests.vectors.swaps import FULL_SET, HERE

NAME: Final = "raydium_clmm"
_ROLES: Final = ("pool", "config", "vault_0", "vault_1", "bitmap_extension")


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked and what the program did. `error`: empty if it went through.

    `limit`: sqrt_price_limit_x64. Recorded swaps have no config and vault bytes, but `recorded_fee_rate`.
    """

    id: str
    tags: list[str]
    mode: Literal["exact_in", "exact_out"]
    input_index: int
    input_mint: str
    amount: int
    threshold: int
    address: str
    owner: str
    slot: int
    unix_seconds: int
    limit: int = 0
    recorded_fee_rate: int = 0
    error: str = ""
    amount_in: int = 0
    amount_out: int = 0
    fee: int | None = None
    post_vaults: tuple[int, int] = (0, 0)


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """`roles`: the accounts before the swap; `told`: base64 of zlib of those that no line before tells.

    `changed`: role -> (offset, hex) of the bytes that the swap changed.
    """

    facts: Facts
    roles: list[str]
    told: dict[str, str] = {}
    changed: dict[str, list[tuple[int, str]]] = {}


@dataclass(frozen=True)
class Case:
    """One swap with all its accounts, by role; a tick array's role is "ticks " and its address."""

    facts: Facts
    before: dict[str, bytes]
    after: dict[str, bytes]

    def tick_arrays(self) -> list[bytes]:
        return [account for role, account in self.before.items() if role.startswith("ticks ")]

    def accepts(self, *, amount_in: int, amount_out: int) -> bool:
        """The taker's limit, which the chain checks after the pool's own."""
        if self.facts.mode == "exact_in":
            return amount_out >= self.facts.threshold
        return amount_in <= self.facts.threshold


def load() -> list[Case]:
    decode = msgspec.json.Decoder(_Line).decode
    return list(_told(decode(line) for line in (HERE / f"{NAME}.jsonl").read_bytes().splitlines()))


def load_full_set() -> list[Case]:
    """Empty where the full set is not there."""
    path = FULL_SET / f"{NAME}.jsonl"
    if not path.exists():
        return []
    return [_case(msgspec.json.decode(line)) for line in path.read_bytes().splitlines()]


def _told(lines: Iterable[_Line]) -> Iterator[Case]:
    known: dict[tuple[str, str], bytes] = {}
    for line in lines:
        address = line.facts.address
        known.update({(address, role): _unpacked(text) for role, text in line.told.items()})
        before = {role: known[address, role] for role in line.roles}
        changes = {role: _patched(before[role], changes) for role, changes in line.changed.items()}
        known.update({(address, role): account for role, account in changes.items()})
        yield Case(line.facts, before, before | changes)


def _lines(cases: Iterable[Case]) -> Iterator[_Line]:
    known: dict[tuple[str, str], bytes] = {}
    for case in cases:
        address, before, after = case.facts.address, case.before, case.after
        told = {role: _packed(account) for role, account in before.items() if known.get((address, role)) != account}
        changed = {role: _changes(account, after[role]) for role, account in before.items() if account != after[role]}
        known.update({(address, role): account for role, account in after.items()})
        yield _Line(case.facts, list(before), told, changed)


def _case(full: Mapping[str, Any]) -> Case:
    accounts, post = full["accounts"], full["result"].get("post")
    before = {role: _unpacked(accounts[role]["data"]) for role in _ROLES if "data" in accounts.get(role, {})}
    before |= {f"ticks {array['address']}": _unpacked(array["data"]) for array in accounts["tick_arrays"]}
    facts = msgspec.convert(_asked(full) | _done(full["result"]), Facts)
    if not post:
        return Case(facts, before, before)
    after = {f"ticks {array['address']}": _unpacked(array["data"]) for array in post["tick_arrays"]}
    after["pool"] = _unpacked(post["pool"])
    for side in (0, 1):
        vault = bytearray(before[f"vault_{side}"])
        vault[64:72] = int(post[f"vault_{side}_amount"]).to_bytes(8, "little")
        after[f"vault_{side}"] = bytes(vault)
    return Case(facts, before, before | after)


def _asked(full: Mapping[str, Any]) -> dict[str, object]:
    swap, accounts = full["swap"], full["accounts"]
    return {
        "id": full["id"],
        "tags": full["tags"],
        "mode": swap["mode"],
        "input_index": swap["input_index"],
        "input_mint": swap["input_mint"],
        "amount": int(swap["amount"]),
        "threshold": int(swap["other_amount_threshold"]),
        "limit": int(swap.get("sqrt_price_limit_x64", 0)),
        "address": accounts["pool"]["address"],
        "owner": accounts["pool"]["owner"],
        "slot": full["clock"]["slot"],
        "unix_seconds": full["clock"]["unix_timestamp"],
        "recorded_fee_rate": accounts["config"].get("trade_fee_rate", 0),
    }


def _done(result: Mapping[str, Any]) -> dict[str, object]:
    if not result["ok"]:
        return {"error": result["error"]}
    done: dict[str, object] = {key: int(result[key]) for key in ("amount_in", "amount_out", "fee") if key in result}
    if "post" in result:
        done["post_vaults"] = (int(result["post"]["vault_0_amount"]), int(result["post"]["vault_1_amount"]))
    return done


def _changes(before: bytes, after: bytes) -> list[tuple[int, str]]:
    """Runs of bytes that differ, joined where less than four equal bytes lie between them."""
    runs: list[list[int]] = []
    for offset in range(len(before)):
        if before[offset] != after[offset]:
            if runs and offset - runs[-1][1] < 4:
                runs[-1][1] = offset
            else:
                runs.append([offset, offset])
    return [(first, after[first : last + 1].hex()) for first, last in runs]


def _patched(account: bytes, changes: list[tuple[int, str]]) -> bytes:
    after = bytearray(account)
    for offset, changed in changes:
        new = bytes.fromhex(changed)
        after[offset : offset + len(new)] = new
    return bytes(after)


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _packed(account: bytes) -> str:
    return base64.b64encode(zlib.compress(account, 9)).decode()


def write() -> None:
    lines = [msgspec.json.encode(line) + b"\n" for line in _lines(load_full_set())]
    (HERE / f"{NAME}.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    write()
