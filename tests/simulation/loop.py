"""A deterministic asyncio event loop: virtual time, seeded scheduling, hosts that can crash.

Decides which ready callback runs next, when virtual time moves, and what a crash of a host leaves undone.
Must never read a real clock, start a thread, open a socket, or let anything but the seed and the code under
test choose the order of events. Nothing here knows about orders or chains.

Every callback belongs to the host in its context (`HOST`); tasks and futures inherit it as contextvars do.
A host is one simulated process: `kill` is `SIGKILL` (nothing of it runs again), `pause` is `SIGSTOP`.
A crash strikes between two steps, that is at any await and between an executor's effect and its answer.
Computing takes no virtual time, so only timers and executor calls move the clock.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import math
import random
import struct
import sys
import threading
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    # typeshed marks the socket half of AbstractEventLoop abstract; at run time it merely raises.
    from asyncio import BaseEventLoop as _LoopBase
else:
    from asyncio import AbstractEventLoop as _LoopBase

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
OnError = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

WORLD = "world"
HOST: ContextVar[str] = ContextVar("HOST", default=WORLD)
START_S = 1_000.0  # not zero, so that code which mistakes a clock reading for a duration shows
STEPS_PER_COLLECTION = 20_000
CLOSE_ATTEMPTS = 100  # a coroutine may await again in its `finally`; each close() gets it one await further


class SimDeadlock(RuntimeError):
    """Nothing is ready and no timer of a live host is left, yet the awaited future is not done."""


class SimOverrun(RuntimeError):
    """The step limit or the virtual time limit was passed."""


@dataclass(frozen=True, slots=True)
class SimError:
    """An exception that no code under test received: from a callback, or of a task nobody awaited."""

    time_s: float
    host: str
    message: str
    exception: BaseException | None


class SimHandle(asyncio.TimerHandle):
    """One scheduled callback of one host. Used for timers and for `call_soon` alike."""

    __slots__ = ("host",)

    def __init__(
        self, when_s: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        # The parent's __init__ is left out: it asks the loop for its debug mode on every call.
        if context is None:
            self.host = HOST.get()
            self._context = copy_context()
        else:
            self.host = context.get(HOST, WORLD)
            self._context = context
        self._when = when_s
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = None
        self._args = ()

    def __repr__(self) -> str:
        return f"<SimHandle {self.host} at {self._when}>"


class SimFuture(asyncio.Future[T]):
    """A future with a replayable hash: a set of futures iterates in the same order in every run."""

    __slots__ = ("_serial",)

    def __init__(self, loop: SimLoop, serial: int) -> None:
        self._serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class SimTask(asyncio.Task[T]):
    """A task with a replayable hash. TaskGroup keeps its children in a set and cancels in set order."""

    __slots__ = ("_serial", "host")

    def __init__(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        loop: SimLoop,
        name: object,
        context: Context,
        serial: int,
    ) -> None:
        self._serial = serial  # before the parent's __init__, which puts the task into a WeakSet
        self.host = context.get(HOST, WORLD)
        # asyncio numbers unnamed tasks per process, which would differ from one run to the next.
        super().__init__(coro, loop=loop, name=str(name or f"{self.host}-{serial}"), context=context)

    def __hash__(self) -> int:
        return self._serial

    def lost_exception(self) -> bool:
        """Whether the task failed and nobody looked at its exception yet."""
        return self.done() and bool(self._log_traceback)

    def where(self) -> str:
        """Host, name and innermost suspended line, for a person who reads a failed run."""
        coro: Any = self.get_coro()
        while hasattr(getattr(coro, "cr_await", None), "cr_frame"):
            coro = coro.cr_await
        frame = getattr(coro, "cr_frame", None)
        line = f"{frame.f_code.co_qualname}:{frame.f_lineno}" if frame else "?"
        return f"{self.host} {self.get_name()} waits in {line}"


class Trace:
    """The last notes as text, and a digest of all notes, scheduling choices and moves of the clock."""

    def __init__(self, length: int) -> None:
        self.notes: deque[tuple[float, str, str]] = deque(maxlen=length)
        self._choices = array("Q")
        # Bound once: this is called in every step. Hashing waits until the clock moves.
        self.choose = self._choices.append
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, time_s: float, host: str, text: str) -> None:
        self.notes.append((time_s, host, text))
        self._feed(f"{time_s!r}\0{host}\0{text}\0".encode())

    def clock_moved(self, time_s: float) -> None:
        self._feed(struct.pack("<d", time_s))

    def digest(self) -> str:
        self._feed(b"")
        return self._hash.hexdigest()

    def _feed(self, data: bytes) -> None:
        self._hash.update(self._choices.tobytes())
        del self._choices[:]
        self._hash.update(data)


@dataclass(frozen=True, slots=True)
class _Job:
    """One executor call: the effect in one step, the answer in a later one."""

    future: asyncio.Future[Any]
    func: Callable[..., Any]
    args: tuple[Any, ...]
    context: Context

    def call(self) -> tuple[Any, BaseException | None]:
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)  # a worker thread has none, and code that needs one must fail
        try:
            return self.func(*self.args), None
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return None, exc
        finally:
            asyncio._set_running_loop(running)

    def answer(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class SimLoop(_LoopBase):
    """See the module. `oldest_first` is the chance that a step takes the oldest ready handle, not any one."""

    def __init__(
        self,
        seed: int,
        *,
        oldest_first: float = 0.5,
        executor_delay_s: tuple[float, float] = (0.0, 0.002),
        step_limit: int = 1_000_000,
        time_limit_s: float = 86_400.0,
        trace_length: int = 400,
    ) -> None:
        self.seed = seed
        self.steps = 0
        self.errors: list[SimError] = []
        self.on_step: Callable[[], None] | None = None
        self._rng = random.Random(seed)
        self._random = self._rng.random
        self._oldest_first = oldest_first
        self._executor_delay_s = executor_delay_s
        self._step_limit = step_limit
        self._time_limit_s = START_S + time_limit_s
        self._trace = Trace(trace_length)
        self._now_s = START_S
        self._serial = 0
        self._ready: list[SimHandle] = []
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._tasks: list[SimTask[Any]] = []
        self._tasks_to_sweep = 256
        self._next_collection = STEPS_PER_COLLECTION
        self._hosts = {WORLD}
        self._dead: set[str] = set()
        self._paused: dict[str, list[SimHandle]] = {}
        self._resume_at_s: dict[str, float] = {}
        # What a dead host can no longer run is kept, or the collector would run its `finally` blocks.
        self._graveyard: list[SimHandle] = []
        # The executor sits in the value so that its id is not given to another object during the run.
        self._lanes: dict[tuple[str, int], tuple[Any, deque[_Job]]] = {}
        self._agens: WeakKeyDictionary[AsyncGenerator[Any, Any], str] = WeakKeyDictionary()
        self._on_error: OnError | None = None
        self._thread = threading.get_ident()
        self._running = False
        self._stopping = False
        self._closed = False

    # Hosts

    def spawn(self, host: str, coro: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Start `coro` as a task of `host`. A killed host's name cannot come back: ValueError."""
        if host in self._dead:
            coro.close()
            raise ValueError(f"host {host!r} was killed; a restarted process needs a new name")
        self._hosts.add(host)
        context = copy_context()
        context.run(HOST.set, host)
        return self.create_task(coro, name=name, context=context)

    def kill(self, host: str) -> None:
        """From now on nothing of `host` runs; a step under way ends first. Killing it again does nothing."""
        self._check_host(host)
        if host in self._dead:
            return
        self._dead.add(host)
        self._graveyard.extend(self._paused.pop(host, ()))
        self._trace.note(self._now_s, host, "killed")

    def pause(self, host: str, seconds: float) -> None:
        """Withhold what `host` has ready until `seconds` from now; a longer pause under way stays."""
        self._check_host(host)
        if host in self._dead:
            return
        until_s = max(self._now_s + seconds, self._resume_at_s.get(host, 0.0))
        self._resume_at_s[host] = until_s
        self._paused.setdefault(host, [])
        self._trace.note(self._now_s, host, f"paused until {until_s!r}")
        self.call_at(until_s, self._resume, host, context=Context())  # an empty context belongs to the world

    def alive(self, host: str) -> bool:
        """Whether the host was spawned and not killed. A paused host is alive."""
        return host in self._hosts and host not in self._dead

    def _resume(self, host: str) -> None:
        if host in self._paused and self._now_s >= self._resume_at_s[host]:
            self._ready.extend(self._paused.pop(host))

    def _check_host(self, host: str) -> None:
        if host == WORLD:
            raise ValueError("the world is the test itself; it cannot be killed or paused")
        if host not in self._hosts:
            raise ValueError(f"no host {host!r} was spawned")

    # Trace

    def note(self, text: str) -> None:
        """Add a line to the trace and the digest. The text must replay: no addresses, no set order."""
        if not self._closed:
            self._trace.note(self._now_s, HOST.get(), text)

    def digest(self) -> str:
        """Hex digest of the run so far; equal for two runs exactly when they went the same way."""
        return self._trace.digest()

    def notes(self) -> list[tuple[float, str, str]]:
        """The last notes, oldest first, as (virtual time, host, text)."""
        return list(self._trace.notes)

    def report(self, notes: int = 30, tasks: int = 20) -> str:
        """What a person needs to see why this run failed."""
        pending = [task.where() for task in self._tasks if not task.done() and task.host not in self._dead]
        head = f"seed {self.seed}, {self.steps} steps, time {self._now_s:.6f} s, digest {self.digest()}"
        errors = [f"error at {e.time_s:.6f} {e.host}: {e.message}: {e.exception!r}" for e in self.errors]
        trace = [f"{time_s:.6f} {host}: {text}" for time_s, host, text in self.notes()[-notes:]]
        return "\n  ".join([head, *errors, *pending[:tasks], *trace])

    # Running

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until `future` is done. Raises SimDeadlock, SimOverrun, or what the future raises."""
        self._check_open()
        awaited = asyncio.ensure_future(future, loop=self)  # type: ignore[arg-type]  # as asyncio's own
        self._run(awaited.done)
        if not awaited.done():
            raise RuntimeError("the loop was stopped before the future was done")
        return awaited.result()

    def run_forever(self) -> None:
        """Run until `stop`. Raises SimDeadlock when nothing is left that could call it."""
        self._run(lambda: False)

    def stop(self) -> None:
        self._stopping = True

    def _run(self, done: Callable[[], bool]) -> None:
        with self._entered():
            while not self._stopping and not done():
                if self._ready:
                    self._step()
                elif not self._advance():
                    raise SimDeadlock(f"nothing left to run\n{self.report()}")

    @contextmanager
    def _entered(self) -> Iterator[None]:
        self._check_open()
        if self._running or asyncio._get_running_loop() is not None:
            raise RuntimeError("an event loop is already running")
        hooks = sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()  # the collector's moment depends on the process's past, and finalisers may schedule work
        sys.set_asyncgen_hooks(firstiter=self._agen_started, finalizer=self._agen_dropped)
        asyncio._set_running_loop(self)
        self._running = True
        try:
            yield
        finally:
            self._running = self._stopping = False
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            if collecting:
                gc.enable()

    def _step(self) -> None:
        """Take one ready handle and run it, unless its host may not run."""
        ready = self._ready
        count = len(ready)
        index = 0
        if count > 1 and self._random() >= self._oldest_first:
            index = int(self._random() * count)
        self._trace.choose(count << 32 | index)
        # pop keeps the order, which "oldest" needs, and moves a few pointers: cheaper than any clever queue.
        handle = ready.pop(index)
        if handle._cancelled:
            return
        if handle.host in self._dead:
            self._graveyard.append(handle)
            return
        if handle.host in self._paused:
            self._paused[handle.host].append(handle)
            return
        self.steps += 1
        if self.steps > self._step_limit:
            raise SimOverrun(f"more than {self._step_limit} steps\n{self.report()}")
        try:
            handle._context.run(handle._callback, *handle._args)  # type: ignore[arg-type]
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.call_exception_handler({"message": "callback failed", "exception": exc, "handle": handle})
        if self.on_step is not None:
            self.on_step()

    def _advance(self) -> bool:
        """Move time to the next live timer and make all that are due ready. False: no timer is left."""
        timers = self._timers
        while timers and (timers[0][2]._cancelled or timers[0][2].host in self._dead):
            dropped = heappop(timers)[2]
            if not dropped._cancelled:
                self._graveyard.append(dropped)
        if not timers:
            return False
        now_s = timers[0][0]
        if now_s > self._time_limit_s:
            raise SimOverrun(f"the next timer is due at {now_s}, past the time limit\n{self.report()}")
        self._now_s = now_s
        while timers and timers[0][0] <= now_s:
            self._ready.append(heappop(timers)[2])
        self._trace.clock_moved(now_s)
        if self.steps >= self._next_collection:
            # At a replayable moment, and only what was made since the last time.
            self._next_collection = self.steps + STEPS_PER_COLLECTION
            gc.collect(1)
        return True

    # Scheduling, as asyncio calls it

    def time(self) -> float:
        """Virtual monotonic seconds."""
        return self._now_s

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> SimHandle:
        self._check_open()
        handle = SimHandle(self._now_s, callback, args, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimHandle:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a thread called into the simulation; its timing cannot be replayed")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimHandle:
        self._check_open()
        if math.isnan(when):
            raise ValueError("a timer needs a time, not NaN")
        handle = SimHandle(when, callback, args, context)
        if when <= self._now_s:
            self._ready.append(handle)
        elif when != math.inf:
            self._serial += 1
            heappush(self._timers, (when, self._serial, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        self._serial += 1
        return SimFuture(self, self._serial)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        if self._closed:
            coro.close()  # else Python warns that it was never awaited
            self._check_open()
        self._serial += 1
        task = SimTask(coro, self, name, copy_context() if context is None else context, self._serial)
        self._tasks.append(task)
        if len(self._tasks) >= self._tasks_to_sweep:
            self._tasks = [task for task in self._tasks if not task.done() or task.lost_exception()]
            self._tasks_to_sweep = 256 + 2 * len(self._tasks)
        return task

    # Executor

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call `func` in a step of its own after a seeded delay, and answer after another one.

        Calls of one host to one executor object run in the order of submission, as a single thread does.
        The default executor (None) has many threads: its calls overtake one another.
        """
        self._check_open()
        future = self.create_future()
        lane: deque[_Job] = deque()
        if executor is not None:
            _, lane = self._lanes.setdefault((HOST.get(), id(executor)), (executor, lane))
        lane.append(_Job(future, func, args, copy_context()))
        if len(lane) == 1:
            self._begin(lane)
        return future

    def _begin(self, lane: deque[_Job]) -> None:
        while lane and lane[0].future.cancelled():  # no thread took it up yet, so it never runs
            lane.popleft()
        if lane:
            self.call_later(self._executor_delay(), self._perform, lane, context=lane[0].context)

    def _perform(self, lane: deque[_Job]) -> None:
        job = lane[0]
        # A cancel cannot stop a call that a thread is already in: its effect may come all the same.
        if not job.future.cancelled() or self._random() < 0.5:
            self.call_later(self._executor_delay(), job.answer, *job.call(), context=job.context)
        lane.popleft()
        self._begin(lane)

    def _executor_delay(self) -> float:
        return self._rng.uniform(*self._executor_delay_s)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: there is no thread."""

    # Errors

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._closed:  # "Task was destroyed but it is pending", of a task that close() cut off
            return
        if self._on_error is None:
            self.default_exception_handler(context)
            return
        try:
            self._on_error(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._record(HOST.get(), "exception handler failed", exc)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        source = context.get("handle") or context.get("task")
        host = source.host if isinstance(source, SimHandle | SimTask) else HOST.get()
        self._record(host, context["message"], context.get("exception"))

    def set_exception_handler(self, handler: OnError | None) -> None:
        self._on_error = handler

    def get_exception_handler(self) -> OnError | None:
        return self._on_error

    def _record(self, host: str, message: str, exception: BaseException | None) -> None:
        self.errors.append(SimError(self._now_s, host, message, exception))

    def _record_lost_exceptions(self) -> None:
        # A host cut off in the middle of an instant gets the benefit of the doubt: its next step may look.
        excused = {handle.host for handle in self._ready} | set(self._paused) | self._dead
        for task in self._tasks:
            if task.lost_exception() and task.host not in excused:
                self._record(task.host, f"nobody awaited task {task.get_name()}", task.exception())

    # Async generators

    def _agen_started(self, agen: AsyncGenerator[Any, Any]) -> None:
        self._agens[agen] = HOST.get()

    def _agen_dropped(self, agen: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            _ = self.create_task(agen.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close the caller's host's generators, oldest first; other hosts are other processes."""
        mine = [agen for agen, host in list(self._agens.items()) if host == HOST.get()]
        await asyncio.gather(*(agen.aclose() for agen in mine), return_exceptions=True)

    # The end, and what asyncio asks for besides

    def close(self) -> None:
        """End the simulation. Only now do the `finally` blocks of unfinished tasks run, to free memory.

        They can schedule nothing, and what they raise is swallowed; judge the outcome before this.
        """
        if self._running:
            raise RuntimeError("a running loop cannot be closed")
        if self._closed:
            return
        self._record_lost_exceptions()
        self._closed = True
        for task in self._tasks:
            if not task.done():
                _close_coroutine(task.get_coro())
        for kept in (self._tasks, self._ready, self._timers, self._graveyard, self._paused, self._lanes):
            kept.clear()

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignored: debug mode measures real time."""

    def get_task_factory(self) -> None:
        return None

    def set_task_factory(self, factory: object | None) -> None:
        if factory is not None:
            raise NotImplementedError("tasks must be SimTask, or runs do not replay")

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the event loop is closed")


def _close_coroutine(coro: Any) -> None:
    for _ in range(CLOSE_ATTEMPTS):
        try:
            coro.close()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            continue  # what a dead coroutine raises, or its refusal to end at this await
        return


def run(
    seed: int,
    main: Callable[[SimLoop], Coroutine[Any, Any, T]],
    *,
    strict: bool = True,
    oldest_first: float = 0.5,
    executor_delay_s: tuple[float, float] = (0.0, 0.002),
    step_limit: int = 1_000_000,
    time_limit_s: float = 86_400.0,
) -> T:
    """Run `main(loop)` under the host "world" on a new loop, close the loop, return the result.

    A failure carries the loop's report as a note. With `strict`, recorded errors fail the run as a group.
    """
    loop = SimLoop(
        seed,
        oldest_first=oldest_first,
        executor_delay_s=executor_delay_s,
        step_limit=step_limit,
        time_limit_s=time_limit_s,
    )
    try:
        result = loop.run_until_complete(main(loop))
    except BaseException as exc:
        if not isinstance(exc, SimDeadlock | SimOverrun):  # these two say it already
            exc.add_note(loop.report())
        raise
    finally:
        loop.close()
    if strict and loop.errors:
        raise _failure(loop)
    return result


def _failure(loop: SimLoop) -> BaseExceptionGroup[BaseException]:
    causes = [error.exception or RuntimeError(error.message) for error in loop.errors]
    group = BaseExceptionGroup("errors that no code under test received", causes)
    group.add_note(loop.report())
    return group
