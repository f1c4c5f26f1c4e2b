"""The review desk: cases, their files and the clock, put together for reviewers.

Not here: what may follow what (model), reports (accord.scan.reports).
Invariant: a file is destroyed only after that was written down, and a certificate is given only
after the file is gone; what a crash leaves half done `resume` finishes.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import BinaryIO

from accord.client.home import Home, PrivateKey
from accord.matching.local import noisy
from accord.scan.cases import model
from accord.scan.cases.certificate import Certificate, encode_certificate
from accord.scan.cases.model import Case, Finding, State, Task, TaskKind
from accord.scan.cases.quarantine import Held, Quarantine
from accord.scan.cases.store import CaseStore, Deed, Fault, no_fault
from accord.wire.errors import Malformed
from accord.wire.ids import ChainId, MemberId, TimeMs
from accord.wire.limits import CASE_LEASE_MS

Clock = Callable[[], TimeMs]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who certifies. `key` is the platform's reporter key."""

    chain: ChainId
    platform: MemberId
    key: PrivateKey

    @classmethod
    def of(cls, home: Home, key: PrivateKey) -> "Signer":
        return cls(home.chain, home.member, key)


@dataclass(frozen=True, slots=True)
class CaseDesk:
    """What reviewers do. `quarantine` is None where no key is named: then no file is held."""

    store: CaseStore
    quarantine: Quarantine | None
    clock: Clock
    lease_ms: int = CASE_LEASE_MS
    fault: Fault = no_fault
    files_per_day: int | None = None  # A listing that matches more is held for review.
    notify_after_ms: int = 0  # Before an uploader whose file was held wrongly is to be told.

    def take_in(self, case: Case, listings: list[str], data: Held | None) -> Case:
        """Keep a case and, where it is to be held, its file.

        Crash between the two: a case that says that no file is held, so that nobody looks for
        one; the upload was not answered, and when it comes again the file is kept.
        """
        kept = self.store.open(case, listings, self._deed("gateway", "opened", action=case.action))
        self._guard(listings)
        return self._keep_file(kept, None if data is None else lambda: data, "gateway")

    def take_in_stored(
        self,
        file: bytes,
        listings: list[str],
        make: Callable[[list[str]], Case],
        read: Callable[[], Held | None] | None,
    ) -> Case:
        """Keep the case of a stored file for listings it has none for, as `CaseStore.open_stored`;
        where it is to be held, `read` gives the file, and is asked only if none is held yet.

        Crash between the two: the scan has not remembered the file, and decides it again.
        """
        kept = self.store.open_stored(file, listings, make, self._deed("scan", "opened"))
        self._guard(listings)
        return self._keep_file(kept, read, "scan")

    def _keep_file(self, kept: Case, read: Callable[[], Held | None] | None, who: str) -> Case:
        if read is None or self.quarantine is None or kept.quarantined:
            return kept
        if kept.state not in (State.OPEN, State.DECIDED):
            return kept
        data = read()
        if data is None:
            return kept
        # A film is encrypted for minutes: nobody waits for that.
        with self.quarantine.sealing(kept.id, data) as sealed:
            if sealed is None:
                return kept
            self.fault("after sealing")
            with self.quarantine.alone():  # Or the file would be one's and its digest another's.
                known = self.store.case(kept.id)
                if known.quarantined or known.state not in (State.OPEN, State.DECIDED):
                    return known
                digest = self.quarantine.keep(sealed)
                self.fault("after file")

                def hold_file(known: Case) -> tuple[Case, tuple[Task, ...]]:
                    return replace(known, version=known.version + 1, quarantined=digest), ()

                deed = self._deed(who, "quarantined", key=self.quarantine.key.name)
                return self.store.change(kept.id, deed, hold_file)

    def _guard(self, listings: list[str]) -> None:
        """Hold listings that match far too much. Crash before: the next match does it."""
        if self.files_per_day is None:
            return
        now = self.clock()
        counts = self.store.matched(TimeMs(now - model.DAY_MS))
        found = noisy({name: counts.get(name, 0) for name in listings}, self.files_per_day)
        if found:
            self.store.hold_noisy({name: counts[name] for name in found}, now)

    def claim(self, case_id: str, reviewer: str, version: int | None = None) -> Case:
        """The case is this reviewer's until the lease ends. Raises: Malformed."""
        now = self.clock()

        def step(case: Case) -> tuple[Case, tuple[Task, ...]]:
            return model.claim(case, reviewer, now, self.lease_ms), ()

        return self.store.change(case_id, self._deed(reviewer, "claimed"), step, version)

    def dispose(
        self, case_id: str, reviewer: str, finding: Finding, version: int | None = None
    ) -> Case:
        """Raises: Malformed."""
        facts = {name: value for name, value in asdict(finding).items() if value != ""}
        deed = self._deed(reviewer, "disposed", **facts)
        step = partial(
            model.dispose,
            reviewer=reviewer,
            finding=finding,
            now_ms=deed.time_ms,
            notify_after_ms=self.notify_after_ms,
        )
        return self.store.change(case_id, deed, step, version)

    def hold(self, case_id: str, who: str, name: str) -> Case:
        """Raises: Malformed."""
        model.check_name(who)
        deed = self._deed(who, "held", hold=name)
        return self.store.change(case_id, deed, lambda case: (model.hold(case, name), ()))

    def release(self, case_id: str, who: str, name: str) -> Case:
        """Raises: Malformed."""
        model.check_name(who)
        deed = self._deed(who, "released", hold=name)
        return self.store.change(case_id, deed, lambda case: (model.release(case, name), ()))

    def appeal(self, case_id: str, who: str, reference: str) -> Case:
        """Raises: Malformed."""
        model.check_name(who)
        deed = self._deed(who, "appealed", reference=reference)
        return self.store.change(case_id, deed, lambda case: (model.appeal(case, reference), ()))

    def reveal(self, case_id: str, reviewer: str) -> BinaryIO:
        """The encrypted file, open, for who has the identity; that it was taken stands in the
        trail.

        Raises: Malformed; Unavailable; Unproven.
        """
        case = self.store.case(case_id)
        if model.holder(case, self.clock()) != model.check_name(reviewer):
            raise Malformed("cases.not_claimed", mend="accord cases claim, then decide")
        if self.quarantine is None or not case.quarantined:
            raise Malformed("cases.no_file")
        sealed = self.quarantine.sealed(case_id, case.quarantined)
        self.store.note(case_id, self._deed(reviewer, "file taken"))
        return sealed

    def destroy(self, case_id: str, who: str, signer: Signer) -> Case:
        """The file is gone and the case has its certificate. Raises: Malformed; Unavailable."""
        model.check_name(who)
        now = self.clock()
        pending = len(self.store.tasks(case_id, TaskKind.REPORT, pending=True))
        if self.store.case(case_id).quarantined and self.quarantine is None:
            raise Malformed("cases.no_key", mend="name the key in cases.toml again")

        def begin(case: Case) -> tuple[Case, tuple[Task, ...]]:
            return model.begin_destroying(case, pending, now), ()

        with nullcontext() if self.quarantine is None else self.quarantine.alone():
            case = self.store.change(case_id, self._deed(who, "destroying"), begin)
        # POINT OF NO RETURN. Crash from here: `resume` finds it and goes on.
        return self._finish_destroying(case, who, signer)

    def resume(self, who: str, signer: Signer) -> list[Case]:
        """Finish what was interrupted; which cases."""
        model.check_name(who)
        halfway = self.store.cases(State.DESTROYING)
        return [self._finish_destroying(case, who, signer) for case in halfway]

    def _finish_destroying(self, case: Case, who: str, signer: Signer) -> Case:
        self.fault("before unlink")
        if self.quarantine is not None:
            self.quarantine.destroy(case.id)
        self.fault("after unlink")
        certificate = Certificate(
            chain=signer.chain,
            platform=signer.platform,
            case=case.id,
            sealed_sha256=case.quarantined,
            key_name="" if self.quarantine is None else self.quarantine.key.name,
            disposition="" if case.disposition is None else case.disposition.value,
            preserved_until_ms=case.preserve_until_ms,
            destroyed_ms=self.clock(),
            reviewer=who,
        )
        signature = signer.key.sign(certificate.signed_bytes())
        text = encode_certificate(certificate, signer.key.key_id.hex(), signature)

        def end(known: Case) -> tuple[Case, tuple[Task, ...]]:
            if known.state is not State.DESTROYING:  # Another process was faster.
                return known, ()
            return model.end_destroying(known, text), ()

        return self.store.change(case.id, self._deed(who, "destroyed"), end)

    def _deed(self, who: str, what: str, **facts: object) -> Deed:
        return Deed(who, what, self.clock(), facts)
