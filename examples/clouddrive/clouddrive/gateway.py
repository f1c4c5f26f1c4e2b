"""The gateway's HTTP API as the drive uses it: a verdict, or the reason why there is none.

An answer that does not read as the contract says is no answer (`CannotScreen`): the drive fails
closed on it.
Source: docs/spec/gateway.md.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx

from clouddrive.limits import ANSWER_BYTES_MAX, GATEWAY_WAIT_S

ACTIONS: Final = ("allow", "tag", "review", "quarantine", "block")
DECISIONS: Final = ("match", "no_match", "undetermined")


class CannotScreen(Exception):
    """Nobody looked, for now. The file waits; the same call may succeed later."""

    def __init__(self, code: str, retry_after_s: float = 0.0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


class NotAccepted(Exception):
    """The gateway will not take this very file; the same call will fail again."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Certificate:
    """One agency's signed entry that a decision rests on."""

    agency: str
    entry: int


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule's view of the file."""

    jurisdiction: str
    title: str
    version: int | None
    entry: int | None
    clause: str
    listing: str
    algorithm: str
    distance: int | None
    disputed: bool
    action: str
    certified_by: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class ReportDuty:
    """Somebody the law wants told, and how soon."""

    jurisdiction: str
    to: str
    within_hours: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gateway concluded about one file, and what the platform owes because of it.

    `facts` is the answer as JSON without fingerprints and signature, fit to be kept as evidence;
    `parse_verdict(facts)` gives the same verdict without fingerprints.
    """

    decision: str
    action: str
    code: str | None
    reasons: tuple[Reason, ...]
    reports: tuple[ReportDuty, ...]
    preserve_days: int
    user_notice: tuple[str, ...]
    checkpoint_size: int
    stale: bool
    receipt_index: int | None
    fingerprints: str | None
    facts: str

    def __repr__(self) -> str:
        return f"Verdict({self.decision}, {self.action}, {self.code})"

    @property
    def key(self) -> str:
        """Equal for two verdicts that say the same, so that a rescan is not told twice."""
        why = sorted((r.jurisdiction, r.listing, r.algorithm, r.version or 0) for r in self.reasons)
        text = json.dumps([self.decision, self.action, self.code, why])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RuleInForce:
    jurisdiction: str
    version: int
    title: str
    modality: str


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """The list and the rules a gateway screens with now; `version` changes when either does."""

    version: str
    platform: str
    size: int
    time_ms: int
    stale: bool
    active_count: int
    rules: tuple[RuleInForce, ...]
    receipts: int


class _Unreadable(ValueError):
    """A field that is not what the contract says."""


class _Fields:
    """A JSON object read by type. Raises: _Unreadable."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise _Unreadable("not an object")
        self.raw = cast("dict[str, Any]", value)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.raw.get(name)
        value = default if value is None else value
        if not isinstance(value, str):
            raise _Unreadable(name)
        return value

    def number_or_none(self, name: str) -> int | None:
        value = self.raw.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise _Unreadable(name)
        return value

    def number(self, name: str, default: int | None = None) -> int:
        value = self.number_or_none(name)
        value = default if value is None else value
        if value is None:
            raise _Unreadable(name)
        return value

    def flag(self, name: str) -> bool:
        return self.raw.get(name) is True

    def items(self, name: str) -> list[object]:
        value = self.raw.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _Unreadable(name)
        return cast("list[object]", value)

    def inner(self, name: str) -> "_Fields":
        return _Fields(self.raw.get(name) or {})


def _reason(value: object) -> Reason:
    fields = _Fields(value)
    rule = fields.inner("rule")
    certified = [_Fields(item) for item in fields.items("certified_by")]
    return Reason(
        jurisdiction=fields.text("jurisdiction", ""),
        title=rule.text("title", ""),
        version=rule.number_or_none("version"),
        entry=rule.number_or_none("entry"),
        clause=str(rule.raw.get("clause") or ""),
        listing=fields.text("listing", ""),
        algorithm=fields.text("algorithm", ""),
        distance=fields.number_or_none("distance"),
        disputed=fields.flag("disputed"),
        action=fields.text("action", ""),
        certified_by=tuple(Certificate(c.text("agency"), c.number("entry")) for c in certified),
    )


def _report(value: object) -> ReportDuty:
    fields = _Fields(value)
    return ReportDuty(
        fields.text("jurisdiction", ""), fields.text("to"), fields.number("within_hours", 0)
    )


def parse_verdict(text: str) -> Verdict:
    """Raises: CannotScreen, when the answer does not read as the contract says."""
    try:
        fields = _Fields(json.loads(text))
        decision, action = fields.text("decision"), fields.text("action")
        if decision not in DECISIONS or action not in ACTIONS:
            raise _Unreadable("decision or action")
        duties = fields.inner("duties")
        code = fields.text("code", "")
        receipt = fields.inner("receipt")
        prints = {k: v for k, v in fields.inner("fingerprints").raw.items() if v}
        kept = {k: v for k, v in fields.raw.items() if k != "fingerprints"}
        if isinstance(kept.get("receipt"), dict):
            kept["receipt"] = {"index": receipt.number_or_none("index")}
        return Verdict(
            decision=decision,
            action=action,
            code=code or None,
            reasons=tuple(_reason(item) for item in fields.items("reasons")),
            reports=tuple(_report(item) for item in duties.items("report")),
            preserve_days=duties.number("preserve_days", 0),
            user_notice=tuple(str(line) for line in duties.items("user_notice")),
            checkpoint_size=fields.inner("checkpoint").number("size", 0),
            stale=fields.inner("checkpoint").flag("stale"),
            receipt_index=receipt.number_or_none("index"),
            fingerprints=json.dumps(prints) if prints and decision != "undetermined" else None,
            facts=json.dumps(kept, sort_keys=True),
        )
    except (ValueError, RecursionError) as exc:
        raise CannotScreen("gateway.answer") from exc


def parse_status(text: str) -> GatewayStatus:
    """Raises: CannotScreen."""
    try:
        fields = _Fields(json.loads(text))
        listed = _Fields(fields.raw.get("list"))
        rules = [_Fields(item) for item in fields.items("rules")]
        in_force = sorted(
            (r.text("jurisdiction"), r.number("version"), r.number("entry", 0)) for r in rules
        )
        moving = json.dumps([listed.text("active_root"), in_force])
        return GatewayStatus(
            version=hashlib.sha256(moving.encode()).hexdigest()[:32],
            platform=fields.text("platform", ""),
            size=listed.number("size"),
            time_ms=listed.number("time_ms", 0),
            stale=listed.flag("stale"),
            active_count=listed.number("active_count", 0),
            rules=tuple(
                RuleInForce(
                    r.text("jurisdiction"),
                    r.number("version"),
                    r.text("title", ""),
                    r.text("modality", ""),
                )
                for r in rules
            ),
            receipts=fields.inner("receipts").number("size", 0),
        )
    except (ValueError, RecursionError) as exc:
        raise CannotScreen("gateway.answer") from exc


class Gateway:
    """One gateway over HTTP; safe for any number of calls at once."""

    def __init__(self, url: str, token: str | None = None, wait_s: float = GATEWAY_WAIT_S) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(wait_s, connect=min(2.0, wait_s)),
            trust_env=False,  # The gateway stands on the platform's own network: never a proxy.
        )

    async def screen_bytes(
        self, content: bytes, jurisdiction: str, scope: str, upload: str
    ) -> Verdict:
        """Raises: CannotScreen, NotAccepted."""
        params = {"scope": scope, "upload": upload}
        if jurisdiction:
            params["jurisdiction"] = jurisdiction
        headers = {"content-type": "application/octet-stream"}
        return parse_verdict(
            await self._call("POST", "/v1/screen", params=params, content=content, headers=headers)
        )

    async def screen_fingerprints(
        self, fingerprints: str, jurisdiction: str, scope: str, upload: str
    ) -> Verdict:
        """Raises: CannotScreen, NotAccepted."""
        body: dict[str, object] = {
            "fingerprints": json.loads(fingerprints),
            "scope": scope,
            "upload": upload,
        }
        if jurisdiction:
            body["jurisdictions"] = [jurisdiction]
        return parse_verdict(await self._call("POST", "/v1/screen", json=body))

    async def fetch_status(self) -> GatewayStatus:
        """Raises: CannotScreen."""
        try:
            return parse_status(await self._call("GET", "/v1/status"))
        except NotAccepted as exc:
            raise CannotScreen(exc.code) from exc

    async def close(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, path: str, **how: Any) -> str:  # noqa: ANN401 - httpx's own.
        try:
            answer = await self._http.request(method, path, **how)
        except httpx.HTTPError as exc:
            raise CannotScreen("gateway.unreachable") from exc
        if len(answer.content) > ANSWER_BYTES_MAX:
            raise CannotScreen("gateway.answer")
        if answer.status_code == 200:
            return answer.text
        code = _error_code(answer)
        # A refused token is the operator's fault, not the file's: the file waits.
        if answer.status_code in (400, 413, 415, 422):
            raise NotAccepted(code)
        raise CannotScreen(code, _retry_after_s(answer))


def _error_code(answer: httpx.Response) -> str:
    try:
        return _Fields(answer.json()).inner("error").text("code", "gateway.refused")[:64]
    except ValueError:
        return "gateway.refused"


def _retry_after_s(answer: httpx.Response) -> float:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 6 else 0.0
