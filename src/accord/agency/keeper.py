"""The keeper: opens group epochs, acknowledges them, wraps keys for members that came later.

Nodes are blind, so this runs on the key side, one at each agency. Any keeper may do what needs
doing once; so that not all race, the agency of the lowest number acts first and each further one
a head start later. A lost race is a rejection, which changes nothing.
`decide_tasks` is pure; `Keeper` signs and submits.
Source: docs/spec/confidentiality.md, section Epochs.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from accord.agency.sealing import seal_epoch, wrap_epoch
from accord.agency.voice import Ledgerbook, Voice
from accord.follow.keyring import Keyring
from accord.ledger.epochs import epoch_of, is_overdue, recipients_of
from accord.ledger.membership import agencies, consortium
from accord.ledger.state import KEYS, EpochRow, Reader
from accord.statements.bodies import Acknowledge, Epoch, Recipient, Wrap
from accord.wire.digests import sha256
from accord.wire.errors import Broken, Rejected
from accord.wire.ids import GroupId, MemberId, TimeMs
from accord.wire.limits import EPOCH_PENDING_MS_MAX, KEEPER_TURN_MS, WRAPS_MAX

diagnostics = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AcknowledgeEpoch:
    """Say that a pending epoch opens for us and leads to all history."""

    group: GroupId
    number: int
    commitment: bytes

    def __str__(self) -> str:
        return f"acknowledge {self.group} {self.number}"


@dataclass(frozen=True, slots=True)
class OpenEpoch:
    """Make the next key of a group."""

    group: GroupId
    number: int
    recipients: tuple[Recipient, ...]

    def __str__(self) -> str:
        return f"open {self.group} {self.number}"


@dataclass(frozen=True, slots=True)
class WrapEpoch:
    """Hand the key in force to members that do not hold it."""

    group: GroupId
    number: int
    recipients: tuple[Recipient, ...]

    def __str__(self) -> str:
        return f"wrap {self.group} {self.number} for {len(self.recipients)}"


Task: TypeAlias = AcknowledgeEpoch | OpenEpoch | WrapEpoch


@dataclass(frozen=True, slots=True)
class Done:
    """A task and its entry, or the code of its rejection."""

    task: Task
    entry: int | None
    code: str | None = None


def decide_tasks(
    state: Reader, keyring: Keyring, member: MemberId, now: TimeMs
) -> tuple[Task, ...]:
    """All that this agency's keeper could do for the ledger as it stands, in order."""
    if member not in agencies(state):
        return ()
    tasks: list[Task] = []
    for group in consortium(state).groups:
        row = epoch_of(state, group)
        tasks += _acknowledge(row, keyring, group, member)
        tasks += _open(state, row, keyring, group, now)
        if not is_overdue(row, now):  # Else the next epoch is for everybody.
            tasks += _wrap(state, row, keyring, group)
    order = (AcknowledgeEpoch, OpenEpoch, WrapEpoch)
    return tuple(sorted(tasks, key=lambda task: order.index(type(task))))


def _acknowledge(
    row: EpochRow, keyring: Keyring, group: GroupId, member: MemberId
) -> list[AcknowledgeEpoch]:
    pending = row.pending
    if pending is None or member in pending.acknowledged:
        return []
    if not keyring.is_sound(group, pending.number, pending.commitment):
        return []
    return [AcknowledgeEpoch(group, pending.number, pending.commitment)]


def _open(
    state: Reader, row: EpochRow, keyring: Keyring, group: GroupId, now: TimeMs
) -> list[OpenEpoch]:
    """Where no key is in force, or somebody left who could open the one that is.

    An overdue pending epoch is replaced only by those it does not open for: those it does open
    for wait for the others, or a log would fill with epochs while half the keepers are away.
    """
    if row.number > 0 and row.rotate_by_ms is None:
        return []
    if row.number > 0 and keyring.key_of(group, row.number) is None:
        return []  # The new key must lead to the old one, which we cannot open.
    pending = row.pending
    if pending is not None:
        overdue = now >= pending.opened_ms + EPOCH_PENDING_MS_MAX
        if not overdue or keyring.is_sound(group, pending.number, pending.commitment):
            return []
    wanted = recipients_of(state, group)[:WRAPS_MAX]
    return [OpenEpoch(group, row.number + 1, wanted)] if wanted else []


def _wrap(state: Reader, row: EpochRow, keyring: Keyring, group: GroupId) -> list[WrapEpoch]:
    if row.number == 0 or keyring.key_of(group, row.number) is None:
        return []
    missing = sorted(set(recipients_of(state, group)) - set(row.recipients))
    return [
        WrapEpoch(group, row.number, tuple(missing[start : start + WRAPS_MAX]))
        for start in range(0, len(missing), WRAPS_MAX)
    ]


def rank_of(state: Reader, member: MemberId) -> int:
    """How many agencies have an earlier number, and so go first."""
    by_number = sorted((row.number, name) for name, row in agencies(state).items())
    return [name for _, name in by_number].index(member)


@dataclass(slots=True)
class Turns:
    """Whose turn it is: each task is noticed, then waits for the agencies that go first."""

    noticed_ms: dict[Task, TimeMs] = field(default_factory=dict[Task, TimeMs])

    def due(self, tasks: Sequence[Task], rank: int, now: TimeMs) -> list[Task]:
        """The tasks to do now. Acknowledging is everybody's own: no turns."""
        self.noticed_ms = {task: self.noticed_ms.get(task, now) for task in tasks}
        return [
            task
            for task in tasks
            if isinstance(task, AcknowledgeEpoch)
            or now >= self.noticed_ms[task] + rank * KEEPER_TURN_MS
        ]


class Keeper:
    """One agency's keeper. One caller."""

    def __init__(self, voice: Voice, book: Ledgerbook) -> None:
        self._voice = voice
        self._book = book
        self._turns = Turns()

    def step(self, *, out_of_turn: bool = False) -> list[Done]:
        """Follow the log, then do what is due. Raises: Unavailable, Unproven, Malformed."""
        self._book.sync()
        state, member, now = self._book.state, self._voice.home.member, self._voice.now_ms()
        tasks = decide_tasks(state, self._book.keyring, member, now)
        if tasks and not out_of_turn:
            tasks = tuple(self._turns.due(tasks, rank_of(state, member), now))
        return [self._do(task) for task in tasks]

    def _do(self, task: Task) -> Done:
        try:
            done = Done(task, self._perform(task))
        except Rejected as err:  # Somebody was quicker, or the ledger moved on: look again.
            done = Done(task, None, err.code)
        diagnostics.info("%s: %s", task, done.entry if done.code is None else done.code)
        return done

    def _perform(self, task: Task) -> int:
        match task:
            case AcknowledgeEpoch():
                return self._voice.say(
                    Acknowledge(self._voice.header(), task.group, task.number, task.commitment)
                )
            case OpenEpoch():
                return self._open(task)
            case WrapEpoch():
                return self._wrap(task)
            case _:
                assert_never(task)

    def _open(self, task: OpenEpoch) -> int:
        previous = self._book.keyring.key_of(task.group, task.number - 1)
        recipients = self._with_publics(task.recipients)
        sealed = seal_epoch(self._book.chain, task.group, task.number, recipients, previous)
        body = Epoch(
            header=self._voice.header(),
            group=task.group,
            number=task.number,
            commitment=sealed.commitment,
            recipients=task.recipients,
            blob_sha256=sha256(sealed.blob),
        )
        return self._voice.say(body, sealed.blob)

    def _wrap(self, task: WrapEpoch) -> int:
        key = self._book.keyring.key_of(task.group, task.number)
        if key is None:
            raise Broken("keeper.key")
        recipients = self._with_publics(task.recipients)
        blob = wrap_epoch(self._book.chain, task.group, task.number, key, recipients, None)
        body = Wrap(self._voice.header(), task.group, task.number, task.recipients, sha256(blob))
        return self._voice.say(body, blob)

    def _with_publics(self, recipients: Sequence[Recipient]) -> list[tuple[Recipient, bytes]]:
        publics: list[tuple[Recipient, bytes]] = []
        for recipient in recipients:
            row = self._book.state.get(KEYS, recipient.key_id)
            if row is None:
                raise Broken("keeper.recipient", member=recipient.member)
            publics.append((recipient, row.public))
        return publics
