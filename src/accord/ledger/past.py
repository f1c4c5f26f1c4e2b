"""What a ledger begins with: a genesis alone, or the log of an earlier one that it goes on with.

A consortium that lost its quorum for good goes on from a new genesis, on a new chain, over the same
tree: entries keep their numbers, and what was listed stays listed. The state at the start is a
function of bytes whose digests are known: the geneses, and the old leaves, which hash to the root
that the new genesis pins.
Invariants: equal geneses and leaves give an equal state and frontier, whoever folds them; leaves
other than those that were pinned give none.
Source: docs/spec/ledger.md, section Continuation; ADR 0008.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from accord.ledger.apply import FOLDS, Accepted, apply
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import Founding, Genesis, found
from accord.ledger.membership import (
    admit_agency,
    agencies,
    agency,
    check_keys,
    consortium,
    install_keys,
)
from accord.ledger.state import (
    AGENCIES_TABLE,
    AGENDA,
    CONSORTIUM,
    EPOCHS,
    KEYS,
    ONLY,
    PARAMETERS,
    PROPOSALS,
    Draft,
    ProposalStatus,
    Standing,
    State,
)
from accord.statements.bodies import AdmitAgency, Recipient, Role
from accord.statements.entries import parse_entry
from accord.tlog.merkle import Frontier, leaf_hash
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.ids import ChainId, TimeMs
from accord.wire.keys import key_id_of

FOLD_AT_ONCE = 1024  # Leaves drafted at once.
NEVER_USED = frozenset({Role.CONSENSUS, Role.COSIGNER})  # Roles whose keys must be new.


@dataclass(frozen=True, slots=True)
class Start:
    """A ledger before its first own entry."""

    state: State
    frontier: Frontier


def begin(founding: Founding, leaves: Iterable[bytes] = (), folds: frozenset[int] = FOLDS) -> Start:
    """The start of a ledger; `leaves` are all entries that its genesis pins, in order.

    Raises: Unproven with `genesis.past`, where the leaves are not those that were pinned, or one of
    them breaks a rule; Malformed, where no consortium can come of the two.
    """
    line = founding.line()
    state, frontier = found(line[0].genesis), Frontier()
    rest = iter(leaves)
    for before, after in pairwise(line):
        pinned = after.genesis.continues
        if pinned is None:
            raise Broken("genesis.line")
        chain = before.genesis.chain
        for part in _parts(rest, pinned.size - frontier.size):
            _fold(state, chain, frontier.size, part, folds)
            frontier = frontier.extend(map(leaf_hash, part))
        if frontier.size != pinned.size or frontier.root() != pinned.root:
            raise Unproven("genesis.past", size=frontier.size, wanted=pinned.size, why="root")
        go_on(state, after.genesis)
    if next(rest, None) is not None:
        raise Unproven("genesis.past", wanted=frontier.size, why="more than was pinned")
    return Start(state, frontier)


def go_on(state: State, genesis: Genesis) -> None:
    """The state of a log, all of it folded, as the genesis goes on with it. Raises: Malformed."""
    draft = Draft(state)
    _continue(draft, genesis)
    state.commit(draft.writes())


def fold_leaf(
    draft: Draft, chain: ChainId, leaf: bytes, folds: frozenset[int] = FOLDS
) -> tuple[TimeMs, Accepted] | str:
    """What a leaf says, its writes drafted; or why no ledger can have logged it.

    Raises: Unavailable, where it was logged by rules that are not among `folds`.
    """
    try:
        entry = parse_entry(leaf)
    except Malformed as err:
        return err.code
    if entry.time_ms < consortium(draft).time_ms:  # Deadlines count from it: no ledger does this.
        return "entry.time"
    accepted = apply(draft, chain, entry.statement, entry.time_ms, folds)
    if isinstance(accepted, RejectCode):
        return accepted.code
    for write in accepted.writes:
        draft.absorb(write)
    return entry.time_ms, accepted


def _parts(leaves: Iterator[bytes], count: int) -> Iterator[list[bytes]]:
    while count > 0 and (part := list(islice(leaves, min(count, FOLD_AT_ONCE)))):
        count -= len(part)
        yield part


def _fold(
    state: State, chain: ChainId, first: int, leaves: list[bytes], folds: frozenset[int]
) -> None:
    draft = Draft(state)
    for index, leaf in enumerate(leaves, first):
        folded = fold_leaf(draft, chain, leaf, folds)
        if isinstance(folded, str):
            raise Unproven("genesis.past", index=index, why=folded)
    state.commit(draft.writes())


def _continue(draft: Draft, genesis: Genesis) -> None:
    """The old state as the new genesis goes on with it. Raises: Malformed."""
    whole = consortium(draft)
    now = TimeMs(max(whole.time_ms, genesis.time_ms))
    draft.put(CONSORTIUM, ONLY, replace(whole, time_ms=now, groups=genesis.groups))
    draft.put(PARAMETERS, ONLY, genesis.parameters)
    for key in [key for key, _ in draft.rows(AGENDA)]:
        proposal = draft.get(PROPOSALS, key)
        if proposal is None:
            raise Broken("ledger.agenda")
        draft.put(PROPOSALS, key, replace(proposal, status=ProposalStatus.LAPSED))
        draft.put(AGENDA, key, None)
    named = {item.agency for item in genesis.agencies}
    for member, row in agencies(draft).items():
        if member not in named:  # As by a removal; what it published stays.
            ended = replace(row, standing=Standing.REMOVED, since_ms=now)
            draft.put(AGENCIES_TABLE, member.encode(), ended)
    for item in genesis.agencies:
        _take_over(draft, genesis.chain, item, now)
    for group, epoch in list(draft.rows(EPOCHS)):
        if epoch.number and not any(_is_in_force(draft, to) for to in epoch.recipients):
            # Nobody could make an epoch that leads to it: all that was ever listed would be lost.
            raise Malformed("genesis.no_opener", group=group.decode())
        # No batch is sealed under a key that those hold who are gone: a new epoch comes first.
        due = now if epoch.number else None
        draft.put(EPOCHS, group, replace(epoch, rotate_by_ms=due, pending=None, stalled=()))


def _is_in_force(draft: Draft, to: Recipient) -> bool:
    row = draft.get(KEYS, to.key_id)
    return row is not None and row.revoked_ms is None and agency(draft, to.member) is not None


def _take_over(draft: Draft, chain: ChainId, item: AdmitAgency, now: TimeMs) -> None:
    """An agency that the new genesis names, in good standing with exactly the keys in it."""
    code = check_keys(draft, chain, item.agency, item.keys, is_agency=True)
    for key in item.keys:
        if key.role in NEVER_USED and draft.get(KEYS, key_id_of(key.public)) is not None:
            code = code or RejectCode.KEY_REUSED  # What it signed binds it to the old log.
        if key.role is not Role.DECRYPTOR and not key.proof:
            code = code or RejectCode.BAD_KEYSET
    row = agency(draft, item.agency)
    if code is None and row is not None:
        told = replace(
            row, title=item.title, sovereign=item.sovereign, jurisdictions=item.jurisdictions
        )
        draft.put(AGENCIES_TABLE, item.agency.encode(), told)
        install_keys(draft, item.agency, item.keys, now)
    elif code is None:
        code = admit_agency(draft, item, now)
    if code is not None:
        raise Malformed("genesis.agency", agency=item.agency, why=code.code)
