"""Clients of a gateway: who may look up without holding the list, and what they have used up.

One SQLite file in the platform's home, `clients.sqlite`, which all processes of the gateway share
and which survives them. What admits a request, its nonce, its client's standing, rate and quota,
is one transaction: a client revoked before it is refused after it, in every process.
Invariants: a nonce is used once, also after a restart; what was used up is durable before the
answer; no fingerprint and no listing is kept, only digests under a key of this file.
Not here: signatures (client.verifying), HTTP (gateway), what answers say (lookups).
Source: docs/spec/gateway.md, section Clients.
"""

import hmac
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.audit.lookups import DAY_MS
from accord.client.verifying import Proven
from accord.statements.rules import Service
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import NAME_RE, JurisdictionId, KeyId, MemberId, TimeMs
from accord.wire.keys import VerifyKey
from accord.wire.limits import (
    LOOKUP_CLIENTS_MAX,
    LOOKUP_PROBES_MS,
    LOOKUPS_MAX,
    NONCES_MAX,
    REQUEST_CLOCK_SKEW_S,
)

CLIENTS_FILE: Final = "clients.sqlite"
MINUTE_MS: Final = 60_000
_WAIT_S: Final = 10.0  # For another process's transaction.
_MAC_BYTES: Final = 12
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS clients (
    name TEXT PRIMARY KEY, key_id BLOB NOT NULL UNIQUE, public BLOB NOT NULL,
    terms TEXT NOT NULL, added_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    revoked_ms INTEGER, held_ms INTEGER
);
CREATE TABLE IF NOT EXISTS usage (
    client TEXT NOT NULL, day INTEGER NOT NULL, lookups INTEGER NOT NULL DEFAULT 0,
    fingerprints INTEGER NOT NULL DEFAULT 0, matches INTEGER NOT NULL DEFAULT 0,
    undetermined INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (client, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rates (
    client TEXT PRIMARY KEY, left REAL NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nonces (
    key_id BLOB NOT NULL, nonce TEXT NOT NULL, until_s INTEGER NOT NULL,
    PRIMARY KEY (key_id, nonce)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonces_by_time ON nonces (until_s);
CREATE TABLE IF NOT EXISTS probes (
    client TEXT NOT NULL, listing BLOB NOT NULL, asked BLOB NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (client, listing, asked)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mac_key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL);
"""
_ALL: Final = (
    "SELECT name, public, terms, added_ms, expires_ms, revoked_ms, held_ms FROM clients"
    " ORDER BY name"
)
_ONE: Final = (
    "SELECT name, public, terms, added_ms, expires_ms, revoked_ms, held_ms FROM clients"
    " WHERE key_id = ?"
)
_COUNT: Final = """
INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client, day) DO UPDATE SET
    lookups = lookups + excluded.lookups, fingerprints = fingerprints + excluded.fingerprints,
    matches = matches + excluded.matches, undetermined = undetermined + excluded.undetermined,
    refused = refused + excluded.refused
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a client may do. `per_minute` requests, `per_day` fingerprints; `probes_max` different
    fingerprints that match one listing in 30 days, after which a person has to look."""

    jurisdictions: tuple[JurisdictionId, ...]
    services: tuple[Service, ...]
    per_minute: int
    per_day: int
    probes_max: int

    def __post_init__(self) -> None:
        if not self.jurisdictions or not self.services:
            raise Malformed("clients.terms", wanted="a jurisdiction and a service")
        if not all(0 < n <= LOOKUPS_MAX for n in (self.per_minute, self.per_day, self.probes_max)):
            raise Malformed("clients.terms", wanted=f"limits from 1 to {LOOKUPS_MAX}")

    def as_json(self) -> dict[str, Any]:
        return {
            "jurisdictions": list(self.jurisdictions),
            "services": [service.value for service in self.services],
            "per_minute": self.per_minute,
            "per_day": self.per_day,
            "probes_max": self.probes_max,
        }


@dataclass(frozen=True, slots=True)
class Client:
    """Who may look up, until when, and on which terms."""

    name: MemberId
    public: bytes
    terms: Terms
    added_ms: TimeMs
    expires_ms: TimeMs
    revoked_ms: TimeMs | None = None
    held_ms: TimeMs | None = None  # Since when a person has to look at its look-ups.

    def check_standing(self, now_ms: TimeMs) -> None:
        """Raises: Unproven."""
        if self.revoked_ms is not None:
            raise Unproven("clients.revoked", client=self.name)
        if now_ms >= self.expires_ms:
            raise Unproven("clients.expired", client=self.name)
        if self.held_ms is not None:
            raise Unproven("clients.held", client=self.name)


@dataclass(frozen=True, slots=True)
class Used:
    """What a client used up in one day, numbered since 1970 (UTC)."""

    client: MemberId
    day: int
    lookups: int
    fingerprints: int
    matches: int
    undetermined: int
    refused: int


class Clients:
    """The file. Methods may be called from any thread. Raises: Unavailable, for the disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None
            )
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO mac_key VALUES (1, ?)", (os.urandom(32),))
            self._mac_key = bytes(self._db.execute("SELECT key FROM mac_key").fetchone()[0])
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("clients.store", why=str(err)) from err

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # The operator's side.

    def add(self, client: Client) -> None:
        """Raises: Malformed, for a name or key that is or was somebody's."""
        if NAME_RE.fullmatch(client.name) is None:
            raise Malformed("clients.name", name=client.name[:40])
        key_id = VerifyKey(client.public).key_id
        with self._transaction() as db:
            if db.execute("SELECT count(*) FROM clients").fetchone()[0] >= LOOKUP_CLIENTS_MAX:
                raise Malformed("clients.too_many", limit=LOOKUP_CLIENTS_MAX)
            known = db.execute(
                "SELECT name FROM clients WHERE name = ? OR key_id = ?", (client.name, key_id)
            ).fetchone()
            if known is not None:
                raise Malformed("clients.exists", client=str(known[0]))
            db.execute(
                "INSERT INTO clients VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    client.name,
                    key_id,
                    client.public,
                    json.dumps(client.terms.as_json()),
                    client.added_ms,
                    client.expires_ms,
                ),
            )

    def revoke(self, name: str, now_ms: TimeMs) -> None:
        """From now on, for good. Raises: Malformed, for no such client."""
        sql = "UPDATE clients SET revoked_ms = ifnull(revoked_ms, ?) WHERE name = ?"
        with self._transaction() as db:
            if not db.execute(sql, (now_ms, name)).rowcount:
                raise Malformed("clients.unknown", client=name[:40])

    def release(self, name: str) -> None:
        """A person has looked: its look-ups go on, and what it probed is forgotten."""
        with self._transaction() as db:
            gone = db.execute("UPDATE clients SET held_ms = NULL WHERE name = ?", (name,))
            if not gone.rowcount:
                raise Malformed("clients.unknown", client=name[:40])
            db.execute("DELETE FROM probes WHERE client = ?", (name,))

    def listed(self) -> list[Client]:
        """All that there ever were, by name."""
        return [_client_of(row) for row in self._query(_ALL)]

    def usage(self, since_day: int = 0) -> list[Used]:
        """By day, then client."""
        sql = (
            "SELECT client, day, lookups, fingerprints, matches, undetermined, refused"
            " FROM usage WHERE day >= ? ORDER BY day, client"
        )
        return [Used(*row) for row in self._query(sql, (since_day,))]

    # The gateway's side.

    def public_of(self, key_id: KeyId) -> bytes | None:
        """The key of an id, also of a client that may not look up any more."""
        rows = self._query("SELECT public FROM clients WHERE key_id = ?", (key_id,))
        return bytes(rows[0][0]) if rows else None

    def admit(self, proven: Proven, now_ms: TimeMs) -> Client:
        """A request's client, with one look-up and one fingerprint used up.

        Raises: Unproven, with `http.replayed`, `clients.revoked`, `clients.expired`,
        `clients.held`; Unavailable with `clients.rate` or `clients.quota`, and then `retry_after_s`
        says when to come again.
        """
        proven.check_time(now_ms // 1000)
        with self._transaction() as db:
            self._use_nonce(db, proven, now_ms // 1000)
            row = db.execute(_ONE, (proven.key_id,)).fetchone()
            if row is None:
                raise Unproven("http.signature")
            client = _client_of(row)
            client.check_standing(now_ms)
            refusal = _over_rate(db, client, now_ms) or _over_quota(db, client, 1, now_ms)
            if refusal is None:
                _count(db, client, now_ms, lookups=1, fingerprints=1)
            else:
                _count(db, client, now_ms, refused=1)
        if refusal is not None:  # After the transaction: its nonce and the refusal stand.
            raise refusal
        return client

    def charge(self, client: Client, fingerprints: int, now_ms: TimeMs, *, is_due: bool) -> None:
        """So many more fingerprints of a request that was admitted with one.

        Raises: Unavailable with `clients.quota`, where not `is_due`: nobody has looked yet.
        """
        if fingerprints <= 0:
            return
        with self._transaction() as db:
            refusal = None if is_due else _over_quota(db, client, fingerprints, now_ms)
            if refusal is None:
                _count(db, client, now_ms, fingerprints=fingerprints)
        if refusal is not None:
            raise refusal

    def note(
        self,
        client: Client,
        now_ms: TimeMs,
        *,
        is_match: bool,
        is_undetermined: bool,
        near: Mapping[str, Sequence[bytes]],
    ) -> bool:
        """What came of a look-up. `near`: the listings that fingerprints, and not digests, matched,
        each with those fingerprints. Whether the client is held from now on."""
        with self._transaction() as db:
            _count(db, client, now_ms, matches=is_match, undetermined=is_undetermined)
            most = 0
            if near:
                old = (client.name, now_ms - LOOKUP_PROBES_MS)
                db.execute("DELETE FROM probes WHERE client = ? AND at_ms <= ?", old)
            for listing, asked in near.items():
                key = (client.name, self._mac(listing.encode()))
                rows = [(*key, self._mac(one), now_ms) for one in asked]
                db.executemany("INSERT OR IGNORE INTO probes VALUES (?, ?, ?, ?)", rows)
                sql = "SELECT count(*) FROM probes WHERE client = ? AND listing = ?"
                most = max(most, int(db.execute(sql, key).fetchone()[0]))
            if most <= client.terms.probes_max:
                return False
            db.execute(
                "UPDATE clients SET held_ms = ifnull(held_ms, ?) WHERE name = ?",
                (now_ms, client.name),
            )
            return True

    def _use_nonce(self, db: sqlite3.Connection, proven: Proven, now_s: int) -> None:
        db.execute("DELETE FROM nonces WHERE until_s < ?", (now_s,))
        sql = "SELECT count(*) FROM nonces WHERE key_id = ?"
        if db.execute(sql, (proven.key_id,)).fetchone()[0] >= NONCES_MAX:
            raise Unavailable("http.busy")
        try:
            until_s = proven.expires_s + REQUEST_CLOCK_SKEW_S
            db.execute(
                "INSERT INTO nonces VALUES (?, ?, ?)", (proven.key_id, proven.nonce, until_s)
            )
        except sqlite3.IntegrityError as err:
            raise Unproven("http.replayed") from err

    def _mac(self, value: bytes) -> bytes:
        return hmac.new(self._mac_key, value, "sha256").digest()[:_MAC_BYTES]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable where the block ends. Raises: Unavailable."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    # Crash up to here: nothing was answered, and nothing is used up.
                    self._db.execute("COMMIT")
                finally:
                    if self._db.in_transaction:  # A full disk may leave it open, or close it.
                        self._db.execute("ROLLBACK")
            except sqlite3.Error as err:
                raise Unavailable("clients.store", why=str(err)) from err

    def _query(self, sql: str, args: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, args).fetchall()
            except sqlite3.Error as err:
                raise Unavailable("clients.store", why=str(err)) from err


def _count(  # noqa: PLR0913  (a day's columns, by name)
    db: sqlite3.Connection,
    client: Client,
    now_ms: TimeMs,
    *,
    lookups: int = 0,
    fingerprints: int = 0,
    matches: int = 0,
    undetermined: int = 0,
    refused: int = 0,
) -> None:
    day = now_ms // DAY_MS
    row = (client.name, day, lookups, fingerprints, matches, undetermined, refused)
    db.execute(_COUNT, row)


def _client_of(row: Sequence[Any]) -> Client:
    terms: dict[str, Any] = json.loads(row[2])
    shaped = Terms(
        tuple(JurisdictionId(name) for name in terms["jurisdictions"]),
        tuple(Service(name) for name in terms["services"]),
        terms["per_minute"],
        terms["per_day"],
        terms["probes_max"],
    )
    return Client(MemberId(row[0]), bytes(row[1]), shaped, *row[3:])


def _over_rate(db: sqlite3.Connection, client: Client, now_ms: TimeMs) -> Unavailable | None:
    """A bucket that holds a minute's requests and fills evenly. A clock that was set back fills
    nothing; by up to a minute it is another process's, and no time is filled in twice."""
    row = db.execute("SELECT left, at_ms FROM rates WHERE client = ?", (client.name,)).fetchone()
    most = client.terms.per_minute
    left, at_ms = (float(most), now_ms) if row is None else row
    left = min(float(most), left + max(0, now_ms - at_ms) * most / MINUTE_MS)
    refused = left < 1
    if not refused:
        left -= 1
    until_ms = max(at_ms, now_ms) if at_ms - now_ms <= MINUTE_MS else now_ms
    db.execute("INSERT OR REPLACE INTO rates VALUES (?, ?, ?)", (client.name, left, until_ms))
    if not refused:
        return None
    wait_s = -(-int((1 - left) * MINUTE_MS / most) // 1000)
    return Unavailable("clients.rate", per_minute=most, retry_after_s=max(1, wait_s))


def _over_quota(
    db: sqlite3.Connection, client: Client, more: int, now_ms: TimeMs
) -> Unavailable | None:
    day = now_ms // DAY_MS
    sql = "SELECT fingerprints FROM usage WHERE client = ? AND day = ?"
    row = db.execute(sql, (client.name, day)).fetchone()
    used = 0 if row is None else int(row[0])
    if used + more <= client.terms.per_day:
        return None
    wait_s = -(-((day + 1) * DAY_MS - now_ms) // 1000)
    return Unavailable("clients.quota", per_day=client.terms.per_day, retry_after_s=wait_s)
