"""The CyberTipline's web service: one method a step. Test unless told production.

Answers are XML from outside: read by a parser that takes no entities, and only what is needed.
Source: https://report.cybertip.org/ispws/documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

import httpx
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from accord.scan.reports.cybertip import Reporter
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import REPORT_BYTES_MAX

BASES: Final = {
    "test": "https://exttest.cybertip.org/ispws",
    "production": "https://report.cybertip.org/ispws",
}
OK: Final = 0
NO_SUCH_REPORT: Final = 5001
ALREADY_FINISHED: Final = 5102
_WAIT_S: Final = 30.0
_XML: Final = {"Content-Type": "text/xml; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Tipline:
    """Where and as whom to report. `duties` are the rules' words for this desk."""

    environment: str
    base: str
    username: str
    password: str
    reporter: Reporter
    duties: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Tipline({self.environment})"


def parse_settings(section: Mapping[str, Any], home: Path) -> Tipline:
    """`[cybertipline]` of cases.toml. Raises: Malformed, where it is not switched on or not whole.

    `send = true` has to be said; the environment is the test one unless it says production.
    """
    if section.get("send") is not True:
        raise Malformed("report.off", mend="send = true under [cybertipline] in cases.toml")
    environment = section.get("environment", "test")
    if environment not in BASES:
        raise Malformed("report.settings", field="environment", known="test, production")
    texts = ("username", "password_file", "email", "first_name", "last_name", "platform")
    for name in texts:
        if not isinstance(section.get(name), str) or not section[name]:
            raise Malformed("report.settings", field=name)
    duties = section.get("duties")
    if not isinstance(duties, list) or not all(isinstance(item, str) for item in duties):
        raise Malformed("report.settings", field="duties", wanted="what rules call this desk")
    known = {"send", "environment", "duties", "url", *texts}
    if not section.keys() <= known:
        raise Malformed("report.settings", known=", ".join(sorted(known)))
    base = _base(environment, section.get("url"))
    try:
        password = (home / section["password_file"]).read_text().strip()
    except (OSError, UnicodeDecodeError) as err:
        raise Malformed("report.settings", field="password_file") from err
    reporter = Reporter(
        section["first_name"], section["last_name"], section["email"], section["platform"]
    )
    return Tipline(environment, base, section["username"], password, reporter, tuple(duties))


def _base(environment: str, url: object) -> str:
    """The production desk is where it is; a rehearsal may be on this machine."""
    if url is None:
        return BASES[environment]
    parts = urlsplit(url) if isinstance(url, str) else None
    if environment != "test" or parts is None or parts.hostname not in ("127.0.0.1", "::1"):
        raise Malformed("report.settings", field="url", wanted="only for a test on this machine")
    return str(url).rstrip("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the desk said: its response code and the ids in it."""

    code: int
    report_id: str
    file_id: str
    raw: bytes


class TiplineClient:
    """One connection. Raises: Unavailable, for a desk that cannot be reached or is not itself."""

    def __init__(self, tipline: Tipline) -> None:
        auth = httpx.BasicAuth(tipline.username, tipline.password)
        self._http = httpx.Client(auth=auth, timeout=_WAIT_S, follow_redirects=False)
        self._base = tipline.base

    def close(self) -> None:
        self._http.close()

    def status(self) -> None:
        """Whether the desk is there and knows us. Raises: Unavailable; Malformed."""
        _check(self._ask("GET", "status"), "status")

    def submit(self, xml: bytes) -> str:
        """Open a report; its id. Raises: Malformed, where the desk finds fault with it."""
        reply = _check(self._ask("POST", "submit", content=xml, headers=_XML), "submit")
        if not reply.report_id:
            raise Unavailable("report.answer", step="submit")
        return reply.report_id

    def upload(self, report_id: str, data: bytes) -> str:
        """Add the file; its id there. Raises: Malformed."""
        files = {"file": ("file", data, "application/octet-stream")}
        reply = self._ask("POST", "upload", data={"id": report_id}, files=files)
        if not _check(reply, "upload").file_id:
            raise Unavailable("report.answer", step="upload")
        return reply.file_id

    def fileinfo(self, xml: bytes) -> None:
        """Describe the file. Raises: Malformed."""
        _check(self._ask("POST", "fileinfo", content=xml, headers=_XML), "fileinfo")

    def finish(self, report_id: str) -> bytes | None:
        """Make the report; the receipt. Repeating it is the same; None for a report that the desk
        no longer knows, as after a day unfinished."""
        reply = self._ask("POST", "finish", data={"id": report_id})
        if reply.code == NO_SUCH_REPORT:
            return None
        if reply.code != ALREADY_FINISHED:
            _check(reply, "finish")
        return reply.raw

    def retract(self, report_id: str) -> None:
        """Drop an unfinished report. One that is not there is dropped."""
        reply = self._ask("POST", "retract", data={"id": report_id})
        if reply.code != NO_SUCH_REPORT:
            _check(reply, "retract")

    def _ask(
        self,
        method: str,
        step: str,
        *,
        content: bytes | None = None,
        data: dict[str, str] | None = None,
        files: dict[str, tuple[str, bytes, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        try:
            answer = self._http.request(
                method,
                f"{self._base}/{step}",
                content=content,
                data=data,
                files=files,
                headers=headers,
            )
        except httpx.HTTPError as err:
            raise Unavailable("report.desk", step=step, why=type(err).__name__) from err
        if answer.status_code in (401, 403):
            raise Malformed("report.credentials", step=step, status=answer.status_code)
        if len(answer.content) > REPORT_BYTES_MAX or answer.status_code >= 500:
            raise Unavailable("report.desk", step=step, status=answer.status_code)
        return _parse(answer.content, step)


def _parse(raw: bytes, step: str) -> Reply:
    try:
        root: Element = fromstring(raw)
        code = int(_find(root, "responseCode") or "")
    except (ParseError, DefusedXmlException, ValueError) as err:
        raise Unavailable("report.answer", step=step) from err
    return Reply(code, _find(root, "reportId"), _find(root, "fileId"), raw)


def _find(root: Element, name: str) -> str:
    found = root.find(f".//{name}")
    return "" if found is None or found.text is None else found.text.strip()


def _check(reply: Reply, step: str) -> Reply:
    if reply.code == OK:
        return reply
    if 1000 <= reply.code < 2000:
        raise Unavailable("report.desk", step=step, response=reply.code)
    raise Malformed("report.refused", step=step, response=reply.code)
