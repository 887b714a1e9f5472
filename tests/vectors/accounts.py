"""The golden swaps once more, as the chain holds them: accounts by address.

Decides: under which addresses a vector's accounts lie. Must never: compute an amount.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fillwright.order import Mode
from fillwright.pools import ChainTime
from fillwright.pools.pool import TOKEN_PROGRAM
from fillwright.programs import PROGRAMS, Account, Accounts
from fillwright.programs import clmm as clmm_program
from fillwright.programs import dlmm as dlmm_program
from fillwright.units import Atoms, Mint
from tests.vectors import clmm_vectors, damm_v2_vectors, dlmm_vectors, swaps

_NAMES: Final = {"amm_v4": "raydium_amm_v4", "cpmm": "raydium_cpmm", "damm_v2": damm_v2_vectors.NAME}
_MODES: Final = {"exact_in": Mode.EXACT_IN, "exact_out": Mode.EXACT_OUT}
_LINKED: Final = ("vault_0", "vault_1", "config")
"""Roles of the first accounts that a program tells as linked, in this order."""


@dataclass(frozen=True)
class Scene:
    """A pool with all its accounts, and the swap that was tried on it. `error`: empty if it went through."""

    id: str
    kind: str
    pool: str
    known: Accounts
    now: ChainTime
    mode: Mode
    mint_in: Mint
    amount: Atoms
    threshold: int
    error: str

    @property
    def mint_out(self) -> Mint:
        first, second = PROGRAMS[self.kind].mints(self.known[self.pool])
        return second if self.mint_in == first else first


def scenes(kind: str) -> list[Scene]:
    """Those of a program whose accounts are all there: not the swaps of which only reserves were recorded."""
    if kind == "clmm":
        return [_clmm(case) for case in clmm_vectors.load() if "config" in case.before]
    vectors = _dlmm() if kind == "dlmm" else swaps.load(_NAMES[kind])
    return [_scene(kind, vector) for vector in vectors if vector.accounts]


def _dlmm() -> list[dlmm_vectors.DlmmVector]:
    return dlmm_vectors.load() + dlmm_vectors.load(dlmm_vectors.MORE)


def _scene(kind: str, vector: swaps.Vector) -> Scene:
    roles = {role: vector.account(role) for role in vector.accounts}
    now = ChainTime(slot=vector.slot, unix_seconds=vector.unix_seconds)
    return Scene(
        id=vector.id,
        kind=kind,
        pool=vector.address,
        known=_known(kind, vector.address, roles),
        now=now,
        mode=_MODES[vector.mode],
        mint_in=Mint(vector.input_mint),
        amount=Atoms(vector.amount),
        threshold=vector.threshold,
        error=vector.error,
    )


def _clmm(case: clmm_vectors.Case) -> Scene:
    facts = case.facts
    return Scene(
        id=facts.id,
        kind="clmm",
        pool=facts.address,
        known=_known("clmm", facts.address, case.before),
        now=ChainTime(slot=facts.slot, unix_seconds=facts.unix_seconds),
        mode=_MODES[facts.mode],
        mint_in=Mint(facts.input_mint),
        amount=Atoms(facts.amount),
        threshold=facts.threshold,
        error=facts.error,
    )


def _known(kind: str, pool: str, roles: Mapping[str, bytes]) -> Accounts:
    program = PROGRAMS[kind]
    known = {pool: Account(program.id, roles["pool"])}
    linked = program.linked(pool, known)
    for role, data in roles.items():
        if role.startswith("ticks "):
            known[role.removeprefix("ticks ")] = Account(program.id, data)
        elif role.startswith("bins_"):
            known[dlmm_program.bin_array_of(pool, int(role.removeprefix("bins_")))] = Account(program.id, data)
        elif role == "bitmap_extension":
            known[clmm_program.extension_of(pool)] = Account(program.id, data)
        elif role != "pool":
            owner = program.id if role == "config" else TOKEN_PROGRAM
            known[linked[_LINKED.index(role)]] = Account(owner, data)
    return known
