"""What no validator offers: making blocks, faults and forks, giving tokens, and an audit.

Decides: the methods that begin with `localnet_`. Must never: be reachable at a node that plays a
part: only `/` has them.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from fillwright.adapters.jsonrpc import INVALID_PARAMS, Failed, Method, with_params
from fillwright.localnet import parameters as asked
from fillwright.localnet.balances import HOLDING_BYTES, NATIVE, TOKEN_PROGRAMS, holding_of, is_mint, supply_of
from fillwright.localnet.bank import Bank
from fillwright.localnet.faults import Dice
from fillwright.localnet.reads import key_of
from fillwright.localnet.shapes import Json, memo_of

_ATOMS_MAX: Final = 2**64 - 1
_MEMO_WORDS: Final = 5
"""`[length] fw ORDER ATTEMPT CHANCE`: as the engine names its transactions, and a node tells a memo."""


class Control:
    """`produce` makes the next block."""

    def __init__(self, bank: Bank, dice: Dice, produce: Callable[[], None]) -> None:
        self._bank = bank
        self._dice = dice
        self._produce = produce
        self._loose = loose_atoms(bank)

    def methods(self) -> dict[str, Method]:
        return {
            "localnet_produceBlocks": with_params(asked.Producing, self._blocks),
            "localnet_fork": with_params(asked.Forking, self._fork),
            "localnet_setFaults": with_params(asked.Changing, self._change),
            "localnet_getFaults": with_params(asked.Plain, lambda _: self._faults()),
            "localnet_fundToken": with_params(asked.Funding, self._fund),
            "localnet_setAccount": with_params(asked.Setting, self._set),
            "localnet_audit": with_params(asked.Plain, self._audit),
        }

    def _blocks(self, of: asked.Producing) -> Json:
        for _ in range(of.blocks):
            self._produce()
        tip = self._bank.tip
        return {"slot": tip.slot, "blockHeight": tip.height, "waiting": self._bank.waiting()}

    def _fork(self, of: asked.Forking) -> Json:
        taken = self._bank.fork(of.depth, again=of.options.again)
        return {"blockHeight": self._bank.tip.height, "signatures": [landed.signature for landed in taken]}

    def _change(self, of: asked.Changing) -> Json:
        self._dice.faults = of.faults
        return self._faults()

    def _faults(self) -> Json:
        return {"faults": msgspec.to_builtins(self._dice.faults), "struck": self._dice.struck}

    def _fund(self, of: asked.Funding) -> str:
        return str(give_tokens(self._bank, owner=key_of(of.owner), mint=key_of(of.mint), amount=of.amount))

    def _set(self, of: asked.Setting) -> None:
        found = of.contents
        account = Account(found.lamports, found.data, key_of(found.owner), found.executable) if found else None
        self._bank.write(key_of(of.address), account)

    def _audit(self, _: asked.Plain) -> Json:
        """Tokens that came from nothing or went nowhere, and orders with several executed transactions: only those in
        slices may have some."""
        executed = executed_orders(self._bank)
        loose = loose_atoms(self._bank)
        return {
            "slot": self._bank.tip.slot,
            "transactions": self._bank.landed_ever,
            "waiting": self._bank.waiting(),
            "unbalanced": [str(mint) for mint, atoms in self._loose.items() if loose.get(mint) != atoms],
            "orders": len(executed),
            "severalTimes": {order: found for order, found in executed.items() if len(found) > 1},
        }


def give_tokens(bank: Bank, *, owner: Pubkey, mint: Pubkey, amount: int) -> Pubkey:
    """So many atoms more, newly made, in the owner's associated token account, which is returned. Raises Failed."""
    minted = bank.machine.account(mint)
    if minted is None or not is_mint(minted):
        raise Failed(INVALID_PARAMS, "Invalid param: not a Token mint")
    program = minted.owner
    key = get_associated_token_address(owner, mint, program)
    held = bank.machine.account(key)
    holding = holding_of(held) if held is not None else None
    if held is None:
        held = Account(bank.machine.rent(HOLDING_BYTES), _empty(owner, mint), program)
    elif holding is None:
        raise Failed(INVALID_PARAMS, "Invalid param: the owner's token account is of another kind")
    total = (holding.amount if holding else 0) + amount
    supply = supply_of(minted) + amount
    if max(total, supply) > _ATOMS_MAX:
        raise Failed(INVALID_PARAMS, "Invalid param: more than a token account can hold")
    lamports = held.lamports
    if mint == NATIVE:
        lamports += amount
    else:
        bank.write(mint, _patched(minted, 36, supply, minted.lamports))
    bank.write(key, _patched(held, 64, total, lamports))
    return key


def _empty(owner: Pubkey, mint: Pubkey) -> bytes:
    data = bytearray(HOLDING_BYTES)
    data[:64] = bytes(mint) + bytes(owner)
    data[108] = 1
    if mint == NATIVE:
        data[109] = 1
        data[113:121] = (2_039_280).to_bytes(8, "little")
    return bytes(data)


def _patched(account: Account, offset: int, value: int, lamports: int) -> Account:
    data = account.data[:offset] + value.to_bytes(8, "little") + account.data[offset + 8 :]
    return Account(lamports, data, account.owner, account.executable, account.rent_epoch)


def loose_atoms(bank: Bank) -> dict[Pubkey, int]:
    """By mint: what of its supply no account holds. Nothing that a transaction does to accounts may change it."""
    loose: dict[Pubkey, int] = {}
    held: defaultdict[Pubkey, int] = defaultdict(int)
    for program in TOKEN_PROGRAMS:
        for key, account in bank.machine.owned(program):
            holding = holding_of(account)
            if holding is not None:
                held[holding.mint] += holding.amount
            elif is_mint(account) and key != NATIVE:
                loose[key] = supply_of(account)
    return {mint: supply - held[mint] for mint, supply in loose.items()}


def executed_orders(bank: Bank) -> dict[str, list[str]]:
    """By order, its transactions that were executed without an error; memos tell the orders."""
    executed: defaultdict[str, list[str]] = defaultdict(list)
    for landed in bank.history():
        words = (memo_of(landed) or "").split()
        if landed.executed.err is None and len(words) == _MEMO_WORDS and words[1] == "fw":
            executed[words[2]].append(landed.signature)
    return executed
