"""Look-ups by clients that do not hold the list: admitted, limited, answered, counted.

What a client learns is the decision and what follows from it. Never a ref, never how many listings
matched, never a distance: whoever asked for one picture after the other, each a little nearer,
would be led to a listed fingerprint.
Not here: the file of clients (clients), HTTP (gateway).
Source: docs/spec/gateway.md, section Clients.
"""

from dataclasses import dataclass, replace
from typing import Final, cast

from accord.audit.lookups import DAY_MS, is_alarming
from accord.client.signing import SignedMessage
from accord.client.verifying import Proven, verify_request
from accord.matching import Query
from accord.matching.decision import Answer
from accord.scan.clients import Client, Clients
from accord.scan.contract import Asked, Json, answer_view
from accord.scan.screener import Clock, Screened
from accord.statements.rules import EXACT_ALGORITHMS, Algorithm
from accord.wire.errors import Malformed
from accord.wire.ids import ListingRef
from accord.wire.limits import PDQ_THRESHOLD_MAX

_TOLD: Final = frozenset(
    {
        "decision",
        "action",
        "code",
        "conflict",
        "conflict_between",
        "members",
        "jurisdictions",
        "duties",
        "checkpoint",
        "fingerprints",
        "receipt",
    }
)
_REASON_TOLD: Final = ("jurisdiction", "rule", "class", "algorithm", "disputed", "action", "cap")


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the gateway's handlers ask. `admit` and all else may block on the disk."""

    clients: Clients
    clock: Clock

    def admit(self, message: SignedMessage) -> "Lookup":
        """Raises: Unproven, Unavailable: as `verify_request` and `Clients.admit`."""
        proven = verify_request(message, self.clients.public_of)
        return Lookup(self, self.clients.admit(proven, self.clock()), proven)

    def figures(self) -> tuple[int, int]:
        """How many clients are held, and how many have matched unlike uploads today."""
        today = self.clients.usage(self.clock() // DAY_MS)
        held = sum(one.held_ms is not None for one in self.clients.listed())
        return held, sum(is_alarming(used.lookups, used.matches) for used in today)


@dataclass(frozen=True, slots=True)
class Lookup:
    """One admitted request. Its body is still to be compared with what was signed."""

    lookups: Lookups
    client: Client
    proven: Proven

    def limited(self, asked: Asked) -> Asked:
        """The facts within the client's terms; jurisdictions left out are all it is registered in.

        Raises: Malformed.
        """
        terms, context = self.client.terms, asked.context
        if not set(context.jurisdictions) <= set(terms.jurisdictions):
            raise Malformed("clients.jurisdiction", registered=", ".join(terms.jurisdictions))
        if context.service not in terms.services:
            raise Malformed("clients.service", registered=", ".join(terms.services))
        context = replace(context, jurisdictions=context.jurisdictions or terms.jurisdictions)
        upload = None if asked.upload is None else f"{self.client.name}/{asked.upload}"
        return Asked(context, upload)

    def charge(self, query: Query, *, is_due: bool) -> None:
        """Every fingerprint counts: one request may hold many. Raises: Unavailable."""
        count = len(query.frames) + len(query.vectors)
        self.lookups.clients.charge(self.client, count - 1, self.lookups.clock(), is_due=is_due)

    def note(self, screened: Screened) -> bool:
        """Count what came of it. Whether the client is held from now on."""
        decision = screened.decision
        near = {r.ref for r in decision.reasons if r.algorithm not in EXACT_ALGORITHMS}
        return self.lookups.clients.note(
            self.client,
            self.lookups.clock(),
            is_match=decision.answer is Answer.MATCH,
            is_undetermined=decision.answer is Answer.UNDETERMINED,
            near={str(ref): _probes(screened, ref) for ref in sorted(near)},
        )


def _probes(screened: Screened, ref: ListingRef) -> list[bytes]:
    """The fingerprints of a query within reach of a listing's own; all as one, where it matched
    otherwise: turned, by its parts, by PhotoDNA."""
    query, snapshot = screened.query, screened.running.obligations.snapshot
    row = snapshot.row_of(ref)
    value = None if row is None else snapshot.values[Algorithm.PDQ].value_of(row)
    bits = sorted({frame.bits for frame in query.frames})
    if value is not None:
        here = int.from_bytes(value)
        away = [(here ^ int.from_bytes(one)).bit_count() for one in bits]
        near = [one for one, n in zip(bits, away, strict=True) if n <= PDQ_THRESHOLD_MAX]
        if near:
            return near
    return [b"".join(bits + [vector for _, vector in query.vectors])]


def lookup_view(screened: Screened) -> Json:
    """The answer to a client: the platform's own, without what leads to the list."""
    whole = answer_view(screened)
    reasons: list[Json] = []
    for reason in cast(list[Json], whole["reasons"]):
        told: Json = {name: reason[name] for name in _REASON_TOLD}
        if told not in reasons:  # Else their number were that of the listings.
            reasons.append(told)
    return {name: whole[name] for name in whole if name in _TOLD} | {"reasons": reasons}
