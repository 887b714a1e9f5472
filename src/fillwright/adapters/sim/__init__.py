"""A simulated Solana: a market with a price path, a chain with its own ledger, and the venues on it.

The pools are the real programs' maths; slippage, price impact and failures come from contention and from the
fault plan, not from a dice inside the engine.
"""

from fillwright.adapters.sim.chain import SimChain
from fillwright.adapters.sim.market import Market, default_market
from fillwright.adapters.sim.presets import PRESETS, Faults, Preset
from fillwright.adapters.sim.remote import RemoteChain
from fillwright.adapters.sim.venue import SimVenue

__all__ = ["PRESETS", "Faults", "Market", "Preset", "RemoteChain", "SimChain", "SimVenue", "default_market"]
