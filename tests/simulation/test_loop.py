"""The simulation loop keeps its own promises: replay, crash, pause, and asyncio's semantics.

Must never depend on a particular seed's schedule, only on what every schedule has to satisfy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import random
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.simulation.loop import HOST, START_S, SimDeadlock, SimLoop, SimOverrun, run

SEEDS = range(20)


@pytest.fixture(autouse=True)
def _no_noise() -> Iterator[None]:
    """No run may leave a warning behind, such as a coroutine that was never awaited."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


async def _busy(loop: SimLoop, rounds: int = 20) -> None:
    """Workers of three hosts that contend for a lock, a queue and an executor, then a canceled group."""
    lock, queue, thread = asyncio.Lock(), asyncio.Queue[int](3), object()

    async def work(number: int) -> None:
        for turn in range(rounds):
            async with lock:
                loop.note(f"{number} turn {turn}")
                await loop.run_in_executor(thread, lambda: None)
            await queue.put(number)
            loop.note(f"{number} got {await queue.get()}")

    async def doomed(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            loop.note(f"{number} canceled")

    workers = [loop.spawn(f"host-{number}", work(number)) for number in range(3)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            for number in range(20):
                _ = group.create_task(doomed(number))
    await asyncio.gather(*workers)


def _digest(seed: int) -> str:
    async def main(loop: SimLoop) -> SimLoop:
        await _busy(loop)
        return loop

    return run(seed, main).digest()


# Time and order


def test_time_starts_at_a_fixed_value_and_jumps_to_the_next_timer() -> None:
    async def main(loop: SimLoop) -> list[tuple[str, float]]:
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, loop.time() - START_S))

        await asyncio.gather(sleeper("late", 3600), sleeper("early", 1), sleeper("middle", 60))
        return woken

    assert run(1, main) == [("early", 1), ("middle", 60), ("late", 3600)]


def test_timers_due_at_one_time_run_in_an_order_the_seed_chooses() -> None:
    async def main(loop: SimLoop) -> tuple[int, ...]:
        woken: list[int] = []
        for number in range(6):
            loop.call_later(1, woken.append, number)
        await asyncio.sleep(2)
        assert sorted(woken) == list(range(6))
        return tuple(woken)

    assert len({run(seed, main) for seed in SEEDS}) > 5


def test_oldest_first_one_is_the_order_of_a_plain_loop() -> None:
    async def main(loop: SimLoop) -> list[int]:
        called: list[int] = []
        for number in range(50):
            loop.call_soon(called.append, number)
        await asyncio.sleep(1)
        return called

    assert run(1, main, oldest_first=1.0) == list(range(50))


def test_canceled_timers_neither_run_nor_move_time() -> None:
    async def main(loop: SimLoop) -> float:
        called: list[int] = []
        loop.call_later(5, called.append, 1).cancel()
        soon = loop.call_soon(called.append, 2)
        soon.cancel()
        await asyncio.sleep(1)
        assert soon.cancelled()
        assert not called
        return loop.time() - START_S

    assert run(1, main) == 1


# Replay


def test_one_seed_replays_and_seeds_differ() -> None:
    digests = [_digest(seed) for seed in SEEDS]
    assert digests == [_digest(seed) for seed in SEEDS]
    assert len(set(digests)) == len(SEEDS)


def test_replay_does_not_depend_on_the_hash_seed_or_on_addresses() -> None:
    program = (
        "import random; ballast = [object() for _ in range(random.SystemRandom().randrange(5000))]\n"
        "from tests.simulation.test_loop import _digest; print(_digest(7))"
    )
    root = Path(__file__).parents[2]
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "1", "2")
    }
    assert printed == {_digest(7)}


def test_trace_is_bounded_and_names_time_and_host() -> None:
    async def main(loop: SimLoop) -> None:
        async def speak() -> None:
            for number in range(1000):
                loop.note(str(number))

        await loop.spawn("a", speak())
        assert len(loop.notes()) == 400
        assert loop.notes()[-1] == (START_S, "a", "999")

    run(1, main)


# Crash and pause


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_stops_a_task_at_its_await_and_finally_waits_for_close(seed: int) -> None:
    seen: list[str] = []

    async def victim() -> None:
        try:
            while True:
                seen.append("step")
                await asyncio.sleep(1)
        finally:
            seen.append("finally")

    async def main(loop: SimLoop) -> None:
        task = loop.spawn("a", victim())
        await asyncio.sleep(2.5)
        assert loop.alive("a")
        loop.kill("a")
        assert not loop.alive("a")
        task.cancel()  # must not wake the dead either
        await asyncio.sleep(100)
        assert seen == ["step"] * 3
        assert not task.done()

    run(seed, main)
    assert seen == ["step"] * 3 + ["finally"]


def test_a_killed_host_is_not_woken_by_others_and_its_garbage_does_not_run() -> None:
    seen: list[str] = []

    async def victim(woken: asyncio.Event) -> None:
        try:
            await woken.wait()
            seen.append("woken")
        finally:
            seen.append("finally")

    async def main(loop: SimLoop) -> None:
        woken = asyncio.Event()
        _ = loop.spawn("a", victim(woken))
        await asyncio.sleep(1)
        loop.kill("a")
        woken.set()
        del woken
        await asyncio.sleep(1)
        assert seen == []

    run(1, main)
    assert seen == ["finally"]


def test_tasks_of_a_host_stay_on_it_and_die_with_it() -> None:
    async def main(loop: SimLoop) -> None:
        hosts: list[str] = []

        async def child() -> None:
            hosts.append(HOST.get())
            await asyncio.sleep(5)
            hosts.append("survived")

        async def parent() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    _ = group.create_task(child())

        _ = loop.spawn("a", parent())
        await asyncio.sleep(1)
        loop.kill("a")
        await asyncio.sleep(10)
        assert hosts == ["a"] * 3

    run(1, main)


def test_close_is_quiet_even_for_coroutines_that_fight_it(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn(loop: SimLoop) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            for _ in range(5):
                with contextlib.suppress(BaseException):
                    await loop.create_future()
            raise ValueError("a dead process raised")

    async def scheduling(loop: SimLoop) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                _ = group.create_task(asyncio.sleep(100))
                await asyncio.sleep(100)
        finally:
            _ = loop.create_task(stubborn(loop))

    async def main(loop: SimLoop) -> None:
        _ = loop.spawn("a", stubborn(loop))
        _ = loop.spawn("a", scheduling(loop))
        await asyncio.sleep(1)
        _ = loop.spawn("a", stubborn(loop))  # not even started when the host dies
        loop.kill("a")

    run(1, main)
    gc.collect()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_killed_name_cannot_be_spawned_again() -> None:
    async def main(loop: SimLoop) -> None:
        _ = loop.spawn("a", asyncio.sleep(1))
        _ = loop.spawn("a", asyncio.sleep(1))
        loop.kill("a")
        loop.kill("a")
        with pytest.raises(ValueError, match="was killed"):
            _ = loop.spawn("a", asyncio.sleep(1))

    run(1, main)


def test_the_world_and_unknown_hosts_cannot_be_killed_or_paused() -> None:
    async def main(loop: SimLoop) -> None:
        for host in ("world", "typo"):
            with pytest.raises(ValueError, match=host):
                loop.kill(host)
            with pytest.raises(ValueError, match=host):
                loop.pause(host, 1)
        assert loop.alive("world")
        assert not loop.alive("typo")

    run(1, main)


@pytest.mark.parametrize("seed", SEEDS)
def test_pause_withholds_then_resumes_while_others_go_on(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        ticks: dict[str, list[float]] = {"a": [], "b": []}

        async def tick(host: str) -> None:
            for _ in range(5):
                await asyncio.sleep(1)
                ticks[host].append(loop.time() - START_S)

        tasks = [loop.spawn(host, tick(host)) for host in ticks]
        await asyncio.sleep(1.5)
        loop.pause("a", 10)
        loop.pause("a", 1)  # does not shorten the first
        await asyncio.gather(*tasks)
        assert ticks == {"a": [1, 11.5, 12.5, 13.5, 14.5], "b": [1, 2, 3, 4, 5]}

    run(seed, main)


def test_a_host_can_be_killed_while_paused() -> None:
    async def main(loop: SimLoop) -> None:
        seen: list[int] = []
        loop.spawn("a", asyncio.sleep(1)).add_done_callback(lambda _: seen.append(1))
        loop.pause("a", 5)
        await asyncio.sleep(2)
        loop.kill("a")
        await asyncio.sleep(10)
        assert seen == []

    run(1, main)


def test_on_step_can_kill_at_any_await_and_the_run_still_replays() -> None:
    def once(seed: int) -> tuple[int, str]:
        dice = random.Random(seed)
        done: list[int] = []

        async def work() -> None:
            for number in range(100):
                await asyncio.sleep(0)
                done.append(number)

        async def main(loop: SimLoop) -> str:
            def strike() -> None:
                if loop.alive("a") and dice.random() < 0.02:
                    loop.kill("a")

            _ = loop.spawn("a", work())
            loop.on_step = strike
            await asyncio.sleep(1)
            return loop.digest()

        digest = run(seed, main)
        return len(done), digest

    runs = [once(seed) for seed in SEEDS]
    assert runs == [once(seed) for seed in SEEDS]
    assert len({steps for steps, _ in runs}) > 5


# Executor


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_can_strike_between_an_executors_effect_and_its_answer(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        effects: list[int] = []
        answers: list[int] = []

        async def write() -> None:
            await loop.run_in_executor(object(), effects.append, 1)
            answers.append(1)

        def strike() -> None:
            if effects:
                loop.kill("a")

        loop.on_step = strike
        _ = loop.spawn("a", write())
        await asyncio.sleep(1)
        assert effects == [1]
        assert answers == []

    run(seed, main)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_executor_is_first_in_first_out(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        thread, order = object(), list[int]()
        await asyncio.gather(*(loop.run_in_executor(thread, order.append, n) for n in range(20)))
        assert order == list(range(20))

    run(seed, main)


def test_the_default_executor_lets_calls_overtake() -> None:
    async def main(loop: SimLoop) -> bool:
        order: list[int] = []
        await asyncio.gather(*(asyncio.to_thread(order.append, n) for n in range(20)))
        assert sorted(order) == list(range(20))
        return order != sorted(order)

    assert all(run(seed, main) for seed in SEEDS)


def test_one_executor_goes_on_after_a_cancel_and_after_a_failure() -> None:
    async def main(loop: SimLoop) -> bool:
        thread, calls = object(), list[str]()
        first = loop.run_in_executor(thread, calls.append, "first")
        queued = loop.run_in_executor(thread, calls.append, "queued")
        failing = loop.run_in_executor(thread, int, "x")
        last = loop.run_in_executor(thread, calls.append, "last")
        first.cancel()
        queued.cancel()
        with pytest.raises(ValueError, match="invalid literal"):
            await failing
        await last
        assert calls[-1] == "last"
        assert "queued" not in calls
        return "first" in calls

    assert {run(seed, main) for seed in SEEDS} == {True, False}


def test_a_thread_has_no_running_loop_but_its_callers_context() -> None:
    def threaded() -> str:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return HOST.get()

    async def main(loop: SimLoop) -> None:
        assert await loop.spawn("a", asyncio.to_thread(threaded)) == "a"
        assert asyncio.get_running_loop() is loop

    run(1, main)


# Limits


def test_deadlock_names_who_waits_where() -> None:
    async def main(loop: SimLoop) -> None:
        _ = loop.spawn("a", asyncio.sleep(100))
        await asyncio.sleep(5)
        loop.kill("a")  # its timer must not keep the run going
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlock, match=r"world world-\d+ waits in Event.wait") as deadlock:
        run(1, main)
    assert f"time {START_S + 5:.6f} s" in str(deadlock.value)


def test_step_and_time_limits() -> None:
    async def spin(_: SimLoop) -> None:
        for _turn in itertools.count():
            await asyncio.sleep(0)

    async def doze(_: SimLoop) -> None:
        for _turn in itertools.count():
            await asyncio.sleep(60)

    with pytest.raises(SimOverrun, match="steps"):
        run(1, spin, step_limit=1000)
    with pytest.raises(SimOverrun, match="time limit"):
        run(1, doze, time_limit_s=3600)


# Errors


def test_errors_nobody_receives_are_recorded_and_fail_a_strict_run() -> None:
    async def main(loop: SimLoop) -> SimLoop:
        async def lost() -> None:
            raise KeyError("lost")

        loop.call_soon(lambda: 1 / 0)
        _ = loop.spawn("a", lost())
        await asyncio.sleep(1)
        return loop

    errors = run(1, main, strict=False).errors
    assert [(error.host, type(error.exception)) for error in errors] == [
        ("world", ZeroDivisionError),
        ("a", KeyError),
    ]
    with pytest.raises(ExceptionGroup) as failure:
        run(1, main)
    assert failure.group_contains(ZeroDivisionError)
    assert failure.group_contains(KeyError)
    assert "seed 1," in failure.value.__notes__[0]


def test_a_dead_hosts_failed_task_is_no_error() -> None:
    async def main(loop: SimLoop) -> SimLoop:
        async def lost() -> None:
            raise KeyError("lost")

        _ = loop.spawn("a", lost())
        await asyncio.sleep(1)
        loop.kill("a")
        return loop

    assert run(1, main).errors == []


def test_a_failed_run_raises_its_own_exception_with_the_report() -> None:
    async def main(loop: SimLoop) -> None:
        loop.note("before the end")
        raise LookupError("wrong balance")

    with pytest.raises(LookupError) as failure:
        run(42, main)
    assert "seed 42," in failure.value.__notes__[0]
    assert "world: before the end" in failure.value.__notes__[0]


def test_a_custom_exception_handler_takes_over() -> None:
    async def main(loop: SimLoop) -> None:
        handled: list[str] = []
        loop.set_exception_handler(lambda _, context: handled.append(context["message"]))
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)
        assert handled == ["callback failed"]
        assert loop.errors == []

    run(1, main)


# asyncio's own semantics under random order


@pytest.mark.parametrize("seed", SEEDS)
def test_timeouts(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(3)
        assert loop.time() == START_S + 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        assert await asyncio.wait_for(asyncio.sleep(1, "result"), 2) == "result"
        async with asyncio.timeout(5):
            await asyncio.sleep(1)

    run(seed, main)


@pytest.mark.parametrize("seed", SEEDS)
def test_task_group_cancels_the_rest_when_one_fails(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        canceled: list[int] = []

        async def wait(number: int) -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                canceled.append(number)
                raise

        async def fail() -> None:
            await asyncio.sleep(1)
            raise KeyError

        async def children() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(5):
                    _ = group.create_task(wait(number))
                _ = group.create_task(fail())

        with pytest.raises(ExceptionGroup) as failure:
            await children()
        assert failure.group_contains(KeyError)
        assert sorted(canceled) == list(range(5))

    run(seed, main)


@pytest.mark.parametrize("seed", SEEDS)
def test_queue_semaphore_and_wait(seed: int) -> None:
    async def main(loop: SimLoop) -> None:
        queue, limit = asyncio.Queue[int](2), asyncio.Semaphore(3)
        taken: list[int] = []
        inside, most = 0, 0

        async def consume() -> None:
            nonlocal inside, most
            async with limit:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.5)
                taken.append(await queue.get())
                queue.task_done()
                inside -= 1

        async def produce() -> None:
            for number in range(9):
                await queue.put(number)
            await queue.join()

        tasks = [asyncio.create_task(consume()) for _ in range(9)]
        await produce()
        done, pending = await asyncio.wait(tasks)
        assert (len(done), len(pending), most) == (9, 0, 3)
        assert sorted(taken) == list(range(9))

    run(seed, main)


def test_async_generators_left_half_way_are_closed() -> None:
    async def main(loop: SimLoop) -> None:
        closed: list[str] = []

        async def count(name: str) -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append(name)

        async for _ in count("dropped"):
            break
        await asyncio.sleep(0)
        kept = count("kept")
        assert await anext(kept) == 1
        await asyncio.sleep(1)
        assert closed == ["dropped"]
        await loop.shutdown_asyncgens()
        assert closed == ["dropped", "kept"]

    run(1, main)


def test_a_runner_can_drive_it() -> None:
    with asyncio.Runner(loop_factory=lambda: SimLoop(1)) as runner:
        assert runner.run(asyncio.sleep(10, "slept")) == "slept"


def test_a_closed_loop_refuses_work() -> None:
    loop = SimLoop(1)
    loop.close()
    loop.close()
    assert loop.is_closed()
    for call in (lambda: loop.call_soon(print), lambda: loop.create_task(asyncio.sleep(1)), loop.run_forever):
        with pytest.raises(RuntimeError, match="closed"):
            call()
