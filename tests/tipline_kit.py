"""A report desk on loopback that holds every document against the documented order of elements.

It is unforgiving as the real one is: a wrong order, a wrong value or white space in an address is
4100, an unfinished report may be forgotten, a finished one is finished for good.
Source: https://report.cybertip.org/ispws/documentation.
"""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

ORDER: dict[str, list[str]] = {
    "report": [
        "batchedReport", "incidentSummary", "internetDetails", "lawEnforcement", "reporter",
        "personOrUserReported", "intendedRecipient", "victim", "additionalInfo",
    ],
    "incidentSummary": [
        "incidentType", "platform", "escalateToHighPriority", "reportAnnotations",
        "incidentDateTime", "incidentDateTimeDescription",
    ],
    "reportingPerson": ["firstName", "lastName", "phone", "email", "age", "address"],
    "personOrUserReported": [
        "personOrUserReportedPerson", "vehicleDescription", "espIdentifier", "espService",
        "screenName", "displayName", "profileUrl", "ipCaptureEvent", "deviceId",
    ],
    "ipCaptureEvent": ["ipAddress", "eventName", "dateTime", "possibleProxy", "port"],
    "fileDetails": [
        "reportId", "fileId", "fileName", "originalFileName", "uploadedToEspTimestamp",
        "locationOfFile", "fileViewedByEsp", "exifViewedByEsp", "publiclyAvailable",
        "fileRelevance", "potentialMeme", "fileAnnotations", "industryClassification",
        "originalFileHash", "ipCaptureEvent", "deviceId", "details", "additionalInfo",
    ],
}  # fmt: skip
NEEDED = {
    "report": {"incidentSummary", "reporter"},
    "incidentSummary": {"incidentType", "incidentDateTime"},
    "reportingPerson": {"email"},
    "fileDetails": {"reportId", "fileId"},
}
REPEATED = {"internetDetails", "originalFileHash", "ipCaptureEvent", "additionalInfo", "deviceId"}
INCIDENTS = {"Child Pornography (possession, manufacture, and distribution)"}
EVENTS = {"Login", "Registration", "Purchase", "Upload", "Other", "Unknown"}


def faults(element: Element) -> list[str]:
    """What the schema would refuse."""
    found: list[str] = []
    names = [child.tag for child in element]
    order = ORDER.get(element.tag)
    if order is not None:
        if not set(names) <= set(order):
            found.append(f"{element.tag}: unknown {sorted(set(names) - set(order))}")
        elif [order.index(name) for name in names] != sorted(order.index(name) for name in names):
            found.append(f"{element.tag}: order {names}")
        found += [f"twice: {n}" for n in set(names) - REPEATED if names.count(n) > 1]
    if not NEEDED.get(element.tag, set()) <= set(names):
        found.append(f"{element.tag}: something is missing")
    text = (element.text or "").strip()
    if element.tag in ("url", "profileUrl") and any(char.isspace() for char in text):
        found.append("white space in an address")
    if element.tag == "incidentType" and text not in INCIDENTS:
        found.append("incident type")
    if element.tag == "eventName" and text not in EVENTS:
        found.append("event name")
    if element.tag in ("fileViewedByEsp", "publiclyAvailable") and text not in ("true", "false"):
        found.append("boolean")
    return found + [fault for child in element for fault in faults(child)]


@dataclass
class ReportDesk:
    """What it was told. `reports` by id; `lost` names steps whose answer never arrives."""

    url: str = ""
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    down: bool = False
    hooks: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hook_status: int = 200

    def finished(self) -> list[str]:
        return [name for name, report in self.reports.items() if report["done"]]

    def forget_unfinished(self) -> None:
        """A day went by."""
        self.reports = {name: row for name, row in self.reports.items() if row["done"]}

    def answer(self, step: str, kind: str, body: bytes) -> str:
        if step == "status":
            return said(0)
        if step == "submit":
            if faults(fromstring(body)) or fromstring(body).tag != "report":
                return said(4100)
            number = str(len(self.asked) + 1_000_000)
            self.reports[number] = {"done": False, "xml": body, "files": {}, "infos": []}
            return said(0, f"<reportId>{number}</reportId>")
        if step == "fileinfo":
            root = fromstring(body)
            report = self.reports.get(root.findtext("reportId") or "")
            if report is None:
                return said(5001)
            if faults(root) or root.findtext("fileId") not in report["files"]:
                return said(4100)
            report["infos"].append(body)
            return said(0)
        fields, data = form_of(kind, body)
        report = self.reports.get(fields.get("id", ""))
        if report is None:
            return said(5001)
        if report["done"]:
            return said(5102)
        if step == "upload":
            name = f"f{len(report['files'])}"
            report["files"][name] = data
            return said(0, f"<reportId>{fields['id']}</reportId><fileId>{name}</fileId>")
        if step == "finish":
            report["done"] = True
            return said(0, f"<reportId>{fields['id']}</reportId>", "reportDoneResponse")
        del self.reports[fields["id"]]
        return said(0)


def said(code: int, more: str = "", root: str = "reportResponse") -> str:
    return f"<{root}><responseCode>{code}</responseCode>{more}</{root}>"


def form_of(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
    if not kind.startswith("multipart/"):
        return {name: values[0] for name, values in parse_qs(body.decode()).items()}, b""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    fields: dict[str, str] = {}
    data = b""
    for part in message.iter_parts():  # type: ignore[attr-defined]
        name = part.get_param("name", header="content-disposition")
        raw = part.get_payload(decode=True)
        if name == "file":
            data = raw
        else:
            fields[name] = raw.decode()
    return fields, data


@contextmanager
def running_desk() -> Iterator[ReportDesk]:
    """The desk in threads until the block ends."""
    desk = ReportDesk()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/hook":
                desk.hooks.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.reply(desk.hook_status, "")
                return
            step = self.path.rsplit("/", 1)[-1]
            wanted = "Basic " + base64.b64encode(b"esp:secret").decode()
            if self.headers.get("authorization") != wanted:
                self.reply(401, "")
                return
            desk.asked.append(step)
            if desk.down:
                self.reply(503, "")
                return
            text = desk.answer(step, self.headers.get("content-type", ""), body)
            if step in desk.lost:
                desk.lost.remove(step)
                self.close_connection = True
                self.connection.close()
                return
            self.reply(200, text)

        def reply(self, status: int, text: str) -> None:
            raw = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # Lost answers are meant.
    desk.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
