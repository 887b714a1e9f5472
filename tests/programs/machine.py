"""A Solana virtual machine that runs the programs' own binaries, and a wallet in it.

Decides: what surrounds a golden pool so that its program can run: mints, observations, a wallet's balances. Must never:
compute an amount of a swap.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from solders.account import Account as MachineAccount
from solders.address_lookup_table_account import ID as LOOKUP_TABLES
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.clock import Clock
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from fillwright.pools import ChainTime
from fillwright.pools import pool as p
from fillwright.programs import PROGRAMS, Account, Accounts, Program, token
from fillwright.units import NATIVE_MINT, Atoms, Mint

_RENT: Final = 2_039_280
"""Lamports that a token account keeps."""
_PURSE: Final = 10**10
"""Lamports for fees and rent."""
HOLDING_BYTES: Final = 165
"""Of a token account."""
_DECIMALS: Final = 6
_POOL: Final = b"the pool's own address"
_HISTORIES: Final[Mapping[str, tuple[int, int, bytes]]] = {
    "cpmm": (296, 4_075, bytes.fromhex("7aaec5358109a584") + bytes([1, 0, 0]) + _POOL),
    "clmm": (201, 4_483, bytes.fromhex("7aaec5358109a584") + bytes([1]) + bytes(10) + _POOL),
    "dlmm": (552, 3_232, bytes.fromhex("8bc283b38cb3e5f4") + bytes(16) + bytes([100])),
}
"""Where a pool names the account of its price history, which a swap only writes; its length; how it begins."""


class Machine:
    """Runs whatever binaries the folder holds, `<program id>.so`."""

    def __init__(self, folder: Path) -> None:
        self._svm = LiteSVM()
        self.programs: list[Program] = []
        for program in PROGRAMS.values():
            path = folder / f"{program.id}.so"
            if path.exists():
                self._svm.add_program(Pubkey.from_string(program.id), path.read_bytes())
                self.programs.append(program)
        self._keys = 0

    @property
    def blockhash(self) -> str:
        return str(self._svm.latest_blockhash())

    def set_time(self, now: ChainTime) -> None:
        clock = self._svm.get_clock()
        self._svm.set_clock(Clock(now.slot, clock.epoch_start_timestamp, now.epoch, now.epoch + 1, now.unix_seconds))

    def put(self, pool: str, known: Accounts) -> None:
        """The pool with all that its program asks for."""
        for address, account in known.items():
            self._put(address, account)
        program = next(program for program in PROGRAMS.values() if program.id == known[pool].owner)
        for mint in program.mints(known[pool]):
            self._put(mint, Account(str(token.TOKEN_PROGRAM), _mint_bytes()))
        if program.kind in _HISTORIES:
            offset, size, begin = _HISTORIES[program.kind]
            history = begin.replace(_POOL, bytes(Pubkey.from_string(pool)))
            self._put(p.pubkey(known[pool].data, offset), Account(program.id, history.ljust(size, b"\0")))

    def table(self, addresses: Sequence[str]) -> AddressLookupTableAccount:
        """A new lookup table of nobody's, with these addresses."""
        self._keys += 1
        key = Keypair.from_seed(self._keys.to_bytes(32, "big")).pubkey()
        listed = [Pubkey.from_string(address) for address in addresses]
        meta = (1).to_bytes(4, "little") + (2**64 - 1).to_bytes(8, "little") + bytes(44)
        self._put(str(key), Account(str(LOOKUP_TABLES), meta + b"".join(map(bytes, listed))))
        return AddressLookupTableAccount(key, listed)

    def wallet(self, has: Mapping[Mint, Atoms]) -> Keypair:
        """A new one, which holds exactly this."""
        self._keys += 1
        keypair = Keypair.from_seed(self._keys.to_bytes(32, "big"))
        owner = str(keypair.pubkey())
        lamports = _PURSE + has.get(NATIVE_MINT, 0)
        self._svm.set_account(keypair.pubkey(), MachineAccount(lamports, b"", token.SYSTEM))
        for mint, amount in has.items():
            if mint != NATIVE_MINT:
                holding = Account(str(token.TOKEN_PROGRAM), _holding(mint, owner, amount))
                self._put(token.associated(owner, mint), holding)
        return keypair

    def send(self, message: MessageV0, keypair: Keypair) -> TransactionMetadata | FailedTransactionMetadata:
        return self._svm.send_transaction(VersionedTransaction(message, [keypair]))

    def wealth(self, owner: str, mint: Mint) -> int:
        """What a wallet of this machine has of it, in whichever of its accounts."""
        account = self._svm.get_account(Pubkey.from_string(token.associated(owner, mint)))
        if mint == NATIVE_MINT:
            return (self._svm.get_balance(Pubkey.from_string(owner)) or 0) + (account.lamports if account else 0)
        return p.u64(account.data, 64) if account is not None and account.data else 0

    def rent(self, owner: str, mints: Iterable[Mint]) -> int:
        """Lamports that the wallet's accounts of these mints, none of them SOL, keep for themselves."""
        accounts = [self._svm.get_account(Pubkey.from_string(token.associated(owner, mint))) for mint in mints]
        return sum(account.lamports for account in accounts if account is not None)

    def _put(self, address: str, account: Account) -> None:
        """Wrapped SOL is there in lamports as well."""
        data, lamports = account.data, _PURSE
        if account.owner == str(token.TOKEN_PROGRAM) and len(data) == HOLDING_BYTES:
            is_native = p.pubkey(data, 0) == NATIVE_MINT
            lamports = _RENT + (p.u64(data, 64) if is_native else 0)
            native = (1).to_bytes(4, "little") + _RENT.to_bytes(8, "little") if is_native else bytes(12)
            data = data[:109] + native + data[121:]
        owner = Pubkey.from_string(account.owner)
        self._svm.set_account(Pubkey.from_string(address), MachineAccount(lamports, data, owner))


def _mint_bytes() -> bytes:
    """Of nobody, with 6 decimals: no program here computes with them."""
    return bytes(36) + (2**63).to_bytes(8, "little") + bytes([_DECIMALS, 1]) + bytes(36)


def _holding(mint: Mint, owner: str, amount: int) -> bytes:
    keys = bytes(Pubkey.from_string(mint)) + bytes(Pubkey.from_string(owner))
    return keys + amount.to_bytes(8, "little") + bytes(36) + b"\x01" + bytes(56)
