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
        return Instruction(
            venue=leg.venue,
            pool=leg.pool,
            mint_in=leg.mint_in,
            mint_out=leg.mint_out,
            mode=mode,
            amount=leg.amount_in if mode is Mode.EXACT_IN else leg.amount_out,
            limit=limit,
        )
