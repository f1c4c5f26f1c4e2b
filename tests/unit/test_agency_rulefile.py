"""Rule files: what they say, what they refuse, and that every mistake is named with its mend."""

from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.rulefile import EVERYTHING, TEMPLATES, parse_rule_file, template
from accord.agency.ruletext import dump_rule_file
from accord.agency.yamltree import Faulty
from accord.statements.rules import (
    PDQ_KIN,
    Action,
    Algorithm,
    Certification,
    ClassCode,
    Clause,
    Exact,
    Metric,
    Modality,
    Near,
    Report,
    Service,
    Step,
)
from accord.wire.errors import Malformed

SMALL = """\
title: Small
modality: required
legal_basis: {text: "An act"}
valid_from: 2026-01-01
services: [social, hosting]
scope: [uploads]
clauses:
  - name: known
    classes: [test/T1, vics/us/1]
    certified_by: {agencies: 2, sovereigns: 1}
    exact: {action: block}
    near: {action: review}
"""


def faults_of(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(Faulty) as caught:
        parse_rule_file(text.encode())
    assert caught.value.code == "rules.field"
    assert caught.value.detail["faults"] == len(caught.value.faults)
    return [(fault.line, fault.field, fault.mend) for fault in caught.value.faults]


def test_a_small_file_takes_the_documented_defaults() -> None:
    rules = parse_rule_file(SMALL.encode())
    assert (rules.valid_from_ms, rules.valid_to_ms) == (1_767_225_600_000, None)
    assert rules.services == (Service.HOSTING, Service.SOCIAL)
    assert (rules.undetermined, rules.stale) == (Action.REVIEW, Action.ALLOW)
    assert (rules.preserve_days, rules.sync_within_minutes) == (0, 60)
    assert (rules.rescan_within_hours, rules.report, rules.user_notice) == (720, None, "")
    clause = rules.clauses[0]
    assert clause.classes == (ClassCode("test", "", "T1"), ClassCode("vics", "us", "1"))
    assert clause.certification == Certification(2, 1, 1)
    assert clause.exact == Exact((Algorithm.MD5, Algorithm.SHA1, Algorithm.SHA256), Action.BLOCK)
    others = tuple(name for name in Algorithm if name not in PDQ_KIN)
    assert clause.near == (
        Near(Algorithm.PDQ, 31, 50, Action.REVIEW, alone=False, confirmed_by=others),
    )


def test_dates_durations_and_times_in_plain_units() -> None:
    more = (
        "valid_to: 2027-06-01T14:00:00+02:00\npreserve: 1 year\nsync_within: 2 hours\n"
        "rescan_within: 1 week\nreport: {to: Somebody, within: 3 days}\nstale:\n"
    )
    rules = parse_rule_file((SMALL + more).encode())
    assert rules.valid_to_ms == 1_811_851_200_000
    assert (rules.preserve_days, rules.sync_within_minutes) == (366, 120)
    assert (rules.rescan_within_hours, rules.report) == (168, Report("Somebody", 72))
    assert rules.stale is Action.ALLOW  # Left empty is left out.


def test_all_mistakes_of_a_file_are_reported_with_their_lines() -> None:
    text = """\
titel: Small
modality: mandatory
legal_basis: An act
valid_from: 2026-13-01
preserve: 12 hours
services: [hosting, hosting, mail]
scope: []
clauses:
  - name: Known
    classes: [T1, test/T1/x/y]
    certified_by: {agencies: 0, sovereigns: two}
    near: {within: 65, quality: 50, action: blok, alone: maybe}
  - name: other
    classes: [test/T1]
    certified_by: {agencies: 1, sovereigns: 1}
"""
    faults = faults_of(text)
    assert [(line, where) for line, where, _ in faults] == [
        (1, "titel"),
        (1, "title"),
        (2, "modality"),
        (3, "legal_basis"),
        (4, "valid_from"),
        (5, "preserve"),
        (6, "services[1]"),
        (6, "services[2]"),
        (7, "scope"),
        (9, "clauses[0].name"),
        (10, "clauses[0].classes[0]"),
        (10, "clauses[0].classes[1]"),
        (11, "clauses[0].certified_by.agencies"),
        (11, "clauses[0].certified_by.sovereigns"),
        (12, "clauses[0].near.action"),
        (12, "clauses[0].near.alone"),
        (12, "clauses[0].near.within"),
    ]
    mends = {where: mend for _, where, mend in faults}
    assert mends["titel"] == "did you mean `title`?"
    assert mends["clauses[0].near.action"] == "did you mean `block`?"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("valid_from: 2026-01-01", "valid_from: 2026-01-01\nvalid_to: 2025-01-01", "valid_to"),
        ("valid_from: 2026-01-01", "valid_from: 2026-01-01T00:00:00", "valid_from"),
        ("    exact: {action: block}\n    near: {action: review}\n", "", "clauses[0]"),
        ("title: Small", "title: Small\ntitle: Twice", "title"),
        ("title: Small", "title: &a Small", "file"),
        ("title: Small", "title: *a", "file"),
        ("title: Small", "title: !!python/name:os.system Small", "file"),
        ("title: Small", "title: Small\n---\ntitle: b", "file"),
        ("title: Small", "title: [Small", "file"),
        ("title: Small", "title: ''", "title"),
        ("title: Small", "title: {a: b}", "title"),
        ("title: Small", "title: Small\n? [a]\n: b", "file"),
        ("exact: {action: block}", "exact: {action: block, algorithms: [pdq]}", "algorithms[0]"),
        ("near: {action", "near: {algorithm: md5, action", "near.algorithm"),
        ("[test/T1, ", "[test/T1, Test/T1, ", "classes[1].scheme"),
        ("agencies: 2", "agencies: 2.5", "agencies"),
    ],
)
def test_a_refusal_names_the_field(old: str, new: str, where: str) -> None:
    assert old in SMALL
    faults = faults_of(SMALL.replace(old, new, 1))
    assert any(field.endswith(where) for _, field, _ in faults), faults
    assert all(mend for _, _, mend in faults)


NEAR = "near: {action: review}"


@pytest.mark.parametrize(
    ("near", "where", "mend"),
    [
        ("near: {algorithm: photodna, action: review}", "within", "no usual reach"),
        ("near: {algorithm: photodna, within: 3061, action: tag}", "within", "3060 by l2"),
        ("near: {within: 9, metric: l1, action: tag}", "metric", "hamming"),
        ("near: {algorithm: photodna, within: 9, quality: 1, action: tag}", "quality", "leave"),
        ("near: {action: tag, confirmed_by: [pdq]}", "confirmed_by", "leave out pdq"),
        ("near: {action: tag, confirmed_by: [vpdq]}", "confirmed_by", "no second opinion"),
        ("near: {action: tag, votes: 3}", "votes", "leave it out"),
        ("near: {algorithm: patches, action: block, votes: 2}", "votes", "3 to 24"),
        ("near: {algorithm: patches, action: tag, votes: 25}", "votes", "limits"),
        ("near: {algorithm: patches, within: 37, action: tag}", "within", "at most 36"),
        (
            "near: {algorithm: vpdq, query_percent: 0, listed_percent: 0, action: tag}",
            "query_percent",
            "one of the two",
        ),
        ("near: {algorithm: vpdq, query_percent: 101, action: tag}", "query_percent", "limits"),
        ("near: [{action: tag}, {action: tag}]", "near", "say pdq once"),
    ],
)
def test_a_near_term_must_fit_its_algorithm(near: str, where: str, mend: str) -> None:
    faults = faults_of(SMALL.replace(NEAR, near))
    assert [(field.endswith(where), mend in said) for _, field, said in faults] == [(True, True)]


def test_one_clause_matches_near_by_several_algorithms() -> None:
    text = SMALL.replace(
        NEAR,
        "near:\n    - {algorithm: photodna, within: 120, action: block, confirmed_by: [pdq]}\n"
        "    - {action: review}",
    )
    clause = parse_rule_file(text.encode()).clauses[0]
    vector = Near(Algorithm.PHOTODNA, 120, 0, Action.BLOCK, False, Metric.L2, (Algorithm.PDQ,))
    assert clause.near_by(Algorithm.PHOTODNA) == vector
    assert clause.near_by(Algorithm.PDQ) is not None
    assert clause.near_by(Algorithm.MD5) is None
    assert vector.limit == 14_400


def test_a_class_that_the_consortium_lacks_is_refused_and_what_is_near_is_named() -> None:
    text = SMALL.replace("test/T1, ", "ncmec/a1, ncmec/Z9, ")
    assert faults_of(text) == [
        (9, "clauses[0].classes[0]", "did you mean `ncmec/A1`?"),
        (9, "clauses[0].classes[1]", "use one of: ncmec/A1, ncmec/A2, ncmec/B1, ncmec/B2"),
    ]
    assert parse_rule_file(text.encode(), EVERYTHING).screen == (Step.FULL,)


def test_terms_that_count_take_their_usual_demands() -> None:
    text = SMALL.replace("title: Small", "title: Small\nscreen: [full, patches]")
    near = "near: [{algorithm: patches, action: review}, {algorithm: vpdq, action: review}]"
    rules = parse_rule_file(text.replace("near: {action: review}", near).encode())
    patches, films = rules.clauses[0].near
    assert (patches.threshold, patches.demand) == (36, (2, 0, 0))
    assert (films.threshold, films.demand) == (31, (0, 60, 20))
    assert not {Algorithm.PDQ, Algorithm.VPDQ} & set(patches.confirmed_by)
    assert parse_rule_file(dump_rule_file(rules).encode()) == rules


def test_a_patch_term_wants_its_step() -> None:
    near = "near: {algorithm: patches, action: review}"
    assert faults_of(SMALL.replace("near: {action: review}", near)) == [
        (12, "clauses[0].near", "let `screen` name patches, else none are looked for")
    ]


def test_two_clauses_of_one_name_are_refused() -> None:
    clause = SMALL[SMALL.index("  - name") :]
    assert [(line, where) for line, where, _ in faults_of(SMALL + clause)] == [
        (13, "clauses[1].name")
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "--- \n", "just words", "- a\n- b\n"])
def test_a_file_that_is_no_rule_set_is_refused(text: str) -> None:
    assert faults_of(text)


def test_bombs_are_refused_before_they_grow() -> None:
    assert "deeper" in faults_of("title: " + "[" * 5_000)[0][2]
    assert "bytes" in faults_of("#" + "x" * 300_000)[0][2]
    many = [f"    - test/T{i}-{'x' * 25}" for i in range(64)]
    clause = "  - name: c{}\n    classes:\n{}\n    certified_by: {{agencies: 1, sovereigns: 1}}\n"
    clause += "    exact: {{action: tag}}\n"
    head = SMALL[: SMALL.index("  - name")]
    whole = head + "".join(clause.format(f"x{i}", "\n".join(many)) for i in range(32))
    assert "too large for one statement" in faults_of(whole)[0][2]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_parse_and_say_that_counsel_must_check_them(name: str) -> None:
    text = template(name)
    rules = parse_rule_file(text.encode())
    assert text.startswith("# TEMPLATE, NOT LEGAL ADVICE: counsel must check")
    assert parse_rule_file(dump_rule_file(rules).encode()) == rules
    near = [term for clause in rules.clauses for term in clause.near]
    assert near
    assert not any(term.alone for term in near)


def test_templates_hold_the_facts_of_their_sources() -> None:
    us, uk, eu = (
        parse_rule_file(template(name).encode()) for name in ("us", "uk", "eu-member-state")
    )
    assert (us.modality, us.preserve_days) == (Modality.PERMITTED, 366)
    assert us.report is not None
    assert us.report.to == "NCMEC CyberTipline"
    assert uk.modality is Modality.REQUIRED
    assert eu.modality is Modality.PERMITTED
    assert Service.MESSAGING not in eu.services
    assert eu.user_notice.isprintable()  # A folded text is joined with spaces, nothing else.


@pytest.mark.parametrize("name", TEMPLATES)
def test_folded_texts_are_plain_texts(name: str) -> None:
    notice = parse_rule_file(template(name).encode()).user_notice
    assert notice.isprintable()


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(Malformed, match=r"rules\.template"):
        template("../us")


def test_what_no_file_can_say_is_refused_when_dumped() -> None:
    rules = parse_rule_file(SMALL.encode())
    late = replace(rules, valid_from_ms=2**53)
    clause = rules.clauses[0]
    slash = Clause(
        clause.name, (ClassCode("test", "", "a/b"),), clause.certification, clause.exact, ()
    )
    for odd in (late, replace(rules, clauses=(slash,))):
        with pytest.raises(Malformed):
            dump_rule_file(odd)


def test_the_example_of_the_specification_parses() -> None:
    page = (Path(__file__).parents[2] / "docs" / "spec" / "rules.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert parse_rule_file(example.encode()).title == "Example"
