"""News of changed accounts: silence counts only while it is known that changes would be told."""

import asyncio
from collections.abc import Callable

from solders.pubkey import Pubkey

from fillwright.adapters.solana.feed import ACCOUNTS_MAX, Changes
from fillwright.adapters.solana.rpc import Rpc
from fillwright.localnet.machine import Machine
from fillwright.localnet.server import serving
from tests.solana.rig import Chain, in_loop


def key() -> str:
    return str(Pubkey.new_unique())


async def soon(true: Callable[[], bool], within_s: float = 8.0) -> bool:
    """Whether this comes true in time."""

    for _ in range(round(within_s / 0.02)):
        if true():
            return True
        await asyncio.sleep(0.02)
    return False


@in_loop
async def test_silence_counts_from_the_moment_all_accounts_are_followed_and_until_one_changes() -> None:
    chain, first, second = Chain(Machine()), key(), key()
    loop = asyncio.get_running_loop()
    async with serving(chain.network, "127.0.0.1", 0, block_s=None) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)])
        changes = Changes(rpc)
        slot, before = chain.bank.tip.slot, loop.time()
        changes.follow("one", [first, second])
        changes.follow("two", [second])
        assert await soon(lambda: changes.quiet("one", since=loop.time(), slot=slot))
        assert not changes.quiet("one", since=before, slot=slot)  # it was not followed then
        assert not changes.quiet("three", since=loop.time(), slot=slot)
        chain.touch(first)
        chain.pass_slots()
        assert await soon(lambda: changes.changed_at("one") == chain.bank.tip.slot)
        assert not changes.quiet("one", since=loop.time(), slot=slot)
        assert changes.quiet("one", since=loop.time(), slot=chain.bank.tip.slot)
        assert changes.quiet("two", since=loop.time(), slot=slot)
        changes.leave("one")
        assert not changes.quiet("one", since=loop.time(), slot=chain.bank.tip.slot)
        chain.touch(second)
        chain.pass_slots()
        assert await soon(lambda: changes.changed_at("two") == chain.bank.tip.slot)
        await changes.close()
        await rpc.close()


@in_loop
async def test_a_lost_connection_is_no_silence() -> None:
    chain, account = Chain(Machine()), key()
    loop = asyncio.get_running_loop()
    async with serving(chain.network, "127.0.0.1", 0, block_s=None) as url:
        port = int(url.rpartition(":")[2])
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)])
        changes = Changes(rpc)
        changes.follow("pool", [account])
        assert await soon(lambda: changes.quiet("pool", since=loop.time(), slot=chain.bank.tip.slot))
    lost_at = loop.time()
    assert await soon(lambda: not changes.quiet("pool", since=loop.time(), slot=chain.bank.tip.slot))
    chain.touch(account)
    chain.pass_slots()
    async with serving(chain.network, "127.0.0.1", port, block_s=None):
        assert await soon(lambda: changes.quiet("pool", since=loop.time(), slot=chain.bank.tip.slot))
        assert not changes.quiet("pool", since=lost_at, slot=chain.bank.tip.slot)
        await changes.close()
        await rpc.close()


@in_loop
async def test_news_that_found_no_room_in_the_inbox_are_no_silence() -> None:
    chain, accounts = Chain(Machine()), [key() for _ in range(8)]
    loop = asyncio.get_running_loop()
    async with serving(chain.network, "127.0.0.1", 0, block_s=None) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)])
        changes = Changes(rpc, inbox_max=2)
        changes.follow("pool", accounts)
        assert await soon(lambda: changes.quiet("pool", since=loop.time(), slot=chain.bank.tip.slot))
        before, slot = loop.time(), chain.bank.tip.slot
        for account in accounts:
            chain.touch(account)
        chain.pass_slots()
        assert await soon(lambda: not changes.quiet("pool", since=before, slot=slot + 1))
        assert await soon(lambda: changes.quiet("pool", since=loop.time(), slot=slot + 1))
        await changes.close()
        await rpc.close()


@in_loop
async def test_what_finds_no_room_is_never_quiet() -> None:
    chain = Chain(Machine())
    loop = asyncio.get_running_loop()
    async with serving(chain.network, "127.0.0.1", 0, block_s=None) as url:
        rpc = Rpc([url], sockets=[url.replace("http", "ws", 1)])
        changes = Changes(rpc)
        changes.follow("large", [key() for _ in range(ACCOUNTS_MAX)])
        changes.follow("late", [key()])
        assert await soon(lambda: changes.quiet("large", since=loop.time(), slot=chain.bank.tip.slot))
        assert not changes.quiet("late", since=loop.time(), slot=chain.bank.tip.slot)
        changes.leave("large")
        changes.follow("late", [key()])
        assert await soon(lambda: changes.quiet("late", since=loop.time(), slot=chain.bank.tip.slot))
        await changes.close()
        await rpc.close()
