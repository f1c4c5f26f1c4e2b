"""Rule sets as people write them: a YAML file a jurisdiction, with defaults that fail safe.

`parse_rule_file` reports every mistake of a file at once, each with its line, its field and how
to mend it; `ruletext.dump_rule_file` is its inverse: `parse_rule_file(dump_rule_file(x)) == x`.
Not here: whether the consortium's floors allow the rules; the ledger says that when they are set.
Source: docs/spec/rules.md.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from importlib import resources
from typing import Any, Final, get_type_hints

from accord.agency.yamltree import (
    Fault,
    Faulty,
    Fields,
    Items,
    Node,
    Scalar,
    parse_tree,
)
from accord.statements.classes import CLASSES_KNOWN, parse_class, suggestion
from accord.statements.rules import (
    EXACT_ALGORITHMS,
    METRICS,
    NO_DEMAND,
    PDQ_KIN,
    QUALITY_ALGORITHMS,
    Action,
    Algorithm,
    Certification,
    ClassCode,
    Clause,
    Exact,
    LegalBasis,
    Metric,
    Modality,
    Near,
    Report,
    RuleSet,
    Scope,
    Service,
    Step,
)
from accord.wire import cbor, record
from accord.wire.errors import Malformed
from accord.wire.limits import (
    ENVELOPE_BYTES_MAX,
    PATCH_BITS_MAX,
    PATCH_VOTES,
    PATCH_VOTES_MIN,
    PDQ_QUALITY_MIN,
    PDQ_THRESHOLD_MAX,
)

CODE: Final = "rules.field"
TEMPLATES: Final = ("eu-member-state", "uk", "us")
RULE_SET_BYTES_MAX: Final = ENVELOPE_BYTES_MAX - 1024  # Room for the statement around it.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
UNIT_MINUTES: Final = {"minute": 1, "hour": 60, "day": 1440, "week": 10080, "year": 366 * 1440}
REVIEWS: Final = ("digest", "one-person", "two-persons")  # By `ReviewLevel`.
DURATION_RE: Final = re.compile(r"(0|[1-9][0-9]{0,6}) +(minute|hour|day|week|year)s?")
REQUIRED: Final = object()
BAD: Final = object()  # What a reader gives for a value it has reported.
_USUAL_REACH: Final = {
    Algorithm.PATCHES: PATCH_BITS_MAX,
    Algorithm.PDQ: PDQ_THRESHOLD_MAX,
    Algorithm.VPDQ: PDQ_THRESHOLD_MAX,
}
_USUAL_DEMAND: Final = {
    Algorithm.PATCHES: (PATCH_VOTES, 0, 0),
    Algorithm.VPDQ: (0, 60, 20),
}
_VOTES_MAX: Final = 24
_AUTOMATIC: Final = {action for action in Action if action.severity > Action.REVIEW.severity}


@dataclass(slots=True)
class _Faults:
    """The mistakes found so far."""

    found: list[Fault] = field(default_factory=list)

    def add(self, node: Node, where: str, mend: str) -> object:
        self.found.append(Fault(node.line, where, mend))
        return BAD


Read = Callable[[_Faults, Node, str], object]


@dataclass(frozen=True, slots=True)
class _Spec:
    """A field of the file: the record's field it fills, how it is read, what it is if left out."""

    target: str
    read: Read
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Known:
    """What a rule file is held against: the classes admitted, and sense, where the rules are new.

    None leaves the first out, for what another consortium set.
    """

    classes: tuple[ClassCode, ...] | None = CLASSES_KNOWN
    is_new: bool = True


EVERYTHING: Final = Known(None, is_new=False)  # For what was set, whoever did it.


def is_required(spec: _Spec) -> bool:
    """Whether a field must be said."""
    return spec.default is REQUIRED


def parse_rule_file(raw: bytes, known: Known = Known()) -> RuleSet:
    """Raises: Faulty (a Malformed `rules.field`) that holds every mistake of the file."""
    node, twice = parse_tree(raw, CODE)
    faults = _Faults(twice)
    value = _map(RuleSet, TOP)(faults, node, "")
    rule_set: RuleSet | None = None
    if not faults.found:
        rule_set = record.load_record(RuleSet, _plain(value))
        _check_whole(faults, node, rule_set)
        _check_known(faults, node, known)
        if known.is_new:
            _check_steps(faults, node, rule_set)
    if rule_set is None or faults.found:
        raise Faulty(CODE, tuple(sorted(faults.found, key=lambda fault: fault.line)))
    return rule_set


def template(name: str) -> str:
    """A rule file to start from, for counsel to check. Raises: Malformed."""
    if name not in TEMPLATES:
        raise Malformed("rules.template", name=name[:40], have=", ".join(TEMPLATES))
    return resources.files("accord.agency").joinpath("templates", f"{name}.yaml").read_text("utf-8")


def _check_whole(faults: _Faults, node: Node, rules: RuleSet) -> None:
    """What no field can tell alone."""
    if rules.valid_to_ms is not None and rules.valid_to_ms <= rules.valid_from_ms:
        faults.add(_at(node, "valid_to"), "valid_to", "let it come after valid_from")
    names = [clause.name for clause in rules.clauses]
    for i, clause in enumerate(rules.clauses):
        here = _at(node, "clauses", i)
        if clause.name in names[:i]:
            faults.add(_at(here, "name"), f"clauses[{i}].name", "give each clause its own name")
        by = [near.algorithm for near in clause.near]
        for algorithm in {name for name in by if by.count(name) > 1}:
            faults.add(_at(here, "near"), f"clauses[{i}].near", f"say {algorithm} once")
        if clause.exact is None and not clause.near:
            faults.add(here, f"clauses[{i}]", "say what an exact or a near match leads to")
    if len(record.encode_record(rules)) > RULE_SET_BYTES_MAX:
        faults.add(node, "file", "too large for one statement: name fewer classes or clauses")


def _check_steps(faults: _Faults, node: Node, rules: RuleSet) -> None:
    """What would hold and do nothing."""
    for i, clause in enumerate(rules.clauses):
        by = {near.algorithm for near in clause.near}
        if Algorithm.PATCHES in by and Step.PATCHES not in rules.screen:
            mend = "let `screen` name patches, else none are looked for"
            faults.add(_at(node, "clauses", i, "near"), f"clauses[{i}].near", mend)


def _check_known(faults: _Faults, node: Node, known: Known) -> None:
    """What the file says well, and this consortium does not have."""
    classes = known.classes
    if classes is not None:
        for i, clause in enumerate(_items(_at(node, "clauses"))):
            for k, item in enumerate(_items(_at(clause, "classes"))):
                if isinstance(item, Scalar) and (code := parse_class(item.text)) not in classes:
                    where = f"clauses[{i}].classes[{k}]"
                    faults.add(item, where, suggestion(code, classes))


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Items) else ()


def _at(node: Node, *path: str | int) -> Node:
    """The node at a path, or the nearest above it."""
    for step in path:
        if isinstance(node, Fields) and isinstance(step, str):
            node = next((value for key, value in node.fields if key.text == step), node)
        elif isinstance(node, Items) and isinstance(step, int):
            node = node.items[step]
    return node


# Readers: each reports its own mistakes and gives a record's CBOR value, or BAD.


def _map(kind: type, specs: Mapping[str, _Spec]) -> Read:
    hints = get_type_hints(kind, include_extras=True)

    def read(faults: _Faults, node: Node, where: str) -> object:
        if not isinstance(node, Fields):
            return faults.add(node, where or "file", f"write fields: {', '.join(specs)}")
        value: dict[str, object] = {}
        for key, item in node.fields:
            path = f"{where}.{key.text}" if where else key.text
            spec = specs.get(key.text)
            if spec is None:
                faults.add(key, path[:80], _suggest(key.text, tuple(specs)))
                continue
            if isinstance(item, Scalar) and item.is_null:
                continue
            value[spec.target] = _checked(faults, item, path, spec, hints[spec.target])
        for name, spec in specs.items():
            if spec.target not in value:
                path = f"{where}.{name}" if where else name
                value[spec.target] = spec.default
                if spec.default is REQUIRED:
                    faults.add(node, path, "say it: this field has no default")
        return value

    return read


def _checked(faults: _Faults, node: Node, where: str, spec: _Spec, hint: Any) -> object:  # noqa: ANN401  (a type hint)
    """The field's value, held against the limits of its record."""
    before = len(faults.found)
    value = spec.read(faults, node, where)
    if len(faults.found) > before:
        return BAD
    try:
        record.load_record(hint, _plain(value), where)
    except Malformed as err:
        return faults.add(node, str(err.detail.get("field", where)), _LIMIT_MENDS[err.code])
    return value


_LIMIT_MENDS: Final = {
    "record.range": "keep the number within its limits (docs/spec/rules.md)",
    "record.size": "it is empty or too long (docs/spec/rules.md)",
    "record.text": "use 2 to 32 lower-case letters, digits and hyphens, a letter first",
    "record.count": "too few or too many of them (docs/spec/rules.md)",
    "record.order": "each only once",
    "record.type": "another kind of value is wanted here (docs/spec/rules.md)",
    "record.choice": "not one of the words allowed here (docs/spec/rules.md)",
}


def _plain(value: object) -> cbor.Value:
    """The value as the record codec takes it; it checks the types itself."""
    checked: Any = value
    return checked  # type: ignore[no-any-return]  # The codec refuses whatever is not a Value.


def _suggest(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"use one of: {', '.join(known)}"


def _text(faults: _Faults, node: Node, where: str) -> object:
    return node.text if isinstance(node, Scalar) else faults.add(node, where, "write a text")


def _word(kind: type[StrEnum]) -> Read:
    words = tuple(member.value for member in kind)

    def read(faults: _Faults, node: Node, where: str) -> object:
        if isinstance(node, Scalar) and node.text in words:
            return node.text
        word = node.text if isinstance(node, Scalar) else ""
        return faults.add(node, where, _suggest(word, words))

    return read


def _list(read_item: Read) -> Read:
    """A list in any order; the record wants it sorted."""

    def read(faults: _Faults, node: Node, where: str) -> object:
        if not isinstance(node, Items):
            return faults.add(node, where, "write a list: [one, two]")
        items: list[Any] = []
        for i, item in enumerate(node.items):
            value = read_item(faults, item, f"{where}[{i}]")
            if value in items and value is not BAD:
                faults.add(item, f"{where}[{i}]", "it stands here twice: keep one")
            items.append(value)
        return items if any(item is BAD for item in items) else sorted(items)

    return read


def _each(read_item: Read) -> Read:
    """A list whose order is kept."""

    def read(faults: _Faults, node: Node, where: str) -> object:
        if not isinstance(node, Items):
            return faults.add(node, where, "write a list, each item behind a `-`")
        return [read_item(faults, item, f"{where}[{i}]") for i, item in enumerate(node.items)]

    return read


def _number(faults: _Faults, node: Node, where: str) -> object:
    if isinstance(node, Scalar) and re.fullmatch(r"0|[1-9][0-9]{0,15}", node.text):
        return int(node.text)
    return faults.add(node, where, "write a whole number, 0 or more")


def _yes_no(faults: _Faults, node: Node, where: str) -> object:
    if isinstance(node, Scalar) and node.text in {"true", "yes", "false", "no"}:
        return node.text in {"true", "yes"}
    return faults.add(node, where, "write yes or no")


def _review(faults: _Faults, node: Node, where: str) -> object:
    if isinstance(node, Scalar) and node.text in REVIEWS:
        return REVIEWS.index(node.text)
    return faults.add(node, where, f"use one of: {', '.join(REVIEWS)}")


def _class(faults: _Faults, node: Node, where: str) -> object:
    try:
        code = parse_class(node.text if isinstance(node, Scalar) else "")
    except Malformed as err:
        if err.code == "class.form":
            mend = "write scheme/value or scheme/profile/value, as ncmec/A1"
            return faults.add(node, where, mend)
        field_name = str(err.detail["field"]).removeprefix("class")
        return faults.add(node, where + field_name, _LIMIT_MENDS[err.code])
    return record.dump_record(code)


def _moment(faults: _Faults, node: Node, where: str) -> object:
    """A day (its midnight UTC) or a time with its zone. Units: ms since 1970."""
    mend = "write a day as 2026-01-01, or a time as 2026-01-01T12:00:00Z"
    if not isinstance(node, Scalar):
        return faults.add(node, where, mend)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", node.text, re.ASCII):
            day = date.fromisoformat(node.text)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(node.text)
        if moment.tzinfo is None:
            return faults.add(node, where, "say the time zone: end with Z for UTC")
        return (moment - EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return faults.add(node, where, mend)


def _duration(unit: str) -> Read:
    """A duration in whole `unit`s of the record."""

    def read(faults: _Faults, node: Node, where: str) -> object:
        match = DURATION_RE.fullmatch(node.text) if isinstance(node, Scalar) else None
        if match is None:
            return faults.add(
                node, where, "write a number and minutes, hours, days, weeks or years"
            )
        count, rest = divmod(int(match[1]) * UNIT_MINUTES[match[2]], UNIT_MINUTES[unit])
        return faults.add(node, where, f"write whole {unit}s") if rest else count

    return read


def _algorithm(known: Collection[Algorithm]) -> Read:
    words = tuple(sorted(algorithm.value for algorithm in known))

    def read(faults: _Faults, node: Node, where: str) -> object:
        if isinstance(node, Scalar) and node.text in words:
            return node.text
        return faults.add(node, where, f"use one of: {', '.join(words)}")

    return read


def _near_list(faults: _Faults, node: Node, where: str) -> object:
    """One term, or a list of them, one an algorithm; the record has them by algorithm."""
    if isinstance(node, Fields):
        return [_near(faults, node, where)]
    value = _each(_near)(faults, node, where)
    if not isinstance(value, list) or any(item is BAD for item in value):
        return value
    return sorted(value, key=lambda item: str(item["algorithm"]))


def _near(faults: _Faults, node: Node, where: str) -> object:
    """A near term; what it leaves out depends on its algorithm."""
    before = len(faults.found)
    read: Any = _map(Near, NEAR)(faults, node, where)
    if not isinstance(node, Fields) or read["algorithm"] is BAD:
        return BAD
    algorithm = Algorithm(read["algorithm"])
    kin = PDQ_KIN if algorithm in PDQ_KIN else {algorithm}
    votes, query_percent, listed_percent = _USUAL_DEMAND.get(algorithm, NO_DEMAND)
    if votes and read["action"] in _AUTOMATIC:
        votes = PATCH_VOTES_MIN
    for name, value in (
        ("metric", next(iter(METRICS[algorithm])).value),
        ("threshold", _USUAL_REACH.get(algorithm)),
        ("quality_min", PDQ_QUALITY_MIN if algorithm in QUALITY_ALGORITHMS else 0),
        ("votes", votes),
        ("query_percent", query_percent),
        ("listed_percent", listed_percent),
        ("confirmed_by", sorted(name.value for name in Algorithm if name not in kin)),
    ):
        if read[name] is None:
            read[name] = value
    for name, mend in _near_faults(algorithm, read):
        faults.add(_at(node, name), f"{where}.{name}", mend)
    return BAD if len(faults.found) > before else read


def _near_faults(algorithm: Algorithm, read: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not fit the algorithm: the field and its mend."""
    metrics, metric, threshold = METRICS[algorithm], read["metric"], read["threshold"]
    if metric is not BAD and metric not in metrics:
        yield "metric", f"{algorithm} has: {', '.join(metrics)}"
    elif metric is not BAD and isinstance(threshold, int) and threshold > metrics[Metric(metric)]:
        yield "within", f"at most {metrics[Metric(metric)]} by {metric}"
    if threshold is None:
        yield "within", f"say how near: {algorithm} has no usual reach"
    if read["quality_min"] not in {0, BAD} and algorithm not in QUALITY_ALGORITHMS:
        yield "quality", f"leave it out: {algorithm} measures no quality"
    kin = PDQ_KIN if algorithm in PDQ_KIN else {algorithm}
    if read["confirmed_by"] is not BAD and kin & set(read["confirmed_by"]):
        same = ", ".join(sorted(kin & set(read["confirmed_by"])))
        yield "confirmed_by", f"leave out {same}: it is no second opinion on {algorithm}"
    yield from _demand_faults(algorithm, read)


def _demand_faults(algorithm: Algorithm, read: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How many must meet, where that is not what this algorithm asks or not enough."""
    named = ("votes", "query_percent", "listed_percent")
    if any(read[name] is BAD for name in (*named, "action")):
        return
    asks = {Algorithm.PATCHES: named[:1], Algorithm.VPDQ: named[1:]}.get(algorithm, ())
    for name in named:
        if name not in asks and read[name]:
            yield name, f"leave it out: {algorithm} does not ask it"
    if algorithm is Algorithm.PATCHES:
        acts = Action(read["action"]).severity > Action.REVIEW.severity
        least = PATCH_VOTES_MIN if acts else PATCH_VOTES
        if not least <= read["votes"] <= _VOTES_MAX:
            yield "votes", f"{least} to {_VOTES_MAX} for this action"
    if algorithm is Algorithm.VPDQ:
        if read["query_percent"] > 100 or read["listed_percent"] > 100:
            yield "query_percent", "per cent: 0 to 100"
        elif read["query_percent"] + read["listed_percent"] == 0:
            yield "query_percent", "one of the two must ask for something"


CERTIFICATION: Final = {
    "agencies": _Spec("agencies", _number),
    "sovereigns": _Spec("sovereigns", _number),
    "review": _Spec("review_level", _review, 1),
}
EXACT: Final = {
    "algorithms": _Spec(
        "algorithms", _list(_algorithm(EXACT_ALGORITHMS)), sorted(a.value for a in EXACT_ALGORITHMS)
    ),
    "action": _Spec("action", _word(Action)),
}
NEAR: Final = {  # None stands for a default that depends on the algorithm.
    "algorithm": _Spec("algorithm", _algorithm(METRICS), Algorithm.PDQ.value),
    "metric": _Spec("metric", _word(Metric), None),
    "within": _Spec("threshold", _number, None),
    "quality": _Spec("quality_min", _number, None),
    "votes": _Spec("votes", _number, None),
    "query_percent": _Spec("query_percent", _number, None),
    "listed_percent": _Spec("listed_percent", _number, None),
    "action": _Spec("action", _word(Action)),
    "alone": _Spec("alone", _yes_no, False),
    "confirmed_by": _Spec("confirmed_by", _list(_algorithm(tuple(Algorithm))), None),
}
CLAUSE: Final = {
    "name": _Spec("name", _text),
    "classes": _Spec("classes", _list(_class)),
    "certified_by": _Spec("certification", _map(Certification, CERTIFICATION)),
    "exact": _Spec("exact", _map(Exact, EXACT), None),
    "near": _Spec("near", _near_list, []),
}
TOP: Final = {
    "title": _Spec("title", _text),
    "modality": _Spec("modality", _word(Modality)),
    "legal_basis": _Spec(
        "legal_basis",
        _map(LegalBasis, {"text": _Spec("text", _text), "url": _Spec("url", _text, "")}),
    ),
    "valid_from": _Spec("valid_from_ms", _moment),
    "valid_to": _Spec("valid_to_ms", _moment, None),
    "services": _Spec("services", _list(_word(Service))),
    "scope": _Spec("scope", _list(_word(Scope))),
    "undetermined": _Spec("undetermined", _word(Action), Action.REVIEW.value),
    "stale": _Spec("stale", _word(Action), Action.ALLOW.value),
    "report": _Spec(
        "report",
        _map(
            Report,
            {"to": _Spec("to", _text), "within": _Spec("within_hours", _duration("hour"))},
        ),
        None,
    ),
    "preserve": _Spec("preserve_days", _duration("day"), 0),
    "sync_within": _Spec("sync_within_minutes", _duration("minute"), 60),
    "rescan_within": _Spec("rescan_within_hours", _duration("hour"), 30 * 24),
    "attest_within": _Spec("attest_within_minutes", _duration("minute"), 1_440),
    "user_notice": _Spec("user_notice", _text, ""),
    "groups": _Spec("groups", _list(_text), []),
    "screen": _Spec("screen", _list(_word(Step)), [Step.FULL.value]),
    "clauses": _Spec("clauses", _each(_map(Clause, CLAUSE)), []),
}
