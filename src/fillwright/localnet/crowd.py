"""Everybody else on a localnet: an outside trader who moves the prices, and creators of new pools.

Decides: who sends what in which block. Must never: touch a pool but by transactions, as anybody's, or read a clock.

The trader follows the prices of the simulated market, one pool a block in turn, until the next atom no longer pays: so
venues stand a few percent apart, and limits and stops are met. Prices are the same from the same seed; in which block
they are reached is not, where blocks are lost or taken back.
"""

from collections import Counter
from contextlib import suppress
from hashlib import sha256
from typing import Final

from solders.account import Account as Held
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.sim.market import Market, arbitrage
from fillwright.adapters.sim.prices import SeededPrices
from fillwright.localnet.balances import supply_of
from fillwright.localnet.bank import Bank, Refused
from fillwright.localnet.control import give_tokens
from fillwright.localnet.genesis import put
from fillwright.localnet.newcomers import Newcomer, newcomer
from fillwright.localnet.planting import Planted
from fillwright.localnet.writing import patched
from fillwright.order import Mode
from fillwright.pools import ChainTime, PoolRefused
from fillwright.programs import PROGRAMS, Account, SwapCall, token
from fillwright.units import NATIVE_MINT, Atoms, Mint

_PURSE: Final = 10**15
"""Lamports for fees."""
_SUPPLY: Final = 36
"""Where a mint keeps it."""
_PURSES: Final = 3
"""So many times what all pools hold of a token the trader has of it."""


class Crowd:
    """Acts before each block. Every `trade_blocks` one pool is traded with, every `newcomer_blocks` one is created."""

    def __init__(
        self, bank: Bank, planted: list[Planted], *, seed: int, trade_blocks: int = 1, newcomer_blocks: int = 0
    ) -> None:
        """0 blocks: never."""
        self._bank = bank
        self._planted = planted
        self._seed = seed
        self._trade_blocks = trade_blocks if planted else 0
        self._newcomer_blocks = newcomer_blocks
        self._market = Market(seed=seed, pools=(), prices=SeededPrices(seed))
        self._trader = Keypair.from_seed(sha256(f"trader:{seed}".encode()).digest())
        self._acted = 0
        self._created = 0
        if self._trade_blocks:
            self._equip()

    def act(self) -> None:
        self._acted += 1
        if self._trade_blocks and self._acted % self._trade_blocks == 0:
            self._trade(self._planted[self._acted // self._trade_blocks % len(self._planted)])
        if self._newcomer_blocks and self._acted % self._newcomer_blocks == 0:
            self._create()

    def _equip(self) -> None:
        held: Counter[Mint] = Counter()
        for each in self._planted:
            held[each.pool.mint_0] += each.pool.vault_0_amount
            held[each.pool.mint_1] += each.pool.vault_1_amount
        me = self._trader.pubkey()
        self._bank.write(me, Held(_PURSE, b"", Pubkey.default()))
        for mint, amount in held.items():
            give_tokens(self._bank, owner=me, mint=Pubkey.from_string(mint), amount=_PURSES * amount)

    # --- trading ------------------------------------------------------------------------------------------

    def _trade(self, planted: Planted) -> None:
        """What can not be traded, because the price is right or the way too far for one transaction, is left."""
        tip, program = self._bank.tip, PROGRAMS[planted.pool.kind]
        now = ChainTime(slot=tip.slot, unix_seconds=tip.unix_seconds)
        known = {address: account for address in planted.accounts if (account := self._read(address))}
        target = self._market.target(planted.pool, self._market.tick(tip.slot - self._bank.first_slot))
        try:
            pool = program.decode(planted.pool.address, known)
            found = arbitrage(pool, target, now)
            if found is None or not found[1]:
                return
            mint_in, amount = found
            mint_out = pool.mint_1 if mint_in == pool.mint_0 else pool.mint_0
            me = str(self._trader.pubkey())
            call = SwapCall(
                pool=pool.address,
                mode=Mode.EXACT_IN,
                mint_in=mint_in,
                mint_out=mint_out,
                amount=Atoms(amount),
                limit=Atoms(1),
                owner=me,
                source=token.associated(me, mint_in),
                destination=token.associated(me, mint_out),
            )
            self._send(self._trader, program.swap(call, known))
        except PoolRefused:
            return

    def _read(self, address: str) -> Account | None:
        held = self._bank.machine.account(Pubkey.from_string(address))
        return Account(str(held.owner), held.data) if held else None

    # --- new pools ----------------------------------------------------------------------------------------

    def _create(self) -> None:
        new = newcomer(self._seed, self._created)
        self._created += 1
        program = PROGRAMS[new.planted.pool.kind]
        is_native = program.id in self._bank.machine.programs
        if is_native and program.kind != "cpmm":
            return
        prepare(self._bank, new, is_native=is_native)
        self._bank.write(new.creator.pubkey(), Held(_PURSE, b"", Pubkey.default()))
        self._send(new.creator, new.creation, *((new.burning,) if is_native and new.burning else ()))

    def _send(self, signer: Keypair, *wanted: Instruction) -> None:
        """With all the units there are: a swap through many arrays takes more than one instruction is given.

        A chain that is too busy refuses the crowd like anybody else.
        """
        instructions = [token.unit_limit(1_400_000), *wanted]
        message = MessageV0.try_compile(signer.pubkey(), instructions, [], self._bank.tip.hash)
        with suppress(Refused):
            self._bank.receive(VersionedTransaction(message, [signer]))


def prepare(bank: Bank, new: Newcomer, *, is_native: bool) -> None:
    """All that its creation finds; what its vault gets of a known token is newly made."""
    put(bank, new.purses if is_native else new.waiting)
    if new.against != NATIVE_MINT:
        key, pool = Pubkey.from_string(new.against), new.planted.pool
        mint = bank.machine.account(key)
        assert mint, "the market has it"
        paid = pool.vault_0_amount if pool.mint_0 == new.against else pool.vault_1_amount
        known = patched(Account(str(mint.owner), mint.data), [(_SUPPLY, 8, supply_of(mint) + paid)])
        bank.write(key, Held(mint.lamports, known.data, mint.owner))
