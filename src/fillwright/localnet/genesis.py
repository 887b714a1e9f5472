"""What is there before the first block: tokens at their mainnet addresses, and pools of all five programs.

Decides: which tokens and pools a fresh localnet has. Prices, fees and depths are those of the simulated market, so that
an example does about the same here and there. Must never: give a token a name: mints are all that a chain knows.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
from solders.account import Account as Held
from solders.pubkey import Pubkey

from fillwright.adapters.sim.listing import TOKENS, start_pools
from fillwright.localnet.bank import Bank
from fillwright.localnet.planting import AnyPool, Planted, lamports_of, mint_account, plant
from fillwright.pools.clmm import ClmmPool
from fillwright.programs import Account
from fillwright.units import NATIVE_MINT, Mint

DECIMALS: Final[Mapping[Mint, int]] = {token.mint: token.decimals for token in TOKENS}


def plant_market(bank: Bank) -> list[Planted]:
    """The tokens, and every pair's pools on both venues, into a chain that has none of them."""
    planted = [plant(_open(pool), DECIMALS) for pool in start_pools()]
    found: dict[str, Account] = {}
    supplies: Counter[Mint] = Counter()
    for each in planted:
        found.update(each.accounts)
        supplies[each.pool.mint_0] += each.pool.vault_0_amount
        supplies[each.pool.mint_1] += each.pool.vault_1_amount
    for mint, decimals in DECIMALS.items():
        found[mint] = mint_account(0 if mint == NATIVE_MINT else supplies[mint], decimals)
    put(bank, found)
    return planted


def _open(pool: AnyPool) -> AnyPool:
    """The recorded pool has an opening time, which a chain of any time has passed."""
    return msgspec.structs.replace(pool, open_time=0) if isinstance(pool, ClmmPool) else pool


def put(bank: Bank, accounts: Mapping[str, Account]) -> None:
    """Into the chain, without a transaction."""
    for address, account in accounts.items():
        held = Held(lamports_of(account), account.data, Pubkey.from_string(account.owner))
        bank.write(Pubkey.from_string(address), held)
