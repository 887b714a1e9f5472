"""Landing one transaction: nothing but the chain's word counts, and only these bytes are ever sent. Virtual time."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import pytest

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.landing import land, proves_lapse
from fillwright.order import Fill, SignedTx
from fillwright.policy import Policy
from fillwright.ports import Chain, Instruction, Rejection, Sighting
from fillwright.units import Atoms, OrderId, Signature
from tests.conformance.samples import LoopClock
from tests.simulation.loop import SimLoop, run

TX = SignedTx(
    signature=Signature("sig-1"),
    raw=b"these bytes",
    last_valid_height=1_150,
    signed_slot=5_000,
    signed_height=1_000,
    limit=Atoms(1),
)
FILL = Fill(signature=TX.signature, slot=5_003, amount_in=Atoms(10), amount_out=Atoms(20))
REJECTION = Rejection(5_003, Problem(Code.CHAIN_SLIPPAGE, "below the minimum"))
UNSEEN = Sighting(height=1_010, slot=5_010, outcome=None)
LAPSE = Sighting(height=1_151, slot=5_160, outcome=None)
DOWN = FillwrightError(Code.CHAIN_UNAVAILABLE, "the node did not answer")
POLICY = Policy()

Answer: TypeAlias = Sighting | Exception | None
"""What a look gives; None: no answer, ever."""
Verdict: TypeAlias = Fill | Rejection | Sighting | None


class MoodyChain(Chain):
    """A node that answers each look as told, the last answer for ever, and treats broadcasts as told."""

    landed_is_final = True

    def __init__(self, answers: Sequence[Answer], *, broadcasts: Sequence[Exception | str | None] = ("",)) -> None:
        self.sent: list[tuple[float, SignedTx]] = []
        self.looks = 0
        self._answers = answers
        self._broadcasts = broadcasts

    async def broadcast(self, tx: SignedTx) -> None:
        self.sent.append((asyncio.get_running_loop().time(), tx))
        mood = self._broadcasts[min(len(self.sent), len(self._broadcasts)) - 1]
        if mood is None:
            await asyncio.Event().wait()
        if isinstance(mood, Exception):
            raise mood

    async def look(self, signature: Signature) -> Sighting:
        assert signature == TX.signature
        self.looks += 1
        answer = self._answers[min(self.looks, len(self._answers)) - 1]
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        raise AssertionError("landing signs nothing")

    async def ping(self) -> None:
        raise AssertionError("landing needs no ping")


def landed(chain: Chain, policy: Policy = POLICY, *, tx: SignedTx = TX) -> tuple[Verdict, float]:
    """The verdict, and the virtual seconds it took."""

    async def main(loop: SimLoop) -> tuple[Verdict, float]:
        started_at = loop.time()
        verdict = await land(chain, LoopClock(loop), tx, policy)
        return verdict, loop.time() - started_at

    return run(1, main)


# --- the proof ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "slot", "proves", "why"),
    [
        (1_150, 5_160, False, "the last valid block may still bring it"),
        (1_151, 5_160, True, "one block beyond"),
        (1_151, 5_151, True, "no slot was skipped"),
        (1_151, 5_150, False, "more blocks than slots: impossible"),
        (5_160, 5_160, False, "a node that tells its slot for its height"),
        (10**9, 5_160, False, "a height out of nowhere"),
        (1_151, 4_000, False, "a node whose slot lies before the signing"),
        (0, 5_160, False, "a node far behind"),
        (9_000, 20_000, True, "long ago"),
    ],
)
def test_a_lapse_needs_a_possible_height_beyond_the_last_valid_one(
    height: int, slot: int, proves: bool, why: str
) -> None:
    assert proves_lapse(TX, Sighting(height=height, slot=slot, outcome=None)) is proves, why


@pytest.mark.parametrize("outcome", [FILL, REJECTION])
def test_a_known_outcome_is_never_a_lapse(outcome: Fill | Rejection) -> None:
    assert not proves_lapse(TX, Sighting(height=9_000, slot=20_000, outcome=outcome))


# --- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [FILL, REJECTION])
def test_the_chain_s_outcome_is_the_verdict(outcome: Fill | Rejection) -> None:
    chain = MoodyChain([UNSEEN, UNSEEN, Sighting(height=1_012, slot=5_012, outcome=outcome)])
    verdict, seconds = landed(chain)
    assert verdict == outcome
    assert seconds == pytest.approx(2 * POLICY.poll_s)


def test_an_outcome_counts_even_beyond_the_last_valid_height() -> None:
    """It landed long ago, and a crashed engine comes back to it."""
    verdict, _ = landed(MoodyChain([Sighting(height=90_000, slot=99_000, outcome=FILL)]))
    assert verdict == FILL


def test_the_lapse_is_told_with_the_sighting_that_proves_it() -> None:
    assert landed(MoodyChain([UNSEEN, LAPSE]))[0] == LAPSE


@pytest.mark.parametrize(
    "lie", [Sighting(height=5_160, slot=5_160, outcome=None), Sighting(height=10**9, slot=5_200, outcome=None)]
)
def test_a_lying_height_is_not_believed_and_the_landing_is_found(lie: Sighting) -> None:
    chain = MoodyChain([lie, lie, lie, Sighting(height=1_030, slot=5_033, outcome=FILL)])
    assert landed(chain)[0] == FILL


def test_without_proof_there_is_no_verdict_after_land_s() -> None:
    verdict, seconds = landed(MoodyChain([UNSEEN]))
    assert verdict is None
    assert POLICY.land_s <= seconds <= POLICY.land_s + POLICY.poll_s


# --- silence, errors and timeouts say nothing -----------------------------------------------------------------


@pytest.mark.parametrize("answer", [DOWN, None], ids=["error", "silence"])
def test_a_chain_that_never_answers_gives_no_verdict_within_bounds(answer: Answer) -> None:
    chain = MoodyChain([answer])
    verdict, seconds = landed(chain)
    assert verdict is None
    assert chain.looks > 1
    assert seconds <= POLICY.land_s + 2 * POLICY.chain_timeout_s + POLICY.poll_s


def test_a_landing_is_found_after_many_lost_answers() -> None:
    answers: list[Answer] = [DOWN] * 20 + [None, None, UNSEEN, DOWN, Sighting(height=1_100, slot=5_110, outcome=FILL)]
    assert landed(MoodyChain(answers))[0] == FILL


@pytest.mark.parametrize("mood", [DOWN, None, FillwrightError(Code.CHAIN_REVERTED, "preflight said no")])
def test_a_broadcast_that_fails_or_hangs_ends_nothing(mood: Exception | None) -> None:
    """The bytes may be on the network all the same: only a look tells."""
    chain = MoodyChain([UNSEEN] * 3 + [Sighting(height=1_100, slot=5_110, outcome=FILL)], broadcasts=[mood])
    assert landed(chain)[0] == FILL


def test_an_error_that_is_not_the_chain_s_silence_is_not_swallowed() -> None:
    chain = MoodyChain([FillwrightError(Code.ENGINE_INTERNAL, "cannot read the answer")])
    with pytest.raises(FillwrightError, match="cannot read"):
        landed(chain)


def test_a_call_is_given_up_after_its_time_limit() -> None:
    chain = MoodyChain([None, Sighting(height=1_100, slot=5_110, outcome=FILL)], broadcasts=[None, ""])
    verdict, seconds = landed(chain)
    assert verdict == FILL
    assert 2 * POLICY.chain_timeout_s <= seconds <= 2 * POLICY.chain_timeout_s + 2 * POLICY.poll_s


# --- what is sent -------------------------------------------------------------------------------------------


def test_only_these_bytes_are_broadcast_again_and_again() -> None:
    chain = MoodyChain([UNSEEN])
    landed(chain)
    assert {tx.raw for _, tx in chain.sent} == {TX.raw}
    times = [at for at, _ in chain.sent]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) == pytest.approx(POLICY.land_s / POLICY.rebroadcast_s, abs=3)
    assert all(POLICY.rebroadcast_s <= pause <= POLICY.rebroadcast_s + POLICY.poll_s + 1e-6 for pause in pauses)


def test_the_bytes_are_sent_before_the_first_look() -> None:
    """Also when resumed after a crash: nobody knows whether they were ever sent."""
    chain = MoodyChain([Sighting(height=1_100, slot=5_110, outcome=FILL)])
    landed(chain)
    assert len(chain.sent) == 1


def test_nothing_is_sent_after_the_verdict() -> None:
    chain = MoodyChain([UNSEEN, LAPSE])
    landed(chain)
    assert len(chain.sent) == 1


def test_two_landings_at_once_agree() -> None:
    chain = MoodyChain([UNSEEN] * 9 + [Sighting(height=1_100, slot=5_110, outcome=FILL)])

    async def main(loop: SimLoop) -> tuple[Verdict, Verdict]:
        clock = LoopClock(loop)
        one, other = await asyncio.gather(land(chain, clock, TX, POLICY), land(chain, clock, TX, POLICY))
        return one, other

    assert run(2, main) == (FILL, FILL)


def test_a_cancelled_landing_ends_at_once() -> None:
    """A crash or a drain: no clean-up stands between the cancel and the end."""

    async def main(loop: SimLoop) -> float:
        task = loop.create_task(land(MoodyChain([None]), LoopClock(loop), TX, POLICY))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return loop.time()

    assert run(3, main) == pytest.approx(1_001)


def test_a_patient_policy_waits_longer() -> None:
    patient = msgspec.structs.replace(POLICY, land_s=300.0)
    assert landed(MoodyChain([UNSEEN] * 500 + [LAPSE]), patient)[0] == LAPSE
