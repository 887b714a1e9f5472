"""Golden swaps of Meteora DAMM v2: `python -m tests.vectors.damm_v2_vectors` writes this folder's lines anew.

Decides: which set it is. Must never: compute an amount. Shape, reading and shortening are those of `swaps`.
"""

from typing import Final

import msgspec

from tests.vectors import swaps

NAME: Final = "meteora_damm_v2"


def write() -> None:
    lines = [msgspec.json.encode(vector) + b"\n" for vector in swaps.load_full_set(NAME)]
    (swaps.HERE / f"{NAME}.jsonl").write_bytes(b"".join(lines))


if __name__ == "__main__":
    write()
