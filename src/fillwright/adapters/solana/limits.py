"""What the wallet may sign: the last look at a built message, right before its signature.

Decides: which instructions, programs, tokens and amounts are let through; everything that it cannot read is refused.
Must never: trust who built the message, or let two messages share what is left of a cap.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from fillwright.errors import Code, FillwrightError
from fillwright.order import Mode
from fillwright.pools import PoolRefused
from fillwright.ports import Spending, Take
from fillwright.programs import Program, SwapCall
from fillwright.programs.token import ASSOCIATED, BUDGET, MEMO, TOKEN_2022, TOKEN_PROGRAM, associated
from fillwright.units import NATIVE_MINT, Atoms, Mint, OrderId, Token, format_atoms

_TOKEN_PROGRAMS: Final = (TOKEN_PROGRAM, TOKEN_2022)
_TRANSFER_LAMPORTS, _TRANSFER_BYTES = (2).to_bytes(4, "little"), 12
_CLOSE_ACCOUNT, _SYNC_NATIVE = b"\x09", b"\x11"
_CREATE_IDEMPOTENT: Final = b"\x01"
_COMPUTE_LIMIT, _COMPUTE_PRICE = 2, 3


class Cap(msgspec.Struct, frozen=True):
    """The most of a token that may be spent: by one order, and in any 24 hours. None: as much as there is."""

    token: Token
    order: Atoms | None = None
    day: Atoms | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator allows."""

    wallet: str
    programs: Mapping[str, Program]
    """Those that may swap, by id."""
    mints: frozenset[Mint] | None = None
    """Tokens that may be spent or bought; None: any."""
    caps: Mapping[Mint, Cap] | None = None
    """Where there are any, no other token may be spent. None: no caps."""
    priority_fee_max: int
    """Micro-lamports a compute unit."""
    tip: tuple[str, int] | None = None
    """Who may be paid a tip, and how many lamports at most."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is about to be signed."""

    order_id: OrderId
    message: MessageV0
    looked_up: tuple[Pubkey, ...] = ()
    """The accounts that it takes from lookup tables: all it may write, then all it may only read."""
    mints: frozenset[Mint]
    """The tokens that it is meant to swap. They only help to recognise token accounts: a wrong one fits none."""


class Guard:
    """Judges drafts by the rules, and keeps what they may spend within the caps."""

    def __init__(self, rules: Rules, spending: Spending) -> None:
        self._rules = rules
        self._spending = spending

    async def allow(self, draft: Draft) -> None:
        """Return if it may be signed; what it may spend then counts, until its order tries again or ends without it.

        Raises FillwrightError: LIMIT_EXCEEDED, saying what is not allowed; STORE_UNAVAILABLE.
        """
        spent = outflow(self._rules, draft)
        caps = self._rules.caps
        if caps is None:
            return
        for mint in sorted(spent.keys() - caps.keys()):
            raise _exceeded(f"no cap allows spending {mint}")
        takes = [Take(mint, amount, caps[mint].order, caps[mint].day) for mint, amount in sorted(spent.items())]
        excess = await self._spending.reserve(draft.order_id, takes)
        if excess is not None:
            raise _exceeded(_words(caps[excess.mint], excess.take, excess.spent, of_day=excess.of_day))


def outflow(rules: Rules, draft: Draft) -> Mapping[Mint, Atoms]:
    """The most of each token that leaves the wallet by this message's swaps, if it is executed. Pure.

    What one swap must pay out, another one may take in: the token between two swaps is not spent. Fees and the tip are
    not counted; they have limits of their own. Raises FillwrightError(LIMIT_EXCEEDED) for anything not allowed.
    """
    reading = _Reading(rules, draft)
    balance: defaultdict[Mint, int] = defaultdict(int)
    for program, accounts, data in reading.instructions():
        call = reading.judged(program, accounts, data)
        if call is not None:
            is_in = call.mode is Mode.EXACT_IN
            balance[call.mint_in] += call.amount if is_in else call.limit
            balance[call.mint_out] -= call.limit if is_in else call.amount
    return {mint: Atoms(amount) for mint, amount in balance.items() if amount > 0}


class _Reading:
    """One message, read by the rules."""

    def __init__(self, rules: Rules, draft: Draft) -> None:
        self._rules = rules
        self._message = draft.message
        self._keys = (*draft.message.account_keys, *draft.looked_up)
        self._wallet = Pubkey.from_string(rules.wallet)
        self._accounts = _own_accounts(rules.wallet, draft.mints | {NATIVE_MINT})
        self._tip_left = rules.tip[1] if rules.tip is not None else 0

    def instructions(self) -> list[tuple[Pubkey, tuple[Pubkey, ...], bytes]]:
        header = self._message.header
        if header.num_required_signatures != 1 or self._keys[0] != self._wallet:
            raise _exceeded("the message asks for other signatures than the wallet's")
        try:
            return [
                (self._keys[each.program_id_index], tuple(self._keys[i] for i in each.accounts), bytes(each.data))
                for each in self._message.instructions
            ]
        except IndexError:
            raise _exceeded("the message names accounts that it does not have") from None

    def judged(self, program: Pubkey, accounts: tuple[Pubkey, ...], data: bytes) -> SwapCall | None:
        """The swap that this instruction makes, or None for one that may stand beside swaps."""
        swapping = self._rules.programs.get(str(program))
        if swapping is not None:
            return self._swap(swapping, accounts, data)
        beside = {
            BUDGET: self._is_budget,
            MEMO: _is_anything,
            SYSTEM: self._is_transfer,
            ASSOCIATED: self._is_create,
            **dict.fromkeys(_TOKEN_PROGRAMS, self._is_wrapping),
        }
        if program not in beside:
            raise _exceeded(f"program {program} is not allowed")
        if not beside[program](accounts, data):
            raise _exceeded(f"an instruction to program {program} is not one that swaps need")
        return None

    def _swap(self, program: Program, accounts: tuple[Pubkey, ...], data: bytes) -> SwapCall:
        try:
            call = program.read(accounts, data, self._accounts)
        except PoolRefused as error:
            raise _exceeded(f"a swap cannot be read: {error}") from None
        if call is None:
            raise _exceeded(f"an instruction to program {program.id} is no swap")
        mint_in, mint_out = self._accounts.get(call.source), self._accounts.get(call.destination)
        if call.owner != self._rules.wallet or (mint_in, mint_out) != (call.mint_in, call.mint_out):
            raise _exceeded("a swap is not between the wallet's own token accounts")
        allowed = self._rules.mints
        for mint in (call.mint_in, call.mint_out):
            if allowed is not None and mint not in allowed:
                raise _exceeded(f"token {mint} is not allowed")
        return call

    def _is_budget(self, _: tuple[Pubkey, ...], data: bytes) -> bool:
        if len(data) == 9 and data[0] == _COMPUTE_PRICE:
            return int.from_bytes(data[1:], "little") <= self._rules.priority_fee_max
        return len(data) == 5 and data[0] == _COMPUTE_LIMIT

    def _is_transfer(self, accounts: tuple[Pubkey, ...], data: bytes) -> bool:
        """To the wallet's own account of wrapped SOL, or the tip."""
        if len(accounts) != 2 or len(data) != _TRANSFER_BYTES or not data.startswith(_TRANSFER_LAMPORTS):
            return False
        payee, lamports = str(accounts[1]), int.from_bytes(data[4:], "little")
        if self._accounts.get(payee) == NATIVE_MINT:
            return True
        if self._rules.tip is None or payee != self._rules.tip[0] or lamports > self._tip_left:
            return False
        self._tip_left -= lamports
        return True

    def _is_create(self, accounts: tuple[Pubkey, ...], data: bytes) -> bool:
        """An associated account of the wallet: the program itself derives which one that is."""
        return data == _CREATE_IDEMPOTENT and len(accounts) == 6 and accounts[2] == self._wallet

    def _is_wrapping(self, accounts: tuple[Pubkey, ...], data: bytes) -> bool:
        is_own = bool(accounts) and self._accounts.get(str(accounts[0])) == NATIVE_MINT
        if data == _SYNC_NATIVE:
            return is_own
        return data == _CLOSE_ACCOUNT and is_own and accounts[1:] == (self._wallet, self._wallet)


def _is_anything(_: tuple[Pubkey, ...], __: bytes) -> bool:
    return True


def _own_accounts(wallet: str, mints: frozenset[Mint]) -> Mapping[str, Mint]:
    """The wallet's associated token accounts of these tokens, under either token program."""
    return {associated(wallet, mint, program): mint for mint in mints for program in _TOKEN_PROGRAMS}


def _words(cap: Cap, take: Atoms, spent: Atoms, *, of_day: bool) -> str:
    def told(amount: Atoms) -> str:
        return f"{format_atoms(amount, cap.token.decimals)} {cap.token.symbol}"

    most = cap.day if of_day else cap.order
    assert most is not None
    already = f", of which {told(spent)} is spent or may be yet" if spent else ""
    whose = "the wallet in 24 hours" if of_day else "one order"
    return f"{told(take)} more is beyond the cap of {told(most)} for {whose}{already}"


def _exceeded(why: str) -> FillwrightError:
    return FillwrightError(Code.LIMIT_EXCEEDED, f"not signed: {why}")
