"""`local.toml` of a platform's home: its own layer over decisions.

    dry_run = false

    [ratio]                 # of files that a list is enabled for; by jurisdiction and clause
    "US/known" = 0.25

    [threshold]             # no laxer than the rule
    pdq = 20

    [noisy]
    files_per_day = 200     # a listing that matches more is held for review

    [[allow]]
    sha256 = "..."
    who = "ada"
    why = "our own logo"

Read at the start. Source: docs/spec/local.md.
"""

import re
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from accord.matching import Decision, Query
from accord.matching.local import (
    RATIO_WHOLE,
    Allowed,
    LocalLayer,
    apply_local,
    modalities_of,
)
from accord.registry.obligation import PlatformObligations
from accord.scan.cases.model import check_text
from accord.statements.rules import Algorithm
from accord.wire.errors import Malformed
from accord.wire.ids import JURISDICTION_RE, NAME_RE
from accord.wire.limits import LOCAL_FILE_BYTES_MAX

LOCAL_FILE: Final = "local.toml"
_KNOWN: Final = frozenset({"dry_run", "ratio", "threshold", "noisy", "allow"})
_LIST_RE: Final = re.compile(rf"(?:{JURISDICTION_RE.pattern})/(?:{NAME_RE.pattern})")
_SHA256_RE: Final = re.compile(r"[0-9a-f]{64}")


def _nothing() -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Local:
    """The layer with what it needs to know at each match. `held`: the noisy listings."""

    layer: LocalLayer
    files_per_day: int | None = None
    held: Callable[[], Collection[str]] = field(default=_nothing, repr=False)

    def carried_out(
        self, decision: Decision, query: Query, obligations: PlatformObligations
    ) -> Decision:
        """Raises: Unavailable, where the held listings cannot be read."""
        if not decision.reasons:
            return decision
        modalities = modalities_of(obligations)
        return apply_local(decision, query, self.layer, modalities, self.held())


def load_local(home: Path) -> Local | None:
    """None, without the file. Raises: Malformed, naming what does not fit."""
    try:
        raw = (home / LOCAL_FILE).read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) > LOCAL_FILE_BYTES_MAX:
        raise Malformed("local.settings", limit=LOCAL_FILE_BYTES_MAX)
    try:
        table = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise Malformed("local.settings", why=str(err)) from err
    if not table.keys() <= _KNOWN:
        raise Malformed("local.settings", known=", ".join(sorted(_KNOWN)))
    dry_run = table.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise Malformed("local.settings", field="dry_run", wanted="true or false")
    rows = table.get("allow", [])
    if not isinstance(rows, list):
        raise Malformed("local.settings", field="allow")
    layer = LocalLayer(
        allowed=dict(_allowed(row) for row in cast(list[object], rows)),
        ratios={name: _ratio(name, value) for name, value in _table(table, "ratio").items()},
        thresholds=dict(_threshold(*item) for item in _table(table, "threshold").items()),
        dry_run=dry_run,
    )
    return Local(layer, _files_per_day(_table(table, "noisy")))


def _table(table: dict[str, Any], name: str) -> dict[str, object]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise Malformed("local.settings", field=name)
    return cast(dict[str, object], found)


def _allowed(row: object) -> tuple[bytes, Allowed]:
    match row:
        case {"sha256": str(digest), "who": str(who), "why": str(why)} if len(
            cast(dict[str, object], row)
        ) == 3 and _SHA256_RE.fullmatch(digest):
            allowed = Allowed(check_text(who, is_needed=True), check_text(why, is_needed=True))
            return bytes.fromhex(digest), allowed
        case _:
            raise Malformed("local.settings", field="allow", wanted="sha256, who and why")


def _ratio(name: str, value: object) -> int:
    if _LIST_RE.fullmatch(name) is None:
        raise Malformed("local.settings", field="ratio", wanted="JURISDICTION/CLAUSE")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Malformed("local.settings", field="ratio", wanted="0 to 1")
    return round(value * RATIO_WHOLE)


def _threshold(name: str, value: object) -> tuple[Algorithm, int]:
    if name not in (Algorithm.PDQ, Algorithm.PHOTODNA):
        raise Malformed("local.settings", field="threshold", wanted="pdq or photodna")
    if type(value) is not int or value < 0:
        raise Malformed("local.settings", field="threshold", wanted="a whole number")
    return Algorithm(name), value


def _files_per_day(section: dict[str, object]) -> int | None:
    match section:
        case {"files_per_day": int(files)} if len(section) == 1 and files > 0:
            return files
        case _ if not section:
            return None
        case _:
            raise Malformed("local.settings", field="noisy", wanted="files_per_day, 1 or more")
