"""Who signs for the wallet: a key in this process, from a file or a text, or a command that keeps it elsewhere.

Decides: which keys are taken, and that no signature is used which does not verify. Must never: let the key into a
repr, an error, a log line, a command's arguments or anything that is stored.
"""

import asyncio
import base64
import json
import os
import signal
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from fillwright.errors import Code, FillwrightError

_KEY_BYTES: Final = 64
_FILE_BYTES_MAX: Final = 4_096
_COMMAND_S: Final = 3.0
"""Less than policy.sign_timeout_s, so that the refusal can say what it was."""
_COMMANDS_MAX: Final = 4
"""Processes at once; more signatures wait, within their time."""
_ANSWER_MAX: Final = 1_024


class KeySigner:
    """See ports.Signer. Holds the key in memory, and nowhere else."""

    __slots__ = ("_address", "_pair")

    def __init__(self, pair: Keypair) -> None:
        self._pair = pair
        self._address = str(pair.pubkey())

    @property
    def address(self) -> str:
        return self._address

    async def sign(self, message: bytes) -> bytes:
        return bytes(self._pair.sign_message(message))

    def __repr__(self) -> str:  # a key pair's own shows the key
        return f"KeySigner({self._address})"

    @classmethod
    def of_file(cls, path: Path) -> "KeySigner":
        """The key in a file as the Solana CLI writes it: a JSON array of 64 bytes.

        Raises FillwrightError(CONFIG_INVALID) unless it is a file, not a link, that belongs to this process's user and
        that nobody else may read. What is checked is what is read: the file is opened once.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _invalid(f"{path} cannot be opened, or is a link ({error.strerror})") from None
        try:
            _refuse_shared(path, os.fstat(descriptor))
            text = os.read(descriptor, _FILE_BYTES_MAX)
        finally:
            os.close(descriptor)
        return cls(_pair_of(text.decode("ascii", errors="replace"), str(path)))

    @classmethod
    def of_text(cls, text: str, name: str) -> "KeySigner":
        """The key in a text: base58, or a JSON array of 64 bytes; `name` is what an error calls it.

        Raises FillwrightError(CONFIG_INVALID).
        """
        return cls(_pair_of(text, name))


class CommandSigner:
    """See ports.Signer. Asks a command: the message as one line of base64 on its standard input, the signature as one
    line of base64 on its standard output, and exit code 0, within `within_s`. One process a signature, no shell.

    What it writes to its standard error is nobody's here: it may tell more than it should.
    """

    def __init__(self, argv: Sequence[str], address: str, *, within_s: float = _COMMAND_S) -> None:
        self._argv = tuple(argv)
        self._address = address
        self._key = Pubkey.from_string(address)
        self._within_s = within_s
        self._turn = asyncio.Semaphore(_COMMANDS_MAX)

    @property
    def address(self) -> str:
        return self._address

    async def sign(self, message: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._within_s), self._turn:
                line = await self._ask(base64.b64encode(message) + b"\n")
        except TimeoutError:
            raise _unavailable(f"did not answer within {self._within_s:g} s") from None
        except OSError as error:
            raise _unavailable(f"cannot be started ({error.strerror})") from None
        return self._verified(line, message)

    async def _ask(self, question: bytes) -> bytes:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        transport, answer = await asyncio.get_running_loop().subprocess_exec(
            _Answer, *self._argv, stdin=pipe, stdout=pipe, stderr=nothing, start_new_session=True
        )
        try:
            asked = transport.get_pipe_transport(0)
            assert isinstance(asked, asyncio.WriteTransport)
            asked.write(question)
            asked.write_eof()
            line = await answer.whole
        finally:
            await _end(transport, answer)
        code = transport.get_returncode()
        if code != 0:
            raise _unavailable(f"ended with exit code {code}; run it by hand to see why")
        return line

    def _verified(self, line: bytes, message: bytes) -> bytes:
        with suppress(ValueError):
            signature = base64.b64decode(line.strip(), validate=True)
            if Signature.from_bytes(signature).verify(self._key, message):
                return signature
        raise _unavailable(f"answered with no signature of {self._address}")


class _Answer(asyncio.SubprocessProtocol):
    """What a command has written to its standard output once it has ended."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.exited = asyncio.Event()
        self._told = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._told += data
        if len(self._told) > _ANSWER_MAX and not self.whole.done():
            self.whole.set_exception(_unavailable("answered with no signature"))

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.whole.done():
            self.whole.set_result(self._told)


async def _end(transport: asyncio.SubprocessTransport, answer: _Answer) -> None:
    """Whatever the command started ends with it."""
    with suppress(ProcessLookupError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    try:
        await answer.exited.wait()
    finally:
        transport.close()


def _refuse_shared(path: Path, kept: os.stat_result) -> None:
    if not stat.S_ISREG(kept.st_mode):
        raise _invalid(f"{path} is not a file")
    if kept.st_uid != os.geteuid():
        raise _invalid(f"{path} belongs to another user")
    mode = stat.S_IMODE(kept.st_mode)
    if mode & ~0o600:
        raise _invalid(f"{path} may be used by others (mode {mode:04o}): chmod 600 it")


def _pair_of(text: str, name: str) -> Keypair:
    try:
        return Keypair.from_bytes(_key_bytes(text.strip()))
    except (ValueError, TypeError, RecursionError):
        why = "holds no key pair: a JSON array of 64 bytes, as `solana-keygen new` writes it, or as base58"
        raise _invalid(f"{name} {why}") from None


def _key_bytes(text: str) -> bytes:
    """Raises ValueError or TypeError."""
    if text.startswith("["):
        return bytes(json.loads(text))
    pair = bytes(Keypair.from_base58_string(text)) if text.isalnum() and text.isascii() else b""
    if len(pair) != _KEY_BYTES:
        raise ValueError
    return pair


def _invalid(why: str) -> FillwrightError:
    return FillwrightError(Code.CONFIG_INVALID, f"the wallet's key: {why}")


def _unavailable(why: str) -> FillwrightError:
    return FillwrightError(Code.SIGNER_UNAVAILABLE, f"the wallet's command {why}")
