"""An agency's answers about the list: folded from its own replica, signed with a person's key.

Not here: what an answer is and how it is checked (audit.listed), files and words (cli.listed).
Source: docs/spec/non-membership.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from accord.audit.listed import (
    ANSWERING_ROLES,
    AskedValue,
    ListAnswer,
    Place,
    SignedAnswer,
    answer_of,
    signed_bytes,
)
from accord.client.home import Home, PrivateKey
from accord.ledger.membership import parameters
from accord.registry import FOLD_VERSION, Registry
from accord.replica.replica import Replica
from accord.statements.bodies import Role
from accord.statements.entries import parse_entry
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import AGENCIES, ListingRef


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and, for agencies alone, the listings behind each of its values."""

    answer: ListAnswer
    refs: tuple[tuple[ListingRef, ...], ...]


def answer_at(
    replica: Replica, size: int | None, salt: bytes, asked: Sequence[AskedValue]
) -> Answered:
    """The answer at a size that a quorum signed or that lies before one; None: the newest.

    Raises: Malformed, for a size that is not there; Unavailable, for a list with holes or one that
    opens to no agency here, another fold version, no checkpoint yet.
    """
    checkpoint = replica.checkpoint
    if checkpoint is None:
        raise Unavailable("answer.no_ledger", mend="accord follow --once")
    if AGENCIES not in replica.groups:  # Nothing is released to it: all would look unlisted.
        mend = "answer from an agency's home that has its decryptor key"
        raise Unavailable("answer.holes", wanted=AGENCIES, mend=mend)
    voted = parameters(replica.state).fold_version
    if voted != FOLD_VERSION:
        raise Unavailable("registry.fold_version", wanted=voted, have=FOLD_VERSION)
    at = checkpoint.size if size is None else size
    if not 0 < at <= checkpoint.size:
        raise Malformed("answer.size", got=at, newest=checkpoint.size)
    registry = Registry()
    for entry in replica.folded():
        if entry.index >= at:
            break
        registry.fold(entry)
    place = place_at(replica, at)
    return Answered(*answer_of(registry.snapshot(), place, FOLD_VERSION, salt, asked))


def place_at(replica: Replica, size: int) -> Place:
    """What a verified log says of its own first `size` entries, of which there is one at least."""
    time_ms = parse_entry(replica.leaves(size - 1, size)[0]).time_ms
    return Place(replica.founding.chain_at(size - 1), size, replica.root_at(size), time_ms)


def sign_answer(home: Home, answer: ListAnswer, operator: str | None = None) -> SignedAnswer:
    """As this agency, with an auditor's key if the home has one, else an analyst's.

    Raises: Malformed, for a home without either, or with several where none is named.
    """
    key = _key_of(home, operator)
    signature = key.sign(signed_bytes(home.member, answer))
    return SignedAnswer(home.member, answer, key.key_id, signature)


def _key_of(home: Home, operator: str | None) -> PrivateKey:
    held = {key.role for key in home.keys if operator in (None, key.operator)}
    role = Role.AUDITOR if Role.AUDITOR in held & ANSWERING_ROLES else Role.ANALYST
    return home.key(role, operator)
