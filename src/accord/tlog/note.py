"""C2SP signed notes: a text, and lines that sign its exact bytes.

Not here: what the text says (checkpoint), whose lines count (policy), private keys (a callable).
Invariants: what parses encodes to the same bytes; a key's hash is part of its identity.
Source: https://c2sp.org/signed-note, docs/spec/log.md.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from accord.wire.digests import sha256
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.keys import ED25519_BYTES, SIGNATURE_BYTES, VerifyKey
from accord.wire.limits import (
    CHECKPOINT_BYTES_MAX,
    COSIGNATURES_MAX,
    KEY_NAME_BYTES_MAX,
    LOG_SIZE_MAX,
)

Sign = Callable[[bytes], bytes]  # A private key's only face: message in, Ed25519 signature out.

KEY_HASH_BYTES: Final = 4
COSIGNATURE_BYTES: Final = 8 + SIGNATURE_BYTES
_DASH: Final = "\u2014 "  # An em dash and a space open a signature line.
_INTEGER_RE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_VKEY_RE: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


class Algorithm(IntEnum):
    """Signature types of C2SP that Accord signs and verifies; lines of others are unknown keys."""

    ED25519 = 0x01  # A log signs the note's text.
    COSIGNATURE_V1 = 0x04  # A cosigner signs a time and the note's text.


@dataclass(frozen=True, slots=True, order=True)
class NoteKey:
    """A named public key for notes, as a vkey text carries it."""

    name: str
    algorithm: Algorithm
    key: VerifyKey

    def __post_init__(self) -> None:
        check_key_name(self.name)

    @property
    def key_hash(self) -> bytes:
        """Four bytes that tell a name's keys apart; not a cryptographic identity."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key.raw)[:4]

    def encode(self) -> str:
        """Shape: `name+hash in hex+base64(algorithm, key)`."""
        blob = encode_base64(bytes([self.algorithm]) + self.key.raw)
        return f"{self.name}+{self.key_hash.hex()}+{blob}"


def parse_note_key(text: str) -> NoteKey:
    """A vkey text. Raises: Malformed, also for a hash that is not this key's, an algorithm not
    known here and a key that is not safe to register.
    """
    match = _VKEY_RE.fullmatch(text)
    if match is None:
        raise Malformed("tlog.vkey")
    blob = parse_base64(match[3])
    try:
        algorithm = Algorithm(blob[0])
    except ValueError as err:
        raise Malformed("tlog.vkey_algorithm", algorithm=blob[0]) from err
    if len(blob) != 1 + ED25519_BYTES:
        raise Malformed("tlog.vkey", bytes=len(blob))
    key = NoteKey(match[1], algorithm, VerifyKey(blob[1:]))
    if key.key_hash.hex() != match[2]:
        raise Malformed("tlog.vkey_hash")
    return key


@dataclass(frozen=True, slots=True, order=True)
class SignatureLine:
    """One line under a note. Shape: `signature` is whatever the key's algorithm puts there."""

    name: str
    key_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.key_hash) != KEY_HASH_BYTES or not self.signature:
            raise Malformed("tlog.signature_line")

    def is_by(self, key: NoteKey) -> bool:
        return self.name == key.name and self.key_hash == key.key_hash

    def encode(self) -> str:
        return f"{_DASH}{self.name} {encode_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Signed text: worth nothing until a known key's line has been verified over `text`."""

    text: bytes
    lines: tuple[SignatureLine, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not 1 <= len(self.lines) <= COSIGNATURES_MAX:
            raise Malformed("tlog.note_lines", lines=len(self.lines), limit=COSIGNATURES_MAX)

    def encode(self) -> bytes:
        return self.text + b"\n" + "".join(line.encode() for line in self.lines).encode()


def parse_note(raw: bytes) -> Note:
    """Shape: text, a blank line, 1 to 128 signature lines. Raises: Malformed."""
    if len(raw) > CHECKPOINT_BYTES_MAX:
        raise Malformed("tlog.note_size", bytes=len(raw), limit=CHECKPOINT_BYTES_MAX)
    text, gap, block = raw.rpartition(b"\n\n")
    if not gap or not block.endswith(b"\n"):
        raise Malformed("tlog.note")
    lines = _decode(block)[:-1].split("\n")
    if len(lines) > COSIGNATURES_MAX:
        raise Malformed("tlog.note_lines", lines=len(lines), limit=COSIGNATURES_MAX)
    return Note(text + b"\n", tuple(parse_signature_line(line + "\n") for line in lines))


def parse_signature_line(line: str) -> SignatureLine:
    """One line with its newline, as cosigners hand it over. Raises: Malformed."""
    name, gap, blob = line.removeprefix(_DASH).removesuffix("\n").partition(" ")
    if not line.startswith(_DASH) or not line.endswith("\n") or not gap:
        raise Malformed("tlog.signature_line")
    if len(line) > CHECKPOINT_BYTES_MAX:
        raise Malformed("tlog.note_size", limit=CHECKPOINT_BYTES_MAX)
    signature = parse_base64(blob)
    return SignatureLine(name, signature[:KEY_HASH_BYTES], signature[KEY_HASH_BYTES:])


def merge_lines(note: Note, lines: Iterable[SignatureLine]) -> Note:
    """The note with these lines added, one line per key: of two cosignatures the later, otherwise
    the one already there. Hand over verified lines only: one bad line of a known key makes every
    reader refuse the whole note. Raises: Malformed, above the limit.
    """
    kept: dict[tuple[str, bytes], SignatureLine] = {}
    for line in (*note.lines, *lines):
        old = kept.setdefault((line.name, line.key_hash), line)
        both = len(old.signature) == len(line.signature) == COSIGNATURE_BYTES
        if both and line.signature[:8] > old.signature[:8]:
            kept[line.name, line.key_hash] = line
    return Note(note.text, tuple(kept.values()))


@dataclass(frozen=True, slots=True, order=True)
class Cosignature:
    """A cosigner's statement: at `time_s` this was the largest consistent head it had seen.

    Units: seconds since 1970 UTC, by the cosigner's clock.
    """

    time_s: int
    signature: bytes

    def encode(self) -> bytes:
        return self.time_s.to_bytes(8, "big") + self.signature


def parse_cosignature(raw: bytes) -> Cosignature:
    """Shape: time (8 bytes big-endian, below 2**63), Ed25519 signature (64). Raises: Malformed."""
    time_s = int.from_bytes(raw[:8], "big")
    if len(raw) != COSIGNATURE_BYTES or time_s > LOG_SIZE_MAX:
        raise Malformed("tlog.cosignature", bytes=len(raw))
    return Cosignature(time_s, raw[8:])


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """What a cosigner signs. Shape: `cosignature/v1`, `time <seconds>`, then the note's text."""
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def sign_text(text: bytes, key: NoteKey, sign: Sign) -> SignatureLine:
    """A log's own line under a note. Raises: Broken, where `sign` holds another key."""
    _check_text(text)
    if key.algorithm is not Algorithm.ED25519:
        raise Broken("tlog.signer", algorithm=key.algorithm)
    return _checked(SignatureLine(key.name, key.key_hash, sign(text)), text, key)


def cosign_text(text: bytes, key: NoteKey, time_s: int, sign: Sign) -> SignatureLine:
    """A cosigner's line; only `Cosigner` calls this, after it has stored what it promises.
    Raises: Broken, where `sign` holds another key.
    """
    _check_text(text)
    if key.algorithm is not Algorithm.COSIGNATURE_V1 or not 0 <= time_s <= LOG_SIZE_MAX:
        raise Broken("tlog.signer", algorithm=key.algorithm, time_s=time_s)
    payload = Cosignature(time_s, sign(cosigned_message(text, time_s))).encode()
    return _checked(SignatureLine(key.name, key.key_hash, payload), text, key)


def verify_line(line: SignatureLine, text: bytes, key: NoteKey) -> Cosignature | None:
    """The line is this key's signature over the text; the answer is the cosignature it carries,
    or None for a log's plain signature. Raises: Unproven, and nothing else.
    """
    if not line.is_by(key):
        raise Unproven("tlog.signature", key=line.key_hash.hex())
    try:
        if key.algorithm is Algorithm.ED25519:
            key.key.verify(text, line.signature)
            return None
        cosignature = parse_cosignature(line.signature)
        key.key.verify(cosigned_message(text, cosignature.time_s), cosignature.signature)
        return cosignature
    except (Malformed, Unproven) as err:
        raise Unproven("tlog.signature", key=line.key_hash.hex()) from err


def _checked(line: SignatureLine, text: bytes, key: NoteKey) -> SignatureLine:
    """Our own line, seen to verify before anybody gets it: a wrong key file stays at home."""
    try:
        verify_line(line, text, key)
    except Unproven as err:
        raise Broken("tlog.signer", key=key.key_hash.hex()) from err
    return line


def check_key_name(name: str) -> None:
    """Raises: Malformed, for a name a signature line could not carry."""
    if not name or any(char in "+\x7f" or char.isspace() or not is_text(char) for char in name):
        raise Malformed("tlog.key_name")
    if len(name.encode()) > KEY_NAME_BYTES_MAX:
        raise Malformed("tlog.key_name", limit=KEY_NAME_BYTES_MAX)


def is_text(line: str) -> bool:
    """No control character and nothing UTF-8 has no bytes for."""
    return all(char >= " " and not "\ud800" <= char <= "\udfff" for char in line)


def parse_integer(text: str) -> int:
    """A decimal from 0 to 2**63 - 1 without a leading zero. Raises: Malformed."""
    if _INTEGER_RE.fullmatch(text) is None or int(text) > LOG_SIZE_MAX:
        raise Malformed("tlog.integer")
    return int(text)


def encode_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def parse_base64(text: str) -> bytes:
    """Standard base64 with padding, in its one spelling. Raises: Malformed."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as err:
        raise Malformed("tlog.base64") from err
    if not raw or encode_base64(raw) != text:
        raise Malformed("tlog.base64")
    return raw


def _decode(raw: bytes) -> str:
    """UTF-8 without control characters other than newline. Raises: Malformed."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as err:
        raise Malformed("tlog.utf8") from err
    if any(char < " " and char != "\n" for char in text):
        raise Malformed("tlog.control_character")
    return text


def _check_text(text: bytes) -> None:
    if not _decode(text).endswith("\n") or len(text) > CHECKPOINT_BYTES_MAX:
        raise Malformed("tlog.note")
