"""Live execution put together: the wallet, its limits, and the nodes of one cluster.

Decides: what each live setting means for the parts, and how patient the engine is with a chain that is far away. Must
never: be loaded where everything is simulated.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from fillwright.adapters.sim.market import TOKENS
from fillwright.adapters.solana.signer import CommandSigner, KeySigner
from fillwright.adapters.solana.world import Plan, Solana, open_solana
from fillwright.config import Live, text_of
from fillwright.errors import Code, FillwrightError
from fillwright.policy import Policy
from fillwright.ports import Clock, Entropy, Signer, Spending

_LEGS_MAX: Final = 2
"""Swaps whose accounts fit into one transaction on the real chain, whichever two programs they are of (1,214 of 1,232
bytes for CLMM and DLMM, with SOL wrapped and a tip); a third one fits nowhere without a lookup table."""
_LEG_UNITS: Final = 60_000
"""Compute units of one more swap, about: 13,000 to 74,000 by program."""


@asynccontextmanager
async def open_live(live: Live, spending: Spending, clock: Clock, entropy: Entropy) -> AsyncIterator[Solana]:
    """The chain, its venues and what is new on it. Raises FillwrightError(CONFIG_INVALID)."""
    opened = open_solana(
        plan_of(live),
        [url.reveal() for url in live.rpc],
        [url.reveal() for url in live.sockets],
        signer=signer_of(live),
        spending=spending,
        clock=clock,
        entropy=entropy,
    )
    async with opened as solana:
        yield solana


def plan_of(live: Live) -> Plan:
    """Raises FillwrightError(CONFIG_INVALID) for a file of pools that cannot be read."""
    return Plan(
        cluster=live.cluster,
        known=TOKENS,
        programs=live.programs,
        tokens=live.mints,
        order_caps=live.order_caps,
        day_caps=live.day_caps,
        priority_fee_max=live.priority_fee_max,
        tip=live.tip,
        hop_bps=live.hop_bps,
        tables=live.tables,
        pools=_listed(live.pools),
        pool_slots_max=live.pool_slots_max,
        landed_at=live.landed_at,
    )


def live_policy(policy: Policy, live: Live) -> Policy:
    """For nodes that are far away and count their calls: each answer may take longer, and looks are rarer.

    A call to the chain may have to go through several nodes (adapters/solana/rpc.py: 5 s in all), signing makes three
    of them and asks the signer; a transaction is looked for every other slot, all of one process in one request. What
    fits a real chain stays: the same bytes go out every 2 s, for leaders change every 1.6 s and may have dropped them,
    for as long as their hash lives (150 blocks, about a minute); `land_s` only says how often the executor takes stock.
    """
    leg_cost = max(policy.leg_cost_lamports, _LEG_UNITS * live.priority_fee_max // 1_000_000)
    return msgspec.structs.replace(
        policy,
        quote_timeout_s=3.0,
        sign_timeout_s=15.0,
        chain_timeout_s=6.0,
        poll_s=0.8,
        look_s=0.8,
        legs_max=policy.legs_max if live.tables else min(policy.legs_max, _LEGS_MAX),
        leg_cost_lamports=leg_cost,
    )


def signer_of(live: Live) -> Signer:
    """Who signs for the wallet. Raises FillwrightError(CONFIG_INVALID)."""
    if live.wallet_command:
        assert live.wallet_address is not None
        return CommandSigner(live.wallet_command, live.wallet_address)
    if live.wallet_key is not None:
        signer = KeySigner.of_text(live.wallet_key.reveal(), "FILLWRIGHT_WALLET_KEY")
    else:
        assert live.wallet is not None
        signer = KeySigner.of_file(live.wallet)
    if live.wallet_address not in (None, signer.address):
        why = f"FILLWRIGHT_WALLET_ADDRESS: the key is that of {signer.address}"
        raise FillwrightError(Code.CONFIG_INVALID, why)
    return signer


def _listed(file: Path | None) -> tuple[str, ...]:
    text = text_of(file, "FILLWRIGHT_POOLS") or ""
    return tuple(dict.fromkeys(address for line in text.splitlines() if (address := line.partition("#")[0].strip())))
