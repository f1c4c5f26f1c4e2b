"""From a file's fingerprints to a decision: index, rules, answer. Pure over arrays.

Job: find the active listings that a file matches, exactly; combine the rules of its
jurisdictions; name the rules, entries, agencies and checkpoint a decision rests on.
Refuses: a jurisdiction that the platform is not admitted in; to call "could not look" a no match.
Entry points: `screen.build_screen`, `Screen.decide`, `decision.decision_view`, `query_of`.
Rules: docs/spec/decisions.md.
"""

from accord.matching.decide import applicable, decide
from accord.matching.decision import (
    Answer,
    Applied,
    Cap,
    Conflict,
    Context,
    Decision,
    Duties,
    Place,
    Query,
    Reason,
    ReportDuty,
    Verdict,
    decision_view,
    query_of,
)
from accord.matching.index import Bases, Candidates, MatchIndex
from accord.matching.members import parts_of
from accord.matching.screen import Screen, build_screen

__all__ = [
    "Answer",
    "Applied",
    "Bases",
    "Candidates",
    "Cap",
    "Conflict",
    "Context",
    "Decision",
    "Duties",
    "MatchIndex",
    "Place",
    "Query",
    "Reason",
    "ReportDuty",
    "Screen",
    "Verdict",
    "applicable",
    "build_screen",
    "decide",
    "decision_view",
    "parts_of",
    "query_of",
]
