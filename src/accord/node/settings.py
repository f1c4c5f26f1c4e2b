"""One node's settings: a commented TOML file that people edit, and the key of its peer identity.

    node.toml   where it listens, who its peers are
    peer.key    the key behind its peer id, mode 0600; made once

What the agencies agree on (members, keys, parameters) is on the ledger and never in here.
Source: docs/operate.md, docs/spec/consensus.md section 5.
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accord.client.files import write_durably
from accord.client.home import ED25519_SEED_BYTES
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import NAME_RE, MemberId
from accord.wire.limits import PEERS_MAX

SETTINGS_FILE: Final = "node.toml"
STORE_FILE: Final = "node.db"
RUNNING_FILE: Final = "node.json"  # Its address and process id, while it runs.
PEER_KEY_FILE: Final = "peer.key"
NODE_DIRECTORY: Final = "node"  # In an agency's home.
PEER_ID_BYTES: Final = 20  # The engine names a peer by so much of SHA-256 of its key.
BLOCK_MS: Final = 1_000  # Pause after a block. Shorter is more blocks, not more throughput.
SNAPSHOT_BLOCKS: Final = 1_000  # A quarter of an hour of work, or eight idle ones.
KEEP_BLOCKS_MIN: Final = 10
_PEER_ID_RE: Final = re.compile(r"[0-9a-f]{40}")
_HASH_RE: Final = re.compile(r"[0-9a-fA-F]{64}")
_ADDRESS_RE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


_KNOWN: Final = {
    "api": {"listen", "tls_certificate", "tls_key"},
    "engine": {"listen", "block_ms", "snapshot_blocks", "keep_blocks", "state_sync", "trust"},
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Another agency's node: its peer id, where its engine listens, where its API answers."""

    agency: MemberId
    peer_id: str
    address: str
    api: str


@dataclass(frozen=True, slots=True)
class Trust:
    """A block that somebody vouched for: where the engine's light client begins."""

    height: int
    block_sha256: bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """A parsed node.toml. Addresses are `host:port`; empty TLS files mean plain HTTP.

    Units: blocks for `snapshot_blocks` (0: none are offered) and `keep_blocks` (0: all are kept).
    `trust` is what an operator says; without it the proved log says whom to believe.
    """

    api: str
    peers_listen: str
    peers: tuple[Peer, ...]
    tls_certificate: str = ""
    tls_key: str = ""
    block_ms: int = BLOCK_MS
    snapshot_blocks: int = SNAPSHOT_BLOCKS
    keep_blocks: int = 0
    state_sync: bool = False
    trust: Trust | None = None

    def encode(self) -> bytes:
        """The file, with what each line is for."""
        lines = [
            "# One agency's node. Edit by hand, then restart the node.",
            "",
            "[api]",
            "# Where followers, members and the other nodes reach it. Port 0 takes a free one.",
            f"listen = {json.dumps(self.api)}",
            "# PEM files; empty for plain HTTP, behind a proxy that ends TLS or on loopback.",
            f"tls_certificate = {json.dumps(self.tls_certificate)}",
            f"tls_key = {json.dumps(self.tls_key)}",
            "",
            "[engine]",
            "# Where the other agencies' engines connect. Nobody else is let in.",
            f"listen = {json.dumps(self.peers_listen)}",
            "# Milliseconds between a block and the next.",
            f"block_ms = {self.block_ms}",
            "# Offer joining nodes a snapshot every so many blocks; 0 for none. It takes no room.",
            f"snapshot_blocks = {self.snapshot_blocks}",
            "# Engine blocks to keep, beside what snapshots need; 0 for all. The log stays whole.",
            f"keep_blocks = {self.keep_blocks}",
            "# Whether an empty node begins with a snapshot, and not with the first block.",
            f"state_sync = {json.dumps(self.state_sync)}",
            "# A block that another agency vouched for, HEIGHT:HASH; empty: what the log proves.",
            f"trust = {json.dumps(encode_trust(self.trust))}",
            "",
            "# The other agencies' nodes: what `accord node card` prints there.",
        ]
        for peer in self.peers:
            lines += [
                "[[peers]]",
                f"agency = {json.dumps(peer.agency)}",
                f"id = {json.dumps(peer.peer_id)}",
                f"address = {json.dumps(peer.address)}",
                f"api = {json.dumps(peer.api)}",
                "",
            ]
        return "\n".join(lines).rstrip("\n").encode() + b"\n"


def load_settings(directory: Path) -> Settings:
    """Raises: Malformed, naming the file and the line at fault."""
    path = directory / SETTINGS_FILE
    try:
        raw = path.read_bytes()
    except OSError as err:
        mend = "accord node prepare"
        raise Malformed("settings.missing", path=str(path), mend=mend) from err
    try:
        return parse_settings(raw)
    except Malformed as err:
        raise Malformed(err.code, **{"path": str(path), **err.detail}) from err


def parse_settings(raw: bytes) -> Settings:
    """Raises: Malformed."""
    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise Malformed("settings.toml", why=str(err)) from err
    for name, keys in _KNOWN.items():
        section = table.get(name)
        if not isinstance(section, dict) or set(cast(dict[str, Any], section)) - keys:
            raise Malformed("settings.section", section=name, known=", ".join(sorted(keys)))
    rows = table.get("peers", [])
    if set(table) - {*_KNOWN, "peers"} or not isinstance(rows, list) or len(rows) > PEERS_MAX:
        raise Malformed("settings.section", section="peers", limit=PEERS_MAX)
    peers = tuple(parse_peer(row) for row in cast(list[object], rows))
    if len({p.peer_id for p in peers} | {p.agency for p in peers}) != 2 * len(peers):
        raise Malformed("settings.peer", hint="an agency or id twice")
    match table["api"], table["engine"]:
        case (
            {"listen": str(api), **tls},
            {"listen": str(listen), "block_ms": int(block_ms), **joining},
        ) if 50 <= block_ms <= 60_000 and all(isinstance(item, str) for item in tls.values()):
            texts = cast(dict[str, str], tls)
        case _:
            raise Malformed("settings.value", hint="listen, block_ms (50 to 60000)")
    for address in (api, listen):
        split_address(address)
    certificate, key = texts.get("tls_certificate", ""), texts.get("tls_key", "")
    if bool(certificate) != bool(key):
        raise Malformed("settings.value", hint="tls_certificate and tls_key go together")
    settings = Settings(api, listen, peers, certificate, key, block_ms)
    return _with_joining(settings, cast(dict[str, object], joining))


def _with_joining(settings: Settings, values: dict[str, object]) -> Settings:
    """Raises: Malformed."""
    filled = {
        "snapshot_blocks": SNAPSHOT_BLOCKS,
        "keep_blocks": 0,
        "state_sync": False,
        "trust": "",
        **values,
    }
    match filled:
        case {
            "snapshot_blocks": int(every),
            "keep_blocks": int(keep),
            "state_sync": bool(joins),
            "trust": str(trust),
        } if every >= 0 and type(every) is type(keep) is int:
            pass
        case _:
            raise Malformed(
                "settings.value", hint="snapshot_blocks, keep_blocks, state_sync, trust"
            )
    if keep and (keep < KEEP_BLOCKS_MIN or not every):
        hint = f"keep_blocks is 0 or at least {KEEP_BLOCKS_MIN}, and then with snapshots"
        raise Malformed("settings.value", hint=hint)
    return replace(
        settings,
        snapshot_blocks=every,
        keep_blocks=keep,
        state_sync=joins,
        trust=parse_trust(trust) if trust else None,
    )


def parse_trust(text: str) -> Trust:
    """`HEIGHT:HASH`, the hash in hex. Raises: Malformed."""
    height, _, block = text.partition(":")
    is_height = height.isdecimal() and height.isascii() and 0 < len(height) < 16
    if not is_height or int(height) < 1 or _HASH_RE.fullmatch(block) is None:
        raise Malformed("settings.trust", got=text[:100], wanted="HEIGHT:HASH")
    return Trust(int(height), bytes.fromhex(block))


def encode_trust(trust: Trust | None) -> str:
    return "" if trust is None else f"{trust.height}:{trust.block_sha256.hex()}"


def parse_peer(row: object) -> Peer:
    """A peer as node.toml and cards state it. Raises: Malformed."""
    match row:
        case {"agency": str(agency), "id": str(peer_id), "address": str(address), "api": str(api)}:
            pass
        case _:
            raise Malformed("settings.peer", hint="agency, id, address, api")
    url = urlsplit(api)
    if NAME_RE.fullmatch(agency) is None or _PEER_ID_RE.fullmatch(peer_id) is None:
        raise Malformed("settings.peer", agency=agency[:40])
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Malformed("settings.peer", agency=agency, hint="api is http:// or https://")
    split_address(address)
    return Peer(MemberId(agency), peer_id, address, api.rstrip("/"))


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises: Malformed."""
    found = _ADDRESS_RE.fullmatch(address)
    if found is None or int(found[2]) > 65_535:
        raise Malformed("settings.address", got=address[:80], wanted="host:port")
    return found[1].strip("[]"), int(found[2])


def peer_key(directory: Path) -> Ed25519PrivateKey:
    """The key behind the node's peer id, made at the first call. Raises: Malformed."""
    path = directory / PEER_KEY_FILE
    if not path.exists():
        write_durably(path, os.urandom(ED25519_SEED_BYTES).hex().encode() + b"\n", mode=0o600)
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except ValueError as err:
        raise Malformed("settings.peer_key", path=str(path)) from err


def peer_id_of(key: Ed25519PrivateKey) -> str:
    return sha256(key.public_key().public_bytes_raw())[:PEER_ID_BYTES].hex()


def write_settings(directory: Path, settings: Settings) -> None:
    """Create or replace node.toml."""
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(directory / SETTINGS_FILE, settings.encode())
