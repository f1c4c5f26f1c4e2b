"""`accord rules diff`, `accord rules explain`, `accord rules schema`.

Not here: setting and checking rules (governance), what a change or a decision is (agency.lookback,
matching). Everything comes out of the home's own verified copy of the log.
"""

import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from accord.cli.assemble import open_replica
from accord.cli.governance import RuleFile, sound_rules, tell
from accord.cli.options import HomeOption, InsecureDecoder, Json, Trial
from accord.cli.text import counted
from accord.client.home import open_home
from accord.ledger.membership import consortium, parameters
from accord.ledger.state import RULES, Reader
from accord.statements.rules import RuleSet
from accord.wire.errors import Malformed
from accord.wire.ids import JURISDICTION_RE, NAME_RE, JurisdictionId, MemberId, TimeMs
from accord.wire.record import dump_record

if TYPE_CHECKING:
    from accord.agency.lookback import Lookback, RuleDiff
    from accord.matching import Query
    from accord.replica.replica import Replica

# Imports inside functions: numpy would slow every other command's start.

EXIT_MATCH: Final = 3
_DIFF = """What a rule file would change: its fields, and for how many listings.

Counts are over the listings that this home opens, as a platform with every release group has them.

Examples:

    accord rules diff nl.yaml --jurisdiction NL --home ./nl-police
"""
_EXPLAIN = """Why a file was, or was not, to be acted on at a platform, then or now.

Both folds run again over the home's verified copy, up to a size of the log or a time; the answer
names the rule with its text, the listings with their entries, the agencies that certify them, and
the checkpoint. The same log and keys give the same answer at any later time.

Exit status: 0 no match, 3 a match.

Examples:

    accord rules explain photo.jpg --platform clouddrive --home ./nl-police

    accord rules explain photo.jpg --platform clouddrive --at 2026-05-01T12:00:00Z

    accord rules explain photo.jpg --platform clouddrive --at 1042 --json --home ./nl-police
"""
_SCHEMA = """Print the JSON Schema of rule files, for an editor that completes and checks.

Examples:

    accord rules schema > rules.schema.json
"""
JurisdictionOption = Annotated[str, typer.Option(help="Such as NL.")]


def register(rules_app: typer.Typer) -> None:
    """Adds the commands below `accord rules`."""
    rules_app.command("diff", help=_DIFF)(diff)
    rules_app.command("explain", help=_EXPLAIN)(explain)
    rules_app.command("schema", help=_SCHEMA)(schema)


def schema(as_json: Json = False) -> None:
    from accord.agency.ruleschema import rule_schema  # noqa: PLC0415

    sys.stdout.write(json.dumps(rule_schema(), indent=None if as_json else 2) + "\n")


def diff(
    file: RuleFile,
    jurisdiction: JurisdictionOption,
    home: HomeOption,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.agency.lookback import rule_diff  # noqa: PLC0415
    from accord.registry import Registry  # noqa: PLC0415

    where = _jurisdiction(jurisdiction)
    with closing(open_replica(open_home(home), trial)) as replica:
        state = replica.state
        rules = sound_rules(file, as_json, parameters(state).classes)
        registry = Registry()
        registry.fold_all(replica.folded())
        groups = consortium(state).groups
        found = rule_diff(registry.snapshot(), state, where, rules, groups)
        changes = field_changes(_in_force(state, where), rules)
    said = {
        "jurisdiction": where,
        "coverage": {"before": found.coverage[0], "after": found.coverage[1]},
        "listings": {"gained": found.gained, "lost": found.lost, "kept": found.kept},
        "clauses": {"before": _counted(found.before), "after": _counted(found.after)},
        "fields": changes,
    }
    tell(as_json, said, "\n".join(_diff_lines(found, changes)))


def _in_force(state: Reader, where: JurisdictionId) -> RuleSet | None:
    row = state.get(RULES, where.encode())
    return None if row is None else row.rule_set


def _counted(counts: Any) -> list[dict[str, object]]:  # noqa: ANN401  (slow to import)
    return [
        {"clause": item.clause, "active": item.active, "review_only": item.review_only}
        for item in counts
    ]


def field_changes(before: RuleSet | None, after: RuleSet) -> list[dict[str, object]]:
    """Each field of the rule file that differs: `path`, `before`, `after` (None: not there)."""
    from accord.agency.ruletext import shown_rules  # noqa: PLC0415

    old = {} if before is None else dict(_flat(shown_rules(before)))
    new = dict(_flat(shown_rules(after)))
    return [
        {"path": path, "before": old.get(path), "after": new.get(path)}
        for path in dict.fromkeys([*old, *new])
        if old.get(path) != new.get(path)
    ]


def _flat(value: object, path: str = "") -> "list[tuple[str, object]]":
    """A field a line; items of a list are named by their name or algorithm, not their place."""
    if isinstance(value, dict):
        fields: dict[str, object] = value
        parts = [_flat(item, f"{path}.{name}" if path else name) for name, item in fields.items()]
        return [line for part in parts for line in part]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows: list[dict[str, object]] = value
        named = [(str(row.get("name") or row.get("algorithm")), row) for row in rows]
        return [line for name, row in named for line in _flat(row, f"{path}[{name}]")]
    return [(path, value)]


def _diff_lines(found: "RuleDiff", changes: list[dict[str, object]]) -> list[str]:
    if not changes:
        return ["Nothing changes."]
    lines = [f"  {item['path']}: {item['before']} -> {item['after']}" for item in changes]
    for title, counts in (("Now", found.before), ("Then", found.after)):
        lines += [
            f"{title}, clause {item.clause}: {counted(item.active, 'listing')} active, "
            f"{item.review_only} for review only"
            for item in counts
        ]
    total = f"{found.gained} more, {found.lost} fewer, {found.kept} as before"
    return [*lines, f"Listings to screen: {total} ({found.coverage[0]} -> {found.coverage[1]})."]


def explain(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file in question.")],
    platform: Annotated[str, typer.Option(help="The platform that had it.")],
    home: HomeOption,
    jurisdiction: Annotated[list[str] | None, typer.Option(help="All, if left out.")] = None,
    at: Annotated[
        str, typer.Option(metavar="SIZE|TIME", help="A log size, or a time; now if left out.")
    ] = "",
    scope: Annotated[str, typer.Option(help="uploads or stored.")] = "uploads",
    service: Annotated[str, typer.Option(help="hosting, messaging, search or social.")] = "hosting",
    insecure_decoder: InsecureDecoder = False,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.matching import Context, decision_view  # noqa: PLC0415
    from accord.statements.rules import Scope, Service  # noqa: PLC0415

    if NAME_RE.fullmatch(platform) is None:
        raise Malformed("cli.member", got=platform[:40], wanted="a member's id, see accord members")
    if scope not in set(Scope) or service not in set(Service):
        raise Malformed("cli.context", scope=scope[:20], service=service[:20])
    where = tuple(_jurisdiction(name) for name in jurisdiction or ())
    query = _query(file, insecure_decoder, home)
    with closing(open_replica(open_home(home), trial)) as replica:
        back = _back_to(replica, at)
        screen = back.screen(MemberId(platform), replica.root_at(back.size))
        decision = screen.decide(query, Context(where, Scope(scope), Service(service)))
    rules: dict[str, Any] = {
        name: {"entry": share.rule.entry, "rule_set": dump_record(share.rule.rule_set)}
        for name, share in screen.obligations.by_jurisdiction.items()
        if share.rule is not None and (not where or name in where)
    }
    view = decision_view(decision)
    said = {
        "platform": platform,
        "block_time_ms": back.time_ms,
        "decision": view,
        "rules": rules,
        "rules_sha256": screen.obligations.rules_sha256.hex(),
        "active_root": screen.obligations.active_root.hex(),
    }
    tell(as_json, said, "\n".join(explained(view, rules, back.time_ms)))
    if decision.reasons:
        raise typer.Exit(EXIT_MATCH)


def _query(file: Path, insecure: bool, home: Path) -> "Query":
    from accord.fingerprint import Unhashable  # noqa: PLC0415
    from accord.fingerprint.ladder import Step  # noqa: PLC0415
    from accord.matching import query_of  # noqa: PLC0415
    from accord.media import DecoderPool, named_in, read_file  # noqa: PLC0415
    from accord.statements.rules import Step as RuleStep  # noqa: PLC0415

    data = read_file(file)
    if isinstance(data, Unhashable):
        raise Malformed("cli.file", path=str(file), why=data.code.value)
    with DecoderPool(1, insecure=insecure, fingerprinter=named_in(home)) as pool:
        everything = frozenset(Step)
        return query_of(pool.fingerprint(data, steps=everything), frozenset(RuleStep))


def _back_to(replica: "Replica", at: str) -> "Lookback":
    """Both folds up to a size, up to a time, or all of the copy."""
    from accord.agency.lookback import look_back  # noqa: PLC0415

    size, time_ms = replica.size, None
    if at.isascii() and at.isdigit():
        size = int(at)
        if not 0 < size <= replica.size:
            raise Malformed("cli.size", got=size, have=replica.size, mend="accord follow --once")
    elif at:
        time_ms = _moment(at)

    def until(index: int, entry_ms: TimeMs) -> bool:
        return index < size and (time_ms is None or entry_ms <= time_ms)

    return look_back(replica.founding, iter(replica.folded()), replica.leaves, until)


def explained(view: dict[str, Any], rules: dict[str, Any], time_ms: int) -> list[str]:
    """The chain from the rule to the action, in sentences."""
    checkpoint = view["checkpoint"]
    when = datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"At size {checkpoint['size']} (block time {when}, root {checkpoint['root'][:16]}...): "
        f"{view['answer']}, action {view['action']}."
    ]
    if view["code"]:
        lines.append(f"Not looked at, in part or whole: {view['code']}.")
    for share in view["jurisdictions"]:
        rule = rules.get(share["jurisdiction"])
        title = f": {rule['rule_set']['title']}" if rule else ""
        version = f" version {share['rule_version']}" if rule else ""
        lines.append(
            f"{share['jurisdiction']}{version}{title} ({share['applied']}): "
            f"{share['answer'] or 'not asked'}, {share['action']}."
        )
        if rule:
            basis = rule["rule_set"]["legal_basis"]
            lines.append(f"    by {basis['text']} {basis['url']}".rstrip())
    for reason in view["reasons"]:
        lines += _reason_lines(reason)
    if view["conflict"]:
        lines.append(
            f"Required in {', '.join(view['conflict']['required_in'])} and prohibited in "
            f"{', '.join(view['conflict']['prohibited_in'])}: a person decides."
        )
    return lines


def _reason_lines(reason: dict[str, Any]) -> list[str]:
    cap = f", no more than review: {reason['cap']}" if reason["cap"] else ""
    lines = [
        f"  {reason['jurisdiction']}, clause {reason['clause']} (entry {reason['rule_entry']}): "
        f"listing {reason['listing']} of {reason['publisher']}, class {reason['class']}, "
        f"{reason['algorithm']} {reason['distance']} {reason['metric']} apart: "
        f"{reason['action']}{cap}"
    ]
    for who in reason["certifiers"]:
        level = "" if who["level"] is None else f" at review level {who['level']}"
        lines.append(f"    {who['agency']} {who['how']} it{level}, entry {who['entry']}")
    return lines


def _moment(text: str) -> TimeMs:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise Malformed("cli.moment", got=text[:40], wanted="1042 or 2026-05-01T12:00Z") from err
    if moment.tzinfo is None:
        raise Malformed("cli.moment", got=text[:40], wanted="a time with its zone: end with Z")
    return TimeMs(int(moment.timestamp() * 1000))


def _jurisdiction(text: str) -> JurisdictionId:
    if JURISDICTION_RE.fullmatch(text) is None:
        raise Malformed("cli.jurisdiction", got=text[:40], wanted="such as NL, GB or EU")
    return JurisdictionId(text)
