"""The file of patches that many pictures show, which listings leave out: buttons, logos, templates.

One line says what it is, then one line a patch: 64 hexadecimal digits, ascending, none twice.
Not here: finding such patches (rehearsal), files (their readers).
Invariants: a parser gives the patches or Malformed, and encoding them gives the same bytes.
Source: docs/spec/fingerprint.md, section 13.
"""

from itertools import pairwise
from typing import Final

import numpy as np

from accord.fingerprint.dihedral import Bits
from accord.fingerprint.types import PDQ_BYTES
from accord.wire.errors import Malformed

HEAD: Final = b"accord common patches 1\n"
COUNT_MAX: Final = 100_000  # A listing is compared with each: a tenth of a second a thousand.
_LINE: Final = 2 * PDQ_BYTES + 1


def encode_common(patches: Bits) -> bytes:
    """Shape: (n, 32), in any order. Raises: Malformed, beyond `COUNT_MAX`."""
    lines = sorted({row.tobytes().hex() for row in patches})
    if len(lines) > COUNT_MAX:
        raise Malformed("fingerprint.common", count=len(lines))
    return HEAD + "".join(f"{line}\n" for line in lines).encode()


def parse_common(data: bytes) -> Bits:
    """Shape: (n, 32). Raises: Malformed."""
    body = data[len(HEAD) :]
    if not data.startswith(HEAD) or len(body) % _LINE or len(body) > COUNT_MAX * _LINE:
        raise Malformed("fingerprint.common")
    lines = [body[at : at + _LINE] for at in range(0, len(body), _LINE)]
    if any(one >= other for one, other in pairwise(lines)):
        raise Malformed("fingerprint.common")
    try:
        rows = b"".join(bytes.fromhex(line[:-1].decode("ascii")) for line in lines)
    except ValueError as exc:
        raise Malformed("fingerprint.common") from exc
    patches = np.frombuffer(rows, dtype=np.uint8)
    if len(rows) != len(lines) * PDQ_BYTES or encode_common(patches.reshape(-1, PDQ_BYTES)) != data:
        raise Malformed("fingerprint.common")
    return patches.reshape(-1, PDQ_BYTES)
