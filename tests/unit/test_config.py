"""Settings: every one is read, bounded and named when it is wrong; none is guessed."""

import logging
import os
import pty
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.config import SETTINGS, Config, Secret, has_colours, load, made_up_name
from fillwright.errors import Code, FillwrightError
from fillwright.policy import FAST_BACKOFF_MS, Policy
from tests.settings import default, shown, table


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
        ("FILLWRIGHT_PRICES", "/prices.csv", "prices", Path("/prices.csv")),
        ("FILLWRIGHT_CHAIN", "http://simchain:8899", "chain", "http://simchain:8899"),
        ("FILLWRIGHT_CHAIN", "https://[::1]:8899/", "chain", "https://[::1]:8899"),
        ("FILLWRIGHT_WORKER", "w" * 64, "worker", "w" * 64),
        ("FILLWRIGHT_ALLOW_UNSAFE_DATABASE", "yes", "allow_unsafe_database", True),
        ("QUEUE_NAME", "order-queue_2.b", "queue", "order-queue_2.b"),
        ("FILLWRIGHT_URL", "http://engine:3000/", "url", "http://engine:3000"),
        ("FILLWRIGHT_API_KEY", "key", "api_key", Secret("key")),
        ("FILLWRIGHT_TRACES", "http://collector:4318/", "traces", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example/otlp", "traces", "https://otlp.example/otlp"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3%2Ccret", "trace_headers", (("api-key", Secret("s3,cret")),)),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b=, c=d", "trace_headers", (("a", Secret("b=")), ("c", Secret("d")))),
        ("OTEL_SERVICE_NAME", "trading desk", "service", "trading desk"),
        ("FILLWRIGHT_LOG", "json", "log", "json"),
        ("FILLWRIGHT_LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ],
)
def test_each_setting_is_read(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(load({name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "policy"),
    [
        ("CONCURRENCY", "1", Policy(concurrency=1)),
        ("CONCURRENCY", "10000", Policy(concurrency=10_000)),
        ("FILLWRIGHT_QUEUE_MAX", "500", Policy(waiting_max=500)),
        ("FILLWRIGHT_QUEUE_AGE_MAX_S", "5", Policy(waiting_s_max=5.0)),
        ("FILLWRIGHT_DRAIN_NOTICE_S", "10", Policy(drain_notice_s=10.0)),
        ("FILLWRIGHT_DRAIN_S", "0", Policy(drain_s=0.0)),
    ],
)
def test_numbers_reach_the_policy(name: str, text: str, policy: Policy) -> None:
    assert load({name: text}).policy == policy


def test_retry_chooses_the_pauses() -> None:
    assert load({"FILLWRIGHT_RETRY": "fast"}).policy.backoff_ms == FAST_BACKOFF_MS
    assert load({"FILLWRIGHT_RETRY": "classic"}).policy == Policy()
    both = load({"FILLWRIGHT_RETRY": "fast", "CONCURRENCY": "7"}).policy
    assert both == Policy(concurrency=7, backoff_ms=FAST_BACKOFF_MS)


_FILES = [f"{name}_FILE" for setting in SETTINGS if setting.is_secret for name in setting.names]


@pytest.mark.parametrize("name", [*(name for setting in SETTINGS for name in setting.names), *_FILES])
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
        ("FILLWRIGHT_QUEUE_MAX", "0"),
        ("FILLWRIGHT_QUEUE_AGE_MAX_S", "1.5"),
        ("FILLWRIGHT_DRAIN_NOTICE_S", "601"),
        ("FILLWRIGHT_DRAIN_S", "inf"),
        ("FILLWRIGHT_TRACES", "collector:4318"),
        ("FILLWRIGHT_TRACES", "otlp"),
        ("FILLWRIGHT_TRACES", "grpc://collector:4317"),
        ("FILLWRIGHT_TRACES", "http://user:hunter2@collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/?key=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2,"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2%0d%0aHost: x"),
        ("FILLWRIGHT_CHAIN", "simchain:8899"),
        ("FILLWRIGHT_CHAIN", "ws://simchain:8899"),
        ("FILLWRIGHT_CHAIN", "http://"),
        ("FILLWRIGHT_CHAIN", "http://simchain:0"),
        ("FILLWRIGHT_CHAIN", "http://simchain:x"),
        ("FILLWRIGHT_CHAIN", "http://user:hunter2@simchain"),
        ("FILLWRIGHT_CHAIN", "http://simchain/?key=hunter2"),
        ("FILLWRIGHT_CHAIN", "http://["),
        ("FILLWRIGHT_WORKER", "two words"),
        ("FILLWRIGHT_WORKER", "w" * 65),
        ("FILLWRIGHT_ALLOW_UNSAFE_DATABASE", "sure"),
        ("FILLWRIGHT_HOST", "a\nb"),
        ("FILLWRIGHT_DATA", "\udcff"),
        ("QUEUE_NAME", "orders:1"),
        ("QUEUE_NAME", "q" * 49),
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


# --- servers ----------------------------------------------------------------------------------------------

_PARTS = {"PGHOST": "db", "PGPORT": "5433", "PGDATABASE": "orders", "PGUSER": "app", "PGPASSWORD": "p@ss/#?%:"}
_URL = "postgresql://app:p%40ss%2F%23%3F%25%3A@db:5433/orders"


def _revealed(env: dict[str, str]) -> str:
    database = load(env).database
    assert database is not None
    return database.reveal()


def _refusal(env: dict[str, str]) -> str:
    with pytest.raises(FillwrightError) as refused:
        load(env)
    assert refused.value.code is Code.CONFIG_INVALID
    assert refused.value.__cause__ is None, "a foreign exception may quote what it could not read"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return str(refused.value)


def test_a_database_may_be_told_as_a_url_or_in_parts() -> None:
    older = {"DB_HOST": "db", "DB_PORT": "5433", "DB_NAME": "orders", "DB_USER": "app", "DB_PASS": "p@ss/#?%:"}
    assert _revealed({"DATABASE_URL": _URL}) == _URL
    assert _revealed({"DATABASE_URL": _URL.replace("postgresql", "postgres")}) == _URL
    assert _revealed(_PARTS) == _URL
    assert _revealed({**older, "DB_TYPE": "postgres"}) == _URL
    assert _revealed({**older, **_PARTS, "DATABASE_URL": _URL}) == _URL
    assert _revealed({"PGHOST": "DB"}) == "postgresql://db/"
    assert _revealed({"PGHOST": "::1", "PGPORT": "5432"}) == "postgresql://[::1]:5432/"


def test_a_url_may_leave_out_what_another_setting_tells() -> None:
    assert _revealed({"DATABASE_URL": "postgresql://app@db/orders", "PGPASSWORD": "x y"}) == (
        "postgresql://app:x%20y@db/orders"
    )


def test_a_url_keeps_its_options() -> None:
    url = "postgresql://db/orders?sslmode=verify-full&sslrootcert=%2Fca.pem"
    assert _revealed({"DATABASE_URL": url}) == url


@pytest.mark.parametrize(
    "env",
    [
        {"PGHOST": "/run/postgresql", "PGPORT": "5433", "PGUSER": "app"},
        {"DATABASE_URL": "postgresql://app@/?host=/run/postgresql", "PGPORT": "5433"},
    ],
)
def test_a_database_may_be_reached_by_its_socket(env: dict[str, str]) -> None:
    assert _revealed(env) == "postgresql://app@/?host=%2Frun%2Fpostgresql&port=5433"


_NAME = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20).filter(
    str.isprintable
)
_HOST = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)


@given(user=_NAME, password=_NAME, name=_NAME, host=_HOST, port=st.integers(1, 65_535))
def test_parts_and_url_tell_the_same(user: str, password: str, name: str, host: str, port: int) -> None:
    parts = {"PGUSER": user, "PGPASSWORD": password, "PGDATABASE": name, "PGHOST": host, "PGPORT": str(port)}
    text = _revealed(parts)
    url = urlsplit(text)
    assert (url.hostname, url.port) == (host, port)
    told = (url.username or "", url.password or "", url.path[1:])
    assert tuple(unquote(part) for part in told) == (user, password, name)
    assert _revealed({"DATABASE_URL": text}) == _revealed({**parts, "DATABASE_URL": text}) == text


@pytest.mark.parametrize("name", list(_PARTS))
def test_a_part_told_in_two_ways_is_refused(name: str) -> None:
    other = "5434" if name == "PGPORT" else "other"
    why = _refusal({"DATABASE_URL": _URL, name: other})
    assert name in why
    assert "DATABASE_URL" in why
    assert other not in why


def test_two_spellings_of_one_part_must_agree() -> None:
    why = _refusal({"PGHOST": "db", "DB_HOST": "other"})
    assert "PGHOST" in why
    assert "DB_HOST" in why


@pytest.mark.parametrize("name", ["PGUSER", "PGPASSWORD", "DB_NAME", "DB_TYPE", "PGPORT", "REDIS_PORT"])
def test_a_part_without_a_host_is_refused(name: str) -> None:
    """Going on with the embedded store would hide the orders people look for."""
    text = {"DB_TYPE": "postgres", "PGPORT": "5432", "REDIS_PORT": "6379"}.get(name, "app")
    assert _refusal({name: text}).startswith(f"{name} is set, but no setting names the host")


def test_only_postgresql_is_a_database() -> None:
    assert _refusal({"DB_TYPE": "mysql", "DB_HOST": "db"}).startswith("DB_TYPE must be one of")


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"REDIS_URL": "redis://:s3cret@cache:6379/2"}, "redis://:s3cret@cache:6379/2"),
        ({"REDIS_URL": "rediss://cache"}, "rediss://cache/"),
        ({"REDIS_HOST": "cache", "REDIS_PORT": "6380"}, "redis://cache:6380/"),
        ({"REDIS_HOST": "cache", "REDIS_URL": "redis://cache:6380/0", "REDIS_PORT": "6380"}, "redis://cache:6380/0"),
    ],
)
def test_redis_is_read_beside_a_database(env: dict[str, str], url: str) -> None:
    assert load({**env, "PGHOST": "db"}).redis == Secret(url)
    assert _refusal(env).startswith(next(iter(env))[:6])
    assert "without a database" in _refusal(env)


_HOSTILE = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}://{}:{}@{}".format, st.sampled_from(["postgresql", "redis", "http", ""]), *[st.text(max_size=12)] * 3
    ),
    st.builds("postgresql://u:{}@db:{}/x?{}".format, *[st.text("hunter2@:/?#[]%=&,", max_size=12)] * 3),
)


@given(name=st.sampled_from(["DATABASE_URL", "PGHOST", "DB_PASS", "REDIS_URL", "REDIS_HOST", "PGPORT"]), text=_HOSTILE)
def test_whatever_is_said_is_read_or_refused_by_name(name: str, text: str) -> None:
    config = None
    with suppress(FillwrightError):
        config = load({name: text})
    if config is None:
        assert _refusal({name: text}).startswith(name)
    else:
        assert config.redis is None
        assert (config.database is None) == (text == "")


@pytest.mark.parametrize(
    "text",
    [
        "hunter2/",
        "mysql://app:hunter2@db/orders",
        "postgresql://app:hunter2@db:port/orders",
        "postgresql://app:hunter2@db:0/orders",
        "postgresql://app:hunter2#@db/orders",
        "postgresql://app:hunter2@one,two/orders",
        "postgresql://app:hunter2@[::1/orders",
        "postgresql://db/orders?password=hunter2",
        "postgresql://db/orders?hunter2",
        "postgresql://app:hunter2@db/ orders",
        "postgresql://app:%ffhunter2@db/orders",
        "postgresql://app:hunter2\u2100@db/orders",
        "postgresql://app:hunter2@/orders",
        "postgresql://app:hunter2\udcff@db/orders",
    ],
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "PGHOST"])
def test_an_error_never_repeats_an_address(name: str, text: str) -> None:
    why = _refusal({name: text})
    assert why.startswith(name)
    assert "hunter2" not in why


# --- secrets ----------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    config = load({"DATABASE_URL": "postgresql://app:hunter2@db/orders", "REDIS_URL": "redis://:hunter2@cache"})
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", config, config)
    assert "hunter2" not in caplog.text + f"{config} {config.database!s:>40} {[config.redis]}"
    with pytest.raises(TypeError):
        msgspec.json.encode(config)
    assert load({"PGHOST": "db"}) != load({"PGHOST": "other"})
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


@pytest.mark.parametrize("name", ["DATABASE_URL", "PGPASSWORD", "DB_PASS", "REDIS_URL", "FILLWRIGHT_API_KEY"])
def test_a_secret_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    text = {"DATABASE_URL": _URL, "REDIS_URL": "redis://:x@cache"}.get(name, "hunter2")
    file = tmp_path / "secret"
    file.write_text(f"{text}\n")
    server = {} if name == "DATABASE_URL" else {"PGHOST": "db"}
    assert load({f"{name}_FILE": str(file), **server}) == load({name: text, **server})
    assert load({f"{name}_FILE": str(file), name: text, **server}) == load({name: text, **server})
    file.write_text("redis://other" if name == "REDIS_URL" else text.replace("hunter2", "3").replace("5433", "5434"))
    assert f"{name}_FILE" in _refusal({f"{name}_FILE": str(file), name: text, **server})


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for file in (empty, binary, tmp_path, tmp_path / "missing"):
        assert _refusal({"PGPASSWORD_FILE": str(file), "PGHOST": "db"}).startswith("PGPASSWORD_FILE names a")


def test_only_a_secret_may_stand_in_a_file() -> None:
    with pytest.raises(FillwrightError, match="is not a setting"):
        load({"FILLWRIGHT_SEED_FILE": "/seed"})


# --- the table --------------------------------------------------------------------------------------------


def test_the_page_of_settings_is_the_table() -> None:
    assert shown() == table(), "run `python -m tests.settings`"


_SERVERS = ("database", "redis")


def test_a_default_that_the_page_shows_is_what_an_empty_environment_gives() -> None:
    told = [(setting.names[0], default(setting)) for setting in SETTINGS if not setting.field.startswith(_SERVERS)]
    values = [(name, text) for name, text in told if " " not in text]
    assert len(values) >= 15, "the rest is told in words"
    for name, text in values:
        assert load({name: text}) == Config(), name


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, (tmp_path / "log").open("w") as file:
        assert has_colours(terminal)
        assert not has_colours(file)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not has_colours(terminal)
        monkeypatch.setenv("NO_COLOR", "")
        assert has_colours(terminal), "an empty NO_COLOR counts as absent"
    os.close(master)


def test_a_name_belongs_to_one_setting() -> None:
    names = [name for setting in SETTINGS for name in setting.names]
    assert len(names) == len(set(names))


def test_a_made_up_name_is_a_name_that_may_be_set() -> None:
    name = made_up_name()
    assert load({"FILLWRIGHT_WORKER": name}).worker == name
    assert name != made_up_name()
