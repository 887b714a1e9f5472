"""Whether the accounts of a pool have changed, as far as a node tells it unasked.

Decides: which accounts are followed, and when silence may be taken for "nothing has changed". Must never: tell what an
account holds now (see market), or take a lost connection for a quiet account.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.subscriptions import INBOX_MAX, AccountChanged, Feed, Topic

ACCOUNTS_MAX: Final = 800
"""Followed at once: pools beyond are not, and then have to be asked for each time."""
_TAKE_S: Final = 1.0


class Changes:
    """To be made inside the running loop, and closed in it. Times are the loop's."""

    def __init__(self, rpc: Rpc, inbox_max: int = INBOX_MAX) -> None:
        self._feed = rpc.subscribe(inbox_max)
        self._loop = asyncio.get_running_loop()
        self._groups: dict[str, frozenset[str]] = {}
        self._followers: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        """By account: the latest slot in which it has changed."""
        self._lost_at = self._loop.time()
        self._running = asyncio.create_task(self._run(self._feed))

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def follow(self, pool: str, accounts: Iterable[str]) -> None:
        """Follow these accounts for this pool, in place of those before; none of them where there is no room."""
        group = frozenset(accounts)
        if self._groups.get(pool) == group:
            return
        self.leave(pool)
        if len(self._followers.keys() | group) > ACCOUNTS_MAX:
            return
        self._groups[pool] = group
        self._feed.follow(_topic(account) for account in group if account not in self._followers)
        for account in group:
            self._followers[account] = self._followers.get(account, 0) + 1

    def leave(self, pool: str) -> None:
        for account in self._groups.pop(pool, ()):
            self._followers[account] -= 1
            if not self._followers[account]:
                del self._followers[account]
                self._changed.pop(account, None)
                self._feed.unfollow([_topic(account)])

    def quiet(self, pool: str, *, since: float, slot: int) -> bool:
        """Whether what was asked for at `since`, and was of `slot`, still holds: all of the pool's accounts have been
        followed since before then, nothing was lost, and no later change was told."""
        group = self._groups.get(pool)
        if group is None or since <= self._lost_at:
            return False
        lives = (self._feed.live_since(_topic(account)) for account in group)
        return all(live is not None and live < since for live in lives) and self.changed_at(pool) <= slot

    def changed_at(self, pool: str) -> int:
        """The latest slot in which one of its accounts is known to have changed; 0 where none is."""
        return max((self._changed.get(account, 0) for account in self._groups.get(pool, ())), default=0)

    async def _run(self, feed: Feed) -> None:
        async with feed:
            while True:
                heard = await feed.take(_TAKE_S)
                if heard.lossy:
                    self._lost_at = self._loop.time()
                for notice in heard.notices:
                    if isinstance(notice, AccountChanged) and notice.address in self._followers:
                        self._changed[notice.address] = max(notice.slot, self._changed.get(notice.address, 0))


def _topic(account: str) -> Topic:
    return Topic("account", account, is_brief=True)
