"""Which instructions make a new pool, and what they tell of it. Pure.

Decides: of an instruction, or of a line of a program's log, whether a pool was created. Must never: take another
instruction for one of these, whose accounts would then name a pool that is none.

Taken from, as facts: discriminators and order of the accounts from raydium-io/raydium-amm (program/src/instruction.rs,
Initialize2), raydium-io/raydium-cp-swap (instructions/initialize*.rs), raydium-io/raydium-clmm
(instructions/create_pool.rs, create_customizable_pool.rs), MeteoraAg/dlmm-sdk (idls/dlmm.json, initialize_*lb_pair*)
and MeteoraAg/damm-v2 (instructions/initialize_pool/*.rs), as of July 2026.
Verified: of CPMM (initialize), CLMM (create_pool), DLMM (initialize_customizable_permissionless_lb_pair2) and DAMM v2
(initialize_customizable_pool), that a published binary of the program takes the instruction in this form and logs this
line (tests/programs, in a virtual machine). Not verified: the others, Initialize2 of AMM v4 among them; and, of all,
that the programs deployed on a live cluster take these, and no others. A creation by another instruction is not seen.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.pools import amm_v4, clmm, cpmm, damm_v2, dlmm
from fillwright.units import Mint


class Creation(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as the instruction that made it tells of it."""

    program: str
    pool: str
    mint_0: Mint
    mint_1: Mint
    creator: str
    """Who counts as its maker: the program's creator where it knows one, else who paid."""


class _Form(NamedTuple):
    """How one instruction begins, what the program writes into its log, and where in its accounts things stand."""

    start: bytes
    log: str
    pool: int
    mint_0: int
    mint_1: int
    creator: int


def _anchor(start: str, name: str, pool: int, mint_0: int, mint_1: int, creator: int) -> _Form:
    return _Form(bytes.fromhex(start), f"Program log: Instruction: {name}", pool, mint_0, mint_1, creator)


_FORMS: Final[dict[str, tuple[_Form, ...]]] = {
    amm_v4.PROGRAM: (_Form(b"\x01", "Program log: initialize2:", 4, 8, 9, 17),),
    cpmm.PROGRAM: (
        _anchor("afaf6d1f0d989bed", "Initialize", 3, 4, 5, 0),
        _anchor("3f37fe4131b25979", "InitializeWithPermission", 4, 5, 6, 1),
    ),
    clmm.PROGRAM: (
        _anchor("e992d18ecf6840bc", "CreatePool", 2, 3, 4, 0),
        _anchor("2b44d4a7592fa401", "CreateCustomizablePool", 2, 3, 4, 0),
    ),
    dlmm.PROGRAM: (
        _anchor("2d9aedd2dd0fa65c", "InitializeLbPair", 0, 2, 3, 8),
        _anchor("493b2478ed536cc6", "InitializeLbPair2", 0, 2, 3, 8),
        _anchor("2e2729876fb7c840", "InitializeCustomizablePermissionlessLbPair", 0, 2, 3, 8),
        _anchor("f349817e3313f16b", "InitializeCustomizablePermissionlessLbPair2", 0, 2, 3, 8),
        _anchor("6c66d555fb033515", "InitializePermissionLbPair", 1, 3, 4, 8),
    ),
    damm_v2.PROGRAM: (
        _anchor("5fb40aac54aee828", "InitializePool", 6, 8, 9, 0),
        _anchor("14a1f118bdddb402", "InitializeCustomizablePool", 5, 7, 8, 0),
        _anchor("955248c5fdfc440f", "InitializePoolWithDynamicConfig", 7, 9, 10, 0),
    ),
}
_INITIALIZE2_BYTES: Final = 26
"""Tag, nonce, opening time, two amounts: one byte alone would be a weak sign."""
_TRUNCATED: Final = "Log truncated"

WATCHED: Final[dict[str, str]] = {
    amm_v4.PROGRAM: str(
        Pubkey.find_program_address([b"amm_config_account_seed"], Pubkey.from_string(amm_v4.PROGRAM))[0]
    ),
    cpmm.PROGRAM: "DNXgeM9EiiaAbaWvwjHj9fQQLAX5ZsfHyvmYUNRAdNC8",
    clmm.PROGRAM: clmm.PROGRAM,
    dlmm.PROGRAM: dlmm.PROGRAM,
    damm_v2.PROGRAM: damm_v2.PROGRAM,
}
"""By program, the address that its creations mention, and as little else as possible: the account that is paid for a
new pool, or tells what it costs. Where they have none of their own it is the program, which every swap mentions too."""


def creation(program: str, accounts: Sequence[str], data: bytes) -> Creation | None:
    """What this instruction of this program created; None where it is no such instruction."""
    for form in _FORMS.get(program, ()):
        if not data.startswith(form.start) or len(accounts) <= max(form.pool, form.mint_1, form.creator):
            continue
        if program == amm_v4.PROGRAM and len(data) != _INITIALIZE2_BYTES:
            continue
        return Creation(
            program=program,
            pool=accounts[form.pool],
            mint_0=Mint(accounts[form.mint_0]),
            mint_1=Mint(accounts[form.mint_1]),
            creator=accounts[form.creator],
        )
    return None


_LOGGED: Final = frozenset(form.log for forms in _FORMS.values() for form in forms)
_INITIALIZE2_LOG: Final = _FORMS[amm_v4.PROGRAM][0].log


def may_create(logs: Iterable[str]) -> bool:
    """Whether a transaction with this log may have created a pool: cheap, and wrong only towards yes."""
    return any(line in _LOGGED or line.startswith((_INITIALIZE2_LOG, _TRUNCATED)) for line in logs)


# --- a transaction as a node tells it ---------------------------------------------------------------------


class _Inner(msgspec.Struct, frozen=True, rename="camel"):
    program_id_index: int
    accounts: list[int]
    data: str


class _Called(msgspec.Struct, frozen=True):
    instructions: list[_Inner]


class _Looked(msgspec.Struct, frozen=True):
    writable: list[str] = []
    readonly: list[str] = []


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    err: Any = None
    inner_instructions: list[_Called] | None = None
    loaded_addresses: _Looked | None = None


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """getTransaction's answer, in base64."""

    slot: int
    transaction: tuple[str, str]
    meta: _Meta
    block_time: int | None = None


def creations(told: Told) -> list[Creation]:
    """Every pool that this transaction created, by its own instructions or those that they called in turn.

    Raises ValueError for what cannot be read.
    """
    if told.meta.err is not None:
        return []
    message = VersionedTransaction.from_bytes(base64.b64decode(told.transaction[0], validate=True)).message
    looked = told.meta.loaded_addresses or _Looked()
    keys = [*map(str, message.account_keys), *looked.writable, *looked.readonly]
    made: list[Creation] = []
    try:
        for each in message.instructions:
            made += _made(keys, each.program_id_index, list(each.accounts), bytes(each.data))
        for called in told.meta.inner_instructions or ():
            for inner in called.instructions:
                made += _made(keys, inner.program_id_index, inner.accounts, _unbase58(inner.data))
    except IndexError as error:
        raise ValueError("an instruction names an account that the transaction does not") from error
    return made


def _made(keys: Sequence[str], program: int, accounts: Sequence[int], data: bytes) -> Iterator[Creation]:
    if keys[program] in _FORMS:
        found = creation(keys[program], [keys[index] for index in accounts], data)
        if found is not None:
            yield found


_BASE58: Final = {
    digit: value for value, digit in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
}


def _unbase58(text: str) -> bytes:
    """Each leading "1" is a zero byte. Raises ValueError."""
    number = 0
    for digit in text:
        if digit not in _BASE58:
            raise ValueError("no base58")
        number = number * 58 + _BASE58[digit]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
