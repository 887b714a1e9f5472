"""Pools back into bytes: after each recorded swap the accounts that we write are those that the program wrote.

What the program changes in other accounts (observations, oracles) is not in the vectors, and not written.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import pytest

from fillwright.localnet.writing import vaults_of, written
from fillwright.pools import Pool
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_bins import Bin
from fillwright.pools.pool import TOKEN_PROGRAM
from fillwright.programs import Account
from tests.unit import test_amm_v4, test_clmm, test_cpmm, test_damm_v2, test_dlmm
from tests.vectors import clmm_vectors, dlmm_vectors
from tests.vectors.swaps import Asked, Vector


class Case(NamedTuple):
    """One swap that went through: bytes by role before and after, and the pool before and after it as we compute it."""

    id: str
    owner: str
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    pool: Pool
    swapped: Pool


def of_vector(vector: Vector, pool: Pool) -> Case:
    before = {role: vector.account(role) for role in vector.accounts}
    after = before | {"pool": vector.pool_after}
    for side in (0, 1):
        vault = before[f"vault_{side}"]
        after[f"vault_{side}"] = vault[:64] + vector.post_vaults[side].to_bytes(8, "little") + vault[72:]
    return Case(vector.id, vector.owner, before, after, pool, Asked.of(vector, pool).swap()[1])


def of_dlmm(vector: dlmm_vectors.DlmmVector) -> Case:
    before = {role: vector.account(role) for role in vector.accounts}
    after = {role: vector.after(role) for role in vector.accounts}
    pool = test_dlmm.decoded(vector)
    return Case(vector.id, vector.owner, before, after, pool, Asked.of(vector, pool).swap()[1])


def of_clmm(case: clmm_vectors.Case) -> Case:
    pool = test_clmm.decoded(case)
    return Case(case.facts.id, case.facts.owner, case.before, case.after, pool, test_clmm.swap(case, pool)[1])


def cases(kind: str) -> Iterable[Case]:
    """The swaps that went through, of pools that are known by their accounts."""
    amm, cpmm, damm, dlmm, clmm = test_amm_v4, test_cpmm, test_damm_v2, test_dlmm, test_clmm
    match kind:
        case "amm_v4":
            return (of_vector(v, amm.decoded(v)) for v in amm.VECTORS if v.accounts and amm.outcome(v) == "swapped")
        case "cpmm":
            return (of_vector(v, cpmm.decoded(v)) for v in cpmm.VECTORS if v.accounts and cpmm.outcome(v) == "swapped")
        case "damm_v2":
            return (of_vector(v, damm.decoded(v)) for v in damm.VECTORS if damm.outcome(v) == "swapped")
        case "dlmm":
            return (of_dlmm(v) for v in (*dlmm.VECTORS, *dlmm.MORE) if dlmm.outcome(v) == "swapped")
        case _:
            return (of_clmm(c) for c in clmm_vectors.load() if "config" in c.before and clmm.outcome(c) == "swapped")


def addresses(case: Case) -> dict[str, str]:
    """Role -> address; what has none of its own is known by its role."""
    pool = Account(case.owner, case.before["pool"])
    vault_0, vault_1 = vaults_of(case.pool, pool)
    return {role: role for role in case.before} | {"pool": case.pool.address, "vault_0": vault_0, "vault_1": vault_1}


def written_by_role(case: Case) -> dict[str, bytes]:
    named = addresses(case)
    owners = {role: TOKEN_PROGRAM if role.startswith("vault") else case.owner for role in case.before}
    known = {named[role]: Account(owners[role], data) for role, data in case.before.items()}
    ours = {**known, **written(case.swapped, known)}
    assert len(ours) == len(case.before)
    return {role: ours[named[role]].data for role in case.before}


@pytest.mark.parametrize(
    ("kind", "least"), [("amm_v4", 80), ("cpmm", 70), ("clmm", 90), ("dlmm", 170), ("damm_v2", 85)]
)
def test_a_swap_leaves_the_bytes_that_the_program_left(kind: str, least: int) -> None:
    """All of them: pool, vaults and arrays, wherever the vectors hold them."""
    count = 0
    for case in cases(kind):
        for role, ours in written_by_role(case).items():
            theirs = case.after[role]
            assert [at for at in range(len(ours)) if ours[at] != theirs[at]] == [], (case.id, role)
        count += 1
    assert count >= least


@pytest.mark.parametrize("kind", ["amm_v4", "cpmm", "clmm", "dlmm", "damm_v2"])
def test_what_was_written_is_read_as_the_same_pool(kind: str) -> None:
    for case in cases(kind):
        assert read(case, written_by_role(case)) == kept(case.swapped), case.id


def read(case: Case, accounts: Mapping[str, bytes]) -> Pool:
    plain = {f"{role}_account": accounts[role] for role in ("pool", "vault_0", "vault_1")}
    address, owner = case.pool.address, case.owner
    match case.pool:
        case AmmV4Pool():
            return AmmV4Pool.decode(address=address, owner=owner, **plain)
        case CpmmPool():
            return CpmmPool.decode(address=address, owner=owner, config_account=accounts["config"], **plain)
        case DammV2Pool():
            return DammV2Pool.decode(address=address, owner=owner, **plain)
        case DlmmPool():
            arrays = [account for role, account in accounts.items() if role.startswith("bins_")]
            return DlmmPool.decode(address=address, owner=owner, bin_array_accounts=arrays, **plain)
        case _:
            return test_clmm.decode(dict(accounts), address, owner)


def kept(pool: Pool) -> Pool:
    """An array of bins that holds nothing any more is not read again."""
    if not isinstance(pool, DlmmPool):
        return pool
    arrays = {b.id // 70 for b in pool.bins if b.amount_0 or b.amount_1 or b.open_orders or b.processed_left}
    bins: tuple[Bin, ...] = tuple(b for b in pool.bins if b.id // 70 in arrays)
    return msgspec.structs.replace(pool, bins=bins)
