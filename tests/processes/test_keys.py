"""API keys as an operator meets them: the command line, and the real server's refusals and silence about secrets."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.processes.server import Server
from tests.servers.fleet import INHERITED, Fleet
from tests.servers.machine import free_port

FIRST = f"fw_{'0' * 11}a_{'c0ffee' * 10}beef"


def keys(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fillwright.cli", "keys", *arguments],
        env={**INHERITED, "FILLWRIGHT_DATA": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(folder: Path, *arguments: str) -> Any:
    done = keys(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def server(folder: Path, **settings: str) -> Iterator[tuple[str, list[str]]]:
    """The real server, logging all it can; what it printed, once it has ended."""
    port, printed = free_port(), list[str]()
    env = {
        **INHERITED,
        "PORT": str(port),
        "FILLWRIGHT_DATA": str(folder),
        "FILLWRIGHT_LOG_LEVEL": "DEBUG",
        "FILLWRIGHT_SIM": "instant",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "fillwright.cli", "serve"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _await_port(port, process)
        yield f"http://127.0.0.1:{port}", printed
    finally:
        process.terminate()
        printed.append(process.communicate(timeout=40)[0])


def _await_port(port: int, process: subprocess.Popen[str]) -> None:
    give_up_at = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < give_up_at:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


def statuses(url: str, *tokens: str | None) -> list[int]:
    async def ask() -> list[int]:
        async with aiohttp.ClientSession() as http:
            answers = []
            for token in tokens:
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                async with http.get(f"{url}/v1/orders", headers=headers) as answer:
                    answers.append(answer.status)
            return answers

    return asyncio.run(ask())


def await_statuses(expected: list[int], url: str, *tokens: str | None) -> None:
    """Within seconds; a process reads its keys once a second."""
    give_up_at = time.monotonic() + 8
    while statuses(url, *tokens) != expected:
        assert time.monotonic() < give_up_at, f"still {statuses(url, *tokens)}"
        time.sleep(0.1)


def test_keys_are_made_listed_and_revoked_beside_a_running_server(tmp_path: Path) -> None:
    """Nothing that anybody printed or stored afterwards holds the token."""
    with server(tmp_path) as (url, printed):
        assert statuses(url, None) == [200]
        made = told(
            *(tmp_path, "create", "--label", "bot", "--account", "desk", "--rate", "20"),
            *("--max-amount", "SOL=1.5", "--max-usdc", "1000.5"),
        )
        token = made.pop("token")
        assert (made["account"], made["scopes"]) == ("desk", ["read", "trade"])
        assert made["limits"] == {"rate": 20, "amountMax": {"SOL": "1.5"}, "usdcMax": "1000.5"}
        await_statuses([401, 200, 401], url, None, token, token[:-1] + "x")
        assert told(tmp_path, "list") == [made]
        revoked = told(tmp_path, "revoke", made["id"])
        assert revoked["revokedAt"]
        await_statuses([401, 401], url, None, token)
        assert told(tmp_path, "list") == [revoked]
        plain = keys(tmp_path, "list")
    secret = token.rpartition("_")[2]
    assert secret not in printed[0] + plain.stdout + plain.stderr
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("create", "--label", "x", "--scopes", "write"), "read, trade, admin"),
        (("create", "--label", "x", "--burst", "3"), "--rate"),
        (("create", "--label", "x", "--rate", "0"), "whole number"),
        (("create", "--label", "x", "--max-amount", "SOL"), "amount"),
        (("create", "--label", "x", "--max-amount", "NOPE=1"), "token"),
        (("create", "--label", "x", "--max-usdc", "0"), "amount"),
        (("create", "--label", "x", "--max-usdc", "0.0000001"), "decimal places"),
        (("create", "--label", "x", "--account", "a b"), "account"),
        (("create", "--label", ""), "label"),
        (("revoke", "0" * 12), "no key"),
    ],
)
def test_a_command_that_cannot_be_meant_makes_no_key(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    done = keys(tmp_path, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert told(tmp_path, "list") == []


def test_nobody_else_is_let_in_before_there_is_a_key(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="fillwright keys create"):
        Server(tmp_path, {"FILLWRIGHT_HOST": "0.0.0.0"}).start()
    token = told(tmp_path, "create", "--label", "first")["token"]
    with server(tmp_path, FILLWRIGHT_HOST="0.0.0.0") as (url, _):
        assert statuses(url, None, token) == [401, 200]


def test_the_first_key_may_come_from_a_file_and_is_made_once(tmp_path: Path) -> None:
    file, data = tmp_path / "first", tmp_path / "data"
    file.write_text(FIRST + "\n")
    settings = {"FILLWRIGHT_HOST": "0.0.0.0", "FILLWRIGHT_FIRST_KEY_FILE": str(file)}
    for _ in range(2):
        with server(data, **settings) as (url, printed):
            assert statuses(url, None, FIRST) == [401, 200]
        assert FIRST.rpartition("_")[2] not in printed[0]
    (first,) = told(data, "list")
    assert (first["scopes"], first["id"]) == (["admin", "read", "trade"], FIRST.split("_")[1])
    told(data, "revoke", first["id"])
    with pytest.raises(RuntimeError, match="no API key"):
        Server(data, settings).start()


def test_a_first_key_that_is_none_is_named_but_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as refused:
        Server(tmp_path, {"FILLWRIGHT_FIRST_KEY": "hunter2"}).start()
    assert re.search("FILLWRIGHT_FIRST_KEY must be fw_", str(refused.value))
    assert "hunter2" not in str(refused.value)


def test_an_open_engine_takes_nobody_elses_name(tmp_path: Path) -> None:
    with server(tmp_path, FILLWRIGHT_HOST="0.0.0.0", FILLWRIGHT_OPEN="localhost, proxy.example") as (url, _):
        port = url.rpartition(":")[2]
        assert statuses(f"http://localhost:{port}", None) == [200]

        async def rebound() -> int:
            async with (
                aiohttp.ClientSession() as http,
                http.get(url + "/v1/orders", headers={"Host": "evil"}) as answer,
            ):
                return answer.status

        assert asyncio.run(rebound()) == 421


def test_keys_and_tickets_count_in_every_process_of_one_database(tmp_path: Path) -> None:
    with Fleet(tmp_path, apis=2, workers=1, with_redis=False, settings={"FILLWRIGHT_SIM": "instant"}) as fleet:
        made = json.loads(keys(tmp_path, "create", "--label", "bot", "--json", DATABASE_URL=fleet.database).stdout)
        urls = [api.url for api in fleet.apis]
        for url in urls:
            await_statuses([401, 200], url, None, made["token"])

        async def elsewhere() -> int | None:
            headers = {"X-API-Key": made["token"]}
            async with aiohttp.ClientSession() as http:
                async with http.post(f"{urls[0]}/v1/stream-ticket", headers=headers) as answer:
                    ticket = (await answer.json())["ticket"]
                async with http.ws_connect(f"{urls[1]}/v1/stream?ticket={ticket}") as ws:
                    await ws.send_json({"type": "ping", "reqId": 1})
                    assert (await ws.receive(timeout=5)).json()["type"] == "ack"
                    async with http.ws_connect(f"{urls[0]}/v1/stream?ticket={ticket}") as again:
                        await again.receive(timeout=5)
                        assert again.close_code == 4001
                    revoked = keys(tmp_path, "revoke", made["id"], DATABASE_URL=fleet.database)
                    assert revoked.returncode == 0, revoked.stderr
                    await ws.receive(timeout=5)
                    return ws.close_code

        assert asyncio.run(elsewhere()) == 4001
        for url in urls:
            await_statuses([401, 401], url, None, made["token"])
