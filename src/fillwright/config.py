"""Settings from the environment, by the names people already have; the engine's own begin with FILLWRIGHT_.

Decides: which settings exist, their defaults and limits. Must never: guess at a setting it does not know.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.policy import FAST_BACKOFF_MS, Policy


class Config(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 3000
    data: Path = Path("data")
    """Folder of the embedded engine's files."""
    sim: str = "classic"
    seed: int = 1
    prices: Path | None = None
    """CSV of prices that the simulated market follows instead of its seeded path."""
    start_worker: bool = True
    log: str = "text"
    log_level: str = "INFO"
    policy: Policy = Policy()


_OWN: Final = {
    "FILLWRIGHT_HOST": "address to listen on (127.0.0.1)",
    "FILLWRIGHT_DATA": "folder of the embedded data (data)",
    "FILLWRIGHT_SIM": "simulation preset: classic or instant (classic)",
    "FILLWRIGHT_SEED": "seed of the simulated market and its faults (1)",
    "FILLWRIGHT_PRICES": "CSV of USD prices the simulated market follows: seconds,SOL,USDC,... (a seeded path)",
    "FILLWRIGHT_RETRY": "pauses between attempts: classic 1-2-4 s or fast 0.5-1-2 s (classic)",
    "FILLWRIGHT_LOG": "log lines: text or json (text)",
    "FILLWRIGHT_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR (INFO)",
}
"""The engine's own settings; any other name with this prefix is an error."""
_ELSEWHERE: Final = ("DATABASE_URL", "PGHOST", "DB_HOST", "REDIS_URL", "REDIS_HOST")
"""Servers that this version cannot use; starting without them would hide the orders people look for there."""
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def load(env: Mapping[str, str]) -> Config:
    """Raises FillwrightError(CONFIG_INVALID) naming the setting."""
    for name in env:
        if name.startswith("FILLWRIGHT_") and name not in _OWN:
            raise _invalid(name, f"is not a setting; known: {', '.join(sorted(_OWN))}")
    for name in _ELSEWHERE:
        if env.get(name):
            raise _invalid(name, "is set, but this version has only the embedded store; unset it to go on")
    default = Config()
    return Config(
        host=env.get("FILLWRIGHT_HOST") or default.host,
        port=_integer(env, "PORT", default.port, 0, 65_535),
        data=Path(env.get("FILLWRIGHT_DATA") or default.data),
        sim=_choice(env, "FILLWRIGHT_SIM", default.sim, ("classic", "instant")),
        seed=_integer(env, "FILLWRIGHT_SEED", default.seed, 0, 2**63 - 1),
        prices=Path(env["FILLWRIGHT_PRICES"]) if env.get("FILLWRIGHT_PRICES") else None,
        start_worker=_switch(env, "START_WORKER", default.start_worker),
        log=_choice(env, "FILLWRIGHT_LOG", default.log, ("text", "json")),
        log_level=_choice(env, "FILLWRIGHT_LOG_LEVEL", default.log_level, ("DEBUG", "INFO", "WARNING", "ERROR")),
        policy=_policy(env),
    )


def _policy(env: Mapping[str, str]) -> Policy:
    policy = Policy(concurrency=_integer(env, "CONCURRENCY", Policy().concurrency, 1, 10_000))
    if _choice(env, "FILLWRIGHT_RETRY", "classic", ("classic", "fast")) == "fast":
        policy = msgspec.structs.replace(policy, backoff_ms=FAST_BACKOFF_MS)
    return policy


def _integer(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if not text:
        return default
    readable = text.isascii() and text.isdigit() and len(text) <= len(str(high))
    if not (readable and low <= int(text) <= high):
        raise _invalid(name, f"must be a whole number from {low} to {high}")
    return int(text)


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = env.get(name) or default
    if text not in allowed:
        raise _invalid(name, f"must be one of {', '.join(allowed)}")
    return text


def _switch(env: Mapping[str, str], name: str, default: bool) -> bool:
    text = env.get(name, "").lower()
    if not text:
        return default
    if text not in _TRUE | _FALSE:
        raise _invalid(name, "must be true or false")
    return text in _TRUE


def _invalid(name: str, why: str) -> FillwrightError:
    return FillwrightError(Code.CONFIG_INVALID, f"{name} {why}")
