"""A member's home directory: who it is, its keys, its authentic copy of the genesis.

    home.toml              who, which chain, which nodes
    genesis.json           the genesis, whose digest home.toml pins
    earlier/SHA256.json    those that it continues, if it does
    keys/ROLE.OPERATOR.key one private key a file, mode 0600

A crash while a home is made leaves a directory without home.toml, which is not a home.
"""

import json
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accord.client.files import write_durably
from accord.ledger.genesis import Founding, encode_genesis, parse_genesis
from accord.statements.bodies import Role, RoleKey, possession_bytes
from accord.statements.confidential import DECRYPT_PRIVATE_BYTES, decrypt_public_of
from accord.wire.digests import sha256
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import NAME_RE, ChainId, KeyId, MemberId, OperatorId
from accord.wire.keys import key_id_of

HOME_FILE = "home.toml"
GENESIS_FILE = "genesis.json"
EARLIER_FOLDER = "earlier"
CONTINUED_FILE = "continued.json"  # This agency goes on in another home: no node runs here.
KEYS_FOLDER = "keys"
KEY_NAME_RE = re.compile(r"([a-z]+)\.([a-z][a-z0-9-]{1,31})\.key")
ED25519_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One private key: an Ed25519 seed, or the 96-byte X-Wing seed of a decryptor."""

    role: Role
    operator: OperatorId
    seed: bytes

    def __repr__(self) -> str:
        return f"PrivateKey({self.role}, {self.operator})"

    @property
    def public(self) -> bytes:
        if self.role is Role.DECRYPTOR:
            return decrypt_public_of(self.seed)
        return self._signer().public_key().public_bytes_raw()

    @property
    def key_id(self) -> KeyId:
        return key_id_of(self.public)

    def sign(self, message: bytes) -> bytes:
        return self._signer().sign(message)

    def role_key(self, chain: ChainId, member: MemberId) -> RoleKey:
        """The public part, with proof of possession."""
        if self.role is Role.DECRYPTOR:
            return RoleKey(self.role, self.operator, self.public, b"")
        proof = self.sign(possession_bytes(chain, member, self.role, self.public))
        return RoleKey(self.role, self.operator, self.public, proof)

    def _signer(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def new_key(role: Role, operator: OperatorId) -> PrivateKey:
    """A fresh key from the operating system's randomness."""
    size = DECRYPT_PRIVATE_BYTES if role is Role.DECRYPTOR else ED25519_SEED_BYTES
    return PrivateKey(role, operator, os.urandom(size))


def role_keys(chain: ChainId, member: MemberId, keys: Sequence[PrivateKey]) -> tuple[RoleKey, ...]:
    """The public keyset, in the order the ledger asks for."""
    return tuple(sorted(key.role_key(chain, member) for key in keys))


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home. `nodes` are base URLs of the consortium's nodes, the own one first."""

    path: Path
    chain: ChainId
    member: MemberId
    kind: str  # "agency" or "platform".
    nodes: tuple[str, ...]
    founding: Founding
    keys: tuple[PrivateKey, ...]

    def key(self, role: Role, operator: str | None = None) -> PrivateKey:
        """The key for a role. Raises: Malformed, naming what is there, if none or several fit."""
        of_role = [key for key in self.keys if key.role is role]
        fits = [key for key in of_role if operator in (None, key.operator)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            mend = " or ".join(f"--operator {key.operator}" for key in fits)
            raise Malformed("home.several_keys", role=role.value, mend=mend)
        shown = of_role or self.keys  # With another operator; else whatever is here.
        have = ", ".join(f"{key.role}.{key.operator}" for key in shown)
        raise Malformed("home.no_such_key", role=role.value, operator=operator or "", have=have)


def create_home(  # Each argument is a line of home.toml.
    path: Path,
    kind: str,
    member: MemberId,
    genesis: bytes,
    nodes: Sequence[str],
    keys: Sequence[PrivateKey],
) -> Home:
    """Write a home; `home.toml` last, so that a half-made one is none.

    Raises: Malformed; Unavailable, when the disk refuses, and then the same call may be repeated.
    """
    if NAME_RE.fullmatch(member) is None:
        raise Malformed("home.member", member=member)
    if (path / HOME_FILE).exists():
        raise Malformed("home.exists", path=str(path))
    stored: list[Path] = []
    try:
        (path / KEYS_FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        for key in keys:
            stored.append(store_key(path, key))
        return adopt_genesis(path, kind, member, genesis, nodes)
    except (OSError, Unavailable) as err:
        if not (path / HOME_FILE).exists():
            for file in stored:  # Keys of no home: nobody has seen their public halves.
                file.unlink(missing_ok=True)
        if isinstance(err, Unavailable):
            raise
        raise Unavailable("home.store", path=str(path), why=err.strerror or "") from err


def adopt_genesis(
    path: Path, kind: str, member: MemberId, genesis: bytes, nodes: Sequence[str]
) -> Home:
    """Make a directory with keys a home, or give a home other nodes. What an earlier genesis needs
    is in `earlier/`.

    Raises: Malformed; Unproven, where the home has another genesis; Unavailable.
    """
    founding = parse_genesis(genesis, load_earlier(path))
    founding.line()
    if (path / HOME_FILE).exists() and open_home(path).founding != founding:
        raise Unproven("home.genesis", mend="compare genesis.json with another member's")
    try:
        write_durably(path / GENESIS_FILE, genesis)
        write_home_file(path, kind, member, founding, nodes)
    except OSError as err:
        raise Unavailable("home.store", path=str(path), why=err.strerror or "") from err
    return open_home(path)


def go_on(home: Home, genesis: bytes, nodes: Sequence[str]) -> Home:
    """A platform's home, taken to the genesis that continues its own; its keys stay.

    Raises: Malformed; Unproven, for one that does not continue this home's; Unavailable.
    """
    store_earlier(home.path, [encode_genesis(item.genesis) for item in home.founding.line()])
    founding = parse_genesis(genesis, load_earlier(home.path))
    if home.founding not in founding.line():
        raise Unproven("home.genesis", mend="compare genesis.json with another member's")
    if home.kind != "platform":  # Its cosigner and its engine remember the old chain.
        raise Malformed("home.new_home", member=home.member, mend="accord agency continue")
    store_earlier(home.path, [genesis])  # Until genesis.json is it.
    try:
        write_home_file(home.path, home.kind, home.member, founding, nodes)
        # POINT OF NO RETURN. Crash from here: home.toml names the new one, found in `earlier/`.
        write_durably(home.path / GENESIS_FILE, genesis)
    except OSError as err:
        raise Unavailable("home.store", path=str(home.path), why=err.strerror or "") from err
    return open_home(home.path)


def store_earlier(path: Path, geneses: Sequence[bytes]) -> None:
    """Keep geneses that one to come continues. Raises: Unavailable."""
    try:
        (path / EARLIER_FOLDER).mkdir(exist_ok=True)
        for raw in geneses:
            write_durably(path / EARLIER_FOLDER / f"{sha256(raw).hex()}.json", raw)
    except OSError as err:
        raise Unavailable("home.store", path=str(path), why=err.strerror or "") from err


def load_earlier(path: Path) -> list[bytes]:
    """The bytes of earlier geneses that are kept here; which of them count their digests say."""
    return [file.read_bytes() for file in sorted((path / EARLIER_FOLDER).glob("*.json"))]


def write_home_file(
    path: Path, kind: str, member: MemberId, founding: Founding, nodes: Sequence[str]
) -> None:
    """Write or replace home.toml, whole or not at all."""
    lines = [
        "# Who this home belongs to. Written by `accord`; nodes may be edited by hand.",
        f"kind = {json.dumps(kind)}",
        f"member = {json.dumps(member)}",
        f"chain = {json.dumps(founding.genesis.chain)}",
        "# SHA-256 of genesis.json: compare it with the other members before you trust it.",
        f"genesis_sha256 = {json.dumps(founding.digest.hex())}",
        "# Base URLs of nodes, your own first.",
        f"nodes = {json.dumps(list(nodes))}",
    ]
    write_durably(path / HOME_FILE, "\n".join(lines).encode() + b"\n")


def key_file_name(role: Role, operator: OperatorId) -> str:
    return f"{role.value}.{operator}.key"


def store_key(path: Path, key: PrivateKey) -> Path:
    """Keep a private key in the home, readable by its owner only: its file.

    Raises: Malformed if there is one; OSError.
    """
    target = path / KEYS_FOLDER / key_file_name(key.role, key.operator)
    if target.exists():
        mend = "if its home was never finished: another directory, or take the keys away by hand"
        raise Malformed("home.key_exists", key=target.name, mend=mend)
    write_durably(target, key.seed.hex().encode() + b"\n", mode=0o600)
    return target


def open_home(path: Path) -> Home:
    """Raises: Malformed, naming the file and the mend; Unproven if the genesis was exchanged;
    Unavailable, when the disk refuses."""
    try:
        return _open_home(path)
    except OSError as err:
        why = err.strerror or ""
        raise Unavailable("home.store", path=str(err.filename or path), why=why) from err


def _open_home(path: Path) -> Home:
    try:
        table = tomllib.loads((path / HOME_FILE).read_text())
    except FileNotFoundError as err:
        raise Malformed("home.missing", path=str(path), mend="accord init, or --home") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise Malformed("home.toml", path=str(path / HOME_FILE), why=str(err)) from err
    match table:
        case {
            "kind": ("agency" | "platform") as kind,
            "member": str(member),
            "chain": str(chain),
            "genesis_sha256": str(digest),
            "nodes": list(nodes),
        } if all(isinstance(node, str) for node in nodes):
            pass
        case _:
            raise Malformed("home.fields", path=str(path / HOME_FILE))
    raw, earlier = (path / GENESIS_FILE).read_bytes(), load_earlier(path)
    raw = next((item for item in earlier if sha256(item).hex() == digest), raw)
    founding = parse_genesis(raw, earlier)
    if founding.digest.hex() != digest or founding.genesis.chain != chain:
        raise Unproven("home.genesis", mend="compare genesis.json with another member's")
    keys = load_keys(path)
    return Home(path, ChainId(chain), MemberId(member), kind, tuple(nodes), founding, keys)


def load_keys(path: Path) -> tuple[PrivateKey, ...]:
    """The private keys under `path`. Raises: Malformed, naming the file and the mend."""
    return tuple(load_key(file) for file in sorted((path / KEYS_FOLDER).glob("*.key")))


def load_key(file: Path, called: str | None = None) -> PrivateKey:
    """`called` is its name as a key file, where the file has another one.

    Raises: Malformed, naming the file and the mend.
    """
    name = KEY_NAME_RE.fullmatch(called or file.name)
    if name is None or name[1] not in set(Role):
        raise Malformed("home.key_name", key=file.name)
    if file.stat().st_mode & 0o077:
        raise Malformed("home.key_mode", key=file.name, mend="chmod 600")
    try:
        seed = bytes.fromhex(file.read_text().strip())
    except ValueError as err:
        raise Malformed("home.key", key=file.name) from err
    role = Role(name[1])
    wanted = DECRYPT_PRIVATE_BYTES if role is Role.DECRYPTOR else ED25519_SEED_BYTES
    if len(seed) != wanted:
        raise Malformed("home.key", key=file.name)
    return PrivateKey(role, OperatorId(name[2]), seed)
