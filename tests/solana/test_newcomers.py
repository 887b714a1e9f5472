"""The newcomers of a localnet, as a sniper sees them: each is found, and what it is can be told from the chain."""

import asyncio

from solders.account import Account as ChainAccount
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.adapters.sim.listing import HUBS
from fillwright.adapters.solana.discovery import SolanaDiscovery
from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.errors import Code
from fillwright.localnet import genesis
from fillwright.localnet.control import give_tokens
from fillwright.localnet.crowd import Crowd
from fillwright.localnet.newcomers import Newcomer, Trap, newcomer
from fillwright.localnet.server import Network, serving
from fillwright.sniping import Facts, Listing, Snipe, refusals
from fillwright.units import NATIVE_MINT, Atoms
from tests.localnet.chain import make_bank, make_network
from tests.solana.rig import in_loop

SEED, COUNT = 2, 16
HOUR = 3_600
WALLET = Keypair.from_seed(b"s" * 32)
EXPECTED: dict[Trap | None, list[Code]] = {
    None: [],
    Trap.MINTABLE: [Code.SNIPE_MINTABLE],
    Trap.FREEZABLE: [Code.SNIPE_FREEZABLE],
    Trap.SHALLOW: [Code.SNIPE_LIQUIDITY],
    Trap.UNLOCKED: [Code.SNIPE_UNLOCKED],
}


@in_loop
async def test_a_sniper_finds_every_newcomer_and_refuses_the_traps_for_what_they_are() -> None:
    network, crowd = populated()
    async with serving(network, "127.0.0.1", 0, block_s=None) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)], probe_s=0.1)
        market = Market(rpc, MarketSettings())
        discovery = SolanaDiscovery(rpc, market, wallet=str(WALLET.pubkey()), paid=HUBS)
        try:
            await discovery.new_pools(HOUR)
            for _ in range(COUNT):
                crowd.act()
                network.produce()
            network.produce()
            network.produce()
            found = await all_of(discovery, network)
            news = [newcomer(SEED, number) for number in range(COUNT)]
            assert {each.mint for each in found} == {new.mint for new in news}
            assert {new.trap for new in news} == set(EXPECTED)
            for new in news:
                listing = next(each for each in found if each.mint == new.mint)
                assert (listing.address, listing.creator) == (new.planted.pool.address, str(new.creator.pubkey()))
                facts = await discovery.facts(listing)
                assert judged(new, listing, facts) == EXPECTED[new.trap], new.trap
        finally:
            await discovery.close()
            await market.close()
            await rpc.close()


def populated() -> tuple[Network, Crowd]:
    """With a wallet that holds something of all that new tokens are paid with."""
    bank = make_bank(confirmed_after=0, finalized_after=2)
    planted = genesis.plant_market(bank)
    bank.write(WALLET.pubkey(), ChainAccount(10**12, b"", Pubkey.default()))
    for mint in HUBS - {NATIVE_MINT}:
        give_tokens(bank, owner=WALLET.pubkey(), mint=Pubkey.from_string(mint), amount=10**12)
    return make_network(bank), Crowd(bank, planted, seed=SEED, trade_blocks=0, newcomer_blocks=1)


async def all_of(discovery: SolanaDiscovery, network: Network) -> list[Listing]:
    """What is told comes over a socket: it may take a moment."""
    found: list[Listing] = []
    for _ in range(100):
        found = list(await discovery.new_pools(HOUR))
        if len(found) >= COUNT:
            break
        await asyncio.sleep(0.05)
        network.produce()
    return found


def judged(new: Newcomer, listing: Listing, facts: Facts | None) -> list[Code]:
    least = 10**9 if new.against == NATIVE_MINT else 10**8
    return [each.code for each in refusals(Snipe(min_liquidity=Atoms(least)), listing, facts)]
