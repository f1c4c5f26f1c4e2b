"""Rule sets in the words of a rule file: what `rulefile` reads.

Invariant: `parse_rule_file(dump_rule_file(x)) == x`, whatever `x` leaves to a default.
Source: docs/spec/rules.md.
"""

from datetime import timedelta

from accord.agency.rulefile import CODE, EPOCH, REVIEWS, UNIT_MINUTES
from accord.agency.yamltree import dump_lines
from accord.statements.rules import QUALITY_ALGORITHMS, Algorithm, ClassCode, Clause, Near, RuleSet
from accord.wire.errors import Malformed


def dump_rule_file(rules: RuleSet) -> str:
    """The rule set as YAML, defaults written out. Raises: as `shown_rules`."""
    return "\n".join(dump_lines(shown_rules(rules))) + "\n"


def shown_rules(rules: RuleSet) -> dict[str, object]:
    """The rule set in the words of a rule file.

    Raises: Malformed for what only a program could have put into a rule set: a time after the
    year 9999, a class with a slash.
    """
    whole: dict[str, object] = {
        "title": rules.title,
        "modality": rules.modality.value,
        "legal_basis": {"text": rules.legal_basis.text, "url": rules.legal_basis.url},
        "valid_from": _show_moment(rules.valid_from_ms),
    }
    if rules.valid_to_ms is not None:
        whole["valid_to"] = _show_moment(rules.valid_to_ms)
    whole |= {
        "services": [service.value for service in rules.services],
        "scope": [scope.value for scope in rules.scope],
        "undetermined": rules.undetermined.value,
        "stale": rules.stale.value,
    }
    if rules.report is not None:
        within = _show_minutes(rules.report.within_hours * 60)
        whole["report"] = {"to": rules.report.to, "within": within}
    whole |= {
        "preserve": _show_minutes(rules.preserve_days * 1440),
        "sync_within": _show_minutes(rules.sync_within_minutes),
        "rescan_within": _show_minutes(rules.rescan_within_hours * 60),
        "attest_within": _show_minutes(rules.attest_within_minutes),
        "user_notice": rules.user_notice,
        "groups": list(rules.groups),
        "screen": [step.value for step in rules.screen],
        "clauses": [_show_clause(clause) for clause in rules.clauses],
    }
    return whole


def _show_clause(clause: Clause) -> dict[str, object]:
    asked = clause.certification
    shown: dict[str, object] = {
        "name": clause.name,
        "classes": [_show_class(code) for code in clause.classes],
        "certified_by": {
            "agencies": asked.agencies,
            "sovereigns": asked.sovereigns,
            "review": REVIEWS[asked.review_level],
        },
    }
    if clause.exact is not None:
        algorithms = [algorithm.value for algorithm in clause.exact.algorithms]
        shown["exact"] = {"algorithms": algorithms, "action": clause.exact.action.value}
    if clause.near:
        shown["near"] = [_show_near(near) for near in clause.near]
    return shown


def _show_near(near: Near) -> dict[str, object]:
    shown: dict[str, object] = {
        "algorithm": near.algorithm.value,
        "metric": near.metric.value,
        "within": near.threshold,
        "quality": near.quality_min,
        "action": near.action.value,
        "alone": near.alone,
        "confirmed_by": [algorithm.value for algorithm in near.confirmed_by],
    }
    if near.algorithm not in QUALITY_ALGORITHMS:
        del shown["quality"]
    if near.algorithm is Algorithm.PATCHES:
        shown["votes"] = near.votes
    if near.algorithm is Algorithm.VPDQ:
        shown |= {"query_percent": near.query_percent, "listed_percent": near.listed_percent}
    return shown


def _show_class(code: ClassCode) -> str:
    if "/" in code.profile + code.value:
        raise Malformed(CODE, field="classes", mend="a class with a slash cannot be written")
    return str(code)


def _show_minutes(minutes: int) -> str:
    unit = next(unit for unit in ("day", "hour", "minute") if minutes % UNIT_MINUTES[unit] == 0)
    count = minutes // UNIT_MINUTES[unit]
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _show_moment(ms: int) -> str:
    try:
        moment = EPOCH + timedelta(milliseconds=ms)
    except OverflowError as err:
        raise Malformed(CODE, field="valid_from or valid_to", mend="end before 10000") from err
    if ms % 86_400_000 == 0:
        return moment.date().isoformat()
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
