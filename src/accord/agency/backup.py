"""A backup of an agency's home: one plain tar, read back only if every byte is as it was written.

    backup.json     whose it is, when, each file's size and SHA-256, and which keys were left out
    home.toml, genesis.json, earlier/, application.json, keys/, outbox/, node/node.toml,
    node/peer.key

What goes in is named here; what is not named stays out, above all the two memories of what was
signed. A memory that is restored has forgotten what was signed since, so the keys that need one
(consensus, cosigner) are never in a backup either: a restored home cannot contradict its old self,
and its agency makes both anew by keyset. Nor is the node's store: a node fetches and checks every
block from the genesis, and a copy would only be another thing to check.
Not here: encryption; a file with keys has mode 0600 and belongs on an encrypted medium.
Invariants: a backup is one state of the home; a directory that `restore` made is whole or absent.
Source: docs/operate.md, section Backup.
"""

import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from accord.agency.application import APPLICATION_FILE
from accord.client.files import write_durably
from accord.client.home import (
    EARLIER_FOLDER,
    GENESIS_FILE,
    HOME_FILE,
    KEYS_FOLDER,
    Home,
    open_home,
)
from accord.statements.bodies import Role
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, MemberId, TimeMs

MANIFEST_FILE: Final = "backup.json"
FORMAT: Final = "accord-backup/1"
BACKUP_BYTES_MAX: Final = 512_000_000  # Batches under way are nearly all of it; read in memory.
FILES_MAX: Final = 100_000
READS_MAX: Final = 5  # Until a home stands still for a moment.
SECRET_MODE: Final = 0o600
MEMORY_ROLES: Final = (Role.CONSENSUS, Role.COSIGNER)
_KEY = r"(?P<role>[a-z]+)\.(?P<operator>[a-z][a-z0-9-]{1,31})\.key"
_SECRET_RE: Final = re.compile(
    rf"{KEYS_FOLDER}/(?:(?:next/{KEYS_FOLDER}/)?|retired/[0-9]{{4,8}}\.){_KEY}"
    r"|node/peer\.key"
)
_PRIVATE_RE: Final = re.compile(r"outbox/[0-9a-f]{32}/[0-9]{4,8}\.(?:tx|entry)")
_EARLIER_RE: Final = re.compile(rf"{EARLIER_FOLDER}/[0-9a-f]{{64}}\.json")
_PLAIN: Final = frozenset({HOME_FILE, GENESIS_FILE, APPLICATION_FILE, "node/node.toml"})


_FOLDERS: Final = (EARLIER_FOLDER, KEYS_FOLDER, "outbox", "node")


@dataclass(frozen=True, slots=True)
class Backup:
    """A parsed backup. `files` by path; `left_out` are the keys that must be made anew."""

    chain: ChainId
    member: MemberId
    genesis_sha256: bytes
    made_ms: TimeMs
    left_out: tuple[str, ...]
    files: Mapping[str, bytes]

    def encode(self) -> bytes:
        """The tar: the same backup gives the same bytes."""
        listed = [
            {"path": path, "bytes": len(data), "sha256": sha256(data).hex()}
            for path, data in sorted(self.files.items())
        ]
        manifest = {
            "format": FORMAT,
            "chain": self.chain,
            "member": self.member,
            "genesis_sha256": self.genesis_sha256.hex(),
            "made_ms": self.made_ms,
            "left_out": list(self.left_out),
            "files": listed,
        }
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, MANIFEST_FILE, json.dumps(manifest, indent=1).encode() + b"\n")
            for path, data in sorted(self.files.items()):
                _add(tar, path, data)
        return out.getvalue()

    def must_rotate(self) -> tuple[tuple[str, str], ...]:
        """Role and operator of the keys in force then that no backup may carry."""
        found = (_SECRET_RE.fullmatch(path) for path in self.left_out)
        keys = {(item["role"], item["operator"]) for item in found if item and item["role"]}
        return tuple(sorted(keys))


def make_backup(home: Home, now: TimeMs, *, with_keys: bool) -> Backup:
    """One state of an agency's home. Raises: Malformed, for a platform's, whose receipts must not
    go back in time; Unavailable, where files change all the time or cannot be read.
    """
    if home.kind != "agency":
        raise Malformed("cli.not_an_agency", member=home.member, mend="--home of an agency")
    before = _read(home.path)
    for _ in range(READS_MAX):
        found = _read(home.path)
        if found == before:
            break
        before = found
    else:
        raise Unavailable("backup.changing", path=str(home.path))
    left_out = tuple(sorted(path for path in found if _is_memory_key(path) and _is_current(path)))
    kept = {
        path: data
        for path, data in found.items()
        if not _is_memory_key(path) and (with_keys or _SECRET_RE.fullmatch(path) is None)
    }
    founding = home.founding
    return Backup(home.chain, home.member, founding.digest, now, left_out, kept)


def parse_backup(raw: bytes) -> Backup:
    """Exact: what parses encodes to the same bytes again. Raises: Malformed."""
    if len(raw) > BACKUP_BYTES_MAX:
        raise Malformed("backup.size", limit=BACKUP_BYTES_MAX)
    members = _untar(raw)
    manifest = members.pop(MANIFEST_FILE, None)
    if manifest is None:
        raise Malformed("backup.syntax", hint="no backup.json")
    found = _parse_manifest(manifest, members)
    if found.encode() != raw:
        raise Malformed("backup.altered", mend="another copy of it")
    return found


def load_backup(file: Path) -> Backup:
    """Raises: Malformed, Unavailable."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(BACKUP_BYTES_MAX + 1)
    except OSError as err:
        raise Unavailable("backup.store", path=str(file), why=err.strerror or "") from err
    return parse_backup(raw)


def store_backup(backup: Backup, file: Path) -> None:
    """Write it durably, mode 0600, and read it back. Raises: Malformed, Unavailable."""
    raw = backup.encode()
    if len(raw) > BACKUP_BYTES_MAX or len(backup.files) > FILES_MAX:
        raise Malformed("backup.size", bytes=len(raw), limit=BACKUP_BYTES_MAX)
    if file.exists():
        raise Malformed("backup.exists", path=str(file), mend="another --out")
    try:
        write_durably(file, raw, mode=SECRET_MODE)
    except OSError as err:
        raise Unavailable("backup.store", path=str(file), why=err.strerror or "") from err
    if load_backup(file) != backup:
        raise Unavailable("backup.store", path=str(file), why="it reads otherwise than written")


def restore(backup: Backup, target: Path) -> Home:
    """Make `target` the home that was backed up, without the keys that need a memory.

    Raises: Malformed, where something is there; Unproven, where its parts do not belong together;
    Unavailable.
    """
    if target.is_symlink() or (target.exists() and not _is_empty_directory(target)):
        raise Malformed("backup.target", path=str(target), mend="a new directory")
    place: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for path, data in sorted(backup.files.items()):
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mode = 0o644 if path in _PLAIN else SECRET_MODE
            write_durably(file, data, mode=mode)
        _check(backup, open_home(place))
        # Crash up to here: a hidden directory beside the target, and no home.
        place.rename(target)
    except OSError as err:
        raise Unavailable("backup.store", path=str(target), why=err.strerror or "") from err
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    return open_home(target)


def _check(backup: Backup, home: Home) -> None:
    said = (backup.chain, backup.member, backup.genesis_sha256, "agency")
    if (home.chain, home.member, home.founding.digest, home.kind) != said:
        raise Unproven("backup.home", member=backup.member, chain=backup.chain)


def _is_memory_key(path: str) -> bool:
    found = _SECRET_RE.fullmatch(path)
    return found is not None and found["role"] in MEMORY_ROLES


def _is_current(path: str) -> bool:
    return Path(path).parent.name == KEYS_FOLDER and path.count("/") == 1


def _is_known(path: str) -> bool:
    patterns = (_EARLIER_RE, _SECRET_RE, _PRIVATE_RE)
    return path in _PLAIN or any(pattern.fullmatch(path) for pattern in patterns)


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _read(home: Path) -> dict[str, bytes]:
    """Every file of the home that a backup knows. Raises: Unavailable."""
    found: dict[str, bytes] = {}
    try:
        for top in (home, *(home / name for name in _FOLDERS)):
            files = top.rglob("*") if top.name in (KEYS_FOLDER, "outbox") else top.glob("*")
            for file in files:
                path = file.relative_to(home).as_posix()
                if _is_known(path) and file.is_file():
                    found[path] = file.read_bytes()
    except FileNotFoundError:
        return {}  # Gone while we looked: unlike any other reading.
    except OSError as err:
        raise Unavailable("backup.store", path=str(home), why=err.strerror or "") from err
    return found


def _add(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), SECRET_MODE
    tar.addfile(entry, io.BytesIO(data))


def _untar(raw: bytes) -> dict[str, bytes]:
    """The files of the archive, whose names are all of those that we write. Raises: Malformed."""
    members: dict[str, bytes] = {}
    room = len(raw)
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for entry in tar:
                name = entry.name
                if entry.type != tarfile.REGTYPE or not (name == MANIFEST_FILE or _is_known(name)):
                    raise Malformed("backup.path", hint="no file of a home")
                room -= entry.size  # An archive can claim more than it holds.
                body = tar.extractfile(entry)
                if name in members or body is None or room < 0 or len(members) > FILES_MAX:
                    raise Malformed("backup.path", hint="a file twice, or too many")
                members[name] = body.read()
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as err:
        raise Malformed("backup.syntax", why=type(err).__name__) from err
    return members


def _parse_manifest(raw: bytes, members: Mapping[str, bytes]) -> Backup:
    """Raises: Malformed, where it is not the list of these very files."""
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise Malformed("backup.syntax", hint="backup.json") from err
    match value:
        case {
            "format": "accord-backup/1",
            "chain": str(chain),
            "member": str(member),
            "genesis_sha256": str(digest),
            "made_ms": int(made_ms),
            "left_out": list(left_out),
            "files": list(),
        } if re.fullmatch(r"[0-9a-f]{64}", digest):
            names = cast(list[object], left_out)
        case _:
            raise Malformed("backup.syntax", hint="backup.json")
    if not all(isinstance(name, str) and _is_memory_key(name) for name in names):
        raise Malformed("backup.syntax", hint="backup.json, left_out")
    if any(_is_memory_key(path) for path in members):
        raise Malformed("backup.memory_key", mend="a backup that `accord backup` made")
    return Backup(
        ChainId(chain),
        MemberId(member),
        bytes.fromhex(digest),
        TimeMs(made_ms),
        tuple(cast(list[str], names)),
        dict(members),
    )
