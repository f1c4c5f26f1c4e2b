"""Cosignatures across nodes: whose lines count, over which root, and what waits for what."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF, TRIAL_PARAMETERS, agency_application
from accord.ledger.views import cosigner_key, policy_of
from accord.node.gathering import Ahead, Gathering, Taken
from accord.statements.bodies import Keyset, Parameters, Propose, Role, Vote
from accord.tlog.checkpoint import Checkpoint, parse_checkpoint
from accord.tlog.merkle import EMPTY_ROOT
from accord.tlog.note import Note, cosign_text, parse_note
from accord.tlog.policy import consortium_policy, parse_policy, verify_checkpoint
from accord.wire.errors import Broken, Malformed, Unproven
from accord.wire.ids import MemberId, TimeMs
from accord.wire.limits import COSIGN_AGAIN_MS, HEADS_GATHERED_MAX
from consortium_kit import CHAIN, FOUR, Consortium, derived_key, keys_for, plan
from heads_kit import HeadNode, World

ROOT, OTHER = b"\x01" * 32, b"\x02" * 32
NAMES = [item.member for item in FOUR]


def line_by(member: str, size: int, root: bytes, time_s: int = 1, operator: str = "node") -> bytes:
    private = derived_key(member, Role.COSIGNER, operator)
    text = Checkpoint(CHAIN, size, root).encode()
    key = cosigner_key(CHAIN, MemberId(member), private.public)
    return Note(text, (cosign_text(text, key, time_s, private.sign),)).encode()


def gathering(size: int = 5) -> Gathering:
    made = Gathering(CHAIN, lambda at: ROOT if at <= size else None)
    made.expect(Checkpoint(CHAIN, size, ROOT), [policy_of(Consortium().ledger.state, CHAIN)])
    return made


def test_a_quorum_over_our_own_root_makes_a_note() -> None:
    made = gathering()
    for have, name in enumerate(NAMES[:3], 1):
        assert made.note(5) is None
        assert made.add(line_by(name, 5, ROOT)) == Taken(5)
        assert made.have(5) == have
    cosigned = made.note(5)
    assert cosigned is not None
    policy = policy_of(Consortium().ledger.state, CHAIN)
    assert len(verify_checkpoint(cosigned.note, policy, CHAIN).signers) == 3


def test_the_same_line_again_brings_nothing_and_a_later_one_does() -> None:
    made = gathering()
    assert made.add(line_by("nl-one", 5, ROOT, 10)) == Taken(5)
    assert made.add(line_by("nl-one", 5, ROOT, 10)) == Taken(None)
    assert made.add(line_by("nl-one", 5, ROOT, 9)) == Taken(None)
    assert made.add(line_by("nl-one", 5, ROOT, 11)) == Taken(5)


def test_another_root_never_counts_and_is_kept_as_evidence() -> None:
    made = gathering()
    raw = line_by("nl-one", 5, OTHER)
    taken = made.add(raw)
    assert isinstance(taken, Taken)
    assert [(s.key.name, s.size, s.note) for s in taken.splits] == [(f"{CHAIN}/nl-one", 5, raw)]
    assert made.have(5) == 0


def test_what_is_beyond_our_log_waits() -> None:
    assert gathering().add(line_by("nl-one", 6, ROOT)) == Ahead(6)


def bent_signature() -> bytes:
    raw = bytearray(line_by("nl-one", 5, ROOT))
    raw[-10] ^= 1
    return bytes(raw)


def one_bad_line_among_good() -> bytes:
    good = parse_note(line_by("nl-one", 5, ROOT))
    bad = parse_note(line_by("ie-two", 5, OTHER)).lines
    return Note(good.text, (*good.lines, *bad)).encode()


def another_chain() -> bytes:
    return line_by("nl-one", 5, ROOT).replace(CHAIN.encode(), b"another-chain", 1)


def forged_split() -> bytes:
    """Another root, with a line that an honest cosigner made for ours."""
    text = parse_note(line_by("nl-one", 5, OTHER)).text
    return Note(text, parse_note(line_by("nl-one", 5, ROOT)).lines).encode()


@pytest.mark.parametrize(
    "lie", [bent_signature, one_bad_line_among_good, another_chain, forged_split]
)
def test_a_note_with_a_lie_in_it_gives_nothing(lie: Callable[[], bytes]) -> None:
    made = gathering()
    with pytest.raises((Unproven, Malformed)):
        made.add(lie())
    assert made.have(5) == 0


def test_a_strangers_line_is_ignored() -> None:
    made = gathering()
    assert made.add(line_by("xx-nobody", 5, ROOT)) == Taken(None)
    assert made.add(line_by("xx-nobody", 5, OTHER)) == Taken(None)


def test_two_policies_need_two_quorums() -> None:
    made = Gathering(CHAIN, lambda at: ROOT if at <= 5 else None)
    before = policy_of(Consortium().ledger.state, CHAIN)
    fresh = [
        (n, cosigner_key(CHAIN, MemberId(n), derived_key(n, Role.COSIGNER, "node").public))
        for n in ("aa-new", "bb-new", "cc-new", "nl-one")
    ]
    after = consortium_policy((), fresh)
    made.expect(Checkpoint(CHAIN, 5, ROOT), [before, after])
    for name in NAMES:
        made.add(line_by(name, 5, ROOT))
    assert made.note(5) is None
    made.add(line_by("aa-new", 5, ROOT))
    assert made.note(5) is None
    made.add(line_by("bb-new", 5, ROOT))
    assert made.note(5) is not None


def test_old_heads_make_room() -> None:
    made = Gathering(CHAIN, lambda _: ROOT)
    policy = policy_of(Consortium().ledger.state, CHAIN)
    for size in range(1, HEADS_GATHERED_MAX + 10):
        made.expect(Checkpoint(CHAIN, size, ROOT), [policy])
    assert made.add(line_by("nl-one", 1, ROOT)) == Taken(None)
    assert made.add(line_by("nl-one", HEADS_GATHERED_MAX, ROOT)) == Taken(HEADS_GATHERED_MAX)


class Nodes:
    """Honest nodes that see what the test shows them."""

    def __init__(self, directory: Path, consortium: Consortium) -> None:
        self.world = World(directory, consortium)
        self.nodes = [HeadNode(self.world, MemberId(name)) for name in NAMES]

    def decide(self, *raws: bytes) -> None:
        self.world.now = TimeMs(self.world.now + 1_000)
        self.world.consortium.now = self.world.now
        self.world.blocks.append((self.world.now, raws))
        for node in self.nodes:
            if node.is_up:
                node.take_block()

    def meet(self, *names: str) -> None:
        """These nodes sign all they want to, and ask each other."""
        there = [node for node in self.nodes if node.member in names]
        for _ in range(4):
            for node in there:
                for _ in range(3):
                    node.sign()
            for node in there:
                for peer in there:
                    if peer is not node:
                        node.poll(peer)

    def say(self, member: str, action: Parameters) -> bytes:
        consortium = self.world.consortium
        return consortium.sign(Propose(consortium.header(member), action), Role.GOVERNOR)

    def close(self) -> None:
        for node in self.nodes:
            if node.is_up:
                node.store.close()


PARAMETERS = replace(TRIAL_PARAMETERS, proposal_life_ms=60_000)


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path, Consortium())


def sizes(nodes: Nodes) -> list[int | None]:
    return [None if node.head is None else node.head.size for node in nodes.nodes]


def test_three_of_four_make_a_head_and_two_do_not(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    nodes.decide(nodes.say("nl-one", PARAMETERS))
    nodes.meet(*NAMES[:2])
    assert sizes(nodes) == [0, 0, 0, 0]
    nodes.meet(*NAMES[:3])
    assert sizes(nodes) == [1, 1, 1, 0]
    nodes.close()


def change_policy(nodes: Nodes) -> int:
    """The fifth agency is admitted: the log's size at which the policy changed."""
    consortium = nodes.world.consortium
    fifth = plan("fr-five", "FR")
    action = agency_application(CHAIN, fifth, keys_for(fifth.member, AGENCY_STAFF))
    nodes.decide(consortium.sign(Propose(consortium.header("nl-one"), action), Role.GOVERNOR))
    votes = [
        consortium.sign(Vote(consortium.header(name), 0, approve=True), Role.GOVERNOR)
        for name in ("ie-two", "ca-three")
    ]
    nodes.decide(*votes)
    return nodes.nodes[0].store.size


def test_nobody_signs_beyond_a_change_that_lacks_a_quorum(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    size = change_policy(nodes)
    nodes.decide(nodes.say("nl-one", PARAMETERS))
    nodes.meet(*NAMES[:3])  # Three of the old four; the new five need four.
    assert nodes.nodes[0].store.size == size + 1
    assert [node.heads.blocked_at() for node in nodes.nodes[:3]] == [size] * 3
    assert max(place.promised.size for place in nodes.nodes[:3]) == size
    for node in nodes.nodes[:3]:  # All they knew of each other's lines is gone.
        node.crash()
        node.start()
    nodes.meet(*NAMES)
    assert sizes(nodes) == [size + 1] * 4
    for node in nodes.nodes:
        change = node.store.transition(size)
        assert change is not None
        assert change[1] is not None
        for policy in (parse_policy(change[0]), policy_of(node.app.ledger.state, CHAIN)):
            assert verify_checkpoint(change[1], policy, CHAIN).size == size
    nodes.close()


def test_who_comes_late_to_a_change_takes_its_head_from_the_others(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    late = nodes.nodes[3]
    late.crash()
    nodes.decide(rotate(nodes, "nl-one"))
    nodes.meet(*NAMES[1:3])
    assert sizes(nodes)[1:3] == [0, 0]  # Two of four, by the old policy and by the new.
    late.start()
    late.take_block()
    nodes.meet(*NAMES[1:])
    assert sizes(nodes)[1:] == [1, 1, 1]
    late.crash()
    nodes.decide(nodes.say("ie-two", PARAMETERS))
    late.start()
    late.take_block()
    nodes.meet(*NAMES[1:])
    assert sizes(nodes)[1:] == [2, 2, 2]
    nodes.close()


def rotate(nodes: Nodes, member: str) -> bytes:
    """A keyset with a new cosigner key."""
    consortium = nodes.world.consortium
    new = derived_key(member, Role.COSIGNER, "second")
    keys = [k for k in consortium.keys[MemberId(member)] if k.role is not Role.COSIGNER]
    public = tuple(sorted(key.role_key(CHAIN, MemberId(member)) for key in (*keys, new)))
    return consortium.sign(Keyset(consortium.header(member), 2, public), Role.ROOT)


def test_the_new_quorum_alone_does_not_carry_a_change(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    nodes.decide(rotate(nodes, "nl-one"), rotate(nodes, "ie-two"))
    (first, *_) = nodes.nodes
    root = first.store.root
    for name in ("nl-one", "ie-two"):
        first.hear(line_by(name, 2, root, operator="second"))
    first.hear(line_by("ca-three", 2, root))
    assert sizes(nodes)[0] == 0  # Three of the new four, one of the old.
    for name in ("ie-two", "nl-four"):
        first.hear(line_by(name, 2, root))
    assert sizes(nodes)[0] == 2
    nodes.close()


def test_heads_are_signed_again_when_it_is_time(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    (first, *_) = nodes.nodes
    assert first.heads.sign_next(nodes.world.seconds()) is None
    nodes.world.now = TimeMs(nodes.world.now + COSIGN_AGAIN_MS)
    raw = first.heads.sign_next(nodes.world.seconds())
    assert raw is not None
    assert parse_checkpoint(parse_note(raw).text) == Checkpoint(CHAIN, 0, EMPTY_ROOT)
    assert first.heads.sign_next(nodes.world.seconds()) is None
    nodes.close()


def test_more_than_a_third_against_us_halts(nodes: Nodes) -> None:
    nodes.decide(nodes.say("nl-one", PARAMETERS))
    (first, *_) = nodes.nodes
    first.hear(line_by("ie-two", 1, OTHER))
    first.hear(line_by("ie-two", 1, OTHER, 2))  # One liar twice is one liar.
    with pytest.raises(Broken, match=r"node\.diverged"):
        first.hear(line_by("ca-three", 1, OTHER))
    assert len(first.store.splits()) == 2
    nodes.close()


def test_an_old_changes_head_does_not_turn_the_head_back(nodes: Nodes) -> None:
    nodes.meet(*NAMES)
    size = change_policy(nodes)
    nodes.meet(*NAMES)
    nodes.decide(nodes.say("nl-one", PARAMETERS))
    nodes.meet(*NAMES)
    store = nodes.nodes[0].store
    change = store.transition(size)
    assert change is not None
    assert change[1] is not None
    before = store.head()
    store.publish(size, change[1], [])
    assert store.head() == before
    nodes.close()
