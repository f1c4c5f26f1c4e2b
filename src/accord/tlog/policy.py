"""C2SP tlog-policy: whose signatures make a checkpoint worth believing, and the one check of it.

Not here: which policy is in force at a size (the ledger says), clocks, consistency with an older
checkpoint (merkle).
Invariants: a checkpoint that came out of `verify_checkpoint` is signed as the policy asks over
its exact bytes; each witness counts once and in one way.
Source: https://c2sp.org/tlog-policy, docs/spec/log.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from accord.tlog.checkpoint import parse_checkpoint
from accord.tlog.note import Algorithm, NoteKey, parse_note, parse_note_key, verify_line
from accord.wire.errors import Malformed, Unproven
from accord.wire.limits import AGENCIES_MAX, POLICY_BYTES_MAX, POLICY_LINES_MAX

NONE: Final = "none"  # The quorum that asks for no witness.
AGENCIES_GROUP: Final = "agencies"
OUTSIDE_GROUP: Final = "outside"
QUORUM_GROUP: Final = "quorum"
_COUNT_RE: Final = re.compile(r"[1-9][0-9]{0,3}")
_BLANK_RE: Final = re.compile("[ \t]+")


@dataclass(frozen=True, slots=True)
class Log:
    """A key that may sign as the log; its name is the log's origin."""

    key: NoteKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A cosigner under the name this policy gives it."""

    name: str
    key: NoteKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`needed` of these witnesses or earlier groups."""

    name: str
    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses, groups in the order they build on each other, and the quorum's name.

    Without logs the origin must be known from elsewhere; with logs, one of them must have signed.
    """

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        _check_keys(self)
        _check_names(self)

    def encode(self) -> bytes:
        """The policy as text: one line each, single spaces, no comments. Parses to an equal
        policy.
        """
        lines = [["log", log.key.encode(), log.url] for log in self.logs]
        lines += [["witness", w.name, w.key.encode(), w.url] for w in self.witnesses]
        lines += [["group", g.name, str(g.needed), *g.members] for g in self.groups]
        lines.append(["quorum", self.quorum])
        text = "".join(" ".join(item for item in line if item) + "\n" for line in lines)
        return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A tree head that its policy's quorum signed: the only source of a size and a root.

    `cosigned_at` is (witness name, seconds since 1970 UTC by that witness's clock), in the
    policy's order; `raw` is the note as it came.
    """

    origin: str
    size: int
    root: bytes
    cosigned_at: tuple[tuple[str, int], ...]
    log_keys: tuple[NoteKey, ...]
    raw: bytes

    @property
    def signers(self) -> tuple[str, ...]:
        """The witnesses that cosigned, by their names in the policy."""
        return tuple(name for name, _ in self.cosigned_at)


def parse_policy(raw: bytes) -> Policy:
    """A policy text. Names and URLs are octets to this format: those that are no UTF-8 survive as
    surrogate escapes. Raises: Malformed.
    """
    if len(raw) > POLICY_BYTES_MAX or not raw.endswith(b"\n"):
        raise Malformed("tlog.policy", bytes=len(raw), limit=POLICY_BYTES_MAX)
    if any((octet < 0x20 and octet not in b"\t\n") or octet == 0x7F for octet in raw):
        raise Malformed("tlog.policy", hint="control character")
    text = raw.decode("utf-8", "surrogateescape")
    lines = text[:-1].split("\n")
    if len(lines) > POLICY_LINES_MAX:
        raise Malformed("tlog.policy", lines=len(lines), limit=POLICY_LINES_MAX)
    draft = _Draft([], [], [], [])
    for number, line in enumerate(lines, 1):
        items = _BLANK_RE.split(line.strip(" \t"))
        if items[0] and not items[0].startswith("#"):
            draft.add(items, number)
    if len(draft.quorum) != 1:
        raise Malformed("tlog.policy", hint="exactly one quorum line", got=len(draft.quorum))
    return Policy(tuple(draft.logs), tuple(draft.witnesses), tuple(draft.groups), draft.quorum[0])


@dataclass(frozen=True, slots=True)
class _Draft:
    """The lines read so far."""

    logs: list[Log]
    witnesses: list[Witness]
    groups: list[Group]
    quorum: list[str]

    def add(self, items: list[str], number: int) -> None:
        match items:
            case ["log", key, *url] if len(url) <= 1:
                self.logs.append(Log(parse_note_key(key), url[0] if url else None))
            case ["witness", name, key, *url] if len(url) <= 1:
                self.witnesses.append(Witness(name, parse_note_key(key), url[0] if url else None))
            case ["group", name, count, first, *rest]:
                self._check_known((first, *rest), number)
                members = (first, *rest)
                self.groups.append(Group(name, _parse_count(count, len(members)), members))
            case ["quorum", name]:
                self._check_known(() if name == NONE else (name,), number)
                self.quorum.append(name)
            case _:
                raise Malformed("tlog.policy", line=number)

    def _check_known(self, names: Sequence[str], number: int) -> None:
        """A line refers to preceding lines only, which rules circles out."""
        known = {w.name for w in self.witnesses} | {g.name for g in self.groups}
        if any(name not in known for name in names):
            raise Malformed("tlog.policy_name", line=number)


def _parse_count(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    if _COUNT_RE.fullmatch(text) is None:
        raise Malformed("tlog.policy", hint="a group needs all, any or a number")
    return int(text)


def _check_keys(policy: Policy) -> None:
    witness_keys = [witness.key for witness in policy.witnesses]
    if any(key.algorithm is not Algorithm.COSIGNATURE_V1 for key in witness_keys):
        raise Malformed("tlog.vkey_algorithm", hint="a witness cosigns")
    log_keys = [log.key for log in policy.logs]
    for keys in (log_keys, witness_keys):
        if len({key.key for key in keys}) != len(keys):
            raise Malformed("tlog.policy_duplicate", hint="key")
    every = [*log_keys, *witness_keys]
    if len({(key.name, key.key_hash) for key in every}) != len(every):
        raise Malformed("tlog.policy_duplicate", hint="key name and hash")
    urls = [log.url for log in policy.logs] + [witness.url for witness in policy.witnesses]
    if not all(url is None or _is_word(url) for url in urls):
        raise Malformed("tlog.policy", hint="URL")


def _check_names(policy: Policy) -> None:
    known, used = set[str](), set[str]()
    items: list[Witness | Group] = [*policy.witnesses, *policy.groups]
    for item in items:
        if item.name in known or item.name == NONE or not _is_word(item.name):
            raise Malformed("tlog.policy_name", hint="taken, reserved or not a word")
        if isinstance(item, Group):
            if not 1 <= item.needed <= len(item.members):
                raise Malformed("tlog.policy", need=item.needed, members=len(item.members))
            for member in item.members:
                if member not in known or member in used:
                    raise Malformed("tlog.policy_name", hint="unknown or counted twice")
                used.add(member)
        known.add(item.name)
    if policy.quorum != NONE and policy.quorum not in known:
        raise Malformed("tlog.policy_name", hint="quorum")


def _is_word(text: str) -> bool:
    """No blank, no control character, and the same again after a trip through octets."""
    if not text or any(char <= " " or char == "\x7f" for char in text):
        return False
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == text
    except UnicodeEncodeError:
        return False


def verify_checkpoint(raw: bytes, policy: Policy, origin: str | None = None) -> VerifiedCheckpoint:
    """The tree head in a note, if the policy's quorum signed these exact bytes for its log.

    `origin` pins the log where the policy names none, and narrows it where it names several.
    Lines of unknown keys are ignored; one line of a known key that does not verify condemns the
    note. Raises: Malformed; Unproven with `tlog.origin` (another log), `tlog.signature` (a known
    key's line is wrong), `tlog.log_signature` (no listed log signed), `tlog.quorum`.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    logs = [log.key for log in policy.logs if log.key.name == checkpoint.origin]
    if origin is not None and origin != checkpoint.origin:
        raise Unproven("tlog.origin")
    if not logs and (policy.logs or origin is None):
        raise Unproven("tlog.origin")
    known = {(key.name, key.key_hash): key for key in logs}
    known |= {(w.key.name, w.key.key_hash): w.key for w in policy.witnesses}
    signed, times = set[NoteKey](), dict[NoteKey, int]()
    for line in note.lines:
        key = known.get((line.name, line.key_hash))
        if key is None:
            continue
        cosignature = verify_line(line, note.text, key)
        signed.add(key)
        if cosignature is not None:
            times[key] = max(times.get(key, 0), cosignature.time_s)
    if not signed & set(logs) and (logs or policy.quorum == NONE):
        raise Unproven("tlog.log_signature")
    cosigned_at = tuple((w.name, times[w.key]) for w in policy.witnesses if w.key in times)
    _check_quorum(policy, cosigned_at)
    log_keys = tuple(key for key in logs if key in signed)
    return VerifiedCheckpoint(
        checkpoint.origin, checkpoint.size, checkpoint.root, cosigned_at, log_keys, raw
    )


def _quorum_times(policy: Policy, cosigned_at: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The time of every witness and group that is there. A group's is the needed-th newest of its
    members': the latest time by which that many had signed.
    """
    times = dict(cosigned_at)
    for group in policy.groups:  # Each builds on what stands before it.
        found = sorted((times[name] for name in group.members if name in times), reverse=True)
        if len(found) >= group.needed:
            times[group.name] = found[group.needed - 1]
    return times


def _check_quorum(policy: Policy, cosigned_at: Sequence[tuple[str, int]]) -> None:
    times = _quorum_times(policy, cosigned_at)
    if policy.quorum == NONE or policy.quorum in times:
        return
    group = next((item for item in policy.groups if item.name == policy.quorum), None)
    members, need = (group.members, group.needed) if group else ((), 1)
    raise Unproven("tlog.quorum", have=sum(name in times for name in members), need=need)


def freshness_ms(verified: VerifiedCheckpoint, policy: Policy, now_ms: int) -> int:
    """The age of the newest quorum: how long ago the last signature it needs was made.

    Units: ms; negative where the witnesses' clocks are ahead of the caller's. Never a base for
    deadlines: cosignature times move with every re-cosign.
    Raises: Unproven, where this policy asks for no witness or its quorum is not there.
    """
    newest_s = _quorum_times(policy, verified.cosigned_at).get(policy.quorum)
    if newest_s is None:
        raise Unproven("tlog.freshness")
    return now_ms - newest_s * 1000


def quorum_of(agencies: int) -> int:
    """How many of n agencies must cosign: more than two thirds."""
    return 2 * agencies // 3 + 1


def consortium_policy(
    logs: Sequence[NoteKey],
    agencies: Sequence[tuple[str, NoteKey]],
    outside: Sequence[tuple[str, NoteKey]] = (),
    outside_needed: int = 0,
) -> Policy:
    """The policy of a consortium: more than two thirds of its agencies' cosigners and, where
    outside witnesses are given, `outside_needed` of them too. Names become witness names; outside
    ones get the prefix `outside/`. Raises: Malformed.
    """
    if not 1 <= len(agencies) <= AGENCIES_MAX or bool(outside) != bool(outside_needed):
        raise Malformed("tlog.policy", agencies=len(agencies), outside=len(outside))
    inner = [Witness(f"agency/{name}", key) for name, key in agencies]
    outer = [Witness(f"outside/{name}", key) for name, key in outside]
    needed = quorum_of(len(agencies))
    groups = [Group(AGENCIES_GROUP, needed, tuple(item.name for item in inner))]
    if outer:
        names = tuple(item.name for item in outer)
        groups.append(Group(OUTSIDE_GROUP, outside_needed, names))
        groups.append(Group(QUORUM_GROUP, 2, (AGENCIES_GROUP, OUTSIDE_GROUP)))
    return Policy(tuple(Log(key) for key in logs), (*inner, *outer), tuple(groups), groups[-1].name)
