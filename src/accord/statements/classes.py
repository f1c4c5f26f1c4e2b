"""The classes that agencies use, scheme by scheme, and what each says in its own words.

A class is (scheme, profile, value) and stays what the listing agency said: schemes differ in law
and are never converted. `NEAREST` says which classes describe much the same, for pages and for
rule templates alone; no rule, registry or decision reads it.
Which of them a consortium admits is its parameter `classes`; this is where a new one starts, and
what a mistyped class is held against.
Source: docs/spec/classes.md.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from accord.statements.rules import ClassCode
from accord.wire import record
from accord.wire.errors import Malformed

_CODE_RE: Final = re.compile(r"([^/]+)/(?:([^/]+)/)?([^/]+)")


@dataclass(frozen=True, slots=True)
class ClassFact:
    """A class in its scheme's words, and where they stand."""

    code: ClassCode
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Correspondence:
    """Two classes that describe much the same, how far, and who says so."""

    left: ClassCode
    right: ClassCode
    how: str
    source: str


_NCMEC: Final = "https://report.cybertip.org/ispws/documentation (industryClassification)"
_UK: Final = "Sentencing Council, England and Wales: indecent photographs of children"
_INTERPOL: Final = (
    "https://www.interpol.int/en/Crimes/Crimes-against-children/Blocking-and-categorizing-content"
)
_INHOPE: Final = "https://universalclassificationschema.org"
_VICS_US: Final = "Autopsy, PROJECT_VIC_US_CATEGORIES; the VICS model itself is under agreement"
_TEST: Final = "docs/spec/classes.md"


def _facts(
    scheme: str, profile: str, source: str, meanings: dict[str, str]
) -> tuple[ClassFact, ...]:
    return tuple(
        ClassFact(ClassCode(scheme, profile, value), meaning, source)
        for value, meaning in meanings.items()
    )


CATALOGUE: Final = (
    *_facts(
        "inhope",
        "",
        _INHOPE,
        {
            "baseline": "illegal in every jurisdiction by the baseline criteria",
            "national": "illegal by the law of the country that classified it",
        },
    ),
    *_facts(
        "interpol",
        "",
        _INTERPOL,
        {"baseline": "a real child, at most 13 or seeming so, in a severe abuse or its focus"},
    ),
    *_facts(
        "ncmec",
        "",
        _NCMEC,
        {
            "A1": "prepubescent, sexual act",
            "A2": "prepubescent, lascivious exhibition",
            "B1": "pubescent, sexual act",
            "B2": "pubescent, lascivious exhibition",
        },
    ),
    *_facts("test", "", _TEST, {"T1": "harmless material to test with: never evidence"}),
    *_facts(
        "uk",
        "",
        _UK,
        {
            "A": "penetrative activity, or with an animal, or sadism",
            "B": "non-penetrative sexual activity",
            "C": "other indecent images",
        },
    ),
    *_facts("vics", "us", _VICS_US, {"1": "child abuse material"}),
)
CLASSES_KNOWN: Final = tuple(fact.code for fact in CATALOGUE)


def _near(left: str, right: str, how: str, source: str) -> Correspondence:
    return Correspondence(_code_of(left), _code_of(right), how, source)


def _code_of(text: str) -> ClassCode:
    scheme, *profile, value = text.split("/")
    return ClassCode(scheme, "".join(profile), value)


NEAREST: Final = (
    _near("interpol/baseline", "inhope/baseline", "the same criteria, other bodies", _INHOPE),
    _near("interpol/baseline", "ncmec/A1", "overlaps: baseline wants at most 13", _INTERPOL),
    _near("ncmec/A1", "uk/A", "overlaps: A wants penetration, A1 any sexual act", _UK),
    _near("ncmec/A1", "uk/B", "overlaps: B is a sexual act without penetration", _UK),
    _near("ncmec/B1", "uk/A", "overlaps: UK classes say nothing about puberty", _UK),
    _near("ncmec/B1", "uk/B", "overlaps: UK classes say nothing about puberty", _UK),
    _near("ncmec/A2", "uk/C", "overlaps: C is every other indecent image", _UK),
    _near("ncmec/B2", "uk/C", "overlaps: C is every other indecent image", _UK),
    _near("vics/us/1", "ncmec/A1", "wider: one class for all abuse material", _VICS_US),
    _near("vics/us/1", "ncmec/A2", "wider: one class for all abuse material", _VICS_US),
    _near("vics/us/1", "ncmec/B1", "wider: one class for all abuse material", _VICS_US),
    _near("vics/us/1", "ncmec/B2", "wider: one class for all abuse material", _VICS_US),
)


def parse_class(text: str) -> ClassCode:
    """`scheme/value` or `scheme/profile/value`. Raises: Malformed."""
    match = _CODE_RE.fullmatch(text)
    if match is None:
        raise Malformed("class.form", got=text[:60], wanted="scheme/value, such as ncmec/A1")
    return record.load_record(ClassCode, [match[1], match[2] or "", match[3]], "class")


def check_classes(codes: Iterable[ClassCode], admitted: Iterable[ClassCode]) -> None:
    """Raises: Malformed `class.unknown`, with the nearest spelling, for one not admitted."""
    known = frozenset(admitted)
    for code in codes:
        if code not in known:
            raise Malformed("class.unknown", got=str(code), mend=suggestion(code, known))


def suggestion(code: ClassCode, admitted: Iterable[ClassCode]) -> str:
    """How to mend a class that is not admitted."""
    spelled = {str(known).lower(): str(known) for known in sorted(admitted)}
    text = str(code).lower()
    inside = [name for name in spelled.values() if name.startswith(f"{code.scheme}/")]
    close = [text] if text in spelled else difflib.get_close_matches(text, list(spelled), n=1)
    if close and (text in spelled or not inside):
        return f"did you mean `{spelled[close[0]]}`?"
    return f"use one of: {', '.join(inside or spelled.values())}"
