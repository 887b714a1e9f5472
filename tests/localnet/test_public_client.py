"""An unmodified public client, solana-py, finds a Solana here: it funds, sends, confirms, reads and subscribes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solana.rpc.core import RPCException, TransactionExpiredBlockheightExceededError
from solana.rpc.models import MemcmpOpts, TokenAccountOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.rpc.config import RpcTransactionLogsFilterMentions
from solders.rpc.responses import AccountNotification, LogsNotification, SignatureNotification, SlotNotification

from fillwright.localnet.control import give_tokens
from fillwright.localnet.genesis import plant_market
from fillwright.localnet.server import Network, serving
from tests.localnet.chain import SOL, make_bank, make_network, payment, signed

BLOCK_S = 0.05
WAIT_S = 30.0
USDC = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
UNLOOKED = TxOpts(skip_preflight=True)


@asynccontextmanager
async def running(network: Network | None = None) -> AsyncIterator[tuple[AsyncClient, str]]:
    network = network or make_network()
    async with serving(network, "127.0.0.1", 0, block_s=BLOCK_S) as url, AsyncClient(url, Confirmed) as client:
        yield client, url.replace("http", "ws")


async def wallet_with(client: AsyncClient, lamports: int) -> Keypair:
    wallet = Keypair()
    asked = await client.request_airdrop(wallet.pubkey(), lamports)
    await client.confirm_transaction(asked.value, Confirmed, sleep_seconds=BLOCK_S)
    return wallet


def test_it_funds_sends_confirms_and_reads() -> None:
    async def scenario() -> None:
        async with running() as (client, _):
            assert await client.is_connected()
            assert (await client.get_version()).value.solana_core
            wallet, friend = await wallet_with(client, 10 * SOL), Keypair().pubkey()
            latest = (await client.get_latest_blockhash(Confirmed)).value
            sent = signed(wallet, latest.blockhash, payment(wallet, friend, SOL))
            assert isinstance(sent.message, MessageV0)
            fee = (await client.get_fee_for_message(sent.message)).value
            signature = (await client.send_transaction(sent, TxOpts(preflight_commitment=Confirmed))).value
            done = await client.confirm_transaction(
                signature, Finalized, sleep_seconds=BLOCK_S, last_valid_block_height=latest.last_valid_block_height
            )
            assert done.value[0] is not None
            assert done.value[0].err is None
            assert (await client.get_balance(friend)).value == SOL
            assert (await client.get_balance(wallet.pubkey())).value == 9 * SOL - (fee or 0)
            told = (await client.get_transaction(signature, max_supported_transaction_version=0)).value
            assert told is not None
            assert told.transaction.meta is not None
            assert told.transaction.meta.fee == fee == 5_000
            found = (await client.get_signatures_for_address(friend)).value
            assert [line.signature for line in found] == [signature]
            assert (await client.get_block_height()).value < (await client.get_slot()).value
            assert (await client.get_block_time(told.slot)).value == told.block_time

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def test_it_is_told_by_subscriptions() -> None:
    async def scenario() -> None:
        async with running() as (client, url), SolanaWsClient(url) as socket:
            wallet, friend = await wallet_with(client, 10 * SOL), Keypair().pubkey()
            latest = (await client.get_latest_blockhash(Confirmed)).value
            sent = signed(wallet, latest.blockhash, payment(wallet, friend, SOL))
            await socket.account_subscribe(pubkey=friend, commitment=Confirmed)
            await socket.logs_subscribe(filter_=RpcTransactionLogsFilterMentions(friend), commitment=Processed)
            await socket.signature_subscribe(signature=sent.signatures[0], commitment=Confirmed)
            slots = await socket.slot_subscribe()
            await client.send_transaction(sent, UNLOOKED)
            told: dict[type, object] = {}
            while len(told) < 4:
                notice = await socket.recv()
                told.setdefault(type(notice), notice)
            account, logs = told[AccountNotification], told[LogsNotification]
            assert isinstance(account, AccountNotification)
            assert account.result.value.lamports == SOL
            assert isinstance(logs, LogsNotification)
            assert logs.result.value.signature == sent.signatures[0]
            assert {SignatureNotification, SlotNotification} <= set(told)
            await socket.unsubscribe(slots)

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def test_it_reads_tokens() -> None:
    async def scenario() -> None:
        network = make_network(make_bank())
        plant_market(network.bank)
        owner = Keypair().pubkey()
        key = give_tokens(network.bank, owner=owner, mint=USDC, amount=2_500_000)
        async with running(network) as (client, _):
            balance = (await client.get_token_account_balance(key)).value
            assert (balance.amount, balance.decimals, balance.ui_amount_string) == ("2500000", 6, "2.5")
            held = await client.get_token_accounts_by_owner_json_parsed(owner, TokenAccountOpts(mint=USDC))
            assert [each.pubkey for each in held.value] == [key]
            found = await client.get_program_accounts(
                TOKEN, encoding="base64", filters=[165, MemcmpOpts(offset=32, bytes=str(owner))]
            )
            assert [each.pubkey for each in found.value] == [key]
            accounts = await client.get_multiple_accounts([key, Keypair().pubkey()])
            assert accounts.value[0] is not None
            assert accounts.value[0].owner == TOKEN
            assert accounts.value[1] is None
            assert int((await client.get_token_supply(USDC)).value.amount) > 2_500_000

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))


def test_it_is_refused_as_by_a_validator() -> None:
    async def scenario() -> None:
        async with running() as (client, _):
            wallet = await wallet_with(client, SOL)
            unknown = signed(wallet, Hash.new_unique(), payment(wallet, Keypair().pubkey(), 1_000_000))
            with pytest.raises(RPCException, match="BlockhashNotFound"):
                await client.send_transaction(unknown)
            signature = (await client.send_transaction(unknown, UNLOOKED)).value
            height = (await client.get_block_height()).value
            with pytest.raises(TransactionExpiredBlockheightExceededError):
                await client.confirm_transaction(
                    signature, Confirmed, sleep_seconds=BLOCK_S, last_valid_block_height=height + 3
                )
            told = await client.simulate_transaction(unknown)
            assert told.value.err is not None

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S))
