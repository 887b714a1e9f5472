"""A wallet's swaps as one Solana message. Pure.

Decides: which instructions stand around the swaps, in what order, and when they are too many for one transaction. Must
never: name a token account that is not the wallet's own, or two messages alike (the caller's memo sees to that).
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import Instruction as Written
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey

from fillwright.adapters.solana.legs import HOP_TOLERANCE_BPS, calls_of, program_of
from fillwright.errors import Code, FillwrightError
from fillwright.order import Mode
from fillwright.pools import ChainTime
from fillwright.ports import Instruction
from fillwright.programs import Accounts, SwapCall, token
from fillwright.units import NATIVE_MINT, Atoms, Bps, OrderId

BYTES_MAX: Final = 1_232
"""Of a transaction: what one packet of the network holds."""
_WAYS: Final = tuple((spare, by_table) for spare in (2, 1, 0) for by_table in (False, True))
"""To write a transaction, until it fits: how many tick or bin arrays to spare, and whether by lookup tables."""
_SIGNATURE_BYTES: Final = 65
"""One signature, and how many there are."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What all transactions of a wallet have in common. `tip` lamports go to `tip_to`; to nobody where that is empty.

    `tables`: lookup tables, used only where a transaction does not fit without. Their owner must keep them as they are.
    """

    wallet: str
    hop_tolerance_bps: Bps = HOP_TOLERANCE_BPS
    tables: tuple[AddressLookupTableAccount, ...] = ()
    tip: Atoms = Atoms(0)
    tip_to: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many compute units a transaction may use, and what it pays for each in millionths of a lamport."""

    units: int
    micro_lamports: int


class TooLarge(FillwrightError):
    """These swaps do not fit into one transaction: fewer legs would, or a lookup table that holds their accounts."""

    def __init__(self, legs: int, size: int) -> None:
        detail = f"a route of {legs} swaps takes {size:,} bytes, but a transaction holds {BYTES_MAX:,}"
        super().__init__(Code.ROUTE_UNAVAILABLE, detail)


def memo_of(order_id: OrderId, attempt: int, nonce: bytes) -> str:
    """Whose the transaction is. With 4 bytes of chance no two messages are alike."""
    return f"fw {order_id} {attempt} {nonce.hex()}"


def build(
    wishes: Sequence[Instruction],
    terms: Terms,
    *,
    accounts: Accounts,
    now: ChainTime,
    memo: str,
    blockhash: str,
    budget: Budget,
) -> MessageV0:
    """The message to sign: it happens whole, or not at all.

    `accounts` are all that the wishes' pools need (programs.Program.linked). Those of the wallet's own token accounts
    that are among them are not created again. Raises PoolRefused, TooLarge.
    """
    wallet, payer, hashed = terms.wallet, Pubkey.from_string(terms.wallet), Hash.from_string(blockhash)
    calls = calls_of(wishes, wallet=wallet, accounts=accounts, now=now, hop_tolerance_bps=terms.hop_tolerance_bps)
    smallest = 0
    for spare, by_table in _WAYS:
        instructions = [
            token.unit_limit(budget.units),
            token.unit_price(budget.micro_lamports),
            *_before(calls, wallet, accounts),
            *(program_of(call.pool, accounts).swap(call, accounts, spare=spare) for call in calls),
            *_after(calls, terms),
            token.memo(memo),
        ]
        message = MessageV0.try_compile(payer, instructions, list(terms.tables) if by_table else [], hashed)
        smallest = size_of(message)
        if smallest <= BYTES_MAX:
            return message
    raise TooLarge(len(calls), smallest)


def size_of(message: MessageV0) -> int:
    """Bytes of the transaction that it becomes by its signature."""
    return _SIGNATURE_BYTES + len(to_bytes_versioned(message))


def looked_up(message: MessageV0, tables: Sequence[AddressLookupTableAccount]) -> tuple[Pubkey, ...]:
    """The accounts that a message takes out of lookup tables: all it may write, then all it may only read."""
    of = {table.key: table.addresses for table in tables}
    lookups = message.address_table_lookups
    writable = [of[lookup.account_key][index] for lookup in lookups for index in lookup.writable_indexes]
    readonly = [of[lookup.account_key][index] for lookup in lookups for index in lookup.readonly_indexes]
    return (*writable, *readonly)


def _before(calls: Sequence[SwapCall], wallet: str, accounts: Accounts) -> list[Written]:
    """The accounts that something arrives in, and SOL wrapped for as much as the swaps may take of it."""
    arriving = {call.mint_out: call.destination for call in calls}
    missing = (mint for mint, account in arriving.items() if mint == NATIVE_MINT or account not in accounts)
    created = [token.create_associated(wallet, wallet, mint) for mint in missing]
    wrapped = sum(_most_in(call) for call in calls if call.mint_in == NATIVE_MINT)
    if not wrapped or NATIVE_MINT in arriving:
        return created
    return [*created, token.create_associated(wallet, wallet, NATIVE_MINT), *_wrap(wallet, Atoms(wrapped))]


def _after(calls: Sequence[SwapCall], terms: Terms) -> list[Written]:
    """SOL unwrapped, and the tip."""
    wrapped = token.associated(terms.wallet, NATIVE_MINT)
    is_native = any(wrapped in (call.source, call.destination) for call in calls)
    return [
        *([token.close_account(wrapped, terms.wallet)] if is_native else []),
        *([token.pay(terms.wallet, terms.tip_to, terms.tip)] if terms.tip_to and terms.tip else []),
    ]


def _wrap(wallet: str, lamports: Atoms) -> tuple[Written, Written]:
    account = token.associated(wallet, NATIVE_MINT)
    return token.pay(wallet, account, lamports), token.sync_native(account)


def _most_in(call: SwapCall) -> Atoms:
    return call.amount if call.mode is Mode.EXACT_IN else call.limit
