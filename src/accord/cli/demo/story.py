"""The story of the demo, step by step: each step does one thing and says what it saw.

A step that does not find what it promises raises `StepFailed`; the report then shows it, and the
steps after it are not tried.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from accord.agency.desk import listing_of
from accord.agency.rulefile import parse_rule_file
from accord.cli.assemble import identity_of, replica_file
from accord.cli.demo.pictures import (
    BRICK,
    CAT,
    COFFEE,
    GALAXIES,
    GRASS,
    GRAVEL,
    PHOTOS,
    ROCKET,
    Photo,
    altered,
    taken_apart,
)
from accord.cli.demo.processes import run_accord
from accord.cli.demo.world import CA, EAST, NL, NOORD, PLATFORM, WEST, ZUID, World, wait_for
from accord.fingerprint import Decoding, fingerprint_bytes
from accord.ledger.epochs import epoch_of
from accord.ledger.state import PLATFORMS
from accord.registry import Registry
from accord.replica.replica import Replica
from accord.statements.batch import Listing
from accord.statements.bodies import DisputeReason, RefRange
from accord.statements.rules import ClassCode
from accord.wire.errors import Unproven
from accord.wire.ids import AGENCIES, GroupId, MemberId

PLATFORMS_GROUP: Final = GroupId("platforms")
CLASS: Final = ClassCode("test", "", "T1")
RULES: Final = Path(__file__).parent / "rules"
MATCHED_WITHIN_S: Final = 2.0

# Who lists what. Nobody endorses the lawn: it stays at one agency, below every rule's asking.
LISTED: Final[dict[MemberId, Photo]] = {
    NOORD: COFFEE,
    WEST: ROCKET,
    EAST: GALAXIES,
    ZUID: GRASS,
}
ENDORSED: Final = ((COFFEE, WEST), (ROCKET, NOORD), (GALAXIES, NOORD))


class StepFailed(Exception):
    """A step that did not see what it promised."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as reported."""

    name: str
    ok: bool
    seconds: float
    detail: str


def see(condition: object, what: str) -> None:
    """Raises: StepFailed."""
    if not condition:
        raise StepFailed(what)


@dataclass
class Story:
    """Plays the steps in order. `entries` remembers where each photograph was published, and
    `listings` as what."""

    world: World
    entries: dict[str, int] = field(default_factory=dict[str, int])
    listings: dict[str, Listing] = field(default_factory=dict[str, Listing])

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "found", self.found
        yield "node", self.node
        yield "admit platform", self.admit
        yield "rules", self.rules
        yield "publish", self.publish
        yield "approve", self.approve
        yield "read by the others", self.read
        yield "sync and verify", self.sync
        yield "not active before certification", self.not_yet
        yield "endorse", self.endorse
        yield "benign upload allowed", self.benign
        yield "listed picture blocked", self.blocked
        yield "altered copies blocked", self.altered_blocked
        yield "parts and framed copies found", self.parts_found
        yield "tagged, not blocked, elsewhere", self.tagged
        yield "one agency alone blocks nothing", self.uncertified
        if self.world.drive_source is not None:
            yield "drive", self.drive
            yield "stored file found and quarantined", self.stored
        yield "stored scan", self.scan
        yield "dispute ends the automatic action", self.dispute
        yield "tampered replica refused", self.tampered
        yield "blind node", self.blind
        yield "anybody verifies the log", self.verify
        yield "audit verdict", self.audit

    def play(self, tell: Callable[[Step], None]) -> list[Step]:
        """Every step until the first that fails."""
        done: list[Step] = []
        for name, act in self.steps():
            began = time.monotonic()
            try:
                ok, detail = True, act()
            except StepFailed as err:
                ok, detail = False, str(err)
            except Exception as err:  # The story's top loop: the report says what failed.
                ok, detail = False, f"{type(err).__name__}: {err}"
            done.append(Step(name, ok, round(time.monotonic() - began, 3), detail))
            tell(done[-1])
            if not ok:
                break
        return done

    def found(self) -> str:
        for photo in PHOTOS:  # A missing one is told now, not after everything was started.
            photo.read()
        digest = self.world.found()
        return f"four agencies in three jurisdictions agree on the genesis {digest[:16]}.."

    def node(self) -> str:
        self.world.start_node()

        def open_for_work() -> bool:
            state = self.world.book(NOORD).state
            return all(epoch_of(state, g).number == 1 for g in (AGENCIES, PLATFORMS_GROUP))

        wait_for("the first group keys", open_for_work)
        who = "four validators order and serve" if self.world.is_network else "the node orders"
        return f"{who}; the keepers agreed on the first group keys"

    def admit(self) -> str:
        proposal = self.world.admit_platform()
        state = self.world.book(NOORD).state
        row = state.get(PLATFORMS, PLATFORM.encode())
        see(row, "the vote passed, and the platform is not there")

        def holds_the_key() -> bool:
            row = epoch_of(self.world.book(NOORD).state, PLATFORMS_GROUP)
            return PLATFORM in {to.member for to in row.recipients}

        wait_for("the platform's group key", holds_the_key)
        return f"proposal {proposal}: three of four agencies voted; a keeper wrapped the group key"

    def rules(self) -> str:
        for agency, where in ((NOORD, NL), (EAST, CA)):
            raw = (RULES / f"{where.lower()}.yaml").read_bytes()
            self.world.desk(agency).set_rules(where, parse_rule_file(raw))
        return "NL blocks what two agencies of two countries certify; CA tags it"

    def publish(self) -> str:
        for agency, photo in LISTED.items():
            self._publish(agency, photo)
        return ", ".join(f"{photo.name} by {agency}" for agency, photo in LISTED.items())

    def _publish(self, agency: MemberId, photo: Photo) -> int:
        listing = listing_of(fingerprint_bytes(photo.read(), Decoding.LISTING), CLASS)
        self.listings[photo.name] = listing
        published = self.world.desk(agency).publish([listing], [PLATFORMS_GROUP])
        self.entries[photo.name] = published.entries[0]
        return published.entries[0]

    def approve(self) -> str:
        for agency, photo in LISTED.items():
            self.world.desk(agency).approve(self.entries[photo.name])
        return "a second person at each agency approved its batch"

    def read(self) -> str:
        for agency in LISTED:
            registry = Registry()
            registry.fold_all(self.world.book(agency).replica.folded())
            see(registry.snapshot().count == len(LISTED), f"{agency} cannot read every listing")
        return f"each of {len(LISTED)} agencies decrypts all {len(LISTED)} listings"

    def sync(self) -> str:
        self.world.start_gateway()
        size = self.world.book(NOORD).replica.size

        def caught_up() -> bool:
            return int(self.world.status()["list"]["size"]) >= size

        wait_for("the platform's replica", caught_up)
        return f"{size} entries verified from the genesis on, then decrypted and folded"

    def not_yet(self) -> str:
        answer = self.world.screen(COFFEE.read(), "NL")
        see(answer["decision"] == "no_match", f"decision {answer['decision']}")
        see(self.world.status()["list"]["active_count"] == 0, "something is active")
        return "published and approved by one agency each: nothing is active"

    def endorse(self) -> str:
        waits: list[float] = []
        for photo, agency in ENDORSED:
            refs = (RefRange(self.entries[photo.name], 0, 1),)
            self.world.desk(agency).endorse(refs, 1)
            raw = photo.read()
            waits.append(wait_for(photo.name, lambda raw=raw: self._action(raw, "NL") == "block"))
        slowest = max(waits)
        see(slowest <= MATCHED_WITHIN_S, f"first match only after {slowest:.2f} s")
        return f"a second country's agency endorsed; matched {slowest:.2f} s later at most"

    def _action(self, raw: bytes, where: str) -> str:
        return str(self.world.screen(raw, where)["action"])

    def benign(self) -> str:
        for photo in (CAT, BRICK):
            answer = self.world.screen(photo.read(), "NL")
            see((answer["decision"], answer["action"]) == ("no_match", "allow"), str(answer))
        return "the cat and the brick wall: no match, allowed"

    def blocked(self) -> str:
        answer = self.world.screen(COFFEE.read(), "NL")
        see((answer["decision"], answer["action"]) == ("match", "block"), str(answer)[:300])
        reason = answer["reasons"][0]
        agencies = sorted({by["agency"] for by in reason["certified_by"]})
        see(agencies == sorted((NOORD, WEST)), f"certified by {agencies}")
        see(answer["receipt"]["signature"], "no signed receipt")
        return f"listing {reason['listing']}, certified by {' and '.join(agencies)}, with a receipt"

    def altered_blocked(self) -> str:
        seen: list[str] = []
        for photo in (COFFEE, ROCKET):
            for what, raw in altered(photo.read()).items():
                answer = self.world.screen(raw, "NL")
                see(answer["action"] == "block", f"{photo.name}, {what}: {answer['action']}")
                distance = min(reason["distance"] for reason in answer["reasons"])
                seen.append(f"{photo.name} {what} ({distance} bits)")
        return "; ".join(seen)

    def parts_found(self) -> str:
        seen: list[str] = []
        for photo in (COFFEE, GALAXIES):
            for what, raw in taken_apart(photo.read()).items():
                answer = self.world.screen(raw, "NL")
                see(answer["decision"] == "match", f"{photo.name}, {what}: {answer['decision']}")
                by = sorted({reason["algorithm"] for reason in answer["reasons"]})
                seen.append(f"{photo.name} {what}: {answer['action']} ({', '.join(by)})")
        return "; ".join(seen)

    def tagged(self) -> str:
        answer = self.world.screen(COFFEE.read(), "CA")
        see((answer["decision"], answer["action"]) == ("match", "tag"), str(answer)[:300])
        return "the same picture uploaded from Canada is tagged, not blocked"

    def uncertified(self) -> str:
        answer = self.world.screen(GRASS.read(), "NL")
        see((answer["decision"], answer["action"]) == ("no_match", "allow"), str(answer)[:300])
        return "the lawn, listed by one agency and endorsed by none, is allowed"

    def drive(self) -> str:
        self.world.start_drive()
        seen = [
            self.world.upload(photo.read(), name, "NL")["state"]
            for photo, name in ((CAT, "cat.png"), (GRAVEL, "gravel.png"), (COFFEE, "coffee.png"))
        ]
        see(seen == ["stored", "stored", "refused"], f"states {seen}")
        tasks = self.world.drive_state()["open_tasks"]
        see(tasks >= 1, "no report task")
        return "the drive stored two pictures, refused the listed one, and opened a report task"

    def stored(self) -> str:
        entry = self._publish(ZUID, GRAVEL)
        self.world.desk(ZUID).approve(entry)
        self.world.desk(WEST).endorse((RefRange(entry, 0, 1),), 1)
        wait_for("the quarantine", lambda: self.world.drive_state()["counts"]["quarantined"] == 1)
        counts = self.world.drive_state()["counts"]
        see(counts["stored"] == 1, f"{counts['stored']} files are left")
        return "a picture the drive already held was listed since: found and quarantined"

    def scan(self) -> str:
        shelf = self.world.directory / "shelf"
        shelf.mkdir()
        for photo in (CAT, ROCKET, BRICK):
            (shelf / photo.file).write_bytes(photo.read())
        home = str(self.world.homes[PLATFORM].path)
        done = run_accord("scan", str(shelf), "--home", home, "--trial", "--json")
        matched = [line for line in done.stdout.splitlines() if '"match"' in line]
        see(done.returncode == 3, f"exit {done.returncode}: {done.stderr[-300:]}")
        see(len(matched) == 1 and ROCKET.file in matched[0], done.stdout[-500:])
        return "accord scan finds the rocket among three stored files"

    def dispute(self) -> str:
        refs = (RefRange(self.entries[COFFEE.name], 0, 1),)
        self.world.desk(ZUID).dispute(refs, DisputeReason.OTHER)
        raw = COFFEE.read()
        wait_for("the dispute", lambda: self._action(raw, "NL") == "review")
        return "Zuid disputes the coffee: in NL a person must look, nothing is automatic"

    def tampered(self) -> str:
        home = self.world.homes[PLATFORM]
        copy = self.world.directory / "tampered.sqlite"
        with sqlite3.connect(replica_file(home)) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        source.close()
        target.execute("UPDATE entries SET leaf = substr(leaf, 2) || x'00' WHERE idx = 7")
        target.commit()
        target.close()
        try:
            Replica(copy, home.founding, identity_of(home), allow_trial=True).close()
        except Unproven as err:
            return f"one altered entry on the disk: {err.code}"
        raise StepFailed("an altered replica was believed")

    def blind(self) -> str:
        """No fingerprint stands in any file of the node, in any spelling."""
        needles: list[bytes] = []
        for found in self.listings.values():
            for value in (found.pdq, found.md5, found.sha256, *found.patches):
                if value is not None:
                    needles += [value, value.hex().encode(), value[: len(value) // 2]]
        nodes = self.world.node_directories()
        files = [path for node in nodes for path in node.rglob("*") if path.is_file()]
        for path in files:
            raw = path.read_bytes()
            see(not any(needle in raw for needle in needles), f"a fingerprint in {path.name}")
        return f"{len(needles)} spellings of fingerprints searched in {len(files)} files: none"

    def verify(self) -> str:
        digest = self.world.homes[NOORD].founding.digest.hex()
        arguments = ("log", "verify", self.world.at.node, "--trial", "--sha256", digest)
        done = run_accord(*arguments)
        see(done.returncode == 0, done.stderr[-300:])
        return done.stdout.splitlines()[0]

    def audit(self) -> str:
        home = str(self.world.homes[WEST].path)
        gateway = self.world.at.gateway
        done = run_accord("audit", PLATFORM, "--home", home, "--trial", "--log", gateway)
        see(done.returncode == 0, f"exit {done.returncode}: {(done.stderr or done.stdout)[-400:]}")
        return f"{WEST} recomputed the platform's list, rules and log: in order"


def summary(steps: list[Step]) -> dict[str, Any]:
    """The report. Shape: {"ok", "steps": [{"name", "ok", "seconds", "detail"}]}."""
    rows = [{"name": s.name, "ok": s.ok, "seconds": s.seconds, "detail": s.detail} for s in steps]
    return {"ok": bool(steps) and all(step.ok for step in steps), "steps": rows}


def lay_out(directory: Path) -> Path:
    """Pictures for a person to try, by what will happen to them."""
    folder = directory / "try-these"
    shutil.rmtree(folder, ignore_errors=True)
    for kind, photos in (
        ("allowed", (CAT, BRICK)),
        ("blocked-in-NL-tagged-in-CA", (ROCKET, GALAXIES)),
        ("disputed-goes-to-review-in-NL", (COFFEE,)),
        ("listed-by-one-agency-only", (GRASS,)),
    ):
        (folder / kind).mkdir(parents=True)
        for photo in photos:
            (folder / kind / photo.file).write_bytes(photo.read())
            if kind.startswith("blocked"):
                _lay_copies(folder / kind, photo, altered(photo.read()))
                _lay_copies(folder / "found-in-NL-by-its-parts", photo, taken_apart(photo.read()))
    return folder


def _lay_copies(folder: Path, photo: Photo, copies: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for what, raw in copies.items():
        name = f"{photo.name}-{what.replace(' %', '').replace(' ', '-')}.jpg"
        (folder / name).write_bytes(raw)
