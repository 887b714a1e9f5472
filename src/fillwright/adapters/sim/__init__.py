"""A simulated Solana: a market with a price path, a chain with its own ledger, and the venues on it.

The pools are the real programs' maths; slippage, price impact and failures come from contention and from the
fault plan, not from a dice inside the engine.
"""

from fillwright.adapters.sim.audit import Auditor
from fillwright.adapters.sim.chain import SimChain
from fillwright.adapters.sim.market import Market, default_market
from fillwright.adapters.sim.presets import PRESETS, Faults, Preset
from fillwright.adapters.sim.remote import RemoteChain
from fillwright.adapters.sim.venue import SimVenue
from fillwright.adapters.sim.world import SimWorld

__all__ = [
    "PRESETS",
    "Auditor",
    "Faults",
    "Market",
    "Preset",
    "RemoteChain",
    "SimChain",
    "SimVenue",
    "SimWorld",
    "default_market",
]
