"""A venue on the real chain: its pools among those that the market knows.

Decides: nothing; the market does. Must never: offer what the market would not.
"""

from fillwright.adapters.solana.market import Market
from fillwright.order import Leg, Mode
from fillwright.ports import Instruction, Snapshot
from fillwright.units import Atoms, Mint


class SolanaVenue:
    """See ports.Venue. `name`: "raydium" or "meteora"."""

    def __init__(self, name: str, market: Market) -> None:
        self.name = name
        self._market = market

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        return await self._market.view(self.name, mints)

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        return Instruction.of(leg, mode=mode, limit=limit)
