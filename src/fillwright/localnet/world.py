"""What a localnet begins with: programs, accounts from dumps, wallets with something in them, and its first slot.

Decides: which accounts are there before the first block. Must never: start with half of what was asked for.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from fillwright.adapters.jsonrpc import Failed
from fillwright.errors import Code, FillwrightError
from fillwright.localnet.balances import NATIVE, TOKEN, decimals_of, is_mint
from fillwright.localnet.bank import Bank, Rules
from fillwright.localnet.control import give_tokens
from fillwright.localnet.crowd import Crowd
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.genesis import plant_market
from fillwright.localnet.machine import Machine
from fillwright.localnet.planting import Planted
from fillwright.localnet.server import Network
from fillwright.tokens import Tokens
from fillwright.units import parse_atoms

_EPOCH_UNIX_S: Final = 1_584_000_000
"""So slots go on, wherever a localnet is started again: five in two seconds since then, about as on mainnet."""
_SOL_DECIMALS: Final = 9


class Fund(msgspec.Struct, frozen=True):
    """Tokens for a wallet: SOL as lamports, others in its associated token account."""

    owner: str
    token: str
    """Symbol or mint."""
    amount: str
    """Decimal text."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    programs: Path | None = None
    accounts: Path | None = None
    seed: int = 1
    rules: Rules = Rules()
    funds: tuple[Fund, ...] = ()
    faults: Faults = Faults()
    trade_blocks: int = 1
    """Every so many blocks an outside trader moves the price of one pool; 0: never."""
    newcomer_blocks: int = 0
    """Every so many blocks somebody creates a pool of a new token; 0: never."""


def open_network(plan: Plan, tokens: Tokens, *, unix_seconds: int) -> Network:
    """With a generated market, unless accounts are given as dumps.

    Raises FillwrightError(CONFIG_INVALID) for a folder that cannot be read, or a fund that cannot be given.
    """
    slot = (unix_seconds - _EPOCH_UNIX_S) * 5 // 2
    bank = Bank(
        Machine(plan.programs),
        rules=plan.rules,
        first_slot=slot,
        first_height=slot - slot // 16,
        unix_seconds=unix_seconds,
        seed=b"%d %d" % (plan.seed, unix_seconds),
    )
    planted: list[Planted] = []
    if plan.accounts is None:
        planted = plant_market(bank)
    else:
        for key, account in dumped(plan.accounts):
            bank.write(key, account)
    if bank.machine.account(NATIVE) is None:
        bank.write(NATIVE, _native_mint(bank.machine))
    for fund in plan.funds:
        _give(bank, tokens, fund)
    crowd = Crowd(bank, planted, seed=plan.seed, trade_blocks=plan.trade_blocks, newcomer_blocks=plan.newcomer_blocks)
    return Network(bank, Dice(plan.seed, plan.faults), crowd)


# --- dumps ------------------------------------------------------------------------------------------------


class _Contents(msgspec.Struct):
    lamports: int
    owner: str
    data: tuple[bytes, str]
    executable: bool = False


class _Dump(msgspec.Struct):
    """As `solana account ADDRESS --output json` writes it."""

    pubkey: str
    account: _Contents


_dump_of: Final = msgspec.json.Decoder(_Dump).decode


def dumped(folder: Path) -> Iterable[tuple[Pubkey, Account]]:
    """Each file `*.json`. Raises FillwrightError(CONFIG_INVALID)."""
    if not folder.is_dir():
        raise FillwrightError(Code.CONFIG_INVALID, f"{folder} is no folder")
    for file in sorted(folder.glob("*.json")):
        try:
            dump = _dump_of(file.read_bytes())
            data, encoding = dump.account.data
            if encoding != "base64":
                raise ValueError(f"its data is {encoding}, not base64")
            account = Account(
                dump.account.lamports, data, Pubkey.from_string(dump.account.owner), dump.account.executable
            )
            yield Pubkey.from_string(dump.pubkey), account
        except (OSError, ValueError) as error:
            why = f"{file} is no account as `solana account ADDRESS --output json` writes it ({error})"
            raise FillwrightError(Code.CONFIG_INVALID, why) from error


# --- funds ------------------------------------------------------------------------------------------------


def funds_of(text: str) -> tuple[Fund, ...]:
    """`ADDRESS=SOL:10,USDC:5000`. Raises ValueError."""
    owner, _, rest = text.partition("=")
    funds = []
    for part in rest.split(","):
        token, _, amount = part.partition(":")
        funds.append(Fund(owner, token, amount))
        if not (owner and token and amount):
            raise ValueError("must be like ADDRESS=SOL:10,USDC:5000")
    return tuple(funds)


def _give(bank: Bank, tokens: Tokens, fund: Fund) -> None:
    try:
        owner = Pubkey.from_string(fund.owner)
        if fund.token.upper() == "SOL":
            key, lamports = owner, parse_atoms(fund.amount, decimals=_SOL_DECIMALS)
            held = bank.machine.account(key)
            bank.write(key, Account((held.lamports if held else 0) + lamports, b"", Pubkey.default()))
            return
        mint = _mint(bank, tokens, fund.token)
        amount = parse_atoms(fund.amount, decimals=decimals_of(bank.machine.account(mint)))
        give_tokens(bank, owner=owner, mint=mint, amount=amount)
    except (ValueError, Failed, FillwrightError) as error:
        why = f"--fund {fund.owner}={fund.token}:{fund.amount} cannot be given: {error}"
        raise FillwrightError(Code.CONFIG_INVALID, why) from error


def _mint(bank: Bank, tokens: Tokens, text: str) -> Pubkey:
    known = {token.symbol.upper(): token.mint for token in tokens.all}
    mint = Pubkey.from_string(known.get(text.upper(), text))
    account = bank.machine.account(mint)
    if account is None or not is_mint(account):
        raise ValueError("there is no such token here")
    return mint


def _native_mint(machine: Machine) -> Account:
    data = bytearray(82)
    data[44], data[45] = _SOL_DECIMALS, 1
    return Account(machine.rent(len(data)), bytes(data), TOKEN)
