"""Rules and votes: `accord rules`, `accord propose`, `accord vote`.

Not here: what rule files say (accord.agency.rulefile), what passes (accord.ledger).
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from accord.agency.application import APPLICATION_BYTES_MAX, parse_application
from accord.agency.rulefile import TEMPLATES, Known, parse_rule_file, template
from accord.agency.ruletext import dump_rule_file
from accord.agency.yamltree import Faulty
from accord.cli.assemble import AgencyBook, now_ms, open_desk
from accord.cli.meanings import meaning_of
from accord.cli.options import HomeOption, Json
from accord.cli.parameters import NAMES, changed
from accord.cli.text import counted, encodable, one_line, printable
from accord.client.home import open_home
from accord.ledger.membership import parameters as parameters_of
from accord.ledger.state import RULES
from accord.statements.bodies import (
    Accredit,
    Action,
    AdmitAgency,
    AdmitPlatform,
    RemoveAgency,
    RemovePlatform,
    ReplaceKeys,
    SuspendPlatform,
)
from accord.statements.classes import CLASSES_KNOWN
from accord.statements.rules import ClassCode, RuleSet
from accord.wire.errors import Malformed
from accord.wire.ids import JURISDICTION_RE, NAME_RE, JurisdictionId, MemberId
from accord.wire.limits import LOG_SIZE_MAX, RULE_FILE_BYTES_MAX
from accord.wire.record import dump_record

EXIT_FAULTY = 1
PANEL = "An agency"  # Its heading in `accord --help`.
Operator = Annotated[
    str | None, typer.Option(help="Who speaks, where the home holds several governor keys.")
]
RuleFile = Annotated[Path, typer.Argument(metavar="FILE", help="A rule file, docs/spec/rules.md.")]
Jurisdiction = Annotated[str, typer.Option(help="Such as NL, or a named union such as EU.")]
ApplicationFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="The member's application.json.")
]
MemberArgument = Annotated[str, typer.Argument(metavar="ID", help="The member's id.")]

_SET = """Set the rule set of a jurisdiction this agency is accredited for; it replaces the last.

Examples:

    accord rules set nl.yaml --jurisdiction NL --home ./nl-police
"""
_SHOW = """Show the rule set in force, as a rule file.

Examples:

    accord rules show NL --home ./nl-police > nl.yaml
"""
_CHECK = """Check a rule file: every mistake with its line and how to mend it. Sends nothing.

Exit status: 0 sound, 1 mistakes.

Examples:

    accord rules check nl.yaml
"""
_TEMPLATE = f"""Print a rule file to start from: {", ".join(TEMPLATES)}. Counsel must check it.

Examples:

    accord rules template eu-member-state > nl.yaml
"""
_VOTE = """Vote on a proposal. More than two thirds of all agencies pass it.

Examples:

    accord vote 42 yes --home ./ie-garda
"""
_ADMIT = """Propose to admit the member that made this application (`accord platform init`).

Examples:

    accord propose admit clouddrive/application.json --home ./nl-police
"""
_SUSPEND = """Propose to suspend a platform: it gets nothing new until it is admitted again.

Examples:

    accord propose suspend-platform clouddrive --home ./nl-police
"""
_REMOVE = """Propose to remove a platform for good.

Examples:

    accord propose remove-platform clouddrive --home ./nl-police
"""
_REMOVE_AGENCY = """Propose to remove an agency; its own vote does not count.

Examples:

    accord propose remove-agency ca-mounted --home ./nl-police
"""
_REPLACE_KEYS = """Propose to replace all keys of a member, its root too: lost, stolen, or in doubt.

The member makes fresh keys in a new place (accord agency init, or accord platform init) and hands
over that application.json; once the vote has passed, only the new keys speak for it.

Examples:

    accord propose replace-keys ie-garda/application.json --home ./nl-police
"""
_ACCREDIT = """Propose to give an agency the rule-making for a jurisdiction.

Examples:

    accord propose accredit ie-garda EU --home ./nl-police
"""
_PARAMETERS = """Propose other parameters of the consortium; those left out stay as they are.

Examples:

    accord propose parameters --set time_lock_ms=86400000 --set agencies_min=2
"""
rules_app = typer.Typer(no_args_is_help=True, help="Rule sets of jurisdictions.")
propose_app = typer.Typer(no_args_is_help=True, help="Put an action to the vote.")


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    rules_app.command("set", help=_SET)(set_rules)
    rules_app.command("show", help=_SHOW)(show)
    rules_app.command("check", help=_CHECK)(check)
    rules_app.command("template", help=_TEMPLATE)(print_template)
    propose_app.command("admit", help=_ADMIT)(admit)
    propose_app.command("admit-platform", help=_ADMIT, hidden=True)(admit)
    propose_app.command("replace-keys", help=_REPLACE_KEYS)(replace_keys)
    propose_app.command("suspend-platform", help=_SUSPEND)(suspend_platform)
    propose_app.command("remove-platform", help=_REMOVE)(remove_platform)
    propose_app.command("remove-agency", help=_REMOVE_AGENCY)(remove_agency)
    propose_app.command("accredit", help=_ACCREDIT)(accredit)
    propose_app.command("parameters", help=_PARAMETERS)(parameters)
    app.add_typer(rules_app, name="rules", rich_help_panel=PANEL)
    app.add_typer(propose_app, name="propose", rich_help_panel=PANEL)
    app.command("vote", help=_VOTE, rich_help_panel=PANEL)(vote)


@contextmanager
def _book_of(home: Path) -> Iterator[AgencyBook]:
    book = AgencyBook(open_home(home))
    try:
        book.sync()
        yield book
    finally:
        book.close()


def set_rules(
    file: RuleFile,
    jurisdiction: Jurisdiction,
    home: HomeOption,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    where = _jurisdiction(jurisdiction)
    with _book_of(home) as book:
        rules = sound_rules(file, as_json, parameters_of(book.state).classes)
        if rules.valid_to_ms is not None and rules.valid_to_ms <= now_ms():
            sys.stderr.write("accord: these rules have ended already: they screen nothing\n")
        entry = open_desk(open_home(home), book, operator).set_rules(where, rules)
    said = {"jurisdiction": where, "entry": entry}
    tell(as_json, said, f"The rules of {where} are {rules.title!r}, entry {entry}.")


def show(
    jurisdiction: Annotated[str, typer.Argument(help="Such as NL.")],
    home: HomeOption,
    as_json: Json = False,
) -> None:
    where = _jurisdiction(jurisdiction)
    with _book_of(home) as book:
        row = book.state.get(RULES, where.encode())
        have = ", ".join(key.decode() for key, _ in book.state.rows(RULES))
    if row is None:
        raise Malformed("cli.no_rules", jurisdiction=where, have=have or "none")
    text = f"# {where} version {row.version}, entry {row.entry}, set by {row.agency}\n"
    text += dump_rule_file(row.rule_set)
    said = {"jurisdiction": where, "version": row.version, "entry": row.entry}
    full = said | {"agency": row.agency, "rule_set": dump_record(row.rule_set)}
    tell(as_json, full, text.rstrip("\n"))


def check(
    file: RuleFile,
    home: Annotated[
        Path | None, typer.Option(help="A home: its consortium says which classes there are.")
    ] = None,
    as_json: Json = False,
) -> None:
    classes = CLASSES_KNOWN
    if home is not None:
        with _book_of(home) as book:
            classes = parameters_of(book.state).classes
    rules = sound_rules(file, as_json, classes)
    said = {"ok": True, "title": rules.title, "clauses": len(rules.clauses)}
    tell(as_json, said, f"Sound: {rules.title!r}, {counted(len(rules.clauses), 'clause')}.")


def print_template(
    name: Annotated[str, typer.Argument(help=", ".join(TEMPLATES))], as_json: Json = False
) -> None:
    text = template(name)
    tell(as_json, {"name": name, "rule_file": text}, text.rstrip("\n"))


def sound_rules(file: Path, as_json: bool, classes: tuple[ClassCode, ...]) -> RuleSet:
    """The rule set of a file that names these classes alone, or every mistake on standard error
    and the end of the command."""
    try:
        return parse_rule_file(_read(file, RULE_FILE_BYTES_MAX), Known(classes))
    except Faulty as err:
        if as_json:
            faults = [{"line": f.line, "field": f.field, "mend": f.mend} for f in err.faults]
            tell(True, {"ok": False, "code": err.code, "faults": faults}, "")
        else:
            for fault in err.faults:
                sys.stderr.write(f"{file}:{fault.line}: {fault.field}: {fault.mend}\n")
        raise typer.Exit(EXIT_FAULTY) from err


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(limit + 1)  # One more than the parser takes: it says so.
    except OSError as err:
        raise Malformed("cli.file", path=str(file), why=err.strerror or "") from err


def admit(
    file: ApplicationFile, home: HomeOption, operator: Operator = None, as_json: Json = False
) -> None:
    action = _application(file)
    who, where = _applicant(action), ", ".join(action.jurisdictions)
    _propose(home, operator, as_json, action, f"to admit {who} ({one_line(action.title)}; {where})")


def replace_keys(
    file: ApplicationFile, home: HomeOption, operator: Operator = None, as_json: Json = False
) -> None:
    application = _application(file)
    action = ReplaceKeys(_applicant(application), application.keys)
    _propose(home, operator, as_json, action, f"to replace all keys of {action.member}")


def _application(file: Path) -> AdmitAgency | AdmitPlatform:
    action = parse_application(_read(file, APPLICATION_BYTES_MAX))
    if not isinstance(action, AdmitAgency | AdmitPlatform):
        raise Malformed("cli.application", kind=action.KIND)
    return action


def _applicant(application: AdmitAgency | AdmitPlatform) -> MemberId:
    match application:
        case AdmitAgency():
            return application.agency
        case AdmitPlatform():
            return application.platform


def suspend_platform(
    member: MemberArgument, home: HomeOption, operator: Operator = None, as_json: Json = False
) -> None:
    _propose(home, operator, as_json, SuspendPlatform(_member(member)), f"to suspend {member}")


def remove_platform(
    member: MemberArgument, home: HomeOption, operator: Operator = None, as_json: Json = False
) -> None:
    _propose(home, operator, as_json, RemovePlatform(_member(member)), f"to remove {member}")


def remove_agency(
    member: MemberArgument, home: HomeOption, operator: Operator = None, as_json: Json = False
) -> None:
    _propose(home, operator, as_json, RemoveAgency(_member(member)), f"to remove {member}")


def accredit(
    member: MemberArgument,
    jurisdiction: Annotated[str, typer.Argument(help="Such as EU.")],
    home: HomeOption,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    action = Accredit(_member(member), _jurisdiction(jurisdiction))
    _propose(home, operator, as_json, action, f"to accredit {member} for {jurisdiction}")


def parameters(
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=", ".join(NAMES),
        ),
    ],
    home: HomeOption,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    with _book_of(home) as book:
        wanted = changed(parameters_of(book.state), changes)
    _propose(home, operator, as_json, wanted, f"to set {', '.join(changes)}")


def vote(
    proposal: Annotated[int, typer.Argument(min=0, max=LOG_SIZE_MAX, help="The proposal's entry.")],
    ballot: Annotated[str, typer.Argument(metavar="yes|no")],
    home: HomeOption,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    if ballot not in ("yes", "no"):
        raise Malformed("cli.ballot", got=ballot[:20], wanted="yes or no")
    with _book_of(home) as book:
        desk = open_desk(open_home(home), book, operator)
        entry = desk.vote(proposal, approve=ballot == "yes")
    said = {"proposal": proposal, "ballot": ballot, "entry": entry}
    tell(as_json, said, f"Voted {ballot} on {proposal}, entry {entry}.")


def _propose(home: Path, operator: str | None, as_json: bool, action: Action, what: str) -> None:
    with _book_of(home) as book:
        entry = open_desk(open_home(home), book, operator).propose(action)
    text = (
        f"Proposed {what}, entry {entry}; this agency's vote is yes.\n"
        f"Next, other agencies: accord vote {entry} yes"
    )
    tell(as_json, {"proposal": entry, "kind": action.KIND}, text)


def _member(text: str) -> MemberId:
    if NAME_RE.fullmatch(text) is None:
        raise Malformed("cli.member", got=text[:40], wanted="a member's id, see accord members")
    return MemberId(text)


def _jurisdiction(text: str) -> JurisdictionId:
    if JURISDICTION_RE.fullmatch(text) is None:
        raise Malformed("cli.jurisdiction", got=text[:40], wanted="such as NL, GB or EU")
    return JurisdictionId(text)


def in_words(code: str) -> str:
    """` (why)`, for a file that was not looked at or cannot be listed."""
    from accord.fingerprint import REASONS, UnhashableCode  # noqa: PLC0415  (slow to load)

    known = meaning_of(code)
    if code in set(UnhashableCode):
        return f" ({REASONS[UnhashableCode(code)]})"
    return "" if known is None else f" ({known.words})"


def tell(as_json: bool, value: Mapping[str, object], text: str) -> None:
    """One JSON line, or the text for people."""
    line = encodable(json.dumps(value, ensure_ascii=False)) if as_json else printable(text)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
