"""A platform that lacks a group key: it says so, attests nothing, and is not convicted for it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.founding import PLATFORM_STAFF
from accord.agency.sealing import seal_epoch, wrap_epoch
from accord.audit.verdict import Outcome
from accord.client.home import role_keys
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.state import KEYS
from accord.matching import Context
from accord.statements.bodies import Acknowledge, Attest, Epoch, Keyset, Recipient, Role, Wrap
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.wire.digests import sha256
from accord.wire.errors import Unavailable
from accord.wire.ids import GroupId, TimeMs
from audit_kit import HOUR_MS, evidence_on, judged
from consortium_kit import CHAIN, Consortium, derived_key, keys_for
from scan_kit import CLOUD, Scene, looked_at

PLATFORMS = GroupId("platforms")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Scene(tmp_path)
    yield opened
    opened.close()


def publics(world: Consortium, to: tuple[Recipient, ...]) -> list[tuple[Recipient, bytes]]:
    state = world.ledger.state
    return [(item, row.public) for item in to if (row := state.get(KEYS, item.key_id))]


def rotate_garbled(world: Consortium) -> None:
    """A keeper opens the next epoch, sound for every agency and garbled for the platform."""
    state = world.ledger.state
    to = recipients_of(state, PLATFORMS)
    number = epoch_of(state, PLATFORMS).number + 1
    wrong = derived_key("mallory", Role.DECRYPTOR, "x").public
    keys = [(who, wrong if who.member == CLOUD else key) for who, key in publics(world, to)]
    sealed = seal_epoch(CHAIN, PLATFORMS, number, keys, world.epoch_keys[PLATFORMS, number - 1])
    header = world.header("ca-three")
    body = Epoch(header, PLATFORMS, number, sealed.commitment, to, sha256(sealed.blob))
    world.must(body, Role.KEEPER, sealed.blob)
    for agency in world.agencies[:3]:
        ack = Acknowledge(world.header(agency), PLATFORMS, number, sealed.commitment)
        world.must(ack, Role.KEEPER)
    world.epoch_keys[PLATFORMS, number] = sealed.key


def wrap_again(world: Consortium) -> None:
    to = tuple(
        item for item in recipients_of(world.ledger.state, PLATFORMS) if item.member == CLOUD
    )
    number = epoch_of(world.ledger.state, PLATFORMS).number
    key = world.epoch_keys[PLATFORMS, number]
    blob = wrap_epoch(CHAIN, PLATFORMS, number, key, publics(world, to), None)
    body = Wrap(world.header("ie-two"), PLATFORMS, number, to, sha256(blob))
    world.must(body, Role.KEEPER, blob)


def attested(scene: Scene) -> int:
    bodies = [parse_envelope(parse_entry(leaf).statement).body for leaf in scene.consortium.leaves]
    return sum(isinstance(body, Attest) for body in bodies)


def test_a_list_with_holes_is_not_taken_over_and_not_attested(scene: Scene) -> None:
    scene.list_pictures(1)
    following = scene.following()
    following.once()
    following.once()
    before, said = scene.screener.running, attested(scene)
    rotate_garbled(scene.consortium)
    scene.list_pictures(2)
    scene.consortium.now = TimeMs(scene.consortium.now + HOUR_MS // 4)
    following.once()
    scene.screener.screen_found(looked_at(1), Context())
    following.once()
    assert scene.screener.running.obligations is before.obligations
    assert scene.screener.trouble == "screen.holes"
    assert attested(scene) == said
    judged(evidence_on(scene), Outcome.OK)  # Its receipts name the list that it has.
    wrap_again(scene.consortium)
    following.once()
    following.once()
    assert scene.screener.trouble is None
    assert attested(scene) == said + 1
    assert scene.screener.running.obligations.active_count == 4
    scene.screener.screen_found(looked_at(2), Context())
    judged(evidence_on(scene, later_ms=2 * HOUR_MS), Outcome.OK)


def test_without_a_whole_list_nothing_is_screened(scene: Scene) -> None:
    rotate_garbled(scene.consortium)
    scene.list_pictures(1)
    scene.sync()
    with pytest.raises(Unavailable, match=r"screen\.holes"):
        scene.screener.screen_found(looked_at(1), Context())
    wrap_again(scene.consortium)
    scene.sync()
    scene.screener.screen_found(looked_at(1), Context())


def test_an_attester_refuses_a_list_with_holes_whoever_hands_it(scene: Scene) -> None:
    scene.list_pictures(1)
    scene.sync()
    running = scene.screener.running
    snapshot = replace(running.obligations.snapshot, unopened=1)
    holed = replace(running.screen, obligations=replace(running.obligations, snapshot=snapshot))
    with pytest.raises(Unavailable, match=r"attest\.holes"):
        scene.attester.statement(
            replace(running, screen=holed), scene.receipts.head(), scene.clock()
        )


class Newcomer(Consortium):
    """Its platform comes when the epochs are open already, so it waits for a wrap."""

    def admit_platform(self, member: str = "cloud", jurisdictions: Sequence[str] = ("NL",)) -> None:
        super().open_epochs()
        super().admit_platform(member, jurisdictions)

    def open_epochs(self) -> Consortium:
        return self


def test_a_platform_that_was_not_given_the_key_is_not_held_to_the_list(tmp_path: Path) -> None:
    world = Newcomer()
    scene = Scene(tmp_path, world)
    scene.list_pictures(1)
    world.now = TimeMs(world.now + 3 * HOUR_MS)
    judged(evidence_on(scene), Outcome.OK)
    wrap_again(world)  # From here on it can answer, and the time runs.
    judged(evidence_on(scene, later_ms=HOUR_MS // 2), Outcome.OK)
    judged(evidence_on(scene, later_ms=2 * HOUR_MS), Outcome.VIOLATION, "sync.missing")
    scene.sync()
    assert scene.screener.running.obligations.active_count == 2
    scene.close()


def test_a_platform_cannot_stop_the_clock_by_changing_its_key(scene: Scene) -> None:
    world = scene.consortium
    scene.list_pictures(1)
    staff = [key for key in keys_for(CLOUD, PLATFORM_STAFF) if key.role is not Role.DECRYPTOR]
    for version in (2, 3):
        world.now = TimeMs(world.now + HOUR_MS // 2)
        spare = derived_key(CLOUD, Role.DECRYPTOR, f"spare-{version}")
        keys = role_keys(CHAIN, CLOUD, [*staff, spare])
        world.must(Keyset(world.header(CLOUD), version, keys), Role.ROOT)
        world.open_epoch(PLATFORMS)  # A key was revoked, so keepers rotate, to the new one as well.
    judged(evidence_on(scene, later_ms=HOUR_MS // 4), Outcome.VIOLATION, "sync.missing")
