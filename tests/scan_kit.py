"""A platform in a test consortium: rules of one country, pictures listed by two agencies."""

from dataclasses import dataclass, field
from pathlib import Path

from accord.fingerprint import Fingerprinted, fingerprint_bytes
from accord.media import DecoderPool
from accord.replica.replica import Replica
from accord.scan.attesting import Attester
from accord.scan.following import Following
from accord.scan.receipts import ReceiptLog
from accord.scan.screener import Screener
from accord.statements.batch import Listing
from accord.statements.bodies import Dispute, DisputeReason, RefRange, Role, Rule, Withdraw
from accord.statements.rules import Action, Algorithm, Near
from accord.wire.ids import JurisdictionId, MemberId, TimeMs
from consortium_kit import CHAIN, CLASS, Consortium
from pictures_kit import encoded, picture
from registry_kit import clause, rule_set
from source_kit import ConsortiumSource, identity_of

CLOUD = MemberId("cloud")
NL = JurisdictionId("NL")


def jpeg(seed: int) -> bytes:
    return encoded(picture(seed), "JPEG", quality=90)


def looked_at(seed: int) -> Fingerprinted:
    found = fingerprint_bytes(jpeg(seed))
    assert isinstance(found, Fingerprinted)
    return found


def listing_of(seed: int) -> Listing:
    found = looked_at(seed)
    return Listing(
        CLASS,
        pdq=found.main.bits,
        pdq_quality=found.main.quality,
        md5=found.digests.md5,
        sha256=found.digests.sha256,
    )


@dataclass
class Scene:
    """`clock` follows the consortium's block time, plus `later_ms`."""

    directory: Path
    consortium: Consortium = field(default_factory=Consortium)
    sync_within_minutes: int = 60
    later_ms: int = 0
    attest_within_minutes: int = 1_440

    def __post_init__(self) -> None:
        self.consortium.admit_platform(CLOUD)
        self.consortium.open_epochs()
        self.rule(1)
        self.source = ConsortiumSource(self.consortium, clock=self.clock)
        self.key = self.consortium.key(CLOUD, Role.SCANNER)
        self.pool = DecoderPool(1)
        self.replica = self.open_replica()
        self.receipts = ReceiptLog(self.directory / "receipts.sqlite", CHAIN, CLOUD, self.key)
        self.screener = Screener(self.replica, CLOUD, self.receipts, self.pool, self.clock)
        self.attester = Attester(CHAIN, CLOUD, self.key, self.receipts)

    def close(self) -> None:
        self.pool.close()
        self.receipts.close()
        self.replica.close()

    def clock(self) -> TimeMs:
        return TimeMs(self.consortium.now + 1_000 + self.later_ms)

    def open_replica(self) -> Replica:
        return Replica(
            self.directory / "replica.sqlite",
            self.consortium.founding,
            identity_of(self.consortium, CLOUD),
            allow_trial=True,
        )

    def following(self, *, attests: bool = True, reads_only: bool = False) -> Following:
        attester = self.attester if attests else None
        return Following(
            self.replica,
            self.screener,
            attester,
            [self.source],
            reads_only=reads_only,
            wait_ms=200,
        )

    def sync(self) -> bool:
        self.replica.sync(self.source, self.clock())
        return self.screener.refresh()

    def rule(self, version: int, action: Action = Action.BLOCK) -> int:
        near = Near(Algorithm.PDQ, 31, 50, action, alone=True)
        rules = rule_set(
            clause(agencies=2, sovereigns=2, classes=(CLASS,), exact=action, near=near),
            sync_within_minutes=self.sync_within_minutes,
            attest_within_minutes=self.attest_within_minutes,
        )
        body = Rule(self.consortium.header("nl-one"), NL, version, rules)
        return self.consortium.must(body, Role.GOVERNOR)

    def list_pictures(self, *seeds: int) -> int:
        """Listed by two agencies of two sovereigns, so active. The first batch's entry."""
        rows = [listing_of(seed) for seed in seeds]
        entry = self.consortium.publish("nl-one", rows)
        self.consortium.publish("ie-two", rows)
        return entry

    def dispute(self, entry: int) -> int:
        refs = (RefRange(entry, 0, 1),)
        body = Dispute(self.consortium.header("nl-four"), refs, DisputeReason.OTHER)
        return self.consortium.must(body, Role.ANALYST)

    def withdraw(self, entry: int, agency: str = "nl-one") -> int:
        refs = (RefRange(entry, 0, 1),)
        body = Withdraw(self.consortium.header(agency), refs, DisputeReason.OTHER)
        return self.consortium.must(body, Role.ANALYST)
