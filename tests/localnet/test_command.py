"""`fillwright localnet` as its own process: what it begins with, what it says, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.errors import FillwrightError
from fillwright.localnet.balances import MINT_BYTES, TOKEN
from fillwright.localnet.world import Fund, Plan, dumped, funds_of, open_network
from fillwright.tokens import Tokens
from tests.localnet.chain import NOON

USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"


@contextmanager
def localnet(tmp_path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "fillwright.cli", "localnet", "--json", "--port", str(free_port()), *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["process"] == "localnet"
        yield process, told["url"]
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    """One that has a free one above."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def call(url: str, method: str, *params: object) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read())["result"]


def test_it_runs_with_a_funded_wallet_makes_blocks_and_ends_on_sigterm(tmp_path: Path) -> None:
    wallet = str(Keypair().pubkey())
    with localnet(tmp_path, "--block-ms", "20", "--fund", f"{wallet}=SOL:10,USDC:5000.5") as (process, url):
        assert call(url, "getBalance", wallet, {"commitment": "processed"})["value"] == 10 * 10**9
        (held,) = call(
            url,
            "getTokenAccountsByOwner",
            wallet,
            {"mint": USDC},
            {"encoding": "jsonParsed", "commitment": "processed"},
        )["value"]
        assert held["account"]["data"]["parsed"]["info"]["tokenAmount"]["uiAmountString"] == "5000.5"
        slot = call(url, "getSlot", {"commitment": "processed"})
        while call(url, "getSlot", {"commitment": "processed"}) < slot + 10:
            pass
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]) + 1), 5):
            pass  # where clients look for WebSockets
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_blocks_by_hand_are_made_by_nobody_else(tmp_path: Path) -> None:
    with localnet(tmp_path, "--manual") as (_, url):
        slot = call(url, "getSlot", {"commitment": "processed"})
        assert call(url, "localnet_produceBlocks", 3)["slot"] >= slot + 3
        after = call(url, "getSlot", {"commitment": "processed"})
        assert call(url, "getSlot", {"commitment": "processed"}) == after


@pytest.mark.parametrize(
    "options",
    [
        ["--fund", "nobody"],
        ["--fund", "nobody=SOL:1"],
        ["--fund", f"{USDC}=DOGE:1"],
        ["--fund", f"{USDC}=SOL:-1"],
        ["--faults", '{"dropped": 2}'],
        ["--accounts", "missing"],
        ["--programs", "missing"],
    ],
)
def test_what_cannot_be_had_is_told_in_one_line(options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fillwright.cli", "localnet", "--port", str(free_port()), *options]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fillwright: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_accounts_come_from_dumps_as_the_solana_cli_writes_them(tmp_path: Path) -> None:
    mint, owner = Keypair().pubkey(), Keypair().pubkey()
    data = bytearray(MINT_BYTES)
    data[44], data[45] = 3, 1
    contents = {
        "lamports": 1_461_600,
        "data": [b64encode(data).decode(), "base64"],
        "owner": str(TOKEN),
        "executable": False,
        "rentEpoch": 18446744073709551615,
        "space": MINT_BYTES,
    }
    (tmp_path / "mint.json").write_text(json.dumps({"pubkey": str(mint), "account": contents}))
    plan = Plan(accounts=tmp_path, funds=funds_of(f"{owner}={mint}:1.5"))
    bank = open_network(plan, Tokens([]), unix_seconds=NOON).bank
    account = bank.machine.account(mint)
    assert account is not None
    assert (account.lamports, account.data[36]) == (1_461_600, 1500 % 256)
    assert bank.machine.account(Pubkey.from_string(USDC)) is None
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(FillwrightError, match=r"other\.json"):
        list(dumped(tmp_path))


def test_a_localnet_that_is_started_again_goes_on_with_later_slots() -> None:
    first = open_network(Plan(), Tokens([]), unix_seconds=NOON).bank
    second = open_network(Plan(), Tokens([]), unix_seconds=NOON + 60).bank
    assert second.tip.slot - first.tip.slot == 150
    assert second.tip.height > first.tip.height
    assert second.genesis != first.genesis


def test_a_fund_is_read_from_text() -> None:
    assert funds_of("A=SOL:10,USDC:5.5") == (Fund("A", "SOL", "10"), Fund("A", "USDC", "5.5"))
    for wrong in ("", "A", "A=", "A=SOL", "A=SOL:", "=SOL:1", "A=SOL:1,"):
        with pytest.raises(ValueError, match="must be like"):
            funds_of(wrong)
