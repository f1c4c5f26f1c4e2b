"""CyberTipline reports as XML: pure, elements in the order that the schema demands.

Source: https://report.cybertip.org/ispws/documentation; docs/spec/reports.md, section 2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from xml.etree.ElementTree import Element, SubElement, tostring

from accord.scan.cases.model import Case, Disposition, State
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs

POSSESSION: Final = "Child Pornography (possession, manufacture, and distribution)"
EVENT_NAMES: Final = frozenset({"Login", "Registration", "Purchase", "Upload", "Other", "Unknown"})
# How the desk calls the digests that we have.
HASH_TYPES: Final = (("md5", "MD5"), ("sha1", "SHA1"), ("sha256", "SHA256"))
_FACT_CHARS_MAX: Final = 2_000
_KNOWN: Final = frozenset(
    {
        "esp_identifier",
        "screen_name",
        "profile_url",
        "ip_address",
        "event_name",
        "event_ms",
        "file_name",
        "uploaded_ms",
        "publicly_available",
        "url",
    }
)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports, for the desk to call back."""

    first_name: str
    last_name: str
    email: str
    platform: str


@dataclass(frozen=True, slots=True)
class UploadFacts:
    """What the platform knows beside the match; all of it voluntary, none of it from the ledger."""

    esp_identifier: str = ""
    screen_name: str = ""
    profile_url: str = ""
    ip_address: str = ""
    event_name: str = "Upload"
    event_ms: int | None = None
    file_name: str = ""
    uploaded_ms: int | None = None
    publicly_available: bool | None = None
    url: str = ""

    def filled(self) -> int:
        """How many voluntary facts are given: sparse reports are hard to act on."""
        values = (getattr(self, name) for name in _KNOWN - {"event_name"})
        return sum(value not in ("", None) for value in values)


def parse_facts(raw: bytes) -> UploadFacts:
    """Facts as a JSON object. Raises: Malformed, naming the field."""
    try:
        value: Any = json.loads(raw)
    except (ValueError, RecursionError) as err:
        raise Malformed("report.facts", why="not JSON") from err
    if not isinstance(value, dict) or not cast(dict[str, Any], value).keys() <= _KNOWN:
        raise Malformed("report.facts", known=", ".join(sorted(_KNOWN)))
    facts = UploadFacts(**cast(dict[str, Any], value))
    for name in ("esp_identifier", "screen_name", "profile_url", "ip_address", "file_name", "url"):
        text = getattr(facts, name)
        if not isinstance(text, str) or len(text) > _FACT_CHARS_MAX or not text.isprintable():
            raise Malformed("report.facts", field=name)
    for name in ("event_ms", "uploaded_ms"):
        moment = getattr(facts, name)
        if moment is not None and (type(moment) is not int or not 0 <= moment < 2**48):
            raise Malformed("report.facts", field=name)
    if facts.event_name not in EVENT_NAMES:
        raise Malformed("report.facts", field="event_name", known=", ".join(sorted(EVENT_NAMES)))
    if facts.publicly_available not in (True, False, None):
        raise Malformed("report.facts", field="publicly_available")
    for name in ("url", "profile_url"):  # The desk refuses an address with white space in it.
        if any(char.isspace() for char in getattr(facts, name)):
            raise Malformed("report.facts", field=name, hint="white space")
    return facts


def check_reportable(case: Case) -> None:
    """Raises: Malformed, for a case that no reviewer found to be one."""
    found = (Disposition.CONFIRMED, Disposition.OTHER_CATEGORY)
    if case.state is not State.DECIDED or case.disposition not in found:
        raise Malformed("report.not_decided", mend="accord cases dispose")


def report_xml(case: Case, reporter: Reporter, facts: UploadFacts) -> bytes:
    """The body of /submit. Raises: Malformed, see `check_reportable`."""
    check_reportable(case)
    root = Element("report")
    summary = SubElement(root, "incidentSummary")
    _text(summary, "incidentType", POSSESSION)
    _text(summary, "platform", reporter.platform)
    _text(summary, "incidentDateTime", _moment(case.effective_ms))
    if facts.url:
        page = SubElement(SubElement(root, "internetDetails"), "webPageIncident")
        _text(page, "url", facts.url)
    person = SubElement(SubElement(root, "reporter"), "reportingPerson")
    _text(person, "firstName", reporter.first_name)
    _text(person, "lastName", reporter.last_name)
    _text(person, "email", reporter.email)
    if facts.esp_identifier or facts.screen_name or facts.profile_url or facts.ip_address:
        reported = SubElement(root, "personOrUserReported")
        _text(reported, "espIdentifier", facts.esp_identifier)
        _text(reported, "screenName", facts.screen_name)
        _text(reported, "profileUrl", facts.profile_url)
        _ip_event(reported, facts)
    _text(root, "additionalInfo", _words(case))
    return _document(root)


def file_details_xml(case: Case, report_id: str, file_id: str, facts: UploadFacts) -> bytes:
    """The body of /fileinfo. What the machine did and what a person did are told apart."""
    root = Element("fileDetails")
    _text(root, "reportId", report_id)
    _text(root, "fileId", file_id)
    _text(root, "originalFileName", facts.file_name)
    if facts.uploaded_ms is not None:
        _text(root, "uploadedToEspTimestamp", _moment(TimeMs(facts.uploaded_ms)))
    _text(root, "locationOfFile", facts.url)
    _text(root, "fileViewedByEsp", _bool(case.viewed))
    if facts.publicly_available is not None:
        _text(root, "publiclyAvailable", _bool(facts.publicly_available))
    _text(root, "fileRelevance", "Reported")
    digests = case.record.get("digests")
    if isinstance(digests, dict):
        for name, shown in HASH_TYPES:
            if name in digests:
                element = SubElement(root, "originalFileHash", {"hashType": shown})
                element.text = str(digests[name])
    _ip_event(root, facts)
    for line in match_lines(case):
        _text(root, "additionalInfo", line)
    return _document(root)


def match_lines(case: Case) -> list[str]:
    """A sentence for each match: exact or near, how near, by which listing, list and rule."""
    checkpoint = case.record.get("checkpoint")
    size = checkpoint.get("size") if isinstance(checkpoint, dict) else "?"
    lines: list[str] = []
    for match in rows_of(case.record, "matches"):
        rule = match.get("rule")
        named = cast(dict[str, object], rule) if isinstance(rule, dict) else {}
        how = (
            "exact: equal"
            if match.get("kind") == "exact"
            else f"near: {match.get('distance')} {match.get('metric')} of {match.get('threshold')},"
            f" quality {match.get('quality')},"
        )
        lines.append(
            f"{how} {match.get('algorithm')}; listing {match.get('listing')}, class "
            f"{match.get('class')}, ledger size {size}; rule entry {named.get('entry')} version "
            f"{named.get('version')} of {match.get('jurisdiction')}"
        )
    return lines


def rows_of(record: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    """A list of objects in a case's record."""
    rows = record.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _words(case: Case) -> str:
    viewed = "A reviewer viewed the file." if case.viewed else "Nobody viewed the file."
    kinds = sorted({str(match.get("kind")) for match in rows_of(case.record, "matches")})
    return (
        f"Found by automated comparison with listed fingerprints ({', '.join(kinds) or 'none'}). "
        f"{viewed} Case {case.id}; disposition {case.disposition}; software "
        f"{case.record.get('client')}."
    )


def _ip_event(parent: Element, facts: UploadFacts) -> None:
    if facts.ip_address:
        event = SubElement(parent, "ipCaptureEvent")
        _text(event, "ipAddress", facts.ip_address)
        _text(event, "eventName", facts.event_name)
        if facts.event_ms is not None:
            _text(event, "dateTime", _moment(TimeMs(facts.event_ms)))


def _text(parent: Element, name: str, text: str) -> None:
    """An element, unless there is nothing to say."""
    if text:
        SubElement(parent, name).text = text


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _moment(time_ms: TimeMs) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


def _document(root: Element) -> bytes:
    xml: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return xml
