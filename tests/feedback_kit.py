"""A platform's words about listings, sealed and signed in a test consortium."""

from collections.abc import Sequence

from accord.ledger.epochs import recipients_of
from accord.scan.cases.sealed import Sealed, hearers, seal_feedback
from accord.statements.bodies import Feedback, Recipient
from accord.statements.feedback import Reason, Word, recipients_sha256
from accord.wire.digests import sha256
from accord.wire.ids import AGENCIES, ListingRef, MemberId
from consortium_kit import Consortium


def word(
    ref: str = "12/3",
    reason: Reason = Reason.CONFIRMED,
    algorithm: str = "sha256",
    *,
    near: bool | None = None,
) -> Word:
    entry, ordinal = ref.split("/")
    is_near = algorithm == "pdq" if near is None else near
    return Word(ListingRef(int(entry), int(ordinal)), algorithm, is_near, reason)


def feedback_body(
    world: Consortium,
    words: Sequence[Word],
    platform: str = "cloud",
    recipients: Sequence[Sealed] | None = None,
    content_key: bytes | None = None,
) -> tuple[Feedback, bytes]:
    to = hearers(world.ledger.state) if recipients is None else list(recipients)
    blob = seal_feedback(world.chain, MemberId(platform), words, to, content_key)
    told: Sequence[Recipient] = [item for item, _ in to]
    if recipients is None:
        told = recipients_of(world.ledger.state, AGENCIES)
    body = Feedback(world.header(platform), len(set(words)), recipients_sha256(told), sha256(blob))
    return body, blob
