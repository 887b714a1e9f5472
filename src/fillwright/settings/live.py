"""The settings of a real chain.

Decides: what may be said of nodes, wallet and limits, and what belongs together. Must never: let money move because a
setting was left out.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from fillwright.settings.texts import Parse, Secret, Setting, integer, invalid, of_form, one_of

MAINNET: Final = "mainnet"
PROGRAM_KINDS: Final = ("amm_v4", "cpmm", "clmm", "dlmm", "damm_v2")
_BASE58: Final = "[1-9A-HJ-NP-Za-km-z]"
_ADDRESS: Final = f"{_BASE58}{{32,44}}"


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Which real chain, with whose money, and within which limits. What each field means stands in SETTINGS."""

    cluster: str
    rpc: tuple[Secret, ...]
    sockets: tuple[Secret, ...] = ()
    """In the order of `rpc`; where one is missing it follows from the URL."""
    wallet: Path | None = None
    wallet_key: Secret | None = None
    wallet_command: tuple[str, ...] = ()
    wallet_address: str | None = None
    """Of these four the first that is set says who signs; the address belongs to the command."""
    programs: tuple[str, ...] = PROGRAM_KINDS
    mints: tuple[tuple[str, str], ...] = ()
    """Name and mint; where only one of the two was told, both are it. Empty: all that is known or found."""
    order_caps: tuple[tuple[str, str], ...] = ()
    day_caps: tuple[tuple[str, str], ...] = ()
    """Token and amount, as they were told. Empty: none."""
    priority_fee_max: int = 200_000
    tip: tuple[str, int] | None = None
    hop_bps: int = 10
    tables: tuple[str, ...] = ()
    pools: Path | None = None
    pool_slots_max: int = 25
    landed_at: Literal["confirmed", "finalized"] = "confirmed"


def live_of(parts: Mapping[str, Any]) -> Live:
    """Of what was told. Raises FillwrightError(CONFIG_INVALID) where something is missing or contradicts the rest."""
    _refuse_incomplete(parts)
    return Live(**parts)


def _refuse_incomplete(parts: Mapping[str, Any]) -> None:
    if "rpc" not in parts:
        raise invalid("FILLWRIGHT_RPC", "is missing: it names the nodes of the cluster")
    if len({"wallet", "wallet_key", "wallet_command"} & parts.keys()) != 1:
        why = "or FILLWRIGHT_WALLET_KEY or FILLWRIGHT_WALLET_COMMAND must be set, and only one of them"
        raise invalid("FILLWRIGHT_WALLET", why)
    if "wallet_command" in parts and "wallet_address" not in parts:
        raise invalid("FILLWRIGHT_WALLET_ADDRESS", "is missing: it tells whose signatures the command makes")
    if len(parts.get("sockets", ())) > len(parts["rpc"]):
        raise invalid("FILLWRIGHT_RPC_WS", "names more nodes than FILLWRIGHT_RPC")
    if parts["cluster"] != MAINNET:
        return
    if "day_caps" not in parts:
        raise invalid("FILLWRIGHT_DAY_CAPS", "is missing: mainnet needs a limit of what may be spent in 24 hours")
    if any(url.reveal().startswith("http:") and not _is_here(url.reveal()) for url in parts["rpc"]):
        raise invalid("FILLWRIGHT_RPC", "must be https on mainnet, except on this machine")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


# --- how a text is read -----------------------------------------------------------------------------------


def _wallet_key(text: str) -> Secret:
    if not re.fullmatch(rf"{_BASE58}{{64,88}}|\[[0-9, ]{{127,512}}\]", text):
        raise ValueError("must be a key pair in base58, or as a JSON array of 64 bytes")
    return Secret(text)


def _each(parse: Callable[[str], Any], count_max: int, why: str) -> Parse:
    """A list with commas; none twice."""

    def parse_all(text: str) -> tuple[Any, ...]:
        values = tuple(parse(part.strip()) for part in text.split(","))
        if len(values) > count_max or len(set(values)) < len(values):
            raise ValueError(why)
        return values

    return parse_all


def _endpoint(*schemes: str) -> Parse:
    """A node's address, which may hold a key in its path, its query or its login."""
    why = f"must be up to 8 different addresses like {schemes[0]}://host:port/path, separated by commas"

    def parse(text: str) -> Secret:
        try:
            url = urlsplit(text)
            is_good = url.scheme in schemes and bool(url.hostname) and url.port != 0 and not url.fragment
        except ValueError:
            is_good = False
        if not is_good or not re.fullmatch(r"[!-~]+", text):
            raise ValueError(why)
        return Secret(text)

    return _each(parse, 8, why)


def _tokens(text: str) -> tuple[tuple[str, str], ...]:
    def parse(part: str) -> tuple[str, str]:
        if not re.fullmatch(rf"[A-Za-z0-9$]{{1,44}}(=({_ADDRESS}))?", part):
            raise ValueError(why)
        name, _, mint = part.partition("=")
        return name, mint or name

    why = "must be different tokens, separated by commas: symbols, mints, or name=mint"
    tokens: tuple[tuple[str, str], ...] = _each(parse, 1_000, why)(text)
    return tokens


def _caps(text: str) -> tuple[tuple[str, str], ...]:
    def parse(part: str) -> tuple[str, str]:
        token, _, amount = part.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9$]{1,44}", token) or not re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,18})?", amount):
            raise ValueError(why)
        return token, amount

    why = "must be like SOL=5,USDC=1000"
    caps: tuple[tuple[str, str], ...] = _each(parse, 1_000, why)(text)
    if len({token.upper() for token, _ in caps}) < len(caps):
        raise ValueError("names a token twice")
    return caps


def _tip(text: str) -> tuple[str, int]:
    match = re.fullmatch(rf"({_ADDRESS})=([1-9][0-9]{{0,9}})", text)
    if match is None:
        raise ValueError("must be like ADDRESS=lamports")
    return match[1], int(match[2])


def _argv(text: str) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(text))
    except ValueError:
        argv = ()
    if not argv:
        raise ValueError("must be a program and its arguments, quoted as a shell would have them")
    return argv


# --- the table --------------------------------------------------------------------------------------------

LIVE_SETTINGS: Final = (
    Setting(
        ("FILLWRIGHT_CLUSTER",),
        "live.cluster",
        one_of("localnet", "devnet", MAINNET),
        "the real chain that orders settle on, only together with `--live`: `mainnet`, `devnet`, or `localnet` for any "
        "other network, such as that of `fillwright localnet`",
        default="none: a simulated chain",
    ),
    Setting(
        ("FILLWRIGHT_RPC",),
        "live.rpc",
        _endpoint("https", "http"),
        "live: 1 to 8 nodes to ask, the first one first, separated by commas; two of different providers are better "
        "than one",
        default="none: needed with a cluster",
        is_secret=True,
    ),
    Setting(
        ("FILLWRIGHT_RPC_WS",),
        "live.sockets",
        _endpoint("wss", "ws"),
        "live: their WebSocket addresses, in the same order",
        default="as those of a validator: the port after the one of `FILLWRIGHT_RPC`, where that names one",
        is_secret=True,
    ),
    Setting(
        ("FILLWRIGHT_WALLET",),
        "live.wallet",
        Path,
        "live: key file of the wallet, as `solana-keygen new` writes it; it must be a file of this user's own with "
        "mode 0600, not a link. Exactly one of this and the next two",
        default="none is set",
    ),
    Setting(
        ("FILLWRIGHT_WALLET_KEY",),
        "live.wallet_key",
        _wallet_key,
        "live: the key itself, in base58 or as a JSON array",
        default="none: a file is better, since an environment is easily shown",
        is_secret=True,
    ),
    Setting(
        ("FILLWRIGHT_WALLET_COMMAND",),
        "live.wallet_command",
        _argv,
        "live: a program that signs; it gets the message as a line of base64 and answers with the signature as another "
        "one. No shell is asked",
        default="none is set",
    ),
    Setting(
        ("FILLWRIGHT_WALLET_ADDRESS",),
        "live.wallet_address",
        of_form(_ADDRESS, "must be an address in base58"),
        "live: the wallet's address; needed with a command, and otherwise the key must be its own",
        default="that of the key",
    ),
    Setting(
        ("FILLWRIGHT_PROGRAMS",),
        "live.programs",
        _each(one_of(*PROGRAM_KINDS), len(PROGRAM_KINDS), f"must be of {', '.join(PROGRAM_KINDS)}, none twice"),
        "live: the programs that may swap, separated by commas",
        default=f"all: {', '.join(PROGRAM_KINDS)}",
    ),
    Setting(
        ("FILLWRIGHT_MINTS",),
        "live.mints",
        _tokens,
        "live: the tokens that may be swapped, separated by commas: symbols that the engine knows, mints, or name=mint",
        default="those that the engine knows, and what snipers find",
    ),
    Setting(
        ("FILLWRIGHT_ORDER_CAPS",),
        "live.order_caps",
        _caps,
        "live: the most that one order may spend of each token, like `SOL=5,USDC=1000`",
        default="none is set",
    ),
    Setting(
        ("FILLWRIGHT_DAY_CAPS",),
        "live.day_caps",
        _caps,
        "live: the most that the wallet may spend of each token in any 24 hours. Where any caps are set, tokens "
        "without one cannot be spent",
        default="none; `mainnet` needs them",
    ),
    Setting(
        ("FILLWRIGHT_PRIORITY_FEE_MAX",),
        "live.priority_fee_max",
        integer(0, 100_000_000),
        "live: the most that is paid for a compute unit, in micro-lamports",
        default="200000 of them",
    ),
    Setting(
        ("FILLWRIGHT_TIP",),
        "live.tip",
        _tip,
        "live: who is paid how many lamports with every transaction, like `ADDRESS=1000`",
        default="none is set",
    ),
    Setting(
        ("FILLWRIGHT_HOP_BPS",),
        "live.hop_bps",
        integer(0, 500),
        "live: by how much the first of two swaps in a row promises less than was quoted, so that the second can be "
        "written for what is there",
        default="10 basis points",
    ),
    Setting(
        ("FILLWRIGHT_LOOKUP_TABLES",),
        "live.tables",
        _each(of_form(_ADDRESS, "must be addresses in base58"), 8, "must be at most 8 addresses, none twice"),
        "live: lookup tables that hold the accounts of pools, separated by commas: more swaps then fit a transaction",
        default="none: at most two swaps an order",
    ),
    Setting(
        ("FILLWRIGHT_POOLS",),
        "live.pools",
        Path,
        "live: file with the addresses of pools, one a line; # begins a remark",
        default="none: nodes are asked for the pools of each pair",
    ),
    Setting(
        ("FILLWRIGHT_POOL_SLOTS_MAX",),
        "live.pool_slots_max",
        integer(1, 1_000),
        "live: how many slots old a pool may be and still be quoted",
        default="25 slots",
    ),
    Setting(
        ("FILLWRIGHT_LANDED_AT",),
        "live.landed_at",
        one_of("confirmed", "finalized"),
        "live: when a transaction counts as landed. `finalized` takes about 13 seconds more",
        default="once confirmed",
    ),
)
"""A part of config.SETTINGS."""
