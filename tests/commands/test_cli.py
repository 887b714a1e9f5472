"""The commands' promises: what they print, their exit codes, and that they start at once."""

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fillwright.cli import GIVEN_UP, make_parser
from fillwright.commands import completion
from tests.api.running import NOBODY
from tests.processes.server import Server
from tests.servers.fleet import INHERITED
from tests.servers.machine import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer


class Ran:
    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def fillwright(*words: str, typed: str | None = None, **settings: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "fillwright.cli", *words],
        env={**INHERITED, **settings},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(done)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("engine"), {"FILLWRIGHT_SIM": "instant"})
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def newcomers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where new pools appear every other second."""
    running = Server(tmp_path_factory.mktemp("newcomers"), {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_NEW_POOLS_S": "2"})
    running.start()
    try:
        yield running
    finally:
        running.stop()


def asked(server: Server, *words: str, typed: str | None = None) -> Ran:
    return fillwright(*words, typed=typed, FILLWRIGHT_URL=server.url)


# --- orders -----------------------------------------------------------------------------------------------


def test_an_order_is_placed_and_waited_for(server: Server) -> None:
    ran = asked(server, "order", "sell", "1.5", "SOL/USDC", "--wait", "--json", "--client-id", "first")
    assert ran.code == 0, ran.err
    (order,) = ran.json
    assert (order["status"], order["amountIn"], order["amountMode"]) == ("confirmed", "1.5", "exactIn")
    shown = asked(server, "get", "first")
    assert shown.code == 0
    assert order["txHash"] in shown.out
    assert "sell 1.5 SOL for USDC" in shown.out
    assert asked(server, "get", order["id"], "--json").json == [order]


def test_every_way_to_write_a_swap_is_the_request_that_it_says(server: Server) -> None:
    buy = asked(server, "order", "buy", "2", "SOL/USDC", "--json", "--slippage-bps", "50", "--venue", "raydium").json[0]
    assert (buy["side"], buy["amountMode"], buy["tokenIn"], buy["slippageBps"]) == ("buy", "exactOut", "USDC", 50)
    assert buy["routing"] == {"venues": ["raydium"]}
    swap = asked(server, "order", "swap", "100", "USDC/SOL", "--field", "tags=[1]")
    assert swap.code == 1
    assert re.fullmatch(r"fillwright: /tags.*\n", swap.err), "one line"
    swap = asked(server, "order", "swap", "100", "USDC/SOL", "--json", "--tag", "mine").json[0]
    assert (swap["tokenIn"], swap["amountMode"], swap["tags"]) == ("USDC", "exactIn", ["mine"])
    typed = '{"tokenIn":"SOL","tokenOut":"USDC","amount":0.1}'
    (filed,) = asked(server, "order", "--file", "-", "--json", typed=typed).json
    assert filed["amount"] == "0.1"


def test_the_same_key_is_the_same_order(server: Server) -> None:
    first, again = (asked(server, "order", "sell", "1", "SOL/USDC", "--key", "k", "--json").json[0] for _ in range(2))
    assert first["id"] == again["id"]


def test_an_order_is_followed_to_its_end(server: Server) -> None:
    ran = asked(server, "order", "sell", "1", "SOL/USDC", "--watch", "--json")
    assert ran.code == 0
    assert [frame["seq"] for frame in ran.json] == list(range(1, len(ran.json) + 1))
    again = asked(server, "watch", ran.json[0]["orderId"])
    assert again.code == 0
    assert len(again.out.splitlines()) == len(ran.json)
    assert "wins:" in again.out


def test_quotes_lists_and_explanations(server: Server) -> None:
    quote = asked(server, "quote", "sell", "10", "SOL/USDC")
    assert quote.code == 0
    assert "raydium clmm" in quote.out
    order = asked(server, "order", "sell", "1", "SOL/USDC", "--wait", "--json").json[0]
    listed = asked(server, "list", "--status", "closed", "--limit", "1", "--json")
    assert [each["id"] for each in listed.json] == [order["id"]]
    table = asked(server, "list", "--pair", "SOL/USDC")
    assert order["id"] in table.out
    assert asked(server, "explain", order["id"]).code == 0
    assert asked(server, "explain", order["id"], "--json").json[0]["orderId"] == order["id"]


def test_an_order_rests_is_amended_and_confirmed(server: Server) -> None:
    far = ("order", "sell", "1", "SOL/USDC", "--type", "limit", "--limit", "100000")
    (placed,) = asked(server, *far, "--client-id", "rests", "--json").json
    assert (placed["type"], placed["limitPrice"], placed["timeInForce"]) == ("limit", "100000", "gtc")
    steps = asked(server, "get", "rests", "--json").json[0]["seq"]
    while steps < 2:
        steps = asked(server, "get", "rests", "--json").json[0]["seq"]
    shown = asked(server, "get", "rests").out
    assert re.search(r"waits for  100000 or more\n  price now  [\d.]+, \d+ bps away", shown), shown
    assert "resting" in shown
    (explained,) = asked(server, "explain", "rests", "--json").json
    assert (explained["triggerPrice"], explained["waitsFor"]) == ("100000", "price")
    assert re.search(r"resting +limit +sell .* 100000 or more ", asked(server, "list", "--status", "resting").out)

    late = asked(server, "amend", "rests", "--limit", "1", "--seq", "1")
    assert late.code == 1
    assert re.fullmatch(r"fillwright: .*\n", late.err), "one line"
    assert asked(server, "amend", "rests").code == 2
    assert asked(server, "amend", "nobody", "--limit", "1").code == 3
    timed = asked(server, "amend", "rests", "--expire-at", "2100-01-01T00:00:00Z", "--slippage-bps", "7", "--json")
    assert (timed.json[0]["timeInForce"], timed.json[0]["slippageBps"]) == ("gtd", 7)
    untimed = asked(server, "amend", "rests", "--expire-at", "none", "--json")
    assert untimed.json[0]["timeInForce"] == "gtc"
    assert "expireAt" not in untimed.json[0]
    assert asked(server, "amend", "rests", "--limit", "1").code == 0
    steps = asked(server, "watch", "rests")
    assert steps.code == 0
    assert "armed, waits for 100000" in steps.out
    assert "triggered at " in steps.out


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (("--type", "stop", "--trigger", "1", "--limit", "0.9"), {"trigger": {"op": "lte", "price": "1"}}),
        (("--type", "take_profit", "--trigger", "9000"), {"trigger": {"op": "gte", "price": "9000"}}),
        (("--type", "trailing_stop", "--trail-bps", "4000", "--tif", "gtc"), {"timeInForce": "gtc"}),
        (
            ("--type", "twap", "--slices", "3", "--interval", "3600", "--jitter", "10", "--limit", "9000"),
            {"schedule": {"slices": 3, "intervalSeconds": 3600, "jitterPct": 10}, "limitPrice": "9000"},
        ),
        (("--type", "limit", "--limit", "9000", "--tif", "fok"), {"timeInForce": "fok"}),
        (("--type", "limit", "--limit", "9000", "--expire-at", "2100-01-01T00:00:00Z"), {"timeInForce": "gtd"}),
    ],
)
def test_every_option_of_a_condition_is_the_member_that_it_says(
    server: Server, words: tuple[str, ...], members: dict[str, Any]
) -> None:
    ran = asked(server, "order", "sell", "1", "SOL/USDC", *words, "--json")
    assert ran.code == 0, ran.err
    (order,) = ran.json
    assert order["type"] == words[1]
    assert members.items() <= order.items()


def test_slices_are_followed_and_counted(server: Server) -> None:
    ran = asked(
        server, "order", "sell", "3", "SOL/USDC", "--type", "dca", "--slices", "3", "--interval", "1", "--watch"
    )
    assert ran.code == 0, ran.err
    assert [line.split("; ")[-1] for line in ran.out.splitlines() if " left" in line] == ["2 left", "1 left", "0 left"]
    order_id = ran.out.split()[1]
    shown = asked(server, "get", order_id).out
    assert re.search(r"dca, 3 slices, 1 s apart.*\n +swapped +3 of 3 SOL -> .* on average\n +slices +all 3\n", shown)
    assert re.search(rf"{order_id} +confirmed +dca 3/3 ", asked(server, "list").out)


def test_a_sniper_tells_what_it_refuses_and_what_was_given_up(newcomers: Server) -> None:
    swap = ("order", "swap", "0.5", "SOL", "--type", "sniper", "--slippage-bps", "500")
    deep = asked(newcomers, *swap, "--min-liquidity", "100000000", "--venue", "raydium", "--json").json[0]
    assert deep["sniper"]["venues"] == ["raydium"]
    every = [word for name in GIVEN_UP for word in ("--give-up", name)]
    careless = asked(newcomers, *swap, *every, "--max-age", "3600", "--wait", "--json")
    assert careless.code == 0, careless.err
    require = careless.json[0]["sniper"]["require"]
    assert (set(require.values()), careless.json[0]["sniper"]["maxAgeSeconds"]) == ({"any", False}, 3600)
    assert "GIVEN UP: mint authority" in asked(newcomers, "get", careless.json[0]["id"]).out
    until = time.monotonic() + 30
    while "left alone" not in (shown := asked(newcomers, "get", deep["id"]).out) and time.monotonic() < until:
        time.sleep(0.1)
    assert re.search(r"waits for +a new pool\n +left alone .* on raydium: .*less of the token", shown), shown
    assert re.search(r"^left alone .*: ", asked(newcomers, "explain", deep["id"]).out, re.MULTILINE)
    burned = asked(newcomers, *swap, "--burned", "--min-liquidity", "100000000", "--json").json[0]
    assert burned["sniper"]["require"]["liquidity"] == "burned"
    assert asked(newcomers, *swap, "--burned", "--give-up", "liquidity").code == 2
    assert asked(newcomers, *swap, "--give-up", "everything").code == 2
    misplaced = asked(newcomers, "order", "sell", "1", "SOL/USDC", "--mint", "So1")
    assert (misplaced.code, "/sniper" in misplaced.err) == (1, True)


def test_a_bracket_is_placed_shown_and_canceled_in_part(server: Server) -> None:
    words = ("bracket", "buy", "1", "SOL/USDC", "--take-profit", "100000", "--stop", "1", "--slippage-bps", "70")
    named = ("--client-id", "entry", "--key", "b", "--json")
    told, again = (asked(server, *words, *named).json[0] for _ in range(2))
    assert again["entry"]["id"] == told["entry"]["id"]
    assert [(each["type"], each["side"]) for each in told["exits"]] == [("take_profit", "sell"), ("stop", "sell")]
    assert {each["slippageBps"] for each in (told["entry"], *told["exits"])} == {70}
    profit, stop = (each["id"] for each in told["exits"])
    assert asked(server, "watch", "entry").code == 0
    shown = asked(server, "get", stop).out
    assert f"exit of    {told['entry']['id']}" in shown
    assert f"excludes   {profit}" in shown
    assert f"exits      {profit}, {stop}" in asked(server, "get", "entry").out
    assert re.search(rf"{profit} .* exit of {told['entry']['id']}", asked(server, "list").out)
    assert asked(server, "cancel", profit).code == 0
    until = time.monotonic() + 30
    while "price now" not in asked(server, "get", stop).out and time.monotonic() < until:
        time.sleep(0.1)
    assert asked(server, "get", stop, "--json").json[0]["status"] == "open", "the other exit stays"
    limit = asked(server, *words[:4], "--limit", "1", "--trail-bps", "300", "--json").json[0]
    assert (limit["entry"]["type"], limit["entry"]["limitPrice"]) == ("limit", "1")
    assert limit["exits"][0]["trail"]["bps"] == 300
    (pair,) = asked(server, *words, "--no-entry", "--json").json
    assert "entry" not in pair
    assert [each["side"] for each in pair["exits"]] == ["buy", "buy"]
    for wrong in (words[:4], (*words, "--no-entry", "--limit", "1")):
        assert asked(server, *wrong).code == 2


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_the_documents_are_the_engine_s_own(server: Server, name: str) -> None:
    try:
        with urllib.request.urlopen(f"{server.url}/{name}.json") as answer:
            offered = json.load(answer)
    except urllib.error.HTTPError as refused:
        refused.close()
        assert asked(server, name).code == 3, "this engine does not offer it"
        return
    assert asked(server, name).json == [offered]


def test_each_outcome_has_its_exit_code(server: Server) -> None:
    order = asked(server, "order", "sell", "1", "SOL/USDC", "--wait", "--json").json[0]
    for code, words in (
        (3, ("get", NOBODY)),
        (3, ("cancel", "never-heard-of")),
        (1, ("cancel", order["id"])),
        (1, ("order", "sell", "1", "SOL/NOPE")),
        (2, ("order", "sell")),
        (2, ("order", "--file", "/nowhere.json")),
        (2, ("list", "--limit", "0")),
        (2, ("dance",)),
    ):
        ran = asked(server, *words)
        assert ran.code == code, (words, ran.err)
        assert "Traceback" not in ran.err
        assert not ran.out
    (told,) = [json.loads(line) for line in asked(server, "get", NOBODY, "--json").err.splitlines()]
    assert told["code"] == "ORDER_NOT_FOUND"
    nobody = fillwright("get", "x", FILLWRIGHT_URL=f"http://127.0.0.1:{free_port()}")
    assert nobody.code == 1
    assert nobody.err.count("\n") == 1
    assert fillwright("get", "x", FILLWRIGHT_URL="nonsense").code == 2


@pytest.mark.parametrize("words", [("order",), ("bracket", "--stop", "1")])
def test_an_unknown_outcome_has_its_own_code_and_says_how_to_ask_again(words: tuple[str, ...]) -> None:
    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(504)
            self.send_header("Retry-After", "60")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as gateway:
        threading.Thread(target=gateway.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{gateway.server_port}"
        ran = fillwright(*words, "sell", "1", "SOL/USDC", FILLWRIGHT_URL=url)
        gateway.shutdown()
    assert ran.code == 4
    assert re.search(r"--key [0-9a-f]{32}", ran.err)


def test_an_interrupt_ends_without_a_word(server: Server) -> None:
    command = [sys.executable, "-m", "fillwright.cli", "watch", "--lines"]
    env = {**INHERITED, "FILLWRIGHT_URL": server.url}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        placed = threading.Event()

        def place() -> None:
            while not placed.wait(0.1):
                asked(server, "order", "sell", "1", "SOL/USDC")

        placing = threading.Thread(target=place)
        placing.start()
        watching.stdout.readline()
        placed.set()
        placing.join()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (130, b"")


def test_a_reader_that_has_enough_is_no_failure(server: Server) -> None:
    for _ in range(3):
        asked(server, "order", "sell", "1", "SOL/USDC")
    piped = f"{sys.executable} -m fillwright.cli list --json | head -c 10; echo; exit ${{PIPESTATUS[0]}}"
    env = {**INHERITED, "FILLWRIGHT_URL": server.url}
    done = subprocess.run(["bash", "-c", piped], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_all_orders_are_watched_as_a_table_on_a_terminal(server: Server) -> None:
    master, slave = pty.openpty()
    env = {**INHERITED, "FILLWRIGHT_URL": server.url, "TERM": "xterm", "COLUMNS": "100"}
    watching = subprocess.Popen([sys.executable, "-m", "fillwright.cli", "watch"], env=env, stdout=slave)
    os.close(slave)
    told, stop = [b""], threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                told[0] += os.read(master, 65536)
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for _ in range(40):  # until it is listening, and has shown one
            asked(server, "order", "sell", "1", "SOL/USDC", "--wait")
            if b"\x1b[1F" in told[0]:
                break
    finally:
        stop.set()
        watching.terminate()
        watching.wait()
        reader.join(5)
        os.close(master)
    assert b"\x1b[1F" in told[0], "it is drawn over itself"
    assert b"confirmed" in told[0]


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_an_outcome_is_coloured_on_a_terminal_unless_nobody_wants_that(
    server: Server, environment: dict[str, str], is_coloured: bool
) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fillwright.cli", "order", "sell", "1", "SOL/USDC", "--watch"]
    subprocess.run(command, env={**INHERITED, "FILLWRIGHT_URL": server.url, **environment}, stdout=slave, check=True)
    os.close(slave)
    told = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(master, 65536):
            told += part
    os.close(master)
    assert b"confirmed" in told
    assert (b"\x1b[32mconfirmed" in told) == is_coloured


def test_the_doctor_names_a_missing_extra(tmp_path: Path) -> None:
    start = (
        "import sys; sys.modules['opentelemetry'] = None; from fillwright.cli import main; sys.exit(main(['doctor']))"
    )
    env = {**INHERITED, "PORT": str(free_port()), "FILLWRIGHT_DATA": str(tmp_path)}
    for traces, told in (("", False), ("http://127.0.0.1:4318", True)):
        asking = {**env, "FILLWRIGHT_TRACES": traces}
        done = subprocess.run([sys.executable, "-c", start], env=asking, capture_output=True, text=True, check=False)
        assert ("opentelemetry not installed; pip install 'fillwright[otel]'" in done.stdout) == told
        assert done.returncode == told


# --- operation --------------------------------------------------------------------------------------------


def test_the_database_is_counted_and_proven_and_a_doctored_row_is_found(tmp_path: Path) -> None:
    server = Server(tmp_path, {"FILLWRIGHT_SIM": "instant"})
    server.start()
    order = asked(server, "order", "sell", "1", "SOL/USDC", "--wait", "--json").json[0]
    here = {"FILLWRIGHT_DATA": str(tmp_path)}
    assert fillwright("db", "check", **here).code == 0, "also while the engine works"
    server.stop()
    (stats,) = fillwright("db", "stats", "--json", **here).json
    assert (stats["orders"], stats["confirmed"], stats["events"]) == (1, 1, order["seq"])
    assert fillwright("db", "migrate", **here).code == 0
    with closing(sqlite3.connect(tmp_path / "orders.db")) as database, database:
        database.execute("UPDATE orders SET filled_out = filled_out + 1")
    (checked,) = (ran := fillwright("db", "check", "--json", **here)).json
    assert ran.code == 1
    assert [fault.split(":")[0] for fault in checked["faults"]] == [order["id"]]
    missing = fillwright("db", "stats", FILLWRIGHT_DATA=str(tmp_path / "none"))
    assert (missing.code, missing.err.count("\n")) == (2, 1)


def test_the_same_on_postgresql_and_redis(tmp_path: Path) -> None:
    with PostgresServer() as postgres, postgres.database() as database, RedisServer() as redis:
        here = {
            "DATABASE_URL": database,
            "REDIS_URL": redis.url,
            "FILLWRIGHT_ALLOW_UNSAFE_DATABASE": "true",
            "FILLWRIGHT_DATA": str(tmp_path),
        }
        assert fillwright("db", "check", **here).code == 2, "there are no tables yet"
        assert fillwright("db", "migrate", **here).code == 0
        server = Server(tmp_path, {"FILLWRIGHT_SIM": "instant", **here})
        server.start()
        order = asked(server, "order", "sell", "1", "SOL/USDC", "--wait", "--json").json[0]
        found = fillwright("doctor", "--json", PORT=str(server.port), **here)
        assert found.code == 0, found.out
        told = {each["what"]: each["told"] for each in found.json}
        assert (told["database"].split()[0], told["redis"].split()[0]) == ("PostgreSQL", "Redis")
        server.stop()
        (stats,) = fillwright("db", "stats", "--json", **here).json
        assert (stats["orders"], stats["confirmed"], stats["events"]) == (1, 1, order["seq"])
        checked = fillwright("db", "check", **here)
        assert checked.code == 0, checked.out


def test_the_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    well = fillwright("doctor", "--json", PORT=str(free_port()), FILLWRIGHT_DATA=str(tmp_path))
    assert well.code == 0, well.out
    assert {each["what"] for each in well.json} >= {"python", "settings", "data", "disk", "port", "database", "chain"}
    assert not list(tmp_path.iterdir()), "it changes nothing"
    nowhere = f"127.0.0.1:{free_port()}"
    ill = fillwright(
        "doctor",
        "--json",
        PORT=str(free_port()),
        FILLWRIGHT_DATA=str(tmp_path),
        DATABASE_URL=f"postgresql://user:hidden@{nowhere}/x",
        REDIS_URL=f"redis://:hidden@{nowhere}/0",
        FILLWRIGHT_CHAIN=f"http://{nowhere}",
    )
    assert ill.code == 1
    assert {each["what"] for each in ill.json if each["verdict"] == "failed"} == {"database", "redis", "chain"}
    assert all(each["advice"] for each in ill.json if each["verdict"] != "ok")
    assert "hidden" not in ill.out + ill.err
    wrong = fillwright("doctor", FILLWRIGHT_NONSENSE="1")
    assert wrong.code == 1
    assert "FILLWRIGHT_NONSENSE" in wrong.out


def test_the_campaigns_of_a_checkout_run_and_elsewhere_say_so(tmp_path: Path) -> None:
    assert fillwright("sim", "--seeds", "1").code == 0
    installed = tmp_path / "lib" / "python" / "site-packages"
    package = Path(__file__).parents[2] / "src" / "fillwright"
    shutil.copytree(package, installed / "fillwright", ignore=shutil.ignore_patterns("__pycache__"))
    ran = fillwright("bench", "engine", PYTHONPATH=str(installed))
    assert (ran.code, ran.out) == (2, "")
    assert "checkout" in ran.err


# --- the command line itself ------------------------------------------------------------------------------


def test_help_imports_next_to_nothing() -> None:
    """Time depends on the machine; what is imported does not."""
    count = (
        "import sys; from fillwright.cli import GIVEN_UP, make_parser; make_parser().format_help(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", count], env=INHERITED, capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    ours = {name for name in modules if name.startswith("fillwright")}
    assert ours == {"fillwright", "fillwright.cli"}
    assert not {"aiohttp", "asyncio", "msgspec", "uvloop", "ssl"} & set(modules)
    assert len(modules) < 150


def test_every_command_says_what_it_does() -> None:
    for command in completion.commands_of(make_parser()):
        assert len(command.help) > 10
        assert "--help" in command.words
        if command.name not in (
            "demo",
            "keys",
            "openapi",
            "asyncapi",
            "postman",
            "sim",
            "chaos",
            "bench",
            "completion",
        ):
            assert "--json" in command.words, command.name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_is_a_script_of_its_shell(shell: str) -> None:
    script = fillwright("completion", shell).out
    assert "simchain" in script
    assert "slippage-bps" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was not run")
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bash_completes_commands_and_their_options() -> None:
    script = completion.script("bash", make_parser())
    probe = '\nCOMP_WORDS=(fillwright {0}); COMP_CWORD={1}; _fillwright; echo "${{COMPREPLY[@]}}"\n'
    typed = script + probe.format("ca", 1) + probe.format("order --slip", 2) + probe.format("db m", 2)
    done = subprocess.run(["bash"], input=typed, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["cancel", "--slippage-bps", "migrate"]
