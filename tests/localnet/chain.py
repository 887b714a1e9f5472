"""A chain by hand, wallets and plain transfers for the tests of the localnet."""

from typing import Final

import msgspec
from solders.account import Account
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from fillwright.localnet.bank import Bank, Rules
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.machine import Machine
from fillwright.localnet.server import Network

FIRST_SLOT: Final = 400_000_000
FIRST_HEIGHT: Final = 370_000_000
NOON: Final = 1_700_000_000
SOL: Final = 10**9
CALM: Final = Faults(skipped_slots=0.0)


def make_bank(*, confirmed_after: int = 1, finalized_after: int = 4) -> Bank:
    return Bank(
        Machine(),
        rules=Rules(confirmed_after=confirmed_after, finalized_after=finalized_after),
        first_slot=FIRST_SLOT,
        first_height=FIRST_HEIGHT,
        unix_seconds=NOON,
        seed=b"tests",
    )


def make_network(bank: Bank | None = None, *, seed: int = 1, **faults: float) -> Network:
    return Network(bank or make_bank(), Dice(seed, msgspec.structs.replace(CALM, **faults)))


def produce(bank: Bank, blocks: int = 1) -> None:
    for _ in range(blocks):
        bank.produce(bank.tip.unix_seconds + 1)


def funded(bank: Bank, lamports: int = 10 * SOL) -> Keypair:
    """A wallet with something in it."""
    wallet = Keypair()
    bank.airdrop(wallet.pubkey(), lamports)
    produce(bank)
    return wallet


def signed(wallet: Keypair, blockhash: Hash, *instructions: Instruction) -> VersionedTransaction:
    return VersionedTransaction(MessageV0.try_compile(wallet.pubkey(), list(instructions), [], blockhash), [wallet])


def payment(wallet: Keypair, to: Pubkey, lamports: int) -> Instruction:
    return transfer(TransferParams(from_pubkey=wallet.pubkey(), to_pubkey=to, lamports=lamports))


def bid(micro_lamports: int, limit: int = 1_000) -> list[Instruction]:
    """The bid for a place in a block."""
    return [set_compute_unit_limit(limit), set_compute_unit_price(micro_lamports)]


def lamports(bank: Bank, key: Pubkey) -> int:
    account = bank.machine.account(key)
    return account.lamports if account else 0


def lookup_table(addresses: list[Pubkey]) -> Account:
    """solana-address-lookup-table-interface, state.rs: 56 bytes of state (extended long ago), then keys."""
    state = (1).to_bytes(4, "little") + b"\xff" * 8 + bytes(8) + bytes(1) + bytes(1 + 32) + bytes(2)
    owner = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
    return Account(SOL, state + b"".join(bytes(each) for each in addresses), owner)
