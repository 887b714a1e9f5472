"""A live engine as a process: nobody is shown the key, money needs two words, and the caps end an order."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

from fillwright.errors import Code, FillwrightError
from fillwright.order import Status
from tests.live.town import PAIR, WALLET, ended, engine, place, settings, town
from tests.servers.fleet import INHERITED

SECRET: Final = bytes(PAIR)
SELL: Final = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}


def spellings() -> list[bytes]:
    """The key as somebody might write it: the secret half alone is enough to steal with."""
    found = []
    for part in (SECRET, SECRET[:32]):
        numbers = json.dumps(list(part))[1:-1]
        found += [part, part.hex().encode(), base64.b64encode(part)[:40], numbers.encode()[:60]]
        found.append(numbers.replace(" ", "").encode()[:60])
    return [*found, str(PAIR).encode(), str(PAIR)[:40].encode()]


def key_file(folder: Path) -> Path:
    path = folder / "id.json"
    path.write_text(json.dumps(list(SECRET)))
    path.chmod(0o600)
    return path


def asked(url: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        told: bytes = answer.read()
        return told


def rounds(base: str) -> bytes:
    """An order that confirms and one that the limits refuse; then all that the interface tells."""
    ids = [json.loads(asked(f"{base}/v1/orders", body))["id"] for body in (SELL, {**SELL, "amount": "6"})]
    told = b""
    for order_id in ids:
        while json.loads(asked(f"{base}/v1/orders/{order_id}"))["status"] not in ("confirmed", "failed"):
            pass
        told += b"".join(
            asked(f"{base}/v1/orders/{order_id}{path}") for path in ("", "/events", "/attempts", "/explain")
        )
    pages = ("/v1/status", "/v1/pools", "/v1/venues", "/metrics", "/readyz", "/openapi.json")
    return told + b"".join(asked(f"{base}{path}") for path in pages)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kept", ["file", "environment"])
def test_the_key_is_in_nothing_that_the_process_writes(tmp_path: Path, kept: str) -> None:
    data = tmp_path / "data"

    async def main() -> bytes:
        async with town(trade_blocks=0) as (_, url):
            env = {**INHERITED, **settings(url, data), "PORT": "0", "FILLWRIGHT_LOG_LEVEL": "DEBUG"}
            env["FILLWRIGHT_DAY_CAPS"] = "SOL=5"
            if kept == "file":
                del env["FILLWRIGHT_WALLET_KEY"]
                env["FILLWRIGHT_WALLET"] = str(key_file(tmp_path))
            command = [sys.executable, "-X", "dev", "-m", "fillwright.cli", "serve", "--live"]
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            try:
                first = await asyncio.wait_for(process.stdout.readline(), 30)
                assert b"live on localnet" in first
                console = (await process.stdout.readline()).split()[1].decode()
                told = await asyncio.to_thread(rounds, console.rstrip("/"))
                argv = await asyncio.to_thread(Path(f"/proc/{process.pid}/cmdline").read_bytes)
            finally:
                process.terminate()
                out, err = await process.communicate()
            assert b"LIVE on localnet" in err
            assert WALLET.encode() in err
            assert b"5 SOL" in err
            assert json.dumps({"live": True})[1:-1].replace(" ", "").encode() in told
            assert b"LIMIT_EXCEEDED" in told
            return b"".join((first, out, err, told, argv))

    written = asyncio.run(main())
    files = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert len(files) > 10_000, "the database is among them"
    for spelling in spellings():
        assert spelling not in written
        assert spelling not in files


def test_the_search_for_the_key_finds_it() -> None:
    """The test above can fail."""
    for leak in (repr(list(SECRET)), SECRET.hex(), str(PAIR), base64.b64encode(SECRET).decode()):
        assert any(spelling in leak.encode() for spelling in spellings())


def run(env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fillwright.cli", "serve", *options]
    return subprocess.run(command, env={**INHERITED, **env}, capture_output=True, text=True, timeout=60, check=False)


def test_one_word_without_the_other_starts_nothing(tmp_path: Path) -> None:
    live = settings("http://127.0.0.1:1", tmp_path)
    for done in (run(live), run({"FILLWRIGHT_DATA": str(tmp_path)}, "--live")):
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert re.search("say so with --live|set FILLWRIGHT_CLUSTER", done.stderr)
    assert not list(tmp_path.iterdir())


def test_a_key_file_that_others_may_read_starts_nothing(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.chmod(0o644)
    env = settings("http://127.0.0.1:1", tmp_path / "data", FILLWRIGHT_WALLET=str(path))
    del env["FILLWRIGHT_WALLET_KEY"]
    done = run(env, "--live")
    assert (done.returncode, (tmp_path / "data").exists()) == (2, False)
    assert "chmod 600" in done.stderr


def test_a_node_of_another_cluster_starts_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with town(trade_blocks=0) as (_, url):
            with pytest.raises(FillwrightError, match="node 1 is of another network, not of devnet") as caught:
                async with engine(url, tmp_path, FILLWRIGHT_CLUSTER="devnet"):
                    pass
            assert caught.value.code is Code.CONFIG_INVALID

    asyncio.run(main())


def test_caps_and_lists_end_an_order_in_clear_words(tmp_path: Path) -> None:
    limits = {
        "FILLWRIGHT_ORDER_CAPS": "SOL=3",
        "FILLWRIGHT_DAY_CAPS": "SOL=5",
        "FILLWRIGHT_PROGRAMS": "amm_v4,cpmm,clmm",
        "FILLWRIGHT_MINTS": "SOL,USDC,BONK",
    }

    async def main() -> None:
        async with town(trade_blocks=0) as (_, url):
            async with engine(url, tmp_path, **limits) as running:
                assert [token.symbol for token in running.engine.tokens.all] == ["SOL", "USDC", "BONK"]
                sell = {"tokenIn": "SOL", "tokenOut": "USDC"}
                told = []
                for amount in ("4", "3", "2.5"):
                    order = await ended(running, await place(running, **sell, amount=amount))
                    told.append((order.status, order.attempt, order.problem and order.problem.detail))
                assert told == [
                    (Status.FAILED, 1, "not signed: 4 SOL more is beyond the cap of 3 SOL for one order"),
                    (Status.CONFIRMED, 1, None),
                    (
                        Status.FAILED,
                        1,
                        "not signed: 2.5 SOL more is beyond the cap of 5 SOL for the wallet in 24 hours,"
                        " of which 3 SOL is spent or may be yet",
                    ),
                ]
                bonk = await ended(running, await place(running, tokenIn="BONK", tokenOut="SOL", amount="1"))
                assert bonk.problem is not None
                assert bonk.problem.code is Code.LIMIT_EXCEEDED
                assert "no cap allows spending" in bonk.problem.detail
                elsewhere = {**sell, "amount": "1", "routing": {"venues": ["meteora"]}}
                refused = await ended(running, await place(running, **elsewhere))
                assert refused.problem is not None
                assert "is not allowed" in refused.problem.detail
            async with engine(url, tmp_path, **limits) as running:  # what was spent is remembered
                again = await ended(running, await place(running, **sell, amount="2.5"))
                assert again.status is Status.FAILED

    asyncio.run(main())
