"""C2SP checkpoints: the text of a note that states a log's size and root.

Not here: signatures (note), whether to believe it (policy).
Source: https://c2sp.org/tlog-checkpoint, docs/spec/log.md.
"""

from dataclasses import dataclass

from accord.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from accord.tlog.note import encode_base64, is_text, parse_base64, parse_integer
from accord.wire.errors import Malformed
from accord.wire.limits import CHECKPOINT_BYTES_MAX, LOG_SIZE_MAX


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: `size` leaves of the log `origin` have this root. Unsigned, so a claim only.

    An empty log has the one root that RFC 6962 gives it.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or not is_text(line):
                raise Malformed("tlog.checkpoint", hint="empty line or control character")
        if not 0 <= self.size <= LOG_SIZE_MAX or len(self.root) != HASH_BYTES:
            raise Malformed("tlog.checkpoint", size=self.size, root_bytes=len(self.root))
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise Malformed("tlog.checkpoint", hint="root of an empty log")

    def encode(self) -> bytes:
        """The text a note signs. Shape: origin, size, base64 root, extensions; each a line."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Accepts exactly what `Checkpoint.encode` writes. Raises: Malformed."""
    if len(text) > CHECKPOINT_BYTES_MAX:
        raise Malformed("tlog.note_size", bytes=len(text), limit=CHECKPOINT_BYTES_MAX)
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as err:
        raise Malformed("tlog.utf8") from err
    if len(lines) < 4 or lines.pop() != "":
        raise Malformed("tlog.checkpoint", lines=len(lines))
    origin, size, root, *extensions = lines
    return Checkpoint(origin, parse_integer(size), parse_base64(root), tuple(extensions))
