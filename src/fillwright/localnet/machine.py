"""The virtual machine that executes transactions: accounts, programs, and what one transaction did.

Decides: what stands in for a program whose binary is missing, and whether a transaction was charged, that is, belongs
into a block. Must never: judge signatures, blockhashes or repetitions; those are the bank's rules.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTable
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo, TransactionMetadata

from fillwright.errors import Code, FillwrightError
from fillwright.localnet.emulation import Emulated, emulate
from fillwright.pools import ChainTime
from fillwright.pools.pool import SLOTS_PER_EPOCH
from fillwright.programs import Account as Known

_Inner: TypeAlias = tuple[int, bytes, bytes, int | None]
_Result: TypeAlias = TransactionMetadata | FailedTransactionMetadata | SimulatedTransactionInfo
_Run: TypeAlias = Callable[[VersionedTransaction], _Result]


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction did."""

    err: Any
    """None: success. Otherwise Solana's own JSON of a transaction error."""
    charged: bool
    """Whether the fee was, or would be, taken. A transaction that was not charged belongs into no block."""
    fee: int
    units: int
    logs: list[str]
    inner: list[list[_Inner]]
    """By instruction, what it called: program's index, indexes of accounts, data, stack height."""
    returned: tuple[str, bytes] | None
    written: list[tuple[Pubkey, Account]] = []
    """Only of a simulation: the accounts as they would be."""


class Named(msgspec.Struct, frozen=True):
    """The accounts that a transaction names, in its order."""

    keys: list[Pubkey]
    writable: list[Pubkey]
    loaded_writable: int
    loaded_readonly: int


class Unloadable(Exception):
    """A lookup table that is named does not hold what is asked of it. The message is Solana's name for it."""


class Machine:
    """Executes what it is given, at the time it was told."""

    def __init__(self, programs: Path | None = None) -> None:
        """Raises FillwrightError(CONFIG_INVALID) for a folder whose programs cannot be loaded."""
        self._svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self._now = ChainTime(slot=0, unix_seconds=0)
        self.programs = self._load(programs) if programs else frozenset[str]()
        """Those that are here in binary; the swaps of others are emulated."""

    def _load(self, folder: Path) -> frozenset[str]:
        """Each file `<program id>.so`; the ids."""
        if not folder.is_dir():
            raise FillwrightError(Code.CONFIG_INVALID, f"{folder} is no folder")
        files = sorted(folder.glob("*.so"))
        for file in files:
            try:
                self._svm.add_program_from_file(Pubkey.from_string(file.stem), file)
            except Exception as error:  # solders raises what the loader raised, of any type
                why = f"{file.name} cannot be loaded as a program ({error}); it must be named after the program's id"
                raise FillwrightError(Code.CONFIG_INVALID, why) from error
        return frozenset(file.stem for file in files)

    # --- accounts and time --------------------------------------------------------------------------------

    def account(self, key: Pubkey) -> Account | None:
        """None where nothing is: an account without lamports does not exist."""
        account = self._svm.get_account(key)
        return account if account is not None and account.lamports else None

    def write(self, key: Pubkey, account: Account | None) -> None:
        self._svm.set_account(key, account or _NOTHING)

    def owned(self, program: Pubkey) -> list[tuple[Pubkey, Account]]:
        return [(key, account) for key, account in self._svm.get_program_accounts(program) if account.lamports]

    def rent(self, size: int) -> int:
        """Lamports that an account of so many bytes must hold."""
        return self._svm.minimum_balance_for_rent_exemption(size)

    def set_time(self, slot: int, unix_seconds: int, hashes: Sequence[tuple[int, Hash]]) -> None:
        """`hashes`: of recent blocks, the newest first."""
        self._now = ChainTime(slot=slot, unix_seconds=unix_seconds)
        epoch = slot // SLOTS_PER_EPOCH
        begun = unix_seconds - (slot % SLOTS_PER_EPOCH) * 2 // 5
        self._svm.set_clock(Clock(slot, begun, epoch, epoch + 1, unix_seconds))
        self._svm.set_slot_hashes(hashes)

    # --- transactions -------------------------------------------------------------------------------------

    def named(self, transaction: VersionedTransaction) -> Named:
        """Raises Unloadable."""
        message = transaction.message
        keys = message.account_keys
        header = message.header
        signers = header.num_required_signatures
        writable = keys[: signers - header.num_readonly_signed_accounts]
        writable += keys[signers : len(keys) - header.num_readonly_unsigned_accounts]
        if not isinstance(message, MessageV0) or not message.address_table_lookups:
            return Named(keys, writable, 0, 0)
        written: list[Pubkey] = []
        read: list[Pubkey] = []
        for lookup in message.address_table_lookups:
            table = self._table(lookup.account_key)
            written += _picked(table, lookup.writable_indexes)
            read += _picked(table, lookup.readonly_indexes)
        return Named([*keys, *written, *read], [*writable, *written], len(written), len(read))

    def _table(self, key: Pubkey) -> Sequence[Pubkey]:
        account = self.account(key)
        if account is None:
            raise Unloadable("AddressLookupTableNotFound")
        try:
            return AddressLookupTable.deserialize(account.data).addresses
        except Exception as error:  # solders raises several types here
            raise Unloadable("InvalidAddressLookupTableData") from error

    def execute(self, transaction: VersionedTransaction, named: Named) -> Executed:
        return self._run(transaction, named, self._svm.send_transaction, keep=True)

    def simulate(self, transaction: VersionedTransaction, named: Named) -> Executed:
        """Nothing changes."""
        return self._run(transaction, named, self._svm.simulate_transaction, keep=False)

    def _run(self, transaction: VersionedTransaction, named: Named, run: _Run, *, keep: bool) -> Executed:
        """Itself, or what stands for it where it swaps on programs that are not here."""
        message = transaction.message
        assert not isinstance(message, MessageV1), "nobody takes these yet"
        emulated = emulate(message, self._read, self._now, self.programs.__contains__)
        if emulated is None:
            return _executed(run(transaction))
        payer = named.keys[0]
        self._lend(payer, emulated.extra_fee)
        signatures = [Signature.default()] * emulated.message.header.num_required_signatures
        signatures[0] = transaction.signatures[0]
        executed = _executed(run(VersionedTransaction.populate(emulated.message, signatures)))
        if not (keep and executed.charged):
            self._lend(payer, -emulated.extra_fee)
        executed = _as_asked(executed, emulated, named)
        if executed.err is not None:
            return executed
        written = [(Pubkey.from_string(address), account) for address, account in emulated.writes.items()]
        changed = [(key, self._with(key, account)) for key, account in written]
        if not keep:
            return msgspec.structs.replace(executed, written=[*executed.written, *changed])
        for key, after in changed:
            self.write(key, after)
        return executed

    def _read(self, address: str) -> Known | None:
        account = self.account(Pubkey.from_string(address))
        return None if account is None else Known(str(account.owner), account.data)

    def _with(self, key: Pubkey, known: Known) -> Account:
        """The account as it is, with other data."""
        account = self.account(key)
        lamports = account.lamports if account else self.rent(len(known.data))
        return Account(lamports, known.data, Pubkey.from_string(known.owner))

    def _lend(self, payer: Pubkey, lamports: int) -> None:
        """What emulation costs beyond the fee is given before, and taken back where it was not spent."""
        account = self.account(payer)
        if account is not None and lamports:
            lent = Account(
                account.lamports + lamports, account.data, account.owner, account.executable, account.rent_epoch
            )
            self.write(payer, lent)


_NOTHING: Final = Account(0, b"", Pubkey.default())


def _picked(table: Sequence[Pubkey], indexes: Iterable[int]) -> list[Pubkey]:
    try:
        return [table[index] for index in indexes]
    except IndexError as error:
        raise Unloadable("InvalidAddressLookupTableIndex") from error


def _executed(result: _Result) -> Executed:
    if isinstance(result, TransactionMetadata):
        return _told(result, None)
    if isinstance(result, FailedTransactionMetadata):
        return _told(result.meta(), json.loads(result.to_json())["err"])
    return msgspec.structs.replace(_told(result.meta(), None), written=result.post_accounts())


def _told(meta: TransactionMetadata, err: Any) -> Executed:
    returned = meta.return_data()
    return Executed(
        err=err,
        charged=err is None or isinstance(err, dict),
        fee=meta.fee(),
        units=meta.compute_units_consumed(),
        logs=meta.logs(),
        inner=[[_inner(each) for each in called] for called in meta.inner_instructions()],
        returned=(str(returned.program_id), bytes(returned.data)) if returned.data else None,
    )


def _as_asked(executed: Executed, emulated: Emulated, named: Named) -> Executed:
    """What was executed, told of the message that was asked for."""
    places = {key: place for place, key in enumerate(named.keys)}
    keys = emulated.message.account_keys
    mapped = [places.get(key) for key in keys]
    inner: list[list[_Inner]] = [[] for _ in range(emulated.origin[-1] + 1)]
    origin = emulated.origin
    for index, (called, compiled) in enumerate(zip(executed.inner, emulated.message.instructions, strict=False)):
        moved = (compiled.program_id_index, bytes(compiled.accounts), bytes(compiled.data), 2)
        is_swap = origin.count(origin[index]) > 1
        for program, accounts, data, depth in [moved] * is_swap + called:
            found = [mapped[place] for place in (program, *accounts)]
            if None not in found:
                first, *others = (place for place in found if place is not None)
                inner[origin[index]].append((first, bytes(others), data, depth))
    return msgspec.structs.replace(
        executed,
        err=_err_as_asked(executed.err, emulated),
        fee=executed.fee - emulated.extra_fee,
        logs=emulated.log_of(executed.logs),
        inner=inner,
    )


def _err_as_asked(err: Any, emulated: Emulated) -> Any:
    match err:
        case {"InstructionError": [int(index), why]}:
            at = emulated.origin[index]
            refusal = emulated.refusal
            return {"InstructionError": [at, {"Custom": refusal.code} if refusal and refusal.index == at else why]}
        case _:
            return err


def _inner(called: Any) -> _Inner:
    instruction = called.instruction()
    return instruction.program_id_index, bytes(instruction.accounts), bytes(instruction.data), called.stack_height()
