"""Who signed an engine's block: just enough of the engine's votes to trust a header by our own log.

The fold of the proved log says which consensus keys order blocks; a block that more than two thirds
of them signed is where an engine that joins may begin.
Not here: headers and what follows from one (the engine's own light client), networks (joining).
Source: CometBFT v0.39.4, spec/core/data_structures, CanonicalVote; types/canonical.go.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from accord.node.abci_app import address_of
from accord.node.settings import Trust
from accord.wire.errors import Malformed, Unproven
from accord.wire.keys import VerifyKey

PRECOMMIT: Final = 2
FOR_THE_BLOCK: Final = 2  # BlockIDFlagCommit; others voted for nothing, or not at all.
HASH_BYTES: Final = 32
SIGNATURES_MAX: Final = 1_024
_TIME_RE: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


@dataclass(frozen=True, slots=True)
class Signed:
    """A block, and which of the keys asked about signed it."""

    block: Trust
    keys: frozenset[bytes]


def verify_commit(value: object, chain: str, keys: Iterable[bytes]) -> Trust:
    """The block that more than two thirds of these validators signed.

    `value` is the engine's answer to `commit`; `chain` the engine's chain id.
    Raises: Malformed; Unproven, where too few of them signed.
    """
    asked = frozenset(keys)
    found = signatures(value, chain, asked)
    if 3 * len(found.keys) <= 2 * len(asked):
        height, signed = found.block.height, len(found.keys)
        raise Unproven("light.quorum", height=height, signed=signed, of=len(asked))
    return found.block


def signatures(value: object, chain: str, keys: frozenset[bytes]) -> Signed:
    """Which of these keys signed the block of the engine's answer to `commit`.

    Raises: Malformed; Unproven, where a signature in their name is none.
    """
    match value:
        case {"signed_header": {"commit": {**commit}}}:
            pass
        case _:
            raise Malformed("light.commit")
    try:
        return _look(cast(dict[str, Any], commit), chain, {address_of(key): key for key in keys})
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise Malformed("light.commit", why=type(err).__name__) from err


def _look(commit: dict[str, Any], chain: str, keys: dict[bytes, bytes]) -> Signed:
    height, round_number = int(commit["height"]), int(commit["round"])
    block, parts = commit["block_id"], commit["block_id"]["parts"]
    block_sha256, parts_sha256 = bytes.fromhex(block["hash"]), bytes.fromhex(parts["hash"])
    lines = commit["signatures"]
    if len(block_sha256) != HASH_BYTES or len(lines) > SIGNATURES_MAX or height < 1:
        raise Malformed("light.commit", height=height)
    found: set[bytes] = set()
    for line in lines:
        address = bytes.fromhex(line["validator_address"])
        if line["block_id_flag"] != FOR_THE_BLOCK or address not in keys:
            continue
        vote = encode_vote(
            (height, round_number),
            (block_sha256, int(parts["total"]), parts_sha256),
            _parse_time(line["timestamp"]),
            chain,
        )
        signature = base64.b64decode(line["signature"], validate=True)
        VerifyKey(keys[address]).verify(vote, signature)
        found.add(keys[address])
    return Signed(Trust(height, block_sha256), frozenset(found))


def encode_vote(
    at: tuple[int, int], block: tuple[bytes, int, bytes], time: tuple[int, int], chain: str
) -> bytes:
    """What a validator signs for a block. `at` is height and round; `block` its hash, the number of
    its parts and their hash; `time` seconds and nanoseconds.

    Shape: a protobuf CanonicalVote behind its length as a uvarint.
    """
    (height, round_number), (block_sha256, total, parts_sha256) = at, block
    parts = _uint(1, total) + _bytes(2, parts_sha256)
    block_id = _bytes(1, block_sha256) + _bytes(2, parts, keep=True)
    body = (
        _uint(1, PRECOMMIT)
        + _fixed(2, height)
        + _fixed(3, round_number)
        + _bytes(4, block_id)
        + _bytes(5, _uint(1, time[0]) + _uint(2, time[1]), keep=True)
        + _bytes(6, chain.encode())
    )
    return _uvarint(len(body)) + body


def _parse_time(text: str) -> tuple[int, int]:
    found = _TIME_RE.fullmatch(text)
    if found is None:
        raise Malformed("light.commit", why="time")
    moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    return int(moment.timestamp()), int((found[2] or "0").ljust(9, "0"))


def _uint(number: int, value: int) -> bytes:
    return _uvarint(number << 3) + _uvarint(value) if value else b""


def _fixed(number: int, value: int) -> bytes:
    return _uvarint(number << 3 | 1) + value.to_bytes(8, "little") if value else b""


def _bytes(number: int, value: bytes, *, keep: bool = False) -> bytes:
    if not value and not keep:
        return b""
    return _uvarint(number << 3 | 2) + _uvarint(len(value)) + value


def _uvarint(number: int) -> bytes:
    if number < 0:
        raise Malformed("light.commit", why="number")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
