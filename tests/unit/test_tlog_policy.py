"""Policies as text, and the one check that makes a checkpoint worth believing."""

import pytest

from accord.tlog import (
    Algorithm,
    Checkpoint,
    Group,
    Log,
    Note,
    Policy,
    SignatureLine,
    Witness,
    consortium_policy,
    freshness_ms,
    parse_note,
    parse_policy,
    quorum_of,
    sign_text,
    verify_checkpoint,
)
from accord.wire.errors import Malformed, Unproven
from tlog_kit import ORIGIN, Signer, agencies, log_signer, naive_root, policy_of
from tlog_kit import leaves as leaves_of

LOG = log_signer()
X = [Signer(f"x.example/{index}") for index in range(3)]
Y = [Signer(f"y.example/{index}") for index in range(3)]
HEAD = Checkpoint(ORIGIN, 5, naive_root(leaves_of(5)))
TEXT = HEAD.encode()
EXAMPLE = "\n".join(
    [
        f"log {LOG.key.encode()}",
        "",
        *(f"witness X{index} {signer.key.encode()}" for index, signer in enumerate(X)),
        "group X-witnesses 2 X0 X1 X2",
        "\t # a comment",
        *(f"  witness\tY{i}  {signer.key.encode()} https://y/{i}  " for i, signer in enumerate(Y)),
        "group Y-witnesses any Y0 Y1 Y2",
        "group X-and-Y all X-witnesses Y-witnesses",
        "quorum X-and-Y",
        "",
    ]
)


def note_by(*signers: Signer, text: bytes = TEXT, time_s: int = 1_000, log: bool = True) -> bytes:
    lines = [sign_text(text, LOG.key, LOG.sign)] if log else []
    lines += [signer.cosign(text, time_s + at) for at, signer in enumerate(signers)]
    return Note(text, tuple(lines)).encode()


def test_the_example_of_the_specification() -> None:
    policy = parse_policy(EXAMPLE.encode())
    assert policy.quorum == "X-and-Y"
    assert policy.groups[0] == Group("X-witnesses", 2, ("X0", "X1", "X2"))
    assert policy.groups[2].needed == 2
    assert policy.witnesses[4].url == "https://y/1"
    assert parse_policy(policy.encode()) == policy
    for signers in ((X[0], X[2], Y[1]), (*X, *Y)):
        verified = verify_checkpoint(note_by(*signers), policy)
        assert (verified.origin, verified.size, verified.root) == (ORIGIN, 5, HEAD.root)
        assert len(verified.signers) == len(signers)
        assert verified.log_keys == (LOG.key,)
    for signers in ((X[0], Y[0], Y[1], Y[2]), (*X,), ()):
        with pytest.raises(Unproven, match=r"^tlog\.quorum\b"):
            verify_checkpoint(note_by(*signers), policy)


@pytest.mark.parametrize(("count", "need"), [(1, 1), (3, 3), (4, 3), (7, 5), (10, 7), (21, 15)])
def test_more_than_two_thirds_of_the_agencies(count: int, need: int) -> None:
    assert quorum_of(count) == need
    signers = agencies(count)
    policy = policy_of(signers, LOG)
    assert parse_policy(policy.encode()) == policy
    assert verify_checkpoint(note_by(*signers[-need:]), policy).size == 5
    with pytest.raises(Unproven) as err:
        verify_checkpoint(note_by(*signers[: need - 1]), policy)
    assert err.value.code == "tlog.quorum"
    assert err.value.detail == {"have": need - 1, "need": need}


def test_outside_witnesses_are_asked_as_well() -> None:
    inner, outer = agencies(4), [("w1", X[0].key), ("w2", X[1].key), ("w3", X[2].key)]
    named = [(f"agency-{at}", signer.key) for at, signer in enumerate(inner)]
    policy = consortium_policy([LOG.key], named, outer, 2)
    assert parse_policy(policy.encode()) == policy
    verified = verify_checkpoint(note_by(*inner[:3], X[0], X[2]), policy)
    assert verified.signers[2:] == ("agency/agency-2", "outside/w1", "outside/w3")
    for signers in ((*inner, X[0]), (*inner[:2], *X)):
        with pytest.raises(Unproven, match=r"^tlog\.quorum\b"):
            verify_checkpoint(note_by(*signers), policy)
    for count, members in ((0, outer), (2, [])):
        with pytest.raises(Malformed, match=r"^tlog\.policy\b"):
            consortium_policy([LOG.key], named, members, count)


def test_unknown_keys_are_ignored_and_bad_lines_of_known_ones_are_not() -> None:
    signers = agencies(4)
    policy = policy_of(signers, LOG)
    good = note_by(*signers[:3]).decode()
    assert verify_checkpoint((good + X[0].cosign(b"else\n", 1).encode()).encode(), policy)
    known = signers[3].key
    unknown = SignatureLine(known.name, b"\0\0\0\0", bytes(64))
    assert verify_checkpoint((good + unknown.encode()).encode(), policy)
    bad = SignatureLine(known.name, known.key_hash, bytes(72))
    for line in (bad, SignatureLine(LOG.key.name, LOG.key.key_hash, bytes(64))):
        with pytest.raises(Unproven, match=r"^tlog\.signature\b"):
            verify_checkpoint((good + line.encode()).encode(), policy)


def test_a_witness_counts_once_at_its_latest_time() -> None:
    signers = agencies(4)
    policy = policy_of(signers, LOG)
    with pytest.raises(Unproven, match=r"^tlog\.quorum\b"):
        verify_checkpoint(note_by(signers[0], signers[0], signers[0]), policy)
    raw = note_by(signers[0], signers[1], signers[2], signers[0])
    assert verify_checkpoint(raw, policy).cosigned_at[0] == ("agency/agency-0", 1003)
    backwards = Note(TEXT, tuple(reversed(parse_note(raw).lines))).encode()
    assert verify_checkpoint(backwards, policy).cosigned_at[0] == ("agency/agency-0", 1003)


def test_a_plain_signature_never_counts_as_a_cosignature() -> None:
    signer = agencies(1)[0]
    plain = Signer(signer.key.name, Algorithm.ED25519)
    line = sign_text(TEXT, plain.key, plain.sign)
    raw = note_by().decode() + line.encode()
    with pytest.raises(Unproven, match=r"^tlog\.quorum\b"):
        verify_checkpoint(raw.encode(), policy_of([signer], LOG))


def test_the_origin_is_the_policy_s() -> None:
    signers = agencies(1)
    other = Checkpoint("other", 5, HEAD.root).encode()
    raw = Note(other, (signers[0].cosign(other, 1),)).encode()
    policy, open_policy = policy_of(signers, LOG), policy_of(signers)
    for asked in (None, ORIGIN):
        for chosen in (policy, open_policy):
            with pytest.raises(Unproven, match=r"^tlog\.origin\b"):
                verify_checkpoint(raw, chosen, asked)
    with pytest.raises(Unproven, match=r"^tlog\.origin\b"):
        verify_checkpoint(raw, policy, "other")
    assert verify_checkpoint(raw, open_policy, "other").log_keys == ()
    with pytest.raises(Unproven, match=r"^tlog\.log_signature\b"):
        verify_checkpoint(note_by(*signers, log=False), policy)


def test_a_log_of_one_without_witnesses() -> None:
    policy = parse_policy(f"log {LOG.key.encode()}\nquorum none\n".encode())
    verified = verify_checkpoint(note_by(), policy)
    assert verified.signers == ()
    with pytest.raises(Unproven, match=r"^tlog\.freshness\b"):
        freshness_ms(verified, policy, 0)
    for text in (b"quorum none\n", policy.encode()):
        with pytest.raises(Unproven, match=r"^tlog\.log_signature\b"):
            verify_checkpoint(note_by(X[0], log=False), parse_policy(text), ORIGIN)


def test_a_quorum_of_one_witness() -> None:
    policy = parse_policy(f"witness w {X[0].key.encode()}\nquorum w\n".encode())
    assert verify_checkpoint(note_by(X[0]), policy, ORIGIN).signers == ("w",)
    with pytest.raises(Unproven) as err:
        verify_checkpoint(note_by(X[1]), policy, ORIGIN)
    assert err.value.detail == {"have": 0, "need": 1}


def test_freshness_is_the_age_of_the_newest_quorum() -> None:
    signers = agencies(4)
    policy = policy_of(signers, LOG)
    lines = [s.cosign(TEXT, time) for s, time in zip(signers, (50, 90, 10, 70), strict=True)]
    raw = Note(TEXT, (sign_text(TEXT, LOG.key, LOG.sign), *lines)).encode()
    verified = verify_checkpoint(raw, policy)
    assert freshness_ms(verified, policy, 60_500) == 10_500  # The third newest is from second 50.
    assert freshness_ms(verified, policy, 40_000) == -10_000


def test_freshness_of_groups_of_groups() -> None:
    policy = parse_policy(EXAMPLE.encode())
    verified = verify_checkpoint(note_by(X[0], X[1], X[2], Y[0], Y[1]), policy)
    # Times 1000 to 1004: two of X by 1001, one of Y by 1004, both groups by 1001.
    assert freshness_ms(verified, policy, 1_001_000) == 0


KEY, OTHER = X[0].key.encode(), X[1].key.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none",
        "quorum\n",
        "quorum w\n",
        "quorum none none\n",
        "quorum none\nquorum none\n",
        "unknown w\nquorum none\n",
        "quorum none\r\n",
        "quorum none\x7f\n",
        "quorum\x00none\n",
        f"witness w {KEY}\n",
        f"witness none {KEY}\nquorum none\n",
        f"witness w {KEY} url more\nquorum w\n",
        f"witness w\n{KEY}\nquorum w\n",
        f"witness w {KEY}\nwitness w {OTHER}\nquorum w\n",
        f"witness w {KEY}\nwitness v {KEY}\nquorum w\n",
        f"witness w {LOG.key.encode()}\nquorum w\n",
        f"log {KEY}\nlog {KEY}\nquorum none\n",
        f"log {KEY}\nwitness w {KEY}\nquorum w\n",
        f"log {KEY} url more\nquorum none\n",
        f"quorum w\nwitness w {KEY}\n",
        f"witness w {KEY}\ngroup g all\nquorum w\n",
        f"witness w {KEY}\ngroup g 0 w\nquorum w\n",
        f"witness w {KEY}\ngroup g 2 w\nquorum w\n",
        f"witness w {KEY}\ngroup g 01 w\nquorum w\n",
        f"witness w {KEY}\ngroup g some w\nquorum w\n",
        f"witness w {KEY}\ngroup g any w w\nquorum g\n",
        f"witness w {KEY}\ngroup g any w\ngroup h any w\nquorum h\n",
        f"witness w {KEY}\ngroup w any w\nquorum w\n",
        f"witness w {KEY}\ngroup g any g\nquorum g\n",
        f"witness w {KEY}\ngroup g any none\nquorum g\n",
        f"witness w {KEY}\ngroup g any h\ngroup h any w\nquorum g\n",
        "\n" * 513,
        "#" * 70_000 + "\n",
    ],
    ids=range(34),
)
def test_other_policies_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_policy(text.encode())


def test_names_and_urls_are_octets() -> None:
    raw = b"witness \xff\xe9 " + KEY.encode() + b" https://\xfc/\n# \xff\nquorum \xff\xe9\n"
    policy = parse_policy(raw)
    assert parse_policy(policy.encode()) == policy
    assert verify_checkpoint(note_by(X[0]), policy, ORIGIN).size == 5


@pytest.mark.parametrize("word", ["", "a b", "a\nb", "\ud800", "\udcc3\udca9"])
def test_a_policy_made_in_code_can_be_written(word: str) -> None:
    with pytest.raises(Malformed, match=r"^tlog\.policy_name\b"):
        Policy((), (Witness(word, X[0].key),), (), "none")
    with pytest.raises(Malformed, match=r"^tlog\.policy\b"):
        Policy((Log(LOG.key, word),), (), (), "none")
    with pytest.raises(Malformed, match=r"^tlog\.policy_name\b"):
        Policy((), (), (), word)


def test_a_long_chain_of_groups_is_no_trouble() -> None:
    lines = [f"witness w {KEY}", "group g0 any w"]
    lines += [f"group g{at} any g{at - 1}" for at in range(1, 500)]
    policy = parse_policy(("\n".join([*lines, "quorum g499"]) + "\n").encode())
    assert verify_checkpoint(note_by(X[0]), policy, ORIGIN).signers == ("w",)
