"""The parts of the real chain, put together: nodes, market, venues, discovery, and the chain that signs for the wallet.

Decides: that every node is one of the cluster that was named, what tokens are called, and what the caps are in atoms.
Must never: go on with a node of another cluster, or with a cap that it cannot read.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal

import msgspec
from solders.address_lookup_table_account import ID as LOOKUP_TABLES
from solders.address_lookup_table_account import AddressLookupTable, AddressLookupTableAccount
from solders.pubkey import Pubkey

from fillwright.adapters.solana.building import Terms
from fillwright.adapters.solana.chain import SolanaChain, SolanaSettings
from fillwright.adapters.solana.discovery import SolanaDiscovery
from fillwright.adapters.solana.limits import Cap, Guard, Rules
from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.protocol import Told
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.venue import SolanaVenue
from fillwright.errors import Code, FillwrightError
from fillwright.pools.pool import U64_MAX
from fillwright.ports import Clock, Entropy, Signer, Spending
from fillwright.programs import PROGRAMS, Account
from fillwright.programs.token import TOKEN_2022, TOKEN_PROGRAM
from fillwright.tokens import Tokens
from fillwright.units import Atoms, Bps, Mint, Token, parse_atoms

GENESIS: Final[Mapping[str, str]] = {
    "mainnet": "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
    "devnet": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
    "testnet": "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY",
}
"""The hash of the first block of each public cluster, which every node tells. A localnet is any other network."""
VENUES: Final = ("raydium", "meteora")
_SOON_S, _HELLO_S = 2.0, 10.0
"""Nodes that have not answered by then are judged later, if one has; if none has, all are waited for."""
_HELLO_AGAIN_S: Final = 0.5
_DECIMALS_AT, _MINT_BYTES = 44, 82

log: Final = logging.getLogger(__name__)
_balance_of: Final = msgspec.json.Decoder(Told[int]).decode
_text_of: Final = msgspec.json.Decoder(str).decode


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator has asked for, as text where only the chain or the tokens tell what it means."""

    cluster: str
    known: tuple[Token, ...]
    """What the engine knows by name, at the addresses of mainnet."""
    programs: tuple[str, ...]
    tokens: tuple[tuple[str, str], ...]
    order_caps: tuple[tuple[str, str], ...]
    day_caps: tuple[tuple[str, str], ...]
    priority_fee_max: int
    tip: tuple[str, int] | None
    hop_bps: int
    tables: tuple[str, ...]
    pools: tuple[str, ...]
    pool_slots_max: int
    landed_at: Literal["confirmed", "finalized"]


class Solana(msgspec.Struct, frozen=True):
    """A chain to trade on. `late` are to be judged as soon as they answer: see `judge_late`."""

    chain: SolanaChain
    venues: tuple[SolanaVenue, ...]
    market: Market
    discovery: SolanaDiscovery
    tokens: Tokens
    rules: Rules
    cluster: str
    late: tuple[tuple[int, str], ...]

    async def judge_late(self) -> None:
        """Return once all nodes are known to be of the cluster. Raises FillwrightError(CONFIG_INVALID) where one is
        not; it was asked meanwhile, as one among others."""
        await asyncio.gather(*(_judge_late(self.cluster, number, url) for number, url in self.late))


async def _judge_late(cluster: str, number: int, url: str) -> None:
    genesis = None
    while genesis is None:
        genesis = await genesis_of(url)
    _check(cluster, number, genesis)


@asynccontextmanager
async def open_solana(
    plan: Plan,
    urls: Sequence[str],
    sockets: Sequence[str],
    *,
    signer: Signer,
    spending: Spending,
    clock: Clock,
    entropy: Entropy,
) -> AsyncIterator[Solana]:
    """Working until the context is left.

    Raises FillwrightError: CONFIG_INVALID for a node of another cluster, or a plan that means nothing on this one;
    CHAIN_UNAVAILABLE where no node answers.
    """
    async with AsyncExitStack() as parts:
        late = await _late(plan.cluster, urls)
        rpc = Rpc(urls, sockets=sockets)
        parts.push_async_callback(rpc.close)
        tokens = await tokens_of(plan, rpc)
        rules = rules_of(plan, tokens, signer.address)
        settings = MarketSettings(listed=plan.pools, search=not plan.pools, slots_max=plan.pool_slots_max)
        market = Market(rpc, settings)
        parts.push_async_callback(market.close)
        market.search_for(_paid(tokens))
        tip_to, tip = plan.tip or ("", 0)
        chain = SolanaChain(
            rpc,
            signer,
            market,
            clock,
            entropy,
            Terms(
                wallet=signer.address,
                hop_tolerance_bps=Bps(plan.hop_bps),
                tables=await tables_of(plan.tables, rpc),
                tip=Atoms(tip),
                tip_to=tip_to,
            ),
            SolanaSettings(landed_at=plan.landed_at, priority_fee_max=plan.priority_fee_max),
            Guard(rules, spending).allow,
        )
        parts.push_async_callback(chain.close)
        venues = tuple(SolanaVenue(name, market) for name in VENUES)
        discovery = SolanaDiscovery(rpc, market, wallet=signer.address, paid=_paid(tokens))
        parts.push_async_callback(discovery.close)
        yield Solana(chain, venues, market, discovery, tokens, rules, plan.cluster, late)


# --- which network this is -----------------------------------------------------------------------------------


async def lamports_of(rpc: Rpc, wallet: str) -> int:
    """Raises FillwrightError(CHAIN_UNAVAILABLE)."""
    return (await rpc.call("getBalance", [wallet, {"commitment": "confirmed"}], _balance_of)).value


async def _late(cluster: str, urls: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """Those nodes that do not answer yet, numbered; every other one is of the cluster."""
    told = await asyncio.gather(*(genesis_of(url, _SOON_S) for url in urls))
    if not any(told):  # they may just be starting, like the engine
        told = await asyncio.gather(*(genesis_of(url) for url in urls))
    for number, genesis in enumerate(told, 1):
        if genesis is None:
            log.warning("node %d of %d does not answer yet", number, len(urls))
        else:
            _check(cluster, number, genesis)
    if not any(told):
        raise FillwrightError(Code.CHAIN_UNAVAILABLE, "none of the nodes that FILLWRIGHT_RPC names answers")
    return tuple((number, url) for number, url in enumerate(urls, 1) if told[number - 1] is None)


def _check(cluster: str, number: int, genesis: str) -> None:
    if not is_of(cluster, genesis):
        what = next((name for name, known in GENESIS.items() if known == genesis), "another network")
        raise FillwrightError(Code.CONFIG_INVALID, f"FILLWRIGHT_RPC: node {number} is of {what}, not of {cluster}")


def is_of(cluster: str, genesis: str) -> bool:
    """Whether a node with this genesis hash is of the cluster."""
    return genesis == GENESIS[cluster] if cluster in GENESIS else genesis not in GENESIS.values()


async def genesis_of(url: str, within_s: float = _HELLO_S) -> str | None:
    """What this node calls its network; None where it does not answer."""
    rpc = Rpc([url])
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await rpc.call("getGenesisHash", [], _text_of)
                except FillwrightError:
                    await asyncio.sleep(_HELLO_AGAIN_S)
    except TimeoutError:
        return None
    finally:
        await rpc.close()


# --- tokens and caps -------------------------------------------------------------------------------------------


async def tokens_of(plan: Plan, rpc: Rpc) -> Tokens:
    """The tokens by name; what each counts in is told by the chain. One that the chain does not have is left out,
    unless the plan names it. Raises FillwrightError(CONFIG_INVALID) for one that is no token.
    """
    known = {text: token for token in plan.known for text in (token.symbol.upper(), token.mint)}
    named: dict[Mint, str] = {}
    for name, told in plan.tokens or [(token.symbol, token.mint) for token in plan.known]:
        token = known.get(told) or known.get(told.upper())
        mint = Mint(told) if token is None else token.mint
        named[mint] = token.symbol if token is not None and name == told else name
    _, held = await rpc.accounts(list(named))
    decimals = {mint: _decimals(held.get(mint)) for mint in named}
    for mint, name in named.items():
        if plan.tokens and decimals[mint] is None:
            raise FillwrightError(Code.CONFIG_INVALID, f"FILLWRIGHT_MINTS: {name} is no token on this chain")
    return Tokens(Token(name, mint, places) for mint, name in named.items() if (places := decimals[mint]) is not None)


def _decimals(account: Account | None) -> int | None:
    if account is None or account.owner not in (str(TOKEN_PROGRAM), str(TOKEN_2022)):
        return None
    return account.data[_DECIMALS_AT] if len(account.data) >= _MINT_BYTES else None


async def tables_of(addresses: Sequence[str], rpc: Rpc) -> tuple[AddressLookupTableAccount, ...]:
    """The lookup tables at these addresses, as they are now: what is added later is not used. Raises
    FillwrightError(CONFIG_INVALID) for one that is none, or is about to be closed.
    """
    _, held = await rpc.accounts(addresses)
    return tuple(_table(address, held.get(address)) for address in addresses)


def _table(address: str, account: Account | None) -> AddressLookupTableAccount:
    try:
        if account is None or account.owner != str(LOOKUP_TABLES):
            raise ValueError
        table = AddressLookupTable.deserialize(account.data)
    except ValueError:
        raise FillwrightError(Code.CONFIG_INVALID, f"FILLWRIGHT_LOOKUP_TABLES: {address} is no lookup table") from None
    if table.meta.deactivation_slot != U64_MAX:
        raise FillwrightError(Code.CONFIG_INVALID, f"FILLWRIGHT_LOOKUP_TABLES: {address} is about to be closed")
    return AddressLookupTableAccount(Pubkey.from_string(address), table.addresses)


def _paid(tokens: Tokens) -> frozenset[Mint]:
    """The tokens that orders pay with: a pool of two others is nothing new to anybody."""
    return frozenset(token.mint for token in tokens.all)


def rules_of(plan: Plan, tokens: Tokens, wallet: str) -> Rules:
    """Raises FillwrightError(CONFIG_INVALID) for a cap on what is no token here."""
    return Rules(
        wallet=wallet,
        programs={PROGRAMS[kind].id: PROGRAMS[kind] for kind in plan.programs},
        mints=frozenset(token.mint for token in tokens.all) if plan.tokens else None,
        caps=_caps(plan, tokens),
        priority_fee_max=plan.priority_fee_max,
        tip=plan.tip,
    )


def _caps(plan: Plan, tokens: Tokens) -> Mapping[Mint, Cap] | None:
    if not (plan.order_caps or plan.day_caps):
        return None
    order = _amounts("FILLWRIGHT_ORDER_CAPS", plan.order_caps, tokens)
    day = _amounts("FILLWRIGHT_DAY_CAPS", plan.day_caps, tokens)
    return {token.mint: Cap(token, order.get(token), day.get(token)) for token in (day or order)}


def _amounts(setting: str, told: Sequence[tuple[str, str]], tokens: Tokens) -> dict[Token, Atoms]:
    amounts: dict[Token, Atoms] = {}
    for name, amount in told:
        try:
            token = tokens.find(name)
            amounts[token] = parse_atoms(amount, decimals=token.decimals)
        except FillwrightError as error:
            raise FillwrightError(Code.CONFIG_INVALID, f"{setting}: {name}={amount}: {error}") from None
    return amounts
