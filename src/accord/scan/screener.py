"""Screening: the newest list a platform may use, exchanged under running queries.

One thread keeps the list: it takes over what the replica gained, folds it, and swaps one
reference. Any number of threads screen with whatever stood there when they looked.
Invariants: no answer without a durable receipt; "could not look" is never "no match"; an answer
and its receipt name the same list; a scaled decoding decides nothing that the exact one could
decide otherwise (docs/spec/fingerprint.md, section 10).
Not here: following a ledger (following), HTTP (gateway).
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final

from accord.audit.receipts import ReceiptMeta, ScanReceipt, bucket_of
from accord.fingerprint import Decoding, Digests, Fingerprinted, Unhashable
from accord.fingerprint.ladder import Step as LadderStep
from accord.follow.delta import FoldedEntry
from accord.matching import Context, Decision, Place, Query, Screen, build_screen, query_of
from accord.media import DecoderPool, LargeFilm
from accord.registry import PlatformObligations, Registry
from accord.registry.list_version import ListVersion, list_version
from accord.replica.replica import Replica
from accord.scan.index_store import IndexStore
from accord.scan.local_file import Local
from accord.scan.receipts import ReceiptLog
from accord.statements.bodies import Attest
from accord.statements.rules import Step
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import REASONS_MAX, STALE_MS_MAX

BUILD: Final = f"accord {version('accord')}"
Clock = Callable[[], TimeMs]


def system_clock() -> TimeMs:
    return TimeMs(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """The list that screens now. `version` changes whenever a decision on a file could."""

    screen: Screen
    version: bytes
    applied_at_ms: TimeMs
    cosigned_ms: TimeMs  # The newest quorum's time.

    @property
    def obligations(self) -> PlatformObligations:
        return self.screen.obligations

    def is_stale(self, now_ms: TimeMs) -> bool:
        return now_ms - self.cosigned_ms > STALE_MS_MAX


@dataclass(frozen=True, slots=True)
class Screened:
    """A decision, what it was about, the list it rests on, and the promise that it was noted."""

    query: Query
    decision: Decision
    running: Running
    receipt: ScanReceipt


class Screener:
    """`refresh` is for one thread at a time, and that thread owns the replica; all else is for
    any thread."""

    def __init__(  # noqa: PLR0913  (what a screener works with)
        self,
        replica: Replica,
        platform: MemberId,
        receipts: ReceiptLog,
        pool: DecoderPool,
        clock: Clock = system_clock,
        indexes: IndexStore | None = None,
        decoding: Decoding = Decoding.SCALED,
        *,
        writes_index: bool = True,
    ) -> None:
        """`writes_index`: whether the index file is ours to make, and not another process'."""
        self.platform = platform
        self.receipts = receipts
        self.clock = clock
        self.pool = pool
        self.decoding = decoding
        self.local: Local | None = None  # The platform's own layer.
        self.last_attest: FoldedEntry | None = None  # Our newest attestation on the ledger.
        self._replica = replica
        self._indexes = indexes
        self._writes_index = writes_index
        self._registry = Registry()
        self._generation = replica.generation
        self._running: Running | None = None
        self._previous: Screen | None = None  # What the next index may be built on.
        self._version: ListVersion | None = None
        self._refreshing = threading.Lock()
        self._why: str = "screen.no_list"
        self.trouble: str | None = None  # Why the newest list was not taken over.

    @property
    def running(self) -> Running:
        """Raises: Unavailable, while there is no list to screen with."""
        running = self._running
        if running is None:
            raise Unavailable(self._why, mend="accord follow, and be admitted as a platform")
        return running

    def refresh(self) -> bool:
        """Take over what the replica gained, by us or by another process. Whether the list changed.

        Raises: Unproven, if the replica was tampered with; the list before goes on.
        """
        with self._refreshing:
            self._replica.refresh()
            checkpoint = self._replica.checkpoint
            if checkpoint is None:
                return False
            if self._replica.generation != self._generation:
                # A key opened what was passed over: rows are numbered anew, so nothing is kept.
                self._registry, self._previous = Registry(), None
                self._generation = self._replica.generation
            known = self._running
            is_there = self._previous is not None and self._previous.checkpoint.size
            if known is not None and is_there == checkpoint.size:
                self._running = replace(
                    known, screen=self._on_newest(known.screen), cosigned_ms=self._cosigned_ms()
                )
                return False
            return self._rebuild(Place(checkpoint.size, checkpoint.root))

    def _rebuild(self, place: Place) -> bool:
        replica = self._replica
        for entry in replica.folded(self._registry.size):
            self._registry.fold(entry)
            if isinstance(entry.body, Attest) and entry.body.header.member == self.platform:
                self.last_attest = entry
        if self._registry.unopened:
            # A keeper has not wrapped us a group key, or garbled it. What we would screen with, and
            # name in receipts, is not what agencies fold: the last whole list goes on, and grows
            # stale, until a keeper wraps the key again.
            self._why = self.trouble = "screen.holes"
            return False
        if self._indexes is not None:
            self._indexes.adopt(self._registry)
        try:
            screen = build_screen(
                self._registry,
                replica.state,
                self.platform,
                place,
                self._previous,
                None if self._indexes is None else self._indexes.newest,
            )
        except Unavailable as err:
            # Not admitted, or a fold we do not have: the old list goes on.
            self._why = self.trouble = err.code
            return False
        self.trouble = None
        version = list_version(screen.obligations, self._version)
        fresh = Running(screen, version.digest, self.clock(), self._cosigned_ms())
        was = None if self._running is None else self._running.version
        self._running, self._previous, self._version = fresh, screen, version
        if self._indexes is not None and self._writes_index:
            self._indexes.offer(screen.index)
        return fresh.version != was

    def _on_newest(self, screen: Screen) -> Screen:
        """The same screen on the index files, once they are written: its memory is then shared."""
        is_newest = (
            screen is self._previous and self._registry.size == screen.obligations.snapshot.size
        )
        if self._indexes is None or not is_newest:
            return screen
        adopted = self._indexes.adopt(self._registry)
        bases = self._indexes.newest(screen.index.snapshot)
        if adopted or bases.is_any:
            screen = screen.relocated(self._registry.values(), bases)
            self._previous = screen
        return screen

    def _cosigned_ms(self) -> TimeMs:
        now = self.clock()
        return TimeMs(now - self._replica.freshness(now).age_ms)

    def screen_bytes(self, data: bytes, context: Context, upload: str | None = None) -> Screened:
        """Raises: Unavailable; Malformed, for a jurisdiction that is not the platform's."""
        self.check(context)
        running = self.running
        return self.screen_query(self.look(data, context, running), context, upload, running)

    def screen_found(
        self, found: Fingerprinted | Unhashable, context: Context, upload: str | None = None
    ) -> Screened:
        return self.screen_query(query_of(found), context, upload)

    def look(self, data: bytes | LargeFilm, context: Context, running: Running) -> Query:
        """What to ask about a file: from a scaled decoding only where that settles it.

        Raises: Unavailable, as `DecoderPool.fingerprint`; Malformed, as `screen_bytes`.
        """
        steps = running.screen.steps(context)
        further = ladder_steps(steps)
        found = self.pool.fingerprint(data, self.decoding, steps=further)
        if not _is_settled(found, context, running):
            found = self.pool.fingerprint(data, Decoding.EXACT, found.digests, further)
        return query_of(found, steps)

    def screen_query(
        self,
        query: Query,
        context: Context,
        upload: str | None = None,
        running: Running | None = None,
    ) -> Screened:
        """`running` is the list that is asked, where something was settled with it before."""
        running, decision, meta, now_ms = self._decide(query, context, running)
        receipt = self.receipts.record(meta, query, upload, now_ms)
        return Screened(query, decision, running, receipt)

    async def screen_bytes_async(
        self,
        data: bytes | LargeFilm,
        context: Context,
        upload: str | None = None,
        *,
        digests: Digests | None = None,
        client: MemberId | None = None,
    ) -> Screened:
        """`screen_bytes` for an event loop; `digests` if they are known, `client` as
        `screen_query_async`."""
        self.check(context)
        running = self.running
        steps = running.screen.steps(context)
        further = ladder_steps(steps)
        # A client would see by the time of a second look that a listing is near.
        decoding = self.decoding if client is None else Decoding.EXACT
        found = await self.pool.fingerprint_async(data, decoding, digests, further)
        if not await asyncio.to_thread(_is_settled, found, context, running):
            found = await self.pool.fingerprint_async(data, Decoding.EXACT, found.digests, further)
        query = query_of(found, steps)
        return await self.screen_query_async(query, context, upload, running, client=client)

    async def screen_query_async(
        self,
        query: Query,
        context: Context,
        upload: str | None = None,
        running: Running | None = None,
        *,
        client: MemberId | None = None,
    ) -> Screened:
        """`client` asks for itself: its receipt names it, and our own layer is not for it."""
        used, decision, meta, now_ms = await asyncio.to_thread(
            self._decide, query, context, running, is_ours=client is None
        )
        leaf, job = self.receipts.submit(meta, query, upload, now_ms, client)
        index = await asyncio.wrap_future(job)
        return Screened(query, decision, used, self.receipts.promise(index, leaf, now_ms))

    def check(self, context: Context) -> None:
        """Refuse before any work is done. Raises: Unavailable; Malformed."""
        self.running.screen.decide(Query(), context)

    def _decide(
        self,
        query: Query,
        context: Context,
        running: Running | None = None,
        *,
        is_ours: bool = True,
    ) -> tuple[Running, Decision, ReceiptMeta, TimeMs]:
        running = running or self.running
        # Never before the list it names: a clock that lags the ledger is the one that is wrong, and
        # a receipt dated by it would look backdated.
        now_ms = max(self.clock(), running.obligations.now_ms)
        context = replace(context, stale=running.is_stale(now_ms))
        decision = running.screen.decide(query, context)
        if self.local is not None and is_ours:
            decision = self.local.carried_out(decision, query, running.obligations)
        return running, decision, self._meta(running, decision, context, now_ms), now_ms

    def _meta(
        self, running: Running, decision: Decision, context: Context, now_ms: TimeMs
    ) -> ReceiptMeta:
        obligations = running.obligations
        entries = sorted({reason.ref.entry for reason in decision.reasons})
        return ReceiptMeta(
            bucket_ms=bucket_of(now_ms),
            scope=context.scope,
            service=context.service,
            jurisdictions=tuple(sorted({verdict.jurisdiction for verdict in decision.verdicts})),
            rules_sha256=obligations.rules_sha256,
            active_root=obligations.active_root,
            size=running.screen.checkpoint.size,
            build=BUILD,
            decision=decision.answer,
            action=decision.action,
            code=decision.code,
            entries=tuple(entries[:REASONS_MAX]),
        )


def ladder_steps(steps: frozenset[Step]) -> frozenset[LadderStep]:
    """Steps of rules, as a decoder is told them."""
    return frozenset(LadderStep(step) for step in steps)


def _is_settled(found: Fingerprinted | Unhashable, context: Context, running: Running) -> bool:
    """Whether the exact fingerprints could not change the decision, or these are exact."""
    if isinstance(found, Unhashable) or found.is_exact:
        return True
    return not running.screen.may_match(query_of(found), context)
