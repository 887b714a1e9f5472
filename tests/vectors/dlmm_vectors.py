"""Golden DLMM swaps: as swaps.py, with bin arrays, and lines that go on where the line before ended.

Decides: the shape of such a line. Must never: compute an amount.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tests.vectors.swaps import FULL_SET, HERE, Vector, _changes, _packed, _shortened, _unpacked

NAME: Final = "meteora_dlmm"
MORE: Final = "meteora_dlmm_orders"
"""Swaps in pools with limit orders of every kind, and at the edges of 64 bits; only here.

Run as the full set was, by the same binary (MeteoraAg/dlmm-sdk, commons/tests/artifacts/lb_clmm_prod.so, sha256
942f609d...), on pools of the full set whose orders, fee mode and amounts were changed before.
"""


class DlmmVector(Vector, frozen=True, kw_only=True, omit_defaults=True):
    """`accounts`: pool, vault_0, vault_1, and bins_<index>. On disk an account is left out where it is as the line
    before left it, if that line was of the same pool. `post_bins`: as `post_pool`, for each array that changed.
    """

    post_bins: dict[str, list[tuple[int, str]]] = msgspec.field(default_factory=dict)

    def bin_arrays(self) -> list[bytes]:
        return [self.account(role) for role in self.accounts if role.startswith("bins_")]

    def after(self, role: str) -> bytes:
        """An account as the swap left it; unchanged where it failed."""
        account = self.account(role)
        if role.startswith("vault_") and not self.error:
            return account[:64] + self.post_vaults[int(role[-1])].to_bytes(8, "little") + account[72:]
        return _changed(account, self.post_pool if role == "pool" else self.post_bins.get(role, []))


def load(name: str = NAME) -> list[DlmmVector]:
    decode = msgspec.json.Decoder(DlmmVector).decode
    return list(_expanded(decode(line) for line in (HERE / f"{name}.jsonl").read_bytes().splitlines()))


def load_full_set() -> list[DlmmVector]:
    """Empty where the full set is not there."""
    path = FULL_SET / f"{NAME}.jsonl"
    if not path.exists():
        return []
    return [_of_full(msgspec.json.decode(line)) for line in path.read_bytes().splitlines()]


def shortened(vectors: Iterable[DlmmVector]) -> bytes:
    """The lines on disk."""
    lines, known, address = [], dict[str, bytes](), ""
    for vector in vectors:
        known = known if vector.address == address else {}
        accounts = {role: text for role, text in vector.accounts.items() if vector.account(role) != known.get(role)}
        lines.append(msgspec.json.encode(msgspec.structs.replace(vector, accounts=accounts)) + b"\n")
        known, address = {role: vector.after(role) for role in vector.accounts}, vector.address
    return b"".join(lines)


def _expanded(lines: Iterable[DlmmVector]) -> Iterable[DlmmVector]:
    known, address = dict[str, str](), ""
    for line in lines:
        known = known if line.address == address else {}
        vector = msgspec.structs.replace(line, accounts=known | line.accounts)
        yield vector
        known, address = {role: _packed(vector.after(role)) for role in vector.accounts}, line.address


def _of_full(full: Mapping[str, Any]) -> DlmmVector:
    accounts = {f"bins_{_index(found)}": _unpacked(found["data"]) for found in full["accounts"]["bin_arrays"]}
    roles = {found["address"]: f"bins_{_index(found)}" for found in full["accounts"]["bin_arrays"]}
    vector = msgspec.structs.asdict(_shortened(full))
    vector["accounts"] = vector["accounts"] | {role: _packed(account) for role, account in accounts.items()}
    changed = full["result"].get("post", {}).get("bin_arrays", [])
    after = {roles[found["address"]]: _unpacked(found["data"]) for found in changed}
    post_bins = {role: _changes(accounts[role], account) for role, account in after.items()}
    return DlmmVector(**vector, post_bins={role: found for role, found in post_bins.items() if found})


def _index(found: Mapping[str, str]) -> int:
    return int.from_bytes(_unpacked(found["data"])[8:16], "little", signed=True)


def _changed(account: bytes, changes: Iterable[tuple[int, str]]) -> bytes:
    after = bytearray(account)
    for offset, changed in changes:
        new = bytes.fromhex(changed)
        after[offset : offset + len(new)] = new
    return bytes(after)


if __name__ == "__main__":
    (HERE / f"{NAME}.jsonl").write_bytes(shortened(load_full_set()))
