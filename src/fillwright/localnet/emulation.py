"""The swap programs without their binaries: what a swap instruction would move, as plain token transfers.

Decides: what each swap of a transaction pays, gives and leaves behind, by the pools' own maths, and with which error
code of its program it fails. Must never: move a token itself (the token program does), or swap where the program's
binary is there. Pure.

An emulated swap is two SPL transfers, taker to vault and vault to taker. The vault's owner signs the second, which
needs a virtual machine that checks no signatures: whoever calls has checked those of the original message. What it is
not: what the programs log, their events and compute units, and a vault whose balance an instruction beside the swaps
changed within the same transaction.

A pool may also be created, if all its accounts are there and its own waits at its address, still the system program's:
the create instruction then makes it the program's. It moves no tokens, for the vaults are full already.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec
from solders.address_lookup_table_account import AddressLookupTable
from solders.instruction import AccountMeta, Instruction
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey

from fillwright.errors import Code
from fillwright.localnet.writing import vaults_of, written
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.pool import TOKEN_PROGRAM, pubkey
from fillwright.programs import Account, Accounts, Program, SwapCall, by_id
from fillwright.programs.token import ASSOCIATED, memo
from fillwright.programs.token import TOKEN_PROGRAM as TOKEN
from fillwright.units import Mint

LAMPORTS_PER_SIGNATURE: Final = 5_000
SYSTEM: Final = str(Pubkey.default())
_FAIL: Final = Instruction(Pubkey.default(), b"", [])
"""The system program knows no such instruction."""
_NOTHING: Final = memo("created")
_TOP_LEVEL: Final = " invoke [1]"
_DEPTH: Final = re.compile(r" invoke \[(\d+)\]$")
_TRANSFER: Final = b"\x03"
"""spl-token, instruction.rs TokenInstruction::Transfer: tag, amount u64; source w, destination w, authority."""

_TOKEN_ACCOUNT_BYTES: Final = 165
_HOLDER: Final = 32
"""Of a token account: whose it is."""

_NAMES_ACCOUNT_AND_MINT: Final = {
    (ASSOCIATED, b""): (1, 3),
    (ASSOCIATED, b"\x00"): (1, 3),
    (ASSOCIATED, b"\x01"): (1, 3),
    (TOKEN, b"\x01"): (0, 1),
    (TOKEN, b"\x10"): (0, 1),
    (TOKEN, b"\x12"): (0, 1),
}
"""Program and tag of the instructions that create a token account, and where they name it and its mint: Create and
CreateIdempotent of the associated token program; InitializeAccount, 2 and 3 of the token program."""

Read: TypeAlias = Callable[[str], Account | None]


class Refusal(msgspec.Struct, frozen=True):
    """The swap that the program would refuse: index of its instruction in the original message, the program's own
    error code, and why in words."""

    index: int
    code: int
    why: str


class Stand(msgspec.Struct, frozen=True):
    """A program that was not executed, and the lines that it would have logged."""

    program: str
    lines: tuple[str, ...] = ()


class Emulated(msgspec.Struct, frozen=True):
    """What to execute in place of a message, and what is then true of its pools."""

    message: MessageV0
    """Fails where a swap would be refused, so that nothing remains of the instructions before it either."""
    origin: tuple[int, ...]
    """By instruction of `message`: the index of the original instruction that it stands for."""
    writes: Mapping[str, Account]
    """Accounts that the programs would have changed, to be set after success. None of them is a token account."""
    stands: Mapping[int, Stand]
    """By index of the original instructions: those that others stand for."""
    refusal: Refusal | None
    """If an instruction of this origin fails, its error is Custom(code), whatever the virtual machine says."""
    extra_fee: int
    """Lamports that the virtual machine takes for the signatures of the vaults' owners: to be given to the payer first.
    They are taken whenever the fee is, so afterwards everything is as with the original's own fee."""

    def log_of(self, executed: Sequence[str]) -> list[str]:
        """The log of the original, from what was logged when `message` was executed: what stands for a program is told
        as called by it."""
        told: list[str] = []
        at = -1
        for number, line in enumerate(executed):
            at += line.endswith(_TOP_LEVEL)
            index = self.origin[at] if 0 <= at < len(self.origin) else -1
            stand = self.stands.get(index)
            if stand is None:
                told.append(line)
                continue
            if line.endswith(_TOP_LEVEL) and index not in self.origin[:at]:
                told += (f"Program {stand.program}{_TOP_LEVEL}", *stand.lines)
            told.append(_DEPTH.sub(lambda depth: f" invoke [{int(depth[1]) + 1}]", line))
            is_last = number + 1 == len(executed) or executed[number + 1].endswith(_TOP_LEVEL)
            if is_last and (line.startswith("Program ") and " failed: " in line):
                told.append(f"Program {stand.program} failed: {self._why(index) or line.partition(' failed: ')[2]}")
            elif is_last and index not in self.origin[at + 1 :]:
                told.append(f"Program {stand.program} success")
        return told

    def _why(self, index: int) -> str | None:
        return f"custom program error: {self.refusal.code:#x}" if self.refusal and self.refusal.index == index else None


def emulate(
    message: Message | MessageV0, read: Read, now: ChainTime, is_native: Callable[[str], bool]
) -> Emulated | None:
    """None where the message has no swap to emulate, and is executed as it is.

    `read`: accounts as they are before the transaction; also its lookup tables, which hold what is asked of them.
    `is_native`: whether the binary of this program is there.
    """
    originals = _instructions(message, read)
    state = _State(read, now, _created(originals))
    instructions: list[Instruction] = []
    origin: list[int] = []
    stands: dict[int, Stand] = {}
    refusal = None
    for index, original in enumerate(originals):
        program = None if is_native(str(original.program_id)) else by_id(str(original.program_id))
        done = _Done([original]) if program is None else state.execute(program, original)
        instructions += done.instead
        origin += [index] * len(done.instead)
        if program is not None:
            stands[index] = Stand(program.id, done.lines)
        if done.refused is not None:
            refusal = Refusal(index, *done.refused)
            break
    if not stands:
        return None
    rewritten = MessageV0.try_compile(message.account_keys[0], instructions, [], message.recent_blockhash)
    return Emulated(
        message=rewritten,
        origin=tuple(origin),
        writes={} if refusal else state.writes(),
        stands=stands,
        refusal=refusal,
        extra_fee=LAMPORTS_PER_SIGNATURE
        * (rewritten.header.num_required_signatures - message.header.num_required_signatures),
    )


class _Done(msgspec.Struct, frozen=True):
    """What stands for one instruction."""

    instead: Sequence[Instruction]
    lines: tuple[str, ...] = ()
    refused: tuple[int, str] | None = None
    """The program's error code, and why."""


def _refused(code: int, why: str) -> _Done:
    return _Done([_FAIL], (f"Program log: {why}",), (code, why))


class _Errors(msgspec.Struct, frozen=True):
    """A program's codes for the refusals that we can tell apart; the first two are exact, the others its usual ones."""

    too_little: int
    too_much: int
    closed: int
    unfillable: int


_ERRORS: Final = {
    "amm_v4": _Errors(30, 30, 22, 29),
    "cpmm": _Errors(6005, 6005, 6000, 2505),
    "clmm": _Errors(6022, 6023, 6001, 6019),
    "dlmm": _Errors(6003, 6104, 6042, 6036),
    "damm_v2": _Errors(6002, 6002, 6003, 6015),
}
"""By kind of pool. Seen in the answers of the programs themselves: tests/vectors."""
_UNKNOWN: Final = 101
"""Anchor's InstructionFallbackNotFound."""


class _Creation(NamedTuple):
    """How the instruction that creates a pool begins, where it names the pool, and what its program logs."""

    start: bytes
    pool: int
    line: str


_CREATIONS: Final = {
    "cpmm": _Creation(bytes.fromhex("afaf6d1f0d989bed"), 3, "Program log: Instruction: Initialize"),
    "damm_v2": _Creation(bytes.fromhex("5fb40aac54aee828"), 6, "Program log: Instruction: InitializePool"),
}


class _State:
    """The accounts as the swaps so far have left them."""

    def __init__(self, read: Read, now: ChainTime, created: Mapping[str, Mint]) -> None:
        self._read = read
        self._now = now
        self._created = created
        self._changed: dict[str, Account] = {}

    def writes(self) -> Mapping[str, Account]:
        """The vaults are not among them: transfers change these."""
        return {address: account for address, account in self._changed.items() if account.owner != TOKEN_PROGRAM}

    def execute(self, program: Program, asked: Instruction) -> _Done:
        """A program knows no more than the accounts that are named to it."""
        named = [meta.pubkey for meta in asked.accounts]
        known = {address: account for address in map(str, named) if (account := self._account(address))}
        errors = _ERRORS[program.kind]
        try:
            call = program.read(named, asked.data, self._holds(known))
            if call is not None:
                return self._swap(program.decode(call.pool, known), call, known, errors)
        except PoolRefused as error:
            return _refused(errors.closed if error.code is Code.POOL_REFUSED else errors.unfillable, str(error))
        if self._created_pool(program, asked, known):
            return _Done([_NOTHING], (_CREATIONS[program.kind].line,))
        return _refused(_UNKNOWN, f"{program.kind} is not here, and this is no swap of it")

    def _swap(self, pool: Pool, call: SwapCall, known: Accounts, errors: _Errors) -> _Done:
        """Raises PoolRefused."""
        act = pool.swap_in if call.mode is Mode.EXACT_IN else pool.swap_out
        swap, after = act(call.amount, call.mint_in, self._now)
        if call.mode is Mode.EXACT_IN and swap.amount_out < call.limit:
            return _refused(errors.too_little, f"{swap.amount_out} atoms out, less than {call.limit}")
        if call.mode is Mode.EXACT_OUT and swap.amount_in > call.limit:
            return _refused(errors.too_much, f"{swap.amount_in} atoms in, more than {call.limit}")
        self._changed |= written(after, known)
        vault_0, vault_1 = vaults_of(pool, known[call.pool])
        vault_in, vault_out = (vault_0, vault_1) if call.mint_in == pool.mint_0 else (vault_1, vault_0)
        return _Done(
            [
                _transfer(call.source, vault_in, call.owner, swap.amount_in),
                _transfer(vault_out, call.destination, pubkey(known[vault_out].data, _HOLDER), swap.amount_out),
            ]
        )

    def _created_pool(self, program: Program, asked: Instruction, known: Accounts) -> bool:
        """Whether a pool was waiting for this instruction; it is the program's now."""
        form = _CREATIONS.get(program.kind)
        if form is None or not asked.data.startswith(form.start) or len(asked.accounts) <= form.pool:
            return False
        address = str(asked.accounts[form.pool].pubkey)
        waiting = known.get(address)
        if waiting is None or waiting.owner != SYSTEM:
            return False
        created = Account(program.id, waiting.data)
        if program.is_pool(created):
            self._changed[address] = created
        return address in self._changed

    def _holds(self, known: Accounts) -> Mapping[str, Mint]:
        tokens = {
            address: Mint(pubkey(account.data, 0))
            for address, account in known.items()
            if account.owner == TOKEN_PROGRAM and len(account.data) == _TOKEN_ACCOUNT_BYTES
        }
        return {**self._created, **tokens}

    def _account(self, address: str) -> Account | None:
        return self._changed.get(address) or self._read(address)


def _transfer(source: str, destination: str, authority: str, amount: int) -> Instruction:
    accounts = [
        AccountMeta(Pubkey.from_string(source), is_signer=False, is_writable=True),
        AccountMeta(Pubkey.from_string(destination), is_signer=False, is_writable=True),
        AccountMeta(Pubkey.from_string(authority), is_signer=True, is_writable=False),
    ]
    return Instruction(TOKEN, _TRANSFER + amount.to_bytes(8, "little"), accounts)


# --- the original message ---------------------------------------------------------------------------------


def _instructions(message: Message | MessageV0, read: Read) -> list[Instruction]:
    metas = _metas(message, read)
    return [
        Instruction(metas[each.program_id_index].pubkey, each.data, [metas[at] for at in each.accounts])
        for each in message.instructions
    ]


def _metas(message: Message | MessageV0, read: Read) -> list[AccountMeta]:
    """All accounts that the message names, in its order: its own, then what lookup tables tell, writable ones first."""
    header, keys = message.header, message.account_keys
    signers = header.num_required_signatures
    written_signers = signers - header.num_readonly_signed_accounts
    written_others = len(keys) - header.num_readonly_unsigned_accounts
    metas = [
        AccountMeta(key, is_signer=at < signers, is_writable=at < written_signers or signers <= at < written_others)
        for at, key in enumerate(keys)
    ]
    if isinstance(message, MessageV0):
        for is_writable in (True, False):
            for lookup in message.address_table_lookups:
                table = _table(read, lookup.account_key)
                indexes = lookup.writable_indexes if is_writable else lookup.readonly_indexes
                metas += [AccountMeta(table[at], is_signer=False, is_writable=is_writable) for at in indexes]
    return metas


def _table(read: Read, key: Pubkey) -> Sequence[Pubkey]:
    account = read(str(key))
    assert account, "the caller has found the table"
    return AddressLookupTable.deserialize(account.data).addresses


def _created(instructions: Sequence[Instruction]) -> dict[str, Mint]:
    """Token accounts that the message itself creates, and what they will hold."""
    created = {}
    for each in instructions:
        at = _NAMES_ACCOUNT_AND_MINT.get((each.program_id, bytes(each.data[:1])))
        if at is not None and len(each.accounts) > max(at):
            account, mint = (str(each.accounts[index].pubkey) for index in at)
            created[account] = Mint(mint)
    return created
