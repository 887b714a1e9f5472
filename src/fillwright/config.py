"""Settings from the environment, by the names people already have; the engine's own begin with FILLWRIGHT_.

Decides: which settings exist, what they mean, their limits and what contradicts what: `SETTINGS` is the one table,
for reading, for the errors and for docs/SETTINGS.md. Must never: guess at a setting it does not know, or show a secret.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from fillwright.access import TOKEN_FORM, is_token
from fillwright.errors import Code, FillwrightError
from fillwright.policy import FAST_BACKOFF_MS, Policy
from fillwright.settings.live import LIVE_SETTINGS, Live, live_of
from fillwright.settings.texts import Parse, Secret, Setting, choice, integer, invalid, of_form, one_of, seconds

__all__ = [
    "CHAIN_PORT",
    "SERVE_PORT",
    "SETTINGS",
    "Config",
    "Live",
    "Secret",
    "Setting",
    "has_colours",
    "load",
    "made_up_name",
    "text_of",
]

SERVE_PORT: Final = 3000
CHAIN_PORT: Final = 8899
"""Where `fillwright serve` and `fillwright simchain` listen unless PORT says otherwise."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator has chosen. What each field means stands in SETTINGS."""

    host: str = "127.0.0.1"
    port: int | None = None
    open_to: frozenset[str] = frozenset()
    first_key: Secret | None = None
    data: Path = Path("data")
    database: Secret | None = None
    """`postgresql://` URL; None: the embedded store in `data`."""
    redis: Secret | None = None
    queue: str = "orders"
    start_worker: bool = True
    worker: str | None = None
    """None: the process makes one up, see `made_up_name`."""
    chain: str | None = None
    allow_unsafe_database: bool = False
    sim: str = "classic"
    seed: int = 1
    prices: Path | None = None
    webhooks_allow_private: bool = False
    new_pools_s: int = 20
    """0: none."""
    url: str | None = None
    """None: this machine, at `port`."""
    api_key: Secret | None = None
    traces: str | None = None
    trace_headers: tuple[tuple[str, Secret], ...] = ()
    service: str = "fillwright"
    log: str = "text"
    log_level: str = "INFO"
    policy: Policy = Policy()
    live: Live | None = None
    """None: a simulated chain."""

    @property
    def cluster(self) -> str | None:
        """The real chain that is asked for."""
        return None if self.live is None else self.live.cluster

    def require_live(self, *, asked: bool) -> None:
        """Real money moves only where the settings name a cluster and whoever starts the process says `--live` as well.

        Raises FillwrightError(CONFIG_INVALID) where one comes without the other.
        """
        if asked and self.live is None:
            raise invalid("--live", "needs a cluster: set FILLWRIGHT_CLUSTER, and see docs/how-to/live.md")
        if self.live is not None and not asked:
            why = f"names {self.live.cluster}, a real chain: say so with --live as well, or unset it for the simulation"
            raise invalid("FILLWRIGHT_CLUSTER", why)


def made_up_name() -> str:
    """A name for this process's worker that no other one has: its host, its process id and chance."""
    host = re.sub(r"[^!-~]", "", socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"


def has_colours(stream: TextIO) -> bool:
    """Whether what is written there may be coloured: to a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


# --- how a text is read -----------------------------------------------------------------------------------


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _host(text: str) -> str:
    """A host's name in small letters, or the folder of a socket."""
    if re.fullmatch(r"[A-Za-z0-9._:-]{1,255}", text):
        return text.lower()
    if re.fullmatch(r"/[!-~]{1,255}", text):
        return text
    raise ValueError("must be the name or address of one host, or the folder of a socket")


def _hosts(text: str) -> frozenset[str]:
    names = [name.strip().lower() for name in text.split(",")]
    if not all(re.fullmatch(r"[a-z0-9._:-]{1,255}|\*", name) for name in names):
        raise ValueError("must be host names without ports, separated by commas, or *")
    return frozenset(names)


def _token(text: str) -> Secret:
    if not is_token(text):
        raise ValueError(TOKEN_FORM)
    return Secret(text)


def _server(schemes: Mapping[str, str]) -> Parse:
    """A URL into those parts of a server's address that it states. `?host=/...` is the folder of a socket."""
    why = f"must be like {next(iter(schemes))}://user:password@host:port/name, with special characters as %xx"

    def parse(text: str) -> dict[str, Any]:
        try:
            url = urlsplit(text)
            options = dict(parse_qsl(url.query, strict_parsing=True)) if url.query else {}
            host = url.hostname or options.pop("host", "")
            parts = {
                "scheme": schemes.get(url.scheme),
                "user": unquote(url.username or "", errors="strict"),
                "password": unquote(url.password or "", errors="strict"),
                "host": _host(host) if host else None,
                "port": url.port,
                "name": unquote(url.path[1:], errors="strict"),
                "options": options,
            }
        except ValueError:
            raise ValueError(why) from None
        # A blank, or a # in a password that was not written as %23, would cut the address short.
        clean = re.fullmatch(r"[!-~]+", text) and not url.fragment and not _PARTS & options.keys()
        if not clean or parts["scheme"] is None or parts["port"] == 0:
            raise ValueError(why)
        return {part: value for part, value in parts.items() if value}

    return parse


_PARTS: Final = frozenset({"host", "port", "user", "password", "dbname"})
"""What drivers would also take from a URL's query, past our comparison with the other settings."""
_PORT: Final = integer(1, 65_535)


def _address(text: str) -> str:
    try:
        url = urlsplit(text)
        plain = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        plain = False
    if not plain or not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+/?", text):
        raise ValueError("must be like http://host:port")
    return text.rstrip("/")


def _collector(text: str) -> str:
    _address("/".join(text.split("/", 3)[:3]))
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]_/~%-]+", text):
        raise ValueError("must be like http://host:port, with a path where the collector has one")
    return text.rstrip("/")


def _headers(text: str) -> tuple[tuple[str, Secret], ...]:
    pairs = [pair.strip().partition("=") for pair in text.split(",")]
    headers = tuple((name.strip(), unquote(value.strip())) for name, _, value in pairs)
    if not all(
        re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) and re.fullmatch(r"[ -~]+", value) for name, value in headers
    ):
        raise ValueError("must be like name=value,name=value, with special characters as %xx")
    return tuple((name, Secret(value)) for name, value in headers)


def _api_key(text: str) -> Secret:
    if not re.fullmatch(r"[!-~]{1,255}", text):
        raise ValueError("must be 1 to 255 visible ASCII characters")
    return Secret(text)


# --- the table --------------------------------------------------------------------------------------------


_BACKOFFS: Final = {"classic": Policy().backoff_ms, "fast": FAST_BACKOFF_MS}

SETTINGS: Final = (
    Setting(
        ("PORT",),
        "port",
        integer(0, 65_535),
        "port to listen on. A worker listens, for probes and metrics, only where it is set",
        default=f"{SERVE_PORT}; simchain: {CHAIN_PORT}; worker: none",
    ),
    Setting(("FILLWRIGHT_HOST",), "host", str, "address to listen on; 0.0.0.0 for every network, as in a container"),
    Setting(
        ("FILLWRIGHT_OPEN",),
        "open_to",
        _hosts,
        "while no API key was ever made: host names, separated by commas, under which callers need none, beyond this "
        "machine too; `*` for any. For a proxy or a network that decides who may come in",
        default="none: only this machine, and another `FILLWRIGHT_HOST` needs a key",
    ),
    Setting(
        ("FILLWRIGHT_FIRST_KEY",),
        "first_key",
        _token,
        "token of an API key with every scope, made at the start if no key was ever made: `fw_`, 12 hex digits, `_` "
        "and 64 hex digits, all of them random",
        default="none: `fillwright keys create` makes keys",
        is_secret=True,
    ),
    Setting(
        ("FILLWRIGHT_DATA",), "data", Path, "folder of the embedded data: orders, and the simulated chain's ledger"
    ),
    Setting(
        ("DATABASE_URL",),
        "database",
        _server({"postgresql": "postgresql", "postgres": "postgresql"}),
        "PostgreSQL: postgresql://user:password@host:port/name. Parts may be told apart by the names below",
        default="the embedded store",
        is_secret=True,
    ),
    Setting(("PGHOST", "DB_HOST"), "database.host", _host, "its host, or the folder of its socket"),
    Setting(("PGPORT", "DB_PORT"), "database.port", _PORT, "its port", default="5432"),
    Setting(("PGDATABASE", "DB_NAME"), "database.name", str, "its database"),
    Setting(("PGUSER", "DB_USER"), "database.user", str, "its user"),
    Setting(("PGPASSWORD", "DB_PASS"), "database.password", str, "its password", is_secret=True),
    Setting(("DB_TYPE",), "database.type", one_of("postgres", "postgresql"), "its kind: only PostgreSQL"),
    Setting(
        ("FILLWRIGHT_ALLOW_UNSAFE_DATABASE",),
        "allow_unsafe_database",
        _switch,
        "start even on a database that may forget what it has confirmed (`fsync` off and the like)",
    ),
    Setting(
        ("REDIS_URL",),
        "redis",
        _server({"redis": "redis", "rediss": "rediss"}),
        "Redis: redis://:password@host:port/number. Only together with a database",
        default="none: the database carries hints and events as well",
        is_secret=True,
    ),
    Setting(("REDIS_HOST",), "redis.host", _host, "its host"),
    Setting(("REDIS_PORT",), "redis.port", _PORT, "its port", default="6379"),
    Setting(
        ("QUEUE_NAME",),
        "queue",
        of_form(r"[A-Za-z0-9_.-]{1,48}", "must be 1 to 48 of A-Z a-z 0-9 _ . -"),
        "name of the queue; engines that share servers but not orders need different ones",
    ),
    Setting(("START_WORKER",), "start_worker", _switch, "false: `fillwright serve` accepts orders and executes none"),
    Setting(("CONCURRENCY",), "policy.concurrency", integer(1, 10_000), "orders that one worker executes at once"),
    Setting(
        ("FILLWRIGHT_WORKER",),
        "worker",
        of_form(r"[!-~]{1,64}", "must be 1 to 64 visible ASCII characters"),
        "this worker's name, unlike any other's",
        default="made from the host's name, the process id and chance",
    ),
    Setting(
        ("FILLWRIGHT_RETRY",),
        "policy.backoff_ms",
        choice(_BACKOFFS),
        "pauses between attempts: `classic` 1-2-4 s or `fast` 0.5-1-2 s",
        default="classic",
    ),
    Setting(
        ("FILLWRIGHT_QUEUE_MAX",),
        "policy.waiting_max",
        integer(1, 1_000_000),
        "orders waiting for a worker beyond which new ones are refused (503)",
    ),
    Setting(
        ("FILLWRIGHT_QUEUE_AGE_MAX_S",),
        "policy.waiting_s_max",
        seconds(1, 86_400),
        "seconds the oldest may have waited before new ones are refused (503)",
    ),
    Setting(
        ("FILLWRIGHT_DRAIN_NOTICE_S",),
        "policy.drain_notice_s",
        seconds(0, 600),
        "on SIGTERM: seconds of reporting not ready while still accepting, so that load balancers turn away first",
    ),
    Setting(
        ("FILLWRIGHT_DRAIN_S",),
        "policy.drain_s",
        seconds(0, 3_600),
        "then: seconds that running orders get to finish; another worker resumes the rest",
    ),
    Setting(
        ("FILLWRIGHT_CHAIN",),
        "chain",
        _address,
        "address of a `fillwright simchain`; processes that share orders must share the chain",
        default="a chain inside this process",
    ),
    Setting(
        ("FILLWRIGHT_SIM",),
        "sim",
        one_of("classic", "instant"),
        "simulation: `classic` quotes in 100-400 ms, executes in 2-3 s, 8 % fail; `instant` does not wait",
    ),
    Setting(("FILLWRIGHT_SEED",), "seed", integer(0, 2**63 - 1), "seed of the simulated market and its faults"),
    Setting(
        ("FILLWRIGHT_PRICES",),
        "prices",
        Path,
        "CSV of USD prices the simulated market follows: seconds,SOL,USDC,...",
        default="a seeded path",
    ),
    Setting(
        ("FILLWRIGHT_NEW_POOLS_S",),
        "new_pools_s",
        integer(0, 86_400),
        "simulation: about so many seconds between two new pools, for snipers; half of them are traps; 0: none",
    ),
    *LIVE_SETTINGS,
    Setting(
        ("FILLWRIGHT_WEBHOOKS_ALLOW_PRIVATE",),
        "webhooks_allow_private",
        _switch,
        "send webhooks to private addresses, and without TLS, as well: for development on one machine; not where "
        "strangers hold keys",
    ),
    Setting(
        ("FILLWRIGHT_URL",),
        "url",
        _address,
        "where `fillwright order` and the other commands of a client find the engine",
        default="this machine, at `PORT`",
    ),
    Setting(
        ("FILLWRIGHT_API_KEY",),
        "api_key",
        _api_key,
        "the key that those commands show to the engine",
        default="none: an engine without keys needs none",
        is_secret=True,
    ),
    Setting(
        ("FILLWRIGHT_TRACES", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        "traces",
        _collector,
        "OpenTelemetry: address of a collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318. "
        "Needs the extra `otel`",
        default="none: no traces are made",
    ),
    Setting(
        ("OTEL_EXPORTER_OTLP_HEADERS",),
        "trace_headers",
        _headers,
        "headers that the collector asks for: name=value, separated by commas",
        default="none: it asks for nothing",
        is_secret=True,
    ),
    Setting(
        ("OTEL_SERVICE_NAME",),
        "service",
        of_form(r"[ -~]{1,64}", "must be 1 to 64 printable ASCII characters"),
        "what this process is called in traces",
    ),
    Setting(("FILLWRIGHT_LOG",), "log", one_of("text", "json"), "log lines: `text`, or `json` for one object a line"),
    Setting(("FILLWRIGHT_LOG_LEVEL",), "log_level", one_of("DEBUG", "INFO", "WARNING", "ERROR"), "least level logged"),
)


# --- from the environment to Config -----------------------------------------------------------------------


class _Said(msgspec.Struct, frozen=True):
    """What a field is to be, and the setting that says so."""

    name: str
    value: Any


def load(env: Mapping[str, str]) -> Config:
    """Raises FillwrightError(CONFIG_INVALID) naming the setting."""
    _refuse_unknown(env)
    said: dict[str, _Said] = {}
    for setting in SETTINGS:
        for name, text in _spelled(setting, env):
            for field, value in _read(setting, name, text):
                first = said.setdefault(field, _Said(name, value))
                if first.value != value:
                    raise invalid(name, f"and {first.name} disagree; unset one")
    database, redis = _url("database", said), _url("redis", said)
    if redis is not None and database is None:
        why = "is set without a database: Redis only helps several processes that share one; set DATABASE_URL as well"
        raise invalid(said["redis.host"].name, why)
    return Config(
        **{field: each.value for field, each in said.items() if "." not in field},
        database=database,
        redis=redis,
        policy=msgspec.structs.replace(Policy(), **_under("policy", said)),
        live=_live(said),
    )


def _live(said: Mapping[str, _Said]) -> Live | None:
    parts = _under("live", said)
    if "cluster" not in parts:
        for field, each in said.items():
            if field.startswith("live."):
                raise invalid(
                    each.name, "is of the real chain, and no cluster is named: set FILLWRIGHT_CLUSTER, or unset this"
                )
        return None
    if "chain" in said:
        raise invalid(
            "FILLWRIGHT_CHAIN", "names a simulated chain, and FILLWRIGHT_CLUSTER a real one: unset one of them"
        )
    return live_of(parts)


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = sorted(name for setting in SETTINGS for name in setting.names if name.startswith("FILLWRIGHT_"))
    files = {f"{name}_FILE" for setting in SETTINGS if setting.is_secret for name in setting.names}
    for name in env:
        if name.startswith("FILLWRIGHT_") and name not in known and name not in files:
            raise invalid(name, f"is not a setting; known: {', '.join(known)}")


def _spelled(setting: Setting, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each name under which it is set, and the text; an empty setting is an absent one."""
    for name in setting.names:
        if env.get(name):
            yield name, env[name]
        if setting.is_secret and (file := env.get(f"{name}_FILE")):
            yield f"{name}_FILE", _content(f"{name}_FILE", file)


def _content(name: str, file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise invalid(name, "names a file that cannot be read") from None
    if not text:
        raise invalid(name, "names an empty file")
    return text


def _read(setting: Setting, name: str, text: str) -> Iterator[tuple[str, Any]]:
    """The fields that it fills: one, or those parts of a server's address that a URL states."""
    if not text.isprintable():
        raise invalid(name, "holds a character that cannot be printed")
    try:
        value = setting.parse(text)
    except ValueError as error:
        raise invalid(name, str(error)) from None
    if isinstance(value, dict):
        yield from ((f"{setting.field}.{part}", each) for part, each in value.items())
    else:
        yield setting.field, value


def _url(server: str, said: Mapping[str, _Said]) -> Secret | None:
    """The server's address, put together from whatever states a part of it."""
    parts = _under(server, said)
    if not parts:
        return None
    if "host" not in parts:
        some = next(each.name for field, each in said.items() if field.startswith(f"{server}."))
        raise invalid(some, f"is set, but no setting names the host of the {server}; set that too, or unset this")
    scheme = parts.get("scheme", "postgresql" if server == "database" else "redis")
    host, port, options = parts["host"], parts.get("port"), parts.get("options", {})
    if host.startswith("/"):  # a socket's folder cannot stand where a host's name does
        where, options = "", {**options, "host": host, **({"port": port} if port else {})}
    else:
        where = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    auth = quote(parts.get("user", ""), safe="")
    if "password" in parts:
        auth += ":" + quote(parts["password"], safe="")
    query = "?" + urlencode(options, quote_via=quote) if options else ""
    return Secret(f"{scheme}://{auth}{'@' if auth else ''}{where}/{quote(parts.get('name', ''), safe='')}{query}")


def _under(prefix: str, said: Mapping[str, _Said]) -> dict[str, Any]:
    return {field.partition(".")[2]: each.value for field, each in said.items() if field.startswith(f"{prefix}.")}


def text_of(file: Path | None, setting: str) -> str | None:
    """What stands in a file that a setting names; None where it names none. Raises FillwrightError(CONFIG_INVALID)."""
    if file is None:
        return None
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"{setting}: cannot read {file}") from error
