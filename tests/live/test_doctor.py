"""`fillwright doctor` where a real chain is set: the wallet, each node, the balance and the caps, and no secret."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from solders.keypair import Keypair

from fillwright.commands import doctor
from tests.live.town import PAIR, WALLET, settings, town

ABOUT = ("wallet", "node 1", "node 2", "balance", "limits", "chain", "settings")


def findings(capsys: pytest.CaptureFixture[str], tmp_path: Path, **more: str) -> dict[str, Any]:
    """What it says of each, on a localnet."""

    async def main() -> None:
        async with town(trade_blocks=0) as (_, url):
            env = {name: text.replace("URL", url) for name, text in {**settings(url, tmp_path), **more}.items() if text}
            await asyncio.to_thread(doctor.run, env, as_json=True)

    asyncio.run(main())
    told = capsys.readouterr().out
    assert str(PAIR) not in told
    found = [json.loads(line) for line in told.splitlines()]
    return {each["what"]: (each["verdict"], each["told"]) for each in found if each["what"] in ABOUT}


def test_all_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert findings(capsys, tmp_path, FILLWRIGHT_DAY_CAPS="SOL=5") == {
        "settings": ("ok", "readable, and none contradicts another"),
        "wallet": ("ok", f"signs as {WALLET}"),
        "node 1": ("ok", "answers, and is of localnet"),
        "balance": ("ok", "10000 SOL"),
        "limits": ("ok", "in 24 hours at most 5 SOL"),
    }


def test_a_poor_wallet_without_limits_is_warned(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = findings(capsys, tmp_path, FILLWRIGHT_WALLET_KEY=str(Keypair()))
    assert (found["balance"], found["limits"]) == (("warning", "0 SOL"), ("warning", "none for 24 hours"))


def test_what_cannot_work_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    silent = {"FILLWRIGHT_RPC": "URL,http://127.0.0.1:1", "FILLWRIGHT_RPC_WS": ""}
    assert findings(capsys, tmp_path, **silent)["node 2"] == ("failed", "no answer")
    other = findings(capsys, tmp_path, FILLWRIGHT_CLUSTER="mainnet", FILLWRIGHT_DAY_CAPS="SOL=1")
    assert other["node 1"][0] == "failed"
    assert "is not of mainnet" in other["node 1"][1]
    unknown = findings(capsys, tmp_path, FILLWRIGHT_DAY_CAPS="DOGE=1")
    assert unknown["limits"][0] == "failed"
    assert "DOGE=1" in unknown["limits"][1]


def test_a_key_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = findings(capsys, tmp_path, FILLWRIGHT_WALLET_KEY="", FILLWRIGHT_WALLET=str(tmp_path / "none"))
    assert found["wallet"][0] == "failed"
    assert "cannot be opened" in found["wallet"][1]
