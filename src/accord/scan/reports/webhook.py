"""Signed webhooks: each line of the cases' trail, in order, until the receiver takes it.

Form: Standard Webhooks 1.0.0, symmetric. The id is the line's number, so that what is sent twice,
as after a crash between the receiver's yes and our note of it, has the same id both times.
Source: docs/spec/reports.md, section 4.
"""

import base64
import binascii
import hmac
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from accord.scan.cases.store import CaseStore, Fault, Line, no_fault
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import TimeMs
from accord.wire.limits import WEBHOOK_TRIES_MAX

WEBHOOKS_FILE: Final = "webhooks.sqlite"
TOLERANCE_S: Final = 300  # How old a delivery may be; what comes again has a new timestamp.
_WAIT_S: Final = 15.0
_FIRST_WAIT_MS: Final = 5_000
_LONGEST_WAIT_MS: Final = 3_600_000
_AT_ONCE: Final = 100
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS place (
    one INTEGER PRIMARY KEY CHECK (one = 1), taken INTEGER NOT NULL, tries INTEGER NOT NULL,
    next_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS given_up (idx INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Hook:
    """Where to send, and the shared secret."""

    url: str
    secret: bytes

    def __repr__(self) -> str:
        return "Hook()"


def parse_hook(section: Mapping[str, Any], home: Path) -> Hook:
    """`[webhook]` of cases.toml. Raises: Malformed, where there is none or it is not whole."""
    match section:
        case {"url": str(url), "secret_file": str(file)} if len(section) == 2:
            parts = urlsplit(url)
        case _:
            raise Malformed("webhook.settings", mend="[webhook] with url and secret_file")
    is_near = parts.hostname in ("127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_near):
        raise Malformed("webhook.settings", field="url", wanted="https")
    try:
        text = (home / file).read_text().strip().removeprefix("whsec_")
        secret = base64.b64decode(text, validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error) as err:
        raise Malformed("webhook.settings", field="secret_file") from err
    if len(secret) < 24:
        raise Malformed("webhook.settings", field="secret_file", wanted="24 bytes or more")
    return Hook(url, secret)


def sign(secret: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The `webhook-signature` header."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """A delivery's id, for the receiver to remember. Raises: Unproven."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or abs(now_s - int(stamp)) > TOLERANCE_S:
        raise Unproven("webhook.timestamp")
    wanted = sign(secret, message_id, int(stamp), body)
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(item.encode(), wanted.encode()) for item in given):
        raise Unproven("webhook.signature")
    return message_id


def body_of(line: Line) -> bytes:
    """What is told: which case, what happened, who did it. The rest is asked for by its id."""
    said = {
        "type": f"case.{line.what.replace(' ', '-')}",
        "timestamp_ms": line.time_ms,
        "data": {"case": line.case, "who": line.who},
    }
    return json.dumps(said, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round did. `next_ms` is when to try again, if something waits."""

    taken: int
    given_up: int
    next_ms: TimeMs | None


class Deliverer:
    """One process at a time delivers. Raises: Unavailable, for the disk."""

    def __init__(self, home: Path, hook: Hook, fault: Fault = no_fault) -> None:
        self._hook, self._fault = hook, fault
        try:
            path = home / WEBHOOKS_FILE
            self._db = sqlite3.connect(path, timeout=0.5, isolation_level=None)
            path.chmod(0o600)
            self._db.executescript(_SCHEMA)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("BEGIN IMMEDIATE")  # A second process fails here.
            self._db.execute("INSERT OR IGNORE INTO place VALUES (1, 0, 0, 0)")
            self._db.execute("COMMIT")
        except (OSError, sqlite3.Error) as err:
            raise Unavailable("webhook.store", why=str(err)) from err
        self._http = httpx.Client(timeout=_WAIT_S, follow_redirects=False)

    def close(self) -> None:
        self._http.close()
        self._db.close()

    def deliver(self, store: CaseStore, now_ms: TimeMs) -> Delivered:
        """Send what is due, in order, until nothing is left or the receiver does not take it."""
        taken = given_up = 0
        while True:
            place, tries, next_ms = self._query("SELECT taken, tries, next_ms FROM place")[0]
            lines = store.lines(place, _AT_ONCE)
            if not lines:
                return Delivered(taken, given_up, None)
            if now_ms < next_ms:
                return Delivered(taken, given_up, TimeMs(next_ms))
            for line in lines:
                if self._send(line, now_ms):
                    taken += 1
                    self._fault("taken")
                    # Crash here: it is sent again, under the same id.
                    self._move(line.idx, 0, 0)
                    tries = 0
                elif tries + 1 >= WEBHOOK_TRIES_MAX:
                    given_up += 1
                    self._query("INSERT OR IGNORE INTO given_up VALUES (?, ?)", line.idx, now_ms)
                    self._move(line.idx, 0, 0)
                    tries = 0
                else:
                    wait = min(_FIRST_WAIT_MS << tries, _LONGEST_WAIT_MS)
                    self._move(line.idx - 1, tries + 1, now_ms + wait)
                    return Delivered(taken, given_up, TimeMs(now_ms + wait))

    def given_up(self) -> list[int]:
        """The lines that the receiver never took."""
        return [row[0] for row in self._query("SELECT idx FROM given_up ORDER BY idx")]

    def _send(self, line: Line, now_ms: TimeMs) -> bool:
        body, message_id = body_of(line), f"case_{line.idx}"
        stamp = now_ms // 1000
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(self._hook.secret, message_id, stamp, body),
        }
        try:
            answer = self._http.post(self._hook.url, content=body, headers=headers)
        except httpx.HTTPError:
            return False
        return answer.is_success

    def _move(self, taken: int, tries: int, next_ms: int) -> None:
        self._query("UPDATE place SET taken = ?, tries = ?, next_ms = ?", taken, tries, next_ms)

    def _query(self, sql: str, *args: object) -> list[tuple[int, ...]]:
        try:
            return self._db.execute(sql, args).fetchall()
        except sqlite3.Error as err:
            raise Unavailable("webhook.store", why=str(err)) from err
