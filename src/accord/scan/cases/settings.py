"""`cases.toml` of a platform's home: the quarantine's key, the lease, where reports go.

    [quarantine]
    name = "trust-and-safety-2026"
    recipient = "age1..."

    [review]
    lease_minutes = 30
    notify_after_hours = 0

    [feedback]
    send = true
    every_minutes = 5

Without the file no case is opened, and nothing is held or sent.
Source: docs/spec/cases.md.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.scan.cases.desk import CaseDesk, Clock
from accord.scan.cases.quarantine import QUARANTINE_FOLDER, NamedKey, Quarantine
from accord.scan.cases.store import CASES_FILE, CaseStore
from accord.wire.errors import Malformed
from accord.wire.limits import CASE_LEASE_MS, CASES_FILE_BYTES_MAX

SETTINGS_FILE: Final = "cases.toml"
_SECTIONS: Final = frozenset({"quarantine", "review", "feedback", "cybertipline", "webhook"})


@dataclass(frozen=True, slots=True)
class Sending:
    """Whether a disposition sends feedback by itself, and how often at most: the ledger takes 288
    statements of a platform in a day."""

    by_itself: bool
    every_ms: int


@dataclass(frozen=True, slots=True)
class CaseSettings:
    """`cybertipline` and `webhook` are as written: what reads them checks them."""

    key: NamedKey | None
    lease_ms: int
    notify_after_ms: int
    feedback: Sending
    cybertipline: Mapping[str, Any]
    webhook: Mapping[str, Any]


def load_table(path: Path, sections: frozenset[str], code: str) -> dict[str, dict[str, Any]]:
    """A TOML file of known sections; empty if there is none. Raises: Malformed."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        if len(raw) > CASES_FILE_BYTES_MAX:
            raise Malformed(code, hint="too large", limit=CASES_FILE_BYTES_MAX)
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise Malformed(code, why=str(err)) from err
    for name, section in table.items():
        if name not in sections or not isinstance(section, dict):
            raise Malformed(code, section=name[:40], known=", ".join(sorted(sections)))
    return table


def load_settings(home: Path) -> CaseSettings:
    """Raises: Malformed, naming what does not fit."""
    table = load_table(home / SETTINGS_FILE, _SECTIONS, "cases.settings")
    key: NamedKey | None = None
    match table.get("quarantine"):
        case None:
            pass
        case {"name": str(name), "recipient": str(recipient)} as section if len(section) == 2:
            key = NamedKey(name, recipient)
        case _:
            raise Malformed("cases.settings", section="quarantine", wanted="name and recipient")
    lease_ms, notify_after_ms = _review(table.get("review", {}))
    sending = _sending(table.get("feedback", {}))
    sections = (table.get("cybertipline", {}), table.get("webhook", {}))
    return CaseSettings(key, lease_ms, notify_after_ms, sending, *sections)


def _review(section: Mapping[str, Any]) -> tuple[int, int]:
    """The lease, and the delay before an uploader is to be told, in ms. Raises: Malformed."""
    defaults = {"lease_minutes": CASE_LEASE_MS // 60_000, "notify_after_hours": 0}
    known = defaults | dict(section)
    match known:
        case {"lease_minutes": int(minutes), "notify_after_hours": int(hours)} if (
            1 <= minutes <= 1_440 and 0 <= hours <= 8_784 and len(known) == 2
        ):
            return minutes * 60_000, hours * 3_600_000
        case _:
            wanted = "lease_minutes, 1 to 1440, and notify_after_hours, 0 to 8784"
            raise Malformed("cases.settings", section="review", wanted=wanted)


def _sending(section: Mapping[str, Any]) -> Sending:
    known = {"send": False, "every_minutes": 5} | dict(section)
    match known:
        case {"send": bool(send), "every_minutes": int(minutes)} if (
            5 <= minutes <= 1_440 and len(known) == 2
        ):
            return Sending(send, minutes * 60_000)
        case _:
            wanted = "send, and every_minutes, 5 to 1440"
            raise Malformed("cases.settings", section="feedback", wanted=wanted)


def has_desk(home: Path) -> bool:
    """Whether this platform keeps cases: an empty cases.toml is enough."""
    return (home / SETTINGS_FILE).exists()


def open_desk(home: Path, clock: Clock, files_per_day: int | None = None) -> CaseDesk:
    """The desk over a platform's home. Its `store` is to be closed. Raises: Malformed."""
    settings = load_settings(home)
    held = None
    if settings.key is not None:
        held = Quarantine(home / QUARANTINE_FOLDER, settings.key)
    return CaseDesk(
        CaseStore(home / CASES_FILE),
        held,
        clock,
        settings.lease_ms,
        files_per_day=files_per_day,
        notify_after_ms=settings.notify_after_ms,
    )
