"""The commands of the README, as a user runs them: the demo, and the server's orderly end."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.processes.server import Audit, Server
from tests.servers.fleet import INHERITED

SELL = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}


def test_the_demo_confirms_five_orders_and_says_why() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fillwright.cli", "demo"],
        env={"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "5 confirmed, 0 failed" in run.stdout
    for told in ("raydium", "meteora", "wins:", "routing", "building", "submitted", "confirmed"):
        assert told in run.stdout, told


def test_the_demo_on_a_localnet_confirms_five_orders_with_real_transactions() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fillwright.cli", "demo", "--live", "localnet"],
        env={**INHERITED, "FILLWRIGHT_LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "5 confirmed, 0 failed\nthe chain's own balances agree" in run.stdout
    signatures = re.findall(r"submitted    ([1-9A-HJ-NP-Za-km-z]{86,88})$", run.stdout, re.MULTILINE)
    assert len(set(signatures)) >= 5


def test_a_second_engine_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = Server(tmp_path)
    first.start()
    try:
        with pytest.raises(RuntimeError, match="FILLWRIGHT_DATA"):
            Server(tmp_path).start()
    finally:
        first.stop()


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    first = Server(tmp_path / "first")
    first.start()
    try:
        env = {**INHERITED, "PORT": str(first.port), "FILLWRIGHT_DATA": str(tmp_path / "second")}
        command = [sys.executable, "-m", "fillwright.cli", "serve"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    finally:
        first.stop()
    assert done.returncode == 2
    assert "PORT chooses another port" in done.stderr
    assert done.stderr.count("\n") == 1, "one line, no traceback"


def test_a_stop_lets_running_orders_end_and_a_restart_does_the_rest(tmp_path: Path) -> None:
    """SIGTERM while orders are on their way: exit code 0, and nothing is lost or doubled."""
    server = Server(tmp_path, {"FILLWRIGHT_SIM": "classic", "CONCURRENCY": "3"})

    async def place() -> list[str]:
        async with aiohttp.ClientSession() as session:
            ids = []
            for _ in range(6):
                async with session.post(f"{server.url}/v1/orders", json=SELL) as reply:
                    assert reply.status == 201
                    ids.append((await reply.json())["id"])
        await asyncio.sleep(0.7)
        return ids

    async def ended() -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            while True:
                async with session.get(f"{server.url}/v1/orders?status=open&limit=1") as reply:
                    if not (await reply.json())["data"]:
                        return
                await asyncio.sleep(0.2)

    server.start()
    ids = asyncio.run(place())
    assert server.stop() == 0
    audit = Audit.of(tmp_path)
    audit.check()
    assert set(audit.statuses) == set(ids)
    assert set(audit.statuses.values()) <= {"confirmed", "pending"}, "no order was left half-way"
    assert "pending" in audit.statuses.values(), "the stop came before the end"
    server.start()
    asyncio.run(ended())
    assert server.stop() == 0
    audit = Audit.of(tmp_path)
    audit.check()
    assert set(audit.statuses.values()) == {"confirmed"}
