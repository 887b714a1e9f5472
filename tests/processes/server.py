"""The real server as its own process, to be started, killed and audited."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.fleet import INHERITED
from tests.servers.machine import free_port


@dataclass
class Server:
    """`fillwright serve` on one folder and one port, across as many lives as the test wants."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns once it accepts connections."""
        env = {
            **INHERITED,
            "PORT": str(self.port),
            "FILLWRIGHT_DATA": str(self.folder),
            "FILLWRIGHT_LOG_LEVEL": "WARNING",
            **self.settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fillwright.cli", "serve", *self.options],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise RuntimeError(self._last_words())

    def kill(self) -> None:
        """SIGKILL: no handler of ours runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=40)
        return self.process.returncode

    def _last_words(self) -> str:
        assert self.process is not None
        return self.process.communicate(timeout=10)[1].decode()


@dataclass(frozen=True)
class Audit:
    """What the two files of a stopped engine say: the orders, and the chain's own ledger."""

    statuses: dict[str, str]
    fills: dict[str, tuple[str, int, int]]
    settlements: list[tuple[str, str, int, int]]
    seqs: dict[str, list[int]]

    @classmethod
    def of(cls, folder: Path) -> "Audit":
        with (
            closing(sqlite3.connect(folder / "orders.db")) as orders,
            closing(sqlite3.connect(folder / "chain.db")) as chain,
        ):
            seqs: dict[str, list[int]] = {}
            for order_id, seq in orders.execute("SELECT order_id, seq FROM order_events ORDER BY order_id, seq"):
                seqs.setdefault(order_id, []).append(seq)
            return cls(
                statuses=dict(orders.execute("SELECT id, status FROM orders").fetchall()),
                fills={
                    order_id: (tx_hash, filled_in, filled_out)
                    for order_id, tx_hash, filled_in, filled_out in orders.execute(
                        "SELECT id, tx_hash, filled_in, filled_out FROM orders WHERE status = 'confirmed'"
                    )
                },
                settlements=chain.execute(
                    "SELECT order_id, signature, amount_in, amount_out FROM ledger WHERE problem IS NULL"
                ).fetchall(),
                seqs=seqs,
            )

    def check(self) -> None:
        """I2, I3 and I5, between the store and the chain's ledger."""
        settled = [order_id for order_id, *_ in self.settlements]
        assert len(settled) == len(set(settled)), "an order settled twice"
        assert {order_id: tuple(rest) for order_id, *rest in self.settlements} == self.fills
        for order_id, seqs in self.seqs.items():
            assert seqs == list(range(1, len(seqs) + 1)), f"history of {order_id} has a gap"
