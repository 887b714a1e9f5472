"""The command line: what can be asked, and the exit code.

Decides: the commands, their options, and how a failure is told: one line. Must never: import what a command does not
need (`fillwright --help` answers at once), or do what the engine and its client do.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from fillwright import __version__

if TYPE_CHECKING:
    from fillwright.config import Config

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_DONE, _FAILED, _WRONG, _MISSING, _UNKNOWN, _INTERRUPTED = 0, 1, 2, 3, 4, 130
_CODES = """\
exit codes: 0 done; 1 failed; 2 usage or configuration; 3 not found; 4 outcome unknown (it may have been done)
settings: environment variables, see docs/SETTINGS.md; FILLWRIGHT_URL and FILLWRIGHT_API_KEY name the engine"""
_TYPES = """\
order types, and the options each needs (may have); prices are quote per base, after all fees at the order's own size:
  market         swaps at once
  limit          --limit                      swaps while its price can be had
  stop           --trigger (--limit)          swaps once the price has become as bad as the trigger
  take_profit    --trigger (--limit)          swaps once the price has become as good as the trigger
  trailing_stop  --trail-bps (--limit)        a stop that follows the best price seen
  twap           --slices --interval (--jitter --limit)  in slices over time; a skipped one is caught up
  dca            --slices --interval (--jitter --limit)  in equal slices; the part of a skipped one stays unspent
  sniper         swap 0.5 SOL (--mint --creator --min-liquidity --max-age --burned --give-up)
                                              swaps on a new pool that is safe by all conditions not given up
an entry with a take profit and a stop: fillwright bracket
"""
GIVEN_UP: Final = ("mint-authority", "freeze-authority", "liquidity", "extensions", "sellable")
"""A sniper's safety conditions, as `--give-up` names them."""


def main(argv: Sequence[str] | None = None) -> int:
    """See `_CODES` for what is returned."""
    parser = make_parser()
    asked, rest = parser.parse_known_args(argv)
    if rest and asked.run is not _checkout:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    asked.rest = rest
    try:
        code: int = asked.run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `fillwright list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DONE
    except Exception as error:
        failed = _exit_code(error)
        if failed is None:
            raise
        print(_told(error, as_json=getattr(asked, "json", False)), file=sys.stderr)
        return failed
    return code


def _exit_code(error: Exception) -> int | None:
    """None for a defect of ours: its traceback is what its mender needs."""
    from fillwright.client import ClientError, NotFound, OutcomeUnknown
    from fillwright.errors import FillwrightError

    match error:
        case OutcomeUnknown():
            return _UNKNOWN
        case NotFound():
            return _MISSING
        case ClientError():
            return _FAILED
        case FillwrightError():  # also where a database that the settings name does not answer
            return _WRONG
        case _:
            return None


def _told(error: Exception, *, as_json: bool) -> str:
    if not as_json:
        return f"fillwright: {error}"
    import json

    return json.dumps({"error": str(error), "code": getattr(error, "code", None)})


# --- what can be asked ------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fillwright",
        description="A self-hosted order execution engine.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_engine(commands)
    _add_orders(commands)
    _add_keys(commands)
    _add_operation(commands)
    return parser


def _add_engine(commands: Commands) -> None:
    serve = _command(commands, "serve", _serve, "run the engine with its HTTP and WebSocket interface")
    serve.add_argument(
        "--workers", type=int, choices=(0, 1), help="0: accept orders, leave the work to `fillwright worker`"
    )
    worker = _command(commands, "worker", _work, "work on the orders of a shared database; start as many as you like")
    for command in (serve, worker):
        command.add_argument(
            "--live", action="store_true", help="real money, on the chain that FILLWRIGHT_CLUSTER names"
        )
    _command(commands, "simchain", _simchain, "run the simulated chain for several processes")
    localnet = _command(
        commands, "localnet", _localnet, "run a Solana of your own: JSON-RPC and WebSocket, no real funds"
    )
    _add_localnet(localnet)
    demo = _command(
        commands, "demo", _demo, "send five orders through a fresh engine and show what happens", json=False
    )
    demo.add_argument("--live", choices=("localnet",), help="with real transactions, on a localnet of its own")


def _add_localnet(localnet: argparse.ArgumentParser) -> None:
    localnet.add_argument("--port", type=_count, metavar="N", help="WebSockets also listen one above (PORT, or 8899)")
    localnet.add_argument(
        "--programs", type=Path, metavar="DIR", help="binaries, each PROGRAM_ID.so; swaps of others are emulated"
    )
    localnet.add_argument(
        "--accounts", type=Path, metavar="DIR", help="accounts as `solana account ADDRESS --output json` writes them"
    )
    beat = localnet.add_mutually_exclusive_group()
    beat.add_argument("--block-ms", type=_count, default=400, metavar="N", help="a block each so many ms (400)")
    beat.add_argument("--manual", action="store_true", help="blocks only by localnet_produceBlocks")
    localnet.add_argument(
        "--final-after", type=_count, default=32, metavar="N", help="a block is final beneath so many (32)"
    )
    localnet.add_argument("--seed", type=_count, default=1, metavar="N", help="of the crowd and the faults (1)")
    localnet.add_argument(
        "--trade-blocks",
        type=_count_or_none,
        default=5,
        metavar="N",
        help="somebody trades every N blocks (5); 0: never",
    )
    localnet.add_argument(
        "--newcomer-blocks", type=_count_or_none, default=0, metavar="N", help="a new pool every N blocks; 0: none (0)"
    )
    localnet.add_argument(
        "--fund",
        action="append",
        default=[],
        metavar="ADDRESS=SOL:10,USDC:5000",
        help="give a wallet something to begin with; may be given again",
    )
    localnet.add_argument("--faults", metavar="JSON", help='such as {"droppedSends": 0.6}; see docs/how-to/localnet.md')


def _add_orders(commands: Commands) -> None:
    order = _command(commands, "order", _client, "place an order: sell 1.5 SOL/USDC, buy 2 SOL/USDC, swap 100 USDC/SOL")
    order.epilog = f"{_TYPES}\n{_CODES}"
    _add_request(order)
    order.add_argument("--type", metavar="TYPE", help="market (unless told otherwise), or one of those below")
    _add_conditions(order)
    _add_slices(order)
    _add_hunt(order)
    order.add_argument("--tif", metavar="FORCE", help="how long it waits: gtc, gtd, or for a limit ioc or fok")
    order.add_argument("--client-id", metavar="ID", help="your own name for the order: one order for ever")
    order.add_argument("--key", metavar="KEY", help="idempotency key: the same again answers the same order")
    order.add_argument("--wait", action="store_true", help="until the order is over; 0 only if it is confirmed")
    order.add_argument("--watch", action="store_true", help="the same, and show every step")
    _add_bracket(commands)
    _add_request(_command(commands, "quote", _client, "what the venues offer now; nothing is stored"))
    for name, what in (
        ("get", "show one order"),
        ("explain", "say what an order waits for"),
        ("cancel", "cancel an order, or as soon as its transaction is proven over"),
    ):
        _command(commands, name, _client, what).add_argument("id", help="the order's id, or your client order id")
    amend = _command(commands, "amend", _client, "change an order that rests; `none` removes what it can do without")
    amend.add_argument("id", help="the order's id, or your client order id")
    _add_conditions(amend)
    amend.add_argument("--amount", metavar="AMOUNT", help="of the same token as before")
    _add_bounds(amend, str)
    amend.add_argument("--seq", type=_count, metavar="N", help="only if this still is its last event; else: as it is")
    resolve = _command(
        commands, "resolve", _client, "say what became of a transaction that the chain gives no proof of"
    )
    resolve.add_argument("id", help="the order's id, or your client order id")
    resolve.add_argument("--outcome", required=True, choices=("landed", "reverted", "lapsed"))
    resolve.add_argument("--evidence", required=True, metavar="TEXT", help="from what you know it; kept with the order")
    resolve.add_argument("--amount-in", metavar="AMOUNT", help="what it took, where it landed")
    resolve.add_argument("--amount-out", metavar="AMOUNT", help="what it gave, where it landed")
    for name, what in (("openapi", "HTTP interface"), ("asyncapi", "streams")):
        _command(commands, name, _client, f"print the engine's own document of its {what}", json=False)
    listed = _command(commands, "list", _client, "list orders, the newest first")
    listed.add_argument("--status", default="all", help="open (not ended), resting, closed, all, or one status")
    listed.add_argument("--pair", metavar="BASE/QUOTE")
    listed.add_argument("--side", choices=("buy", "sell"))
    listed.add_argument("--since", metavar="TIME", help="accepted from then on, such as 2024-01-10T16:00:00Z")
    listed.add_argument("--until", metavar="TIME", help="accepted before")
    listed.add_argument("--limit", type=_count, default=20, metavar="N", help="at most so many (20)")
    watch = _command(commands, "watch", _client, "follow one order to its end, or all orders until interrupted")
    watch.add_argument("id", nargs="?", help="the order's id, or your client order id; none: all orders")
    watch.add_argument("--lines", action="store_true", help="one line an event, also on a terminal")


def _add_request(command: argparse.ArgumentParser) -> None:
    command.add_argument("side", nargs="?", choices=("sell", "buy", "swap"), help="swap: of the first token, exact in")
    command.add_argument("amount", nargs="?", help="decimal; sell and buy: of the pair's first token")
    command.add_argument("pair", nargs="?", metavar="PAIR", help="SOL/USDC; symbols or mints; of a sniper: SOL")
    _add_bounds(command, int)
    command.add_argument("--venue", action="append", metavar="NAME", help="only there; may be given again")
    command.add_argument("--tag", action="append", metavar="TEXT", help="a note kept with the order; again for more")
    command.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any field of the request; a value that begins with { or [ is JSON",
    )
    command.add_argument("--file", metavar="FILE", help="the request as JSON; - reads it from standard input")


def _add_bounds(command: argparse.ArgumentParser, kind: type) -> None:
    command.add_argument("--slippage-bps", type=kind, metavar="BPS", help="worst acceptable outcome (100)")
    command.add_argument("--max-impact-bps", type=kind, metavar="BPS", help="most the order may move the price")


def _add_conditions(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", metavar="PRICE", help="the worst price at which it may swap")
    command.add_argument("--trigger", metavar="PRICE", help="the price that a stop or take_profit waits for")
    command.add_argument("--trail-bps", metavar="BPS", help="how far a trailing_stop stays behind the best price")
    command.add_argument("--expire-at", metavar="TIME", help="waits until then, such as 2024-01-10T16:00:00Z")


def _add_slices(command: argparse.ArgumentParser) -> None:
    command.add_argument("--slices", metavar="N", help="a twap or dca swaps in so many")
    command.add_argument("--interval", metavar="SECONDS", help="between two slices")
    command.add_argument("--jitter", metavar="PERCENT", help="of the interval, by which a slice moves at random (0)")


def _add_hunt(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mint", metavar="MINT", help="a sniper waits for a pool of this token (any)")
    command.add_argument("--creator", metavar="ADDRESS", help="made by this account (anybody)")
    command.add_argument("--min-liquidity", metavar="AMOUNT", help="of the token that it pays, in the pool (0)")
    command.add_argument("--max-age", metavar="SECONDS", help="oldest pool that it takes (60)")
    command.add_argument("--burned", action="store_true", help="locked liquidity is not enough: burned for good")
    command.add_argument(
        "--give-up",
        action="append",
        choices=GIVEN_UP,
        metavar="CONDITION",
        help=f"a safety condition that shall not hold, each by its name: {', '.join(GIVEN_UP)}",
    )


def _add_bracket(commands: Commands) -> None:
    what = "an entry with its exits: bracket buy 1 SOL/USDC --take-profit 400 --stop 90; of two exits one swaps"
    bracket = _command(commands, "bracket", _client, what)
    _add_request(bracket)
    bracket.add_argument("--limit", metavar="PRICE", help="the entry waits for this price; else it swaps at once")
    bracket.add_argument("--take-profit", metavar="PRICE", help="swap back once the price has become as good")
    bracket.add_argument("--stop", metavar="PRICE", help="swap back once the price has become as bad")
    bracket.add_argument("--trail-bps", metavar="BPS", help="swap back once it is so far behind the best price seen")
    bracket.add_argument(
        "--no-entry", action="store_true", help="you hold it already: both exits are this very swap, and one is made"
    )
    bracket.add_argument("--client-id", metavar="ID", help="your own name for the entry: one bracket for ever")
    bracket.add_argument("--key", metavar="KEY", help="idempotency key: the same again answers the same orders")


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="make, list and revoke API keys")
    actions = keys.add_subparsers(dest="action", required=True)
    create = _command(actions, "create", _keys, "make a key; its token is shown once")
    create.add_argument("--label", required=True, help="what it is for")
    create.add_argument("--account", default="default", help="whose orders it sees (default)")
    create.add_argument("--scopes", default="read,trade", help="of read, trade, admin; with commas (read,trade)")
    create.add_argument("--rate", type=_count, metavar="N", help="requests a second, in each API process")
    create.add_argument("--burst", type=_count, metavar="N", help="requests at once after a quiet time (as --rate)")
    create.add_argument(
        "--max-amount",
        action="append",
        default=[],
        metavar="SOL=10",
        help="largest amount of one order; may be repeated. Amounts of other tokens are then refused",
    )
    create.add_argument(
        "--max-usdc", metavar="AMOUNT", help="most that one order may be worth when it is accepted; no price: refused"
    )
    create.add_argument("--max-slippage-bps", type=_count, metavar="BPS", help="largest slippage of one order")
    _command(actions, "revoke", _keys, "let a key work no more; running engines follow within seconds").add_argument(
        "id"
    )
    _command(actions, "list", _keys, "all keys, newest first")


def _add_operation(commands: Commands) -> None:
    database = _command(commands, "db", _database, "the orders' database, as the settings name it")
    database.add_argument(
        "what",
        choices=("migrate", "check", "stats"),
        help="bring its tables up to date; prove every order against its history; count",
    )
    _command(commands, "postman", _postman, "print a Postman collection of every call, with checks", json=False)
    _command(commands, "doctor", _doctor, "look at this machine and the settings, and say what to do")
    for name, what in (("sim", "the simulation campaign"), ("chaos", "real processes under fire")):
        _command(commands, name, _checkout, f"{what}; only in a checkout; options are passed on", json=False)
    bench = _command(commands, "bench", _checkout, "a benchmark; only in a checkout; options are passed on", json=False)
    bench.add_argument("what", choices=("engine", "prod", "router", "streams"))
    shell = _command(commands, "completion", _completion, "print the completion of a shell", json=False)
    shell.add_argument("shell", choices=("bash", "zsh", "fish"), help='bash: eval "$(fillwright completion bash)"')


def _command(commands: Commands, name: str, run: object, what: str, *, json: bool = True) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=what,
        description=what,
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run=run)
    if json:
        command.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    return command


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


# --- what then runs ---------------------------------------------------------------------------------------


def _config() -> "Config":
    from fillwright.config import load

    return load(os.environ)


def _serve(asked: argparse.Namespace) -> int:
    import msgspec

    from fillwright.commands.engine import greet, run, warn
    from fillwright.processes import serve

    config = _config()
    config.require_live(asked=asked.live)
    warn(config)
    if asked.workers is not None:
        config = msgspec.structs.replace(config, start_worker=asked.workers > 0)
    return run(serve(config, greet("serve", as_json=asked.json, cluster=config.cluster)))


def _work(asked: argparse.Namespace) -> int:
    import msgspec

    from fillwright.commands.engine import greet, run, warn
    from fillwright.processes import work

    config = _config()
    config.require_live(asked=asked.live)
    warn(config)
    announce = greet("worker", as_json=asked.json, cluster=config.cluster)
    return run(work(msgspec.structs.replace(config, start_worker=True), announce))


def _simchain(asked: argparse.Namespace) -> int:
    from fillwright.commands.engine import greet, run
    from fillwright.processes import simchain

    return run(simchain(_config(), greet("simchain", as_json=asked.json)))


def _localnet(asked: argparse.Namespace) -> int:
    from fillwright.commands.engine import greet, run
    from fillwright.commands.localnet import plan_of
    from fillwright.processes import localnet

    plan, block_s = plan_of(asked)
    return run(localnet(_config(), plan, greet("localnet", as_json=asked.json), port=asked.port, block_s=block_s))


def _demo(asked: argparse.Namespace) -> int:
    from fillwright.commands.engine import run
    from fillwright.demo import demo, rehearsal

    return run(rehearsal() if asked.live else demo(_config()))


def _client(asked: argparse.Namespace) -> int:
    from fillwright.commands import orders

    return orders.run(asked, _config())


def _keys(asked: argparse.Namespace) -> int:
    from fillwright.commands.engine import run
    from fillwright.commands.keys import keys

    return run(keys(asked, _config()))


def _database(asked: argparse.Namespace) -> int:
    from fillwright.commands import database

    return database.run(asked.what, _config(), as_json=asked.json)


def _postman(asked: argparse.Namespace) -> int:
    import json

    from fillwright.api.postman import collection

    print(json.dumps(collection(), indent=1, ensure_ascii=False))
    return _DONE


def _doctor(asked: argparse.Namespace) -> int:
    from fillwright.commands import doctor

    return doctor.run(os.environ, as_json=asked.json)


def _checkout(asked: argparse.Namespace) -> int:
    from fillwright.commands import checkout

    module = f"bench.{asked.what}" if asked.command == "bench" else f"tests.{_CAMPAIGNS[asked.command]}"
    return checkout.run(module, asked.rest)


_CAMPAIGNS = {"sim": "simulation", "chaos": "chaos"}


def _completion(asked: argparse.Namespace) -> int:
    from fillwright.commands import completion

    print(completion.script(asked.shell, make_parser()), end="")
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
