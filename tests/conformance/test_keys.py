"""What every store of API keys promises: see ports.Keys."""

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from fillwright.access import Key, KeyId, Limits, Scope, digest_of, genuine, make_key, make_ticket
from fillwright.units import Atoms, Bps, Millis, Mint
from tests.conformance.rigs import StoreRig, in_loop

NOW = Millis(1_700_000_000_000)


def opened(stores: StoreRig) -> AbstractAsyncContextManager[Any]:
    """Each call is another process's view of the same keys."""
    return stores.open()


def key(label: str = "bot", *, at: int = NOW, **changed: Any) -> tuple[Key, str]:
    told: dict[str, Any] = {"account": "alice", "scopes": frozenset({Scope.READ}), "limits": Limits(), **changed}
    return make_key(label=label, now=Millis(at), entropy=os.urandom, **told)


@in_loop
async def test_a_key_comes_back_as_it_was_made_to_every_process(stores: StoreRig) -> None:
    limits = Limits(
        rate=5, burst=20, amount_max={Mint("m"): Atoms(2**63 - 1)}, slippage_bps_max=Bps(50), worth_max=Atoms(2**63 - 1)
    )
    made, token = key("Zoë's bot", scopes=frozenset(Scope), limits=limits)
    async with opened(stores) as one, opened(stores) as other:
        await one.keys.add(made)
        assert await other.keys.active() == [made]
        assert genuine(token, {each.id: each for each in await other.keys.active()}) == made


@in_loop
async def test_no_key_ever_is_another_thing_than_none_left(stores: StoreRig) -> None:
    async with opened(stores) as store:
        assert await store.keys.active() is None
        made, _ = key()
        await store.keys.add(made)
        await store.keys.revoke(made.id, NOW)
        assert await store.keys.active() == []


@in_loop
async def test_a_key_is_revoked_once_for_every_process_and_for_ever(stores: StoreRig) -> None:
    async with opened(stores) as one, opened(stores) as other:
        (kept, _), (gone, _) = key("kept"), key("gone")
        await asyncio.gather(one.keys.add(kept), one.keys.add(gone))
        first = await one.keys.revoke(gone.id, Millis(NOW + 1))
        assert first.revoked_at == NOW + 1
        assert await other.keys.active() == [kept]
        assert await other.keys.revoke(gone.id, Millis(NOW + 9)) == first
        assert await other.keys.revoke(KeyId("0" * 12), NOW) is None
    async with opened(stores) as later:
        assert await later.keys.active() == [kept]


@in_loop
async def test_all_keys_are_listed_newest_first(stores: StoreRig) -> None:
    async with opened(stores) as store:
        made = [key(str(n), at=NOW + n)[0] for n in range(5)]
        for each in made:
            await store.keys.add(each)
        await store.keys.revoke(made[4].id, NOW)
        assert [each.label for each in await store.keys.page(3)] == ["4", "3", "2"]


@in_loop
async def test_the_last_use_never_goes_backwards(stores: StoreRig) -> None:
    async with opened(stores) as store:
        (one, _), (other, _) = key("one", at=NOW), key("other", at=NOW - 1)
        await store.keys.add(one)
        await store.keys.add(other)
        await store.keys.touch({one.id: Millis(NOW + 5), other.id: Millis(NOW + 6), KeyId("gone"): NOW})
        await store.keys.touch({one.id: Millis(NOW + 1)})
        assert [each.used_at for each in await store.keys.page(9)] == [NOW + 5, NOW + 6]


@pytest.mark.parametrize("key_id", [None, KeyId("a" * 12)])
@in_loop
async def test_a_ticket_opens_one_door_once(stores: StoreRig, key_id: KeyId | None) -> None:
    ticket, text = make_ticket(key_id, expires_at=Millis(NOW + 30_000), entropy=os.urandom)
    async with opened(stores) as one, opened(stores) as other:
        await one.keys.add_ticket(ticket, NOW)
        asked = [store.keys.take_ticket(digest_of(text), NOW) for store in (one, other) for _ in range(4)]
        taken = await asyncio.gather(*asked)
        assert [each for each in taken if each is not None] == [ticket]


@in_loop
async def test_a_ticket_expires(stores: StoreRig) -> None:
    async with opened(stores) as store:
        for late in (0, 1):
            ticket, text = make_ticket(None, expires_at=Millis(NOW + 30_000), entropy=os.urandom)
            await store.keys.add_ticket(ticket, NOW)
            assert await store.keys.take_ticket(digest_of(text), Millis(NOW + 30_000 + late)) is None
