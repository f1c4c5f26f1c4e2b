"""What a scan remembers of files, so that the next one reads only what changed.

A row says what a file looked like and how it was decided under which list. Names are kept as
digests only. Losing the file costs time, never a decision.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, cast

from accord.fingerprint.types import PHOTODNA_BYTES, VIEWS_MAX, Fingerprint, Look
from accord.matching import Context, Query
from accord.media import Named
from accord.statements.rules import Algorithm, Step
from accord.wire import record
from accord.wire.digests import labelled_sha256
from accord.wire.errors import AccordError, Malformed, Unavailable
from accord.wire.record import Compact, Count, Size, Text

_Vector = Annotated[bytes, Size(PHOTODNA_BYTES, PHOTODNA_BYTES)]
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    name BLOB PRIMARY KEY, identity BLOB NOT NULL, looked BLOB NOT NULL, version BLOB NOT NULL,
    answer TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True, order=True)
class _Digest(Compact):
    algorithm: Algorithm
    value: Annotated[bytes, Size(16, 32)]


@dataclass(frozen=True, slots=True)
class Looked:
    """A file's fingerprints as they are stored: a `Query` on the wire."""

    digests: Annotated[tuple[_Digest, ...], Count(0, 8)]
    frames: Annotated[tuple[Fingerprint, ...], Count(0, VIEWS_MAX)]
    undetermined: Annotated[str, Text(1, 64)] | None
    is_exact: bool
    photodna: Annotated[tuple[_Vector, ...], Count(0, VIEWS_MAX)]
    looks: Annotated[tuple[Look, ...], Count(0, VIEWS_MAX)]
    steps: Annotated[tuple[Step, ...], Count(0, 8, ordered=True)]

    @property
    def query(self) -> Query:
        digests = tuple((row.algorithm, row.value) for row in self.digests)
        vectors = tuple((Algorithm.PHOTODNA, value) for value in self.photodna)
        query = Query(digests, self.frames, self.undetermined, self.is_exact, vectors)
        return replace(query, looks=self.looks, steps=frozenset(self.steps))


def looked_of(query: Query) -> Looked:
    """Without patches, of which a picture has 20 KB: where rules ask for them it is read again."""
    rows = tuple(_Digest(name, value) for name, value in query.digests)
    photodna = tuple(value for name, value in query.vectors if name is Algorithm.PHOTODNA)
    looks = tuple(replace(look, patches=b"", mirrored=b"") for look in query.looks)
    steps = tuple(sorted(query.steps - {Step.PATCHES}))
    facts = (query.frames, query.undetermined, query.is_exact, photodna, looks, steps)
    return Looked(rows, *facts)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a file. `version` says under which list and facts `answer` was found."""

    identity: bytes
    query: Query
    version: bytes
    answer: dict[str, object]


class BulkState:
    """One scan's file. For one thread. Raises: Unavailable."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # A crash costs a few files read again.
            self._db.execute(SCHEMA)
            path.chmod(0o600)
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("scan.state", why=str(err)) from err

    def close(self) -> None:
        self.flush()
        self._db.close()

    def find(self, path: Path) -> Remembered | None:
        """None also for a row that does not read: the file is then looked at again."""
        sql = "SELECT identity, looked, version, answer FROM files WHERE name = ?"
        rows = self._run(sql, (name_of(path),))
        if not rows:
            return None
        identity, looked, version, answer = rows[0]
        try:
            query = record.parse_record(Looked, cast(bytes, looked)).query
            shown = json.loads(str(answer))
        except (AccordError, ValueError, TypeError):
            return None
        return Remembered(cast(bytes, identity), query, cast(bytes, version), shown)

    def keep(self, path: Path, what: Remembered) -> None:
        """Durable after `flush`."""
        looked = record.encode_record(looked_of(what.query))
        row = (name_of(path), what.identity, looked, what.version, json.dumps(what.answer))
        self._run("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", row)

    def flush(self) -> None:
        try:
            self._db.commit()
        except sqlite3.Error as err:
            raise Unavailable("scan.state", why=str(err)) from err

    def _run(self, sql: str, args: Sequence[object]) -> list[tuple[object, ...]]:
        try:
            return self._db.execute(sql, args).fetchall()
        except sqlite3.Error as err:
            raise Unavailable("scan.state", why=str(err)) from err


def identity_of(path: Path) -> bytes | None:
    """What changes when a file does: size, time of change, inode. None if it cannot be told."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    facts = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return labelled_sha256("scan-identity", *(str(fact).encode() for fact in facts))


def version_of(list_version: bytes, context: Context, fingerprinter: Named | None) -> bytes:
    """The list and the facts an answer was found under, and by what other fingerprinter."""
    names = ",".join(sorted(context.jurisdictions)).encode()
    facts = [names, context.scope.value.encode(), context.service.value.encode()]
    if fingerprinter is not None:
        facts.append(fingerprinter.as_argument().encode())
    return labelled_sha256("scan-version", list_version, *facts)


def name_of(path: Path) -> bytes:
    """What stands for a place, without naming it. Raises: Malformed."""
    try:
        raw = bytes(path.absolute())
    except UnicodeEncodeError as err:
        raise Malformed("scan.path") from err
    return labelled_sha256("scan-name", raw)
