"""One transaction on two chains that are alike, but that one has the programs' binaries: both must be alike afterwards.

Decides: which swaps are tried on the market that a localnet begins with. Must never: look away from a byte that a swap
reads, a balance, or an error code. Only what programs remember of past prices may differ: emulation leaves that alone.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from solders.account import Account as Held
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.localnet import genesis
from fillwright.localnet.bank import Bank, Landed, Rules
from fillwright.localnet.crowd import Crowd
from fillwright.localnet.machine import Machine
from fillwright.localnet.newcomers import newcomer
from fillwright.localnet.planting import Planted, lp_of, token_account
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.cpmm import CpmmPool
from fillwright.programs import PROGRAMS, Account, Accounts, SwapCall, token
from fillwright.units import Atoms, Mint

_NOON: Final = 1_780_000_000
_PRICE_HISTORIES: Final = {4_075, 4_483, 3_232}
"""Lengths of the accounts in which CPMM, CLMM and DLMM remember prices."""
_TOO_TIGHT: Final = 0.15
"""So many of the swaps have a limit that is missed by an atom."""


@dataclass
class Compared:
    """Of one program."""

    alike: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


class _Chain:
    def __init__(self, machine: Machine, wallet: Keypair) -> None:
        self.bank = Bank(
            machine, rules=Rules(), first_slot=10**8, first_height=10**8, unix_seconds=_NOON, seed=b"emulated"
        )
        self.planted = genesis.plant_market(self.bank)
        self.bank.write(wallet.pubkey(), Held(10**12, b"", Pubkey.default()))
        purses = {mint: token_account(str(wallet.pubkey()), mint, 10**15) for mint in genesis.DECIMALS}
        genesis.put(self.bank, {token.associated(str(wallet.pubkey()), mint): each for mint, each in purses.items()})

    def known(self, planted: Planted) -> Accounts:
        held = {address: self.bank.machine.account(Pubkey.from_string(address)) for address in planted.accounts}
        return {address: Account(str(each.owner), each.data) for address, each in held.items() if each}

    def send(self, transaction: VersionedTransaction) -> Landed:
        self.bank.receive(transaction)
        (landed,) = self.bank.produce(self.bank.tip.unix_seconds + 7).transactions
        return landed

    def state(self, planted: Planted, wallet: str) -> dict[str, tuple[int, bytes]]:
        """Lamports and bytes of whatever a swap may change."""
        purses = [token.associated(wallet, mint) for mint in (planted.pool.mint_0, planted.pool.mint_1)]
        found = {}
        for address in (wallet, *purses, *planted.accounts):
            held = self.bank.machine.account(Pubkey.from_string(address))
            if held is not None and len(held.data) not in _PRICE_HISTORIES:
                found[address] = (held.lamports, bytes(held.data))
        return found


def compare(folder: Path, swaps: int, seed: int = 1) -> dict[str, Compared]:
    """By kind of pool, those whose binary is in the folder: so many swaps one after the other on its pools."""
    wallet, dice = Keypair.from_seed(bytes(32)), Random(seed)
    real, ours = _Chain(Machine(folder), wallet), _Chain(Machine(), wallet)
    tallies = {kind: Compared() for kind, program in PROGRAMS.items() if program.id in real.bank.machine.programs}
    for kind, tally in tallies.items():
        pools = [planted for planted in real.planted if planted.pool.kind == kind]
        for number in range(swaps):
            planted = pools[number % len(pools)]
            swap = _swap(ours, planted, wallet, dice)
            if swap is not None:
                _both(real, ours, planted, wallet, swap, tally)
    return tallies


def compare_creations(folder: Path, count: int) -> Compared | None:
    """New pools of CPMM, by the program and without it; None where its binary is not in the folder."""
    wallet = Keypair.from_seed(bytes(32))
    real, ours, tally = _Chain(Machine(folder), wallet), _Chain(Machine(), wallet), Compared()
    if PROGRAMS["cpmm"].id not in real.bank.machine.programs:
        return None
    for chain in (real, ours):
        crowd = Crowd(chain.bank, [], seed=1, newcomer_blocks=1)
        for _ in range(count):
            crowd.act()
            chain.bank.produce(chain.bank.tip.unix_seconds + 7)
    for planted in (newcomer(1, number).planted for number in range(count)):
        if planted.pool.kind != "cpmm":
            continue
        one, other = (_created(chain, planted) for chain in (real, ours))
        if one == other:
            tally.alike += 1
        else:
            tally.wrong.append(f"{planted.pool.address}: {one} by the program, {other} by us")
    return tally


def _created(chain: _Chain, planted: Planted) -> tuple[Pool, bytes]:
    """The pool, but for the time at which it opens, which the program makes the next second; and its shares' mint."""
    known = chain.known(planted)
    pool = PROGRAMS["cpmm"].decode(planted.pool.address, known)
    assert isinstance(pool, CpmmPool)
    shares = known[lp_of(known[pool.address].data)].data
    return msgspec.structs.replace(pool, open_time=0, recent_epoch=0), shares


def _swap(chain: _Chain, planted: Planted, wallet: Keypair, dice: Random) -> Instruction | None:
    """One of any size; none where that does not fit into a transaction."""
    program, known, tip = PROGRAMS[planted.pool.kind], chain.known(planted), chain.bank.tip
    pool: Pool = program.decode(planted.pool.address, known)
    now = ChainTime(slot=tip.slot + 1, unix_seconds=tip.unix_seconds + 7)
    ends = dice.choice([(pool.mint_0, pool.mint_1), (pool.mint_1, pool.mint_0)])
    mode = dice.choice(list(Mode))
    mint_fixed = ends[mode is Mode.EXACT_OUT]
    amount = Atoms(int(pool.reserves()[mint_fixed == pool.mint_1] * 10 ** dice.uniform(-7, -1.3)) + 1)
    try:
        quote = (pool.quote_in if mode is Mode.EXACT_IN else pool.quote_out)(amount, ends[0], now)
        tight = dice.random() < _TOO_TIGHT
        limit = quote.amount_out + tight if mode is Mode.EXACT_IN else quote.amount_in - tight
        return program.swap(_call(pool, mode, ends, amount, Atoms(limit), str(wallet.pubkey())), known)
    except PoolRefused:
        return None


def _call(pool: Pool, mode: Mode, ends: tuple[Mint, Mint], amount: Atoms, limit: Atoms, owner: str) -> SwapCall:
    source, destination = (token.associated(owner, mint) for mint in ends)
    return SwapCall(
        pool=pool.address,
        mode=mode,
        mint_in=ends[0],
        mint_out=ends[1],
        amount=amount,
        limit=limit,
        owner=owner,
        source=source,
        destination=destination,
    )


def _both(real: _Chain, ours: _Chain, planted: Planted, wallet: Keypair, swap: Instruction, tally: Compared) -> None:
    instructions = [token.unit_limit(1_400_000), swap]
    message = MessageV0.try_compile(wallet.pubkey(), instructions, [], real.bank.tip.hash)
    transaction = VersionedTransaction(message, [wallet])
    one, other = real.send(transaction), ours.send(transaction)
    me = str(wallet.pubkey())
    states = real.state(planted, me), ours.state(planted, me)
    differ = [address for address in states[0] if states[0][address] != states[1][address]]
    if one.executed.err != other.executed.err or one.executed.fee != other.executed.fee:
        tally.wrong.append(f"{planted.pool.address}: {one.executed.err} by the program, {other.executed.err} by us")
    elif differ:
        tally.wrong.append(f"{planted.pool.address}: {Counter(differ).most_common(3)} differ")
    elif one.executed.err is None:
        tally.alike += 1
    else:
        tally.refused += 1
