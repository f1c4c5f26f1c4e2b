"""Entries: statements at their place in the log, with the block time all deadlines count from."""

from dataclasses import dataclass

from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs

ENTRY_VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf of the log. Never holds ciphertext: blobs are fetched by their digest."""

    time_ms: TimeMs
    statement: bytes

    def encode(self) -> bytes:
        """Shape: CBOR [1, block time, statement]."""
        return cbor.encode([ENTRY_VERSION, self.time_ms, self.statement])


def parse_entry(leaf: bytes) -> Entry:
    """Raises: Malformed."""
    match cbor.parse(leaf):
        case [1, int(time_ms), bytes(statement)] if 0 <= time_ms <= 2**53:
            return Entry(TimeMs(time_ms), statement)
        case _:
            raise Malformed("entry.shape")
