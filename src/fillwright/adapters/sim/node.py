"""One simulated chain, served to many processes as Solana's nodes serve theirs (see rpc).

Decides: what each call is answered, and how bad input is refused. Must never: answer before the chain's file has what
the answer tells, or fail for what a caller sent.

A request is worked through without a pause, so transactions that came in one batch share a block and a commit, and the
calls of a batch see the chain one after the other.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from solders.hash import Hash

from fillwright.adapters.jsonrpc import INVALID_PARAMS, Dispatcher, Failed, Method, encode, with_params
from fillwright.adapters.sim import rpc
from fillwright.adapters.sim.chain import SimChain, height_at
from fillwright.adapters.sim.market import SimPool
from fillwright.adapters.sim.transactions import VALID_BLOCKS, Unreadable
from fillwright.errors import Code, FillwrightError
from fillwright.order import Fill
from fillwright.ports import Rejection
from fillwright.units import Signature

P = TypeVar("P")
_STOP_S: Final = 1.0
"""Requests that are under way when the node stops may take this long."""
_JSON: Final = "application/json"
_ERR: Final = {"InstructionError": [0, "GenericError"]}


class Node:
    """Answers bytes with bytes; the HTTP around it is `make_node`'s."""

    def __init__(self, chain: SimChain) -> None:
        self._chain = chain
        self._encoded: dict[str, tuple[SimPool, msgspec.Raw]] = {}
        methods: dict[str, Method] = {
            "getHealth": _with(rpc.Plain, self._health),
            "getSlot": _with(rpc.Plain, self._slot),
            "getBlockHeight": _with(rpc.Plain, self._height),
            "getLatestBlockhash": _with(rpc.Plain, self._blockhash),
            "sendTransaction": _with(rpc.Sent, self._send),
            "getSignatureStatuses": _with(rpc.Sought, self._statuses),
            "fillwright_getPools": _with(rpc.PoolsWanted, self._pools),
            "fillwright_getNewPools": _with(rpc.Recent, self._new_pools),
            "fillwright_getPoolFacts": _with(rpc.PoolNamed, self._pool_facts),
            "fillwright_getSettlements": _with(rpc.Lines, self._settlements),
            "fillwright_getInFlight": _with(rpc.Plain, self._in_flight),
        }
        self._dispatcher = Dispatcher(methods, settle=self._settle)

    def answer(self, body: bytes) -> bytes:
        """Nothing at all where nobody wants an answer. Never raises."""
        return self._dispatcher.answer(body)

    def _settle(self) -> None:
        try:
            self._chain.produce_blocks()
        except FillwrightError as error:
            raise Failed(rpc.UNHEALTHY, str(error)) from error

    # --- Solana's methods ---------------------------------------------------------------------------------

    def _health(self, _: rpc.Plain) -> str:
        return "ok"

    def _slot(self, _: rpc.Plain) -> int:
        self._chain.produce_blocks()
        return self._chain.slot()

    def _height(self, _: rpc.Plain) -> int:
        self._chain.produce_blocks()
        return self._chain.told_height()

    def _blockhash(self, _: rpc.Plain) -> rpc.Told[rpc.Blockhash]:
        self._chain.produce_blocks()
        slot = self._chain.slot()
        height = height_at(slot)
        name = str(Hash(sha256(b"%d" % height).digest()))
        return rpc.Told(rpc.Context(slot), rpc.Blockhash(name, height + VALID_BLOCKS))

    def _send(self, sent: rpc.Sent) -> Signature:
        signature = self._chain.receive(sent.raw)
        self._chain.lose_answer()
        return signature

    def _statuses(self, sought: rpc.Sought) -> rpc.Told[list[rpc.Status | None]]:
        self._chain.produce_blocks()
        self._chain.lose_answer()
        return rpc.Told(
            rpc.Context(self._chain.slot()), [_status(self._chain.outcome(each)) for each in sought.signatures]
        )

    # --- ours ---------------------------------------------------------------------------------------------

    def _pools(self, wanted: rpc.PoolsWanted) -> rpc.Told[rpc.Pools]:
        view = self._chain.view(wanted.venue, wanted.mints)
        pools = [self._json_of(pool) for pool in view.pools]
        return rpc.Told(rpc.Context(view.time.slot), rpc.Pools(view.time.unix_seconds, pools))

    def _json_of(self, pool: Any) -> msgspec.Raw:
        """Encoded once for as long as the pool stays as it is."""
        known = self._encoded.get(pool.address)
        if known is None or known[0] is not pool:
            known = self._encoded[pool.address] = (pool, msgspec.Raw(encode(pool)))
        return known[1]

    def _new_pools(self, recent: rpc.Recent) -> object:
        return self._chain.listings(recent.within_s)

    def _pool_facts(self, named: rpc.PoolNamed) -> object:
        return self._chain.facts_of(named.address)

    def _settlements(self, lines: rpc.Lines) -> object:
        self._chain.produce_blocks()
        return rpc.Told(rpc.Context(self._chain.slot()), self._chain.settlements(lines.after, lines.limit))

    def _in_flight(self, _: rpc.Plain) -> int:
        return self._chain.in_flight()


def make_node(chain: SimChain) -> web.Application:
    """POST / speaks JSON-RPC, GET /health says `ok`. Bad input costs its sender a 4xx or a JSON-RPC error."""
    node = Node(chain)

    async def call(request: web.Request) -> web.Response:
        if request.content_type != _JSON:
            raise web.HTTPUnsupportedMediaType
        answer = node.answer(await request.read())
        return web.Response(body=answer, content_type=_JSON) if answer else web.Response(status=204)

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=rpc.BODY_MAX)
    app.add_routes([web.post("/", call), web.get("/health", health)])
    return app


@asynccontextmanager
async def serving(chain: SimChain, host: str, port: int) -> AsyncIterator[str]:
    """Serve this chain until the context is left; yields the URL. The chain stays the caller's to close.

    Raises FillwrightError(CONFIG_INVALID) where it cannot listen there.
    """
    runner = web.AppRunner(
        make_node(chain), access_log=None, handle_signals=False, shutdown_timeout=_STOP_S, auto_decompress=False
    )
    await runner.setup()
    try:
        await _listen(web.TCPSite(runner, host, port, backlog=1024), f"{host}:{port}")
        name, actual = runner.addresses[0][:2]
        yield f"http://{f'[{name}]' if ':' in name else name}:{actual}"
    finally:
        await runner.cleanup()


async def _listen(site: web.TCPSite, where: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"cannot listen on {where} ({error.strerror})") from error


def _with(params: type[P], method: Callable[[P], object]) -> Method:
    def run(known: P) -> object:
        try:
            return method(known)
        except Unreadable as error:
            raise Failed(INVALID_PARAMS, str(error)) from error
        except FillwrightError as error:
            raise Failed(rpc.UNHEALTHY, str(error)) from error

    return with_params(params, run)


def _status(outcome: Fill | Rejection | None) -> rpc.Status | None:
    if outcome is None:
        return None
    if isinstance(outcome, Rejection):
        err, told = _ERR, rpc.Outcome(problem=outcome.problem)
    else:
        err, told = None, rpc.Outcome(outcome.amount_in, outcome.amount_out)
    return rpc.Status(slot=outcome.slot, err=err, confirmation_status="finalized", fillwright=told)
