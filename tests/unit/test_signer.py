"""Who signs for the wallet: which keys are taken, what a command must answer, and that nobody is shown the key."""

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.signature import Signature

from fillwright.adapters.solana.signer import CommandSigner, KeySigner
from fillwright.errors import Code, FillwrightError

PAIR = Keypair.from_seed(bytes(range(32)))
ARRAY = json.dumps(list(bytes(PAIR)))
MESSAGE = b"what is to be signed"


def key_file(folder: Path, text: str = ARRAY, mode: int = 0o600) -> Path:
    path = folder / "id.json"
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(path: Path) -> str:
    with pytest.raises(FillwrightError) as caught:
        KeySigner.of_file(path)
    assert caught.value.code is Code.CONFIG_INVALID
    return str(caught.value)


def test_a_key_file_of_the_solana_cli_signs(tmp_path: Path) -> None:
    signer = KeySigner.of_file(key_file(tmp_path))
    assert signer.address == str(PAIR.pubkey())
    assert Signature.from_bytes(asyncio.run(signer.sign(MESSAGE))).verify(PAIR.pubkey(), MESSAGE)


@pytest.mark.parametrize("text", [ARRAY, str(PAIR), f" {PAIR}\n"])
def test_a_text_may_be_base58_or_an_array(text: str) -> None:
    assert KeySigner.of_text(text, "FILLWRIGHT_WALLET_KEY").address == str(PAIR.pubkey())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert f"mode {mode:04o}" in refused(key_file(tmp_path, mode=mode))


def test_a_link_is_refused_even_to_a_good_file(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(key_file(tmp_path))
    assert "is a link" in refused(link)


def test_what_is_no_file_is_refused_and_waited_for_by_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in refused(tmp_path / "pipe")
    assert "is not a file" in refused(tmp_path)
    assert "cannot be opened" in refused(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    os.chown(path, 12345, 12345)
    assert "another user" in refused(path)


WRONG = [
    "",
    "[]",
    "[1, 2, 3]",
    "{}",
    "[" * 2_000,
    json.dumps([300] * 64),
    json.dumps([*bytes(PAIR)[:40], 0, *bytes(PAIR)[41:]]),
    str(PAIR)[:-4],
    "not a key",
    "0OIl" * 22,
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_key_pair_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(FillwrightError) as caught:
        KeySigner.of_text(text, "FILLWRIGHT_WALLET_KEY")
    told = str(caught.value)
    assert "FILLWRIGHT_WALLET_KEY holds no key pair" in told
    assert len(told) < 200
    assert caught.value.__cause__ is None


def test_no_text_of_a_signer_holds_the_key(tmp_path: Path) -> None:
    signer = KeySigner.of_file(key_file(tmp_path))
    for told in (repr(signer), str(signer), f"{signer!r}", f"{[signer]}"):
        assert str(PAIR) not in told
        assert str(list(bytes(PAIR))[:4])[1:-1] not in told


# --- a command --------------------------------------------------------------------------------------------


def command(folder: Path, body: str, **kwargs: float) -> CommandSigner:
    """A program that knows the key, and does this."""
    program = folder / "signer.py"
    program.write_text(
        "import base64, json, os, subprocess, sys, time\n"
        "from solders.keypair import Keypair\n"
        f"pair = Keypair.from_bytes(bytes({ARRAY}))\n"
        "message = base64.b64decode(sys.stdin.readline())\n"
        f"{body}\n"
    )
    return CommandSigner([sys.executable, str(program)], str(PAIR.pubkey()), **kwargs)


def unavailable(signer: CommandSigner) -> str:
    with pytest.raises(FillwrightError) as caught:
        asyncio.run(signer.sign(MESSAGE))
    assert caught.value.code is Code.SIGNER_UNAVAILABLE
    return str(caught.value)


GOOD = "print(base64.b64encode(bytes(pair.sign_message(message))).decode())"


def test_a_command_is_asked_for_each_signature(tmp_path: Path) -> None:
    signer = command(tmp_path, GOOD)
    signature = asyncio.run(signer.sign(MESSAGE))
    assert Signature.from_bytes(signature).verify(PAIR.pubkey(), MESSAGE)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("print(base64.b64encode(bytes(pair.sign_message(message + b'!'))).decode())", "no signature of"),
        ("print(base64.b64encode(bytes(Keypair().sign_message(message))).decode())", "no signature of"),
        ("print('nonsense')", "no signature of"),
        ("pass", "no signature of"),
        ("print('A' * 100_000)", "no signature"),
        (f"{GOOD}; sys.exit(3)", "exit code 3"),
        ("print('the key is', list(bytes(pair)), file=sys.stderr); sys.exit(1)", "exit code 1"),
    ],
    ids=["other message", "other key", "nonsense", "nothing", "endless line", "failed", "talkative"],
)
def test_what_does_not_verify_is_never_used(
    tmp_path: Path, body: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    problem = unavailable(command(tmp_path, body, within_s=20.0))
    assert told in problem
    assert "the key is" not in problem + "".join(capfd.readouterr())


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be started" in unavailable(CommandSigner([str(tmp_path / "none")], str(PAIR.pubkey())))


def test_a_silent_command_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    body = (
        "process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(process.pid))\ntime.sleep(60)"
    )
    signer = command(tmp_path, body, within_s=2.0)
    assert "within 2 s" in unavailable(signer)
    pid = int(child.read_text())
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_message_is_no_argument_and_no_shell_is_asked(tmp_path: Path) -> None:
    seen = tmp_path / "argv"
    signer = command(tmp_path, f"open({str(seen)!r}, 'w').write(json.dumps(sys.argv[1:]))\n{GOOD}")
    signer = CommandSigner([*argv_of(signer), "$HOME; echo"], signer.address)
    asyncio.run(signer.sign(MESSAGE))
    assert json.loads(seen.read_text()) == ["$HOME; echo"]
    assert base64.b64encode(MESSAGE).decode() not in seen.read_text()


def argv_of(signer: CommandSigner) -> Sequence[str]:
    return signer._argv
