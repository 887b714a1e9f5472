"""Settings: every one is read, bounded and named when it is wrong; none is guessed."""

from pathlib import Path
from typing import Any

import pytest

from fillwright.config import Config, load
from fillwright.errors import Code, FillwrightError
from fillwright.policy import FAST_BACKOFF_MS, Policy


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load({}) == Config()
    assert load({"HOME": "/root", "PATH": "/bin", "LANG": "C"}) == Config()


def test_by_default_only_this_machine_can_reach_it() -> None:
    assert Config().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("FILLWRIGHT_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65_535),
        ("FILLWRIGHT_DATA", "/var/lib/fillwright", "data", Path("/var/lib/fillwright")),
        ("FILLWRIGHT_SIM", "instant", "sim", "instant"),
        ("FILLWRIGHT_SIM", "classic", "sim", "classic"),
        ("FILLWRIGHT_SEED", "0", "seed", 0),
        ("FILLWRIGHT_SEED", "9223372036854775807", "seed", 2**63 - 1),
        ("START_WORKER", "false", "start_worker", False),
        ("START_WORKER", "0", "start_worker", False),
        ("START_WORKER", "NO", "start_worker", False),
        ("START_WORKER", "off", "start_worker", False),
        ("START_WORKER", "True", "start_worker", True),
        ("START_WORKER", "yes", "start_worker", True),
        ("FILLWRIGHT_LOG", "json", "log", "json"),
        ("FILLWRIGHT_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ],
)
def test_each_setting_is_read(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(load({name: text}), field) == value


@pytest.mark.parametrize("text", ["1", "10000"])
def test_concurrency_reaches_the_policy(text: str) -> None:
    assert load({"CONCURRENCY": text}).policy == Policy(concurrency=int(text))


def test_retry_chooses_the_pauses() -> None:
    assert load({"FILLWRIGHT_RETRY": "fast"}).policy.backoff_ms == FAST_BACKOFF_MS
    assert load({"FILLWRIGHT_RETRY": "classic"}).policy == Policy()
    both = load({"FILLWRIGHT_RETRY": "fast", "CONCURRENCY": "7"}).policy
    assert both == Policy(concurrency=7, backoff_ms=FAST_BACKOFF_MS)


@pytest.mark.parametrize(
    "name",
    [
        "FILLWRIGHT_HOST",
        "PORT",
        "FILLWRIGHT_DATA",
        "FILLWRIGHT_SIM",
        "FILLWRIGHT_SEED",
        "FILLWRIGHT_RETRY",
        "FILLWRIGHT_LOG",
        "FILLWRIGHT_LOG_LEVEL",
        "START_WORKER",
        "CONCURRENCY",
        "DATABASE_URL",
        "REDIS_URL",
    ],
)
def test_an_empty_setting_is_an_absent_one(name: str) -> None:
    assert load({name: ""}) == Config()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "3000 "),
        ("PORT", "3_000"),
        ("PORT", "８０"),  # noqa: RUF001
        ("PORT", "9" * 5_000),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "10001"),
        ("CONCURRENCY", "1.5"),
        ("FILLWRIGHT_SEED", "9223372036854775808"),
        ("FILLWRIGHT_SEED", "-1"),
        ("FILLWRIGHT_SIM", "Classic"),
        ("FILLWRIGHT_SIM", "live"),
        ("FILLWRIGHT_RETRY", "slow"),
        ("FILLWRIGHT_LOG", "xml"),
        ("FILLWRIGHT_LOG_LEVEL", "debug"),
        ("FILLWRIGHT_LOG_LEVEL", "TRACE"),
        ("START_WORKER", "maybe"),
        ("START_WORKER", "2"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(FillwrightError, match=name) as refused:
        load({name: text})
    assert refused.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("name", ["FILLWRIGHT_PORT", "FILLWRIGHT_", "FILLWRIGHT_DATABASE_URL", "FILLWRIGHT_host"])
def test_an_unknown_setting_of_ours_is_refused(name: str) -> None:
    """A mistyped setting must not be passed over in silence."""
    with pytest.raises(FillwrightError, match=f"{name} is not a setting") as refused:
        load({name: "1"})
    assert refused.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("name", ["DATABASE_URL", "PGHOST", "DB_HOST", "REDIS_URL", "REDIS_HOST"])
def test_a_server_we_would_not_use_is_refused_without_showing_its_address(name: str) -> None:
    with pytest.raises(FillwrightError, match=name) as refused:
        load({name: "postgres://user:hunter2@db/orders"})
    assert refused.value.code is Code.CONFIG_INVALID
    assert "hunter2" not in str(refused.value)
