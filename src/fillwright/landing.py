"""What became of one signed transaction: the loop that stands between the engine and a double settlement.

Decides: when a transaction is proven landed, reverted or lapsed. Must never: take silence, an error or a timeout
for an outcome, or send other bytes than those it was given.
"""

import asyncio

from fillwright.errors import Code, FillwrightError
from fillwright.order import Fill, SignedTx
from fillwright.policy import Policy
from fillwright.ports import Chain, Clock, Rejection, Sighting


async def land(chain: Chain, clock: Clock, tx: SignedTx, policy: Policy) -> Fill | Rejection | Sighting | None:
    """Broadcast these bytes until one node gives proof, for at most `policy.land_s` seconds.

    Returns the fill, the rejection, or the sighting that proves the lapse; None: still unknown, call again.
    Idempotent: it may run after a crash, twice at once, or for a transaction that landed long ago.
    """
    give_up_at = clock.monotonic() + policy.land_s
    broadcast_at = clock.monotonic()
    while (now := clock.monotonic()) < give_up_at:
        if now >= broadcast_at:
            await _broadcast(chain, tx, policy)
            broadcast_at = now + policy.rebroadcast_s
        sighting = await look(chain, tx, policy)
        if sighting is not None and sighting.outcome is not None:
            return sighting.outcome
        if sighting is not None and proves_lapse(tx, sighting):
            return sighting
        await clock.sleep(policy.poll_s)
    return None


def proves_lapse(tx: SignedTx, sighting: Sighting) -> bool:
    """Whether this sighting proves that the transaction can never land.

    A height beyond the last valid one, and then still no trace, on one node (Sighting). The height must also be
    possible: since signing, the chain cannot have gained more blocks than slots. A node that reports its slot
    as its height, or a height out of nowhere, fails this and is not believed.
    """
    blocks = sighting.height - tx.signed_height
    slots = sighting.slot - tx.signed_slot
    return sighting.outcome is None and sighting.height > tx.last_valid_height and blocks <= slots


async def _broadcast(chain: Chain, tx: SignedTx, policy: Policy) -> None:
    """Send; whatever happens is no evidence, so every expected failure is let go: the next look tells."""
    try:
        async with asyncio.timeout(policy.chain_timeout_s):
            await chain.broadcast(tx)
    except (TimeoutError, FillwrightError):
        return


async def look(chain: Chain, tx: SignedTx, policy: Policy) -> Sighting | None:
    """What a node knows of it now; None where none says so in time."""
    try:
        async with asyncio.timeout(policy.chain_timeout_s):
            return await chain.look(tx.signature)
    except TimeoutError:
        return None
    except FillwrightError as error:
        if error.code is Code.CHAIN_UNAVAILABLE:
            return None
        raise
