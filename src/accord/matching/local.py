"""A platform's own layer over a decision: what it lets be, tries out, or holds back.

Pure. It makes a decision milder and never stricter, only where the rules permit: what a rule set
with the modality `required` asks stands, whatever is written here, and the decision says so.
Not here: the file it is read from, how often listings match (scan).
Source: docs/spec/local.md.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from accord.matching.decision import (
    Answer,
    Decision,
    Duties,
    LocalNote,
    LocalStep,
    Query,
    Reason,
    Verdict,
)
from accord.registry.obligation import PlatformObligations
from accord.statements.rules import Action, Algorithm, Modality
from accord.wire.digests import labelled_sha256
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId

RATIO_WHOLE: Final = 1_000  # A ratio is in thousandths.
_DROPPED: Final = frozenset({LocalStep.ALLOWED, LocalStep.NOT_ENABLED, LocalStep.NARROWED})
Modalities = Mapping[JurisdictionId, Modality]


@dataclass(frozen=True, slots=True)
class Allowed:
    """A file that is known to be benign: who says so, and why."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class LocalLayer:
    """What one platform has written down. Lists are clauses: `JURISDICTION/CLAUSE`."""

    allowed: Mapping[bytes, Allowed] = field(default_factory=dict[bytes, Allowed], repr=False)
    ratios: Mapping[str, int] = field(default_factory=dict[str, int])
    thresholds: Mapping[Algorithm, int] = field(default_factory=dict[Algorithm, int])
    dry_run: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.allowed or self.ratios or self.thresholds or self.dry_run)


def list_of(reason: Reason) -> str:
    """The list that a reason comes from, as ratios name it."""
    return f"{reason.jurisdiction}/{reason.clause}"


def is_enabled(name: str, ratio: int, query: Query) -> bool:
    """Whether a file is among those that a list is enabled for.

    The same file is in or out each time, and who is in at one ratio is in at every higher one.
    """
    seen = _file_of(query)
    if ratio >= RATIO_WHOLE or seen is None:
        return True
    draw = int.from_bytes(labelled_sha256("enabled", name.encode(), seen)[:8], "big")
    return draw * RATIO_WHOLE < ratio << 64


def _file_of(query: Query) -> bytes | None:
    digests = dict(query.digests)
    for algorithm in (Algorithm.SHA256, Algorithm.SHA1, Algorithm.MD5):
        if algorithm in digests:
            return digests[algorithm]
    return query.frames[0].bits if query.frames else None


def apply_local(
    decision: Decision,
    query: Query,
    layer: LocalLayer,
    modalities: Modalities,
    held: Collection[str] = (),
) -> Decision:
    """The decision as the platform carries it out; `local` says each difference and its cause.

    `held` are listings that match far too much: their matches go to a person.
    """
    if decision.answer is not Answer.MATCH or (layer.is_empty and not held):
        return decision
    notes: list[LocalNote] = []
    verdicts: list[Verdict] = []
    dropped: set[JurisdictionId] = set()
    for verdict in decision.verdicts:
        if verdict.answer is not Answer.MATCH:
            verdicts.append(verdict)
            continue
        steps = [
            (reason, _step_of(reason, query, layer, held))
            for reason in decision.reasons
            if reason.jurisdiction == verdict.jurisdiction
        ]
        is_free = modalities.get(verdict.jurisdiction) is Modality.PERMITTED
        notes += _notes(verdict, steps, layer, is_refused=not is_free)
        milder = _milder(decision, verdict, steps) if is_free else verdict.action
        if is_free and not decision.truncated and steps and _is_all_dropped(steps):
            dropped.add(verdict.jurisdiction)
        if is_free and layer.dry_run:
            milder = Action.ALLOW
        verdicts.append(verdict._replace(action=milder))
    if not notes:
        return decision
    return replace(
        decision,
        action=_strictest(decision, verdicts),
        verdicts=tuple(verdicts),
        duties=_duties_without(decision.duties, dropped, decision),
        local=tuple(dict.fromkeys(notes)),
    )


def _step_of(
    reason: Reason, query: Query, layer: LocalLayer, held: Collection[str]
) -> LocalStep | None:
    """What the layer makes of one match; None: nothing."""
    if dict(query.digests).get(Algorithm.SHA256) in layer.allowed:
        return LocalStep.ALLOWED
    name = list_of(reason)
    if not is_enabled(name, layer.ratios.get(name, RATIO_WHOLE), query):
        return LocalStep.NOT_ENABLED
    widest = layer.thresholds.get(reason.algorithm)
    if widest is not None and reason.distance > widest:
        return LocalStep.NARROWED
    return LocalStep.NOISY if str(reason.ref) in held else None


def _milder(
    decision: Decision, verdict: Verdict, steps: list[tuple[Reason, LocalStep | None]]
) -> Action:
    """A permitting jurisdiction's action. Where not every match is named, it stays."""
    strictest = max((reason.action for reason, _ in steps), key=_severity, default=Action.ALLOW)
    if decision.truncated and not _is_one(steps, LocalStep.ALLOWED):
        return verdict.action
    if _severity(verdict.action) > _severity(strictest):
        return verdict.action  # A stale list's, which no match explains.
    actions = [_local_action(reason, step) for reason, step in steps]
    return max(actions, key=_severity, default=verdict.action)


def _local_action(reason: Reason, step: LocalStep | None) -> Action:
    if step in _DROPPED:
        return Action.ALLOW
    if step is LocalStep.NOISY:
        return min(reason.action, Action.REVIEW, key=_severity)
    return reason.action


def _is_one(steps: list[tuple[Reason, LocalStep | None]], step: LocalStep) -> bool:
    return bool(steps) and all(found is step for _, found in steps)


def _is_all_dropped(steps: list[tuple[Reason, LocalStep | None]]) -> bool:
    return all(step in _DROPPED for _, step in steps)


def _notes(
    verdict: Verdict,
    steps: list[tuple[Reason, LocalStep | None]],
    layer: LocalLayer,
    *,
    is_refused: bool,
) -> list[LocalNote]:
    notes = [
        LocalNote(step, list_of(reason), str(reason.ref), is_refused)
        for reason, step in steps
        if step is not None
    ]
    if layer.dry_run:
        notes.append(LocalNote(LocalStep.DRY_RUN, verdict.jurisdiction, "", is_refused))
    return notes


def _strictest(decision: Decision, verdicts: list[Verdict]) -> Action:
    action = max((verdict.action for verdict in verdicts), key=_severity, default=Action.ALLOW)
    return min(action, decision.action, key=_severity)  # A conflict capped it before.


def _duties_without(
    duties: Duties, dropped: Collection[JurisdictionId], decision: Decision
) -> Duties:
    """Without the duties of jurisdictions where nothing is left of the match. Preservation is the
    longest of all, so it goes only with the last of them."""
    left = tuple(duty for duty in duties.reports if duty.jurisdiction not in dropped)
    matched = {v.jurisdiction for v in decision.verdicts if v.answer is Answer.MATCH}
    return Duties(
        reports=left,
        report_within_hours=min((duty.within_hours for duty in left), default=None),
        preserve_days=0 if matched <= set(dropped) else duties.preserve_days,
        user_notices=tuple(row for row in duties.user_notices if row[0] not in dropped),
    )


def _severity(action: Action) -> int:
    return action.severity


def modalities_of(obligations: PlatformObligations) -> dict[JurisdictionId, Modality]:
    """Which jurisdictions require, permit or prohibit."""
    return {
        name: share.rule.rule_set.modality
        for name, share in obligations.by_jurisdiction.items()
        if share.rule is not None
    }


def check_layer(layer: LocalLayer, obligations: PlatformObligations) -> None:
    """Whether the layer fits the rules in force. Raises: Malformed, naming what does not.

    A ratio or threshold of a required list is refused here; so is one that is laxer than the
    rule, or of a list that there is not.
    """
    modalities = modalities_of(obligations)
    known = {
        f"{name}/{active.clause.name}": (name, active.clause)
        for name, share in obligations.by_jurisdiction.items()
        for active in share.clauses
    }
    for listed in layer.ratios:
        if listed not in known:
            raise Malformed("local.unknown", list=listed, known=", ".join(sorted(known)))
        if modalities.get(known[listed][0]) is Modality.REQUIRED:
            raise Malformed("local.required", list=listed, mend="leave its ratio out")
    for algorithm, widest in layer.thresholds.items():
        for listed, (name, clause) in sorted(known.items()):
            near = clause.near_by(algorithm)
            if near is None or near.threshold == widest:
                continue
            if widest > near.threshold:
                raise Malformed("local.laxer", list=listed, rule=near.threshold, local=widest)
            if modalities.get(name) is Modality.REQUIRED:
                raise Malformed("local.required", list=listed, mend="leave the threshold out")
    if layer.dry_run and Modality.REQUIRED in modalities.values():
        names = [name for name, said in modalities.items() if said is Modality.REQUIRED]
        raise Malformed("local.required", list=", ".join(sorted(names)), mend="no dry run there")


def noisy(matched: Mapping[str, int], files_max: int) -> frozenset[str]:
    """Listings that matched more files than is believable."""
    return frozenset(listing for listing, files in matched.items() if files > files_max)
