"""The settings of a real chain: what each may say, what belongs together, and that money needs two words."""

from pathlib import Path
from typing import Any, Final

import pytest
from solders.keypair import Keypair

from fillwright.config import Live, Secret, load
from fillwright.errors import Code, FillwrightError
from fillwright.settings.live import PROGRAM_KINDS

KEY: Final = str(Keypair.from_seed(bytes(32)))
WALLET: Final = str(Keypair.from_seed(bytes(32)).pubkey())
LEAST: Final = {
    "FILLWRIGHT_CLUSTER": "localnet",
    "FILLWRIGHT_RPC": "http://127.0.0.1:8899",
    "FILLWRIGHT_WALLET": "/keys/id.json",
}
MAINNET: Final = {
    **LEAST,
    "FILLWRIGHT_CLUSTER": "mainnet",
    "FILLWRIGHT_RPC": "https://one.example/?key=hunter2,https://two.example/hunter2",
    "FILLWRIGHT_DAY_CAPS": "SOL=5,USDC=1000.5",
}


def live(**changed: str) -> Live:
    found = load({**LEAST, **changed}).live
    assert found is not None
    return found


def refusal(env: dict[str, str]) -> str:
    with pytest.raises(FillwrightError) as caught:
        load(env)
    assert caught.value.code is Code.CONFIG_INVALID
    return str(caught.value)


def test_without_a_cluster_nothing_is_live() -> None:
    assert load({}).live is None


def test_the_least_that_is_needed() -> None:
    assert live() == Live(cluster="localnet", rpc=(Secret("http://127.0.0.1:8899"),), wallet=Path("/keys/id.json"))


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("FILLWRIGHT_RPC", "http://a:1,https://b/?key=1", "rpc", (Secret("http://a:1"), Secret("https://b/?key=1"))),
        ("FILLWRIGHT_RPC_WS", "ws://a:2/x", "sockets", (Secret("ws://a:2/x"),)),
        ("FILLWRIGHT_PROGRAMS", "cpmm, dlmm", "programs", ("cpmm", "dlmm")),
        ("FILLWRIGHT_MINTS", f"SOL,X={WALLET},{WALLET}", "mints", (("SOL", "SOL"), ("X", WALLET), (WALLET, WALLET))),
        ("FILLWRIGHT_ORDER_CAPS", "SOL=0.5", "order_caps", (("SOL", "0.5"),)),
        ("FILLWRIGHT_DAY_CAPS", "SOL=5,USDC=1000", "day_caps", (("SOL", "5"), ("USDC", "1000"))),
        ("FILLWRIGHT_PRIORITY_FEE_MAX", "0", "priority_fee_max", 0),
        ("FILLWRIGHT_TIP", f"{WALLET}=1000", "tip", (WALLET, 1_000)),
        ("FILLWRIGHT_HOP_BPS", "0", "hop_bps", 0),
        ("FILLWRIGHT_LOOKUP_TABLES", WALLET, "tables", (WALLET,)),
        ("FILLWRIGHT_POOLS", "/etc/pools", "pools", Path("/etc/pools")),
        ("FILLWRIGHT_POOL_SLOTS_MAX", "1", "pool_slots_max", 1),
        ("FILLWRIGHT_LANDED_AT", "finalized", "landed_at", "finalized"),
        ("FILLWRIGHT_WALLET_ADDRESS", WALLET, "wallet_address", WALLET),
    ],
)
def test_each_is_read(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(live(**{name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FILLWRIGHT_CLUSTER", "testnet"),
        ("FILLWRIGHT_CLUSTER", "mainnet-beta"),
        ("FILLWRIGHT_RPC", "ws://a"),
        ("FILLWRIGHT_RPC", "a.example"),
        ("FILLWRIGHT_RPC", "https://a, https://a"),
        ("FILLWRIGHT_RPC", ",".join(f"https://hunter2-{n}.example" for n in range(9))),
        ("FILLWRIGHT_RPC", "https://a/#hunter2"),
        ("FILLWRIGHT_RPC_WS", "https://a"),
        ("FILLWRIGHT_RPC_WS", "ws://a:1,ws://b:2"),
        ("FILLWRIGHT_WALLET_ADDRESS", "0OIl"),
        ("FILLWRIGHT_PROGRAMS", "orca"),
        ("FILLWRIGHT_PROGRAMS", "cpmm,cpmm"),
        ("FILLWRIGHT_MINTS", "SOL,"),
        ("FILLWRIGHT_MINTS", "X=short"),
        ("FILLWRIGHT_DAY_CAPS", "SOL"),
        ("FILLWRIGHT_DAY_CAPS", "SOL=-1"),
        ("FILLWRIGHT_DAY_CAPS", "SOL=1e9"),
        ("FILLWRIGHT_DAY_CAPS", "SOL=1,sol=2"),
        ("FILLWRIGHT_ORDER_CAPS", "SOL=5;USDC=1"),
        ("FILLWRIGHT_TIP", WALLET),
        ("FILLWRIGHT_TIP", f"{WALLET}=0"),
        ("FILLWRIGHT_HOP_BPS", "501"),
        ("FILLWRIGHT_LOOKUP_TABLES", f"{WALLET},{WALLET}"),
        ("FILLWRIGHT_LOOKUP_TABLES", "short"),
        ("FILLWRIGHT_LANDED_AT", "processed"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_not_repeated(name: str, text: str) -> None:
    told = refusal({**LEAST, name: text})
    assert name in told
    assert "hunter2" not in told


def test_exactly_one_says_who_signs() -> None:
    without = {name: text for name, text in LEAST.items() if name != "FILLWRIGHT_WALLET"}
    assert "only one of them" in refusal(without)
    assert "only one of them" in refusal({**LEAST, "FILLWRIGHT_WALLET_KEY": KEY})


def test_a_key_is_shown_by_nothing() -> None:
    without = {name: text for name, text in LEAST.items() if name != "FILLWRIGHT_WALLET"}
    config = load({**without, "FILLWRIGHT_WALLET_KEY": KEY})
    assert config.live is not None
    assert config.live.wallet_key == Secret(KEY)
    assert KEY not in repr(config) + str(config)
    assert "FILLWRIGHT_WALLET_KEY" in (told := refusal({**without, "FILLWRIGHT_WALLET_KEY": KEY[:-20]}))
    assert KEY[:10] not in told


def test_a_command_needs_an_address_and_is_split_without_a_shell() -> None:
    without = {name: text for name, text in LEAST.items() if name != "FILLWRIGHT_WALLET"}
    asked = {**without, "FILLWRIGHT_WALLET_COMMAND": "sign --with 'my key' $HOME"}
    assert "FILLWRIGHT_WALLET_ADDRESS is missing" in refusal(asked)
    found = load({**asked, "FILLWRIGHT_WALLET_ADDRESS": WALLET}).live
    assert found is not None
    assert found.wallet_command == ("sign", "--with", "my key", "$HOME")
    assert "FILLWRIGHT_WALLET_COMMAND" in refusal({**without, "FILLWRIGHT_WALLET_COMMAND": "'half a quote"})


def test_mainnet_needs_caps_of_the_day_and_https() -> None:
    assert load(MAINNET).live is not None
    assert "FILLWRIGHT_DAY_CAPS is missing" in refusal({**MAINNET, "FILLWRIGHT_DAY_CAPS": ""})
    assert "https on mainnet" in refusal({**MAINNET, "FILLWRIGHT_RPC": "http://one.example"})
    assert load({**MAINNET, "FILLWRIGHT_RPC": "http://127.0.0.1:8899"}).live is not None


@pytest.mark.parametrize("name", [name for name in LEAST if name != "FILLWRIGHT_CLUSTER"])
def test_what_is_of_a_real_chain_needs_a_cluster(name: str) -> None:
    """Whoever mistypes the cluster's name must not trade in a simulation by mistake."""
    assert f"{name} is of the real chain" in refusal({name: LEAST[name]})


def test_a_simulated_chain_and_a_real_one_exclude_each_other() -> None:
    assert "unset one of them" in refusal({**LEAST, "FILLWRIGHT_CHAIN": "http://127.0.0.1:1"})


def test_nodes_are_needed() -> None:
    assert "FILLWRIGHT_RPC is missing" in refusal({**LEAST, "FILLWRIGHT_RPC": ""})


def test_real_money_needs_both_words() -> None:
    load({}).require_live(asked=False)
    load(LEAST).require_live(asked=True)
    for env, asked, told in (({}, True, "set FILLWRIGHT_CLUSTER"), (LEAST, False, "say so with --live")):
        with pytest.raises(FillwrightError, match=told) as caught:
            load(env).require_live(asked=asked)
        assert caught.value.code is Code.CONFIG_INVALID


def test_all_programs_may_swap_unless_told_otherwise() -> None:
    assert live().programs == PROGRAM_KINDS
