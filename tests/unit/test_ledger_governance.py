"""Members come, go and change keys by vote; epochs follow."""

from dataclasses import replace

import pytest

from accord.agency.founding import (
    AGENCY_STAFF,
    TRIAL_PARAMETERS,
    agency_application,
)
from accord.agency.sealing import seal_epoch
from accord.client.home import role_keys
from accord.ledger.codes import RejectCode
from accord.ledger.epochs import epoch_of, recipients_of
from accord.ledger.genesis import encode_genesis, parse_genesis
from accord.ledger.membership import agencies, groups_of
from accord.ledger.state import (
    COMPROMISES,
    KEYS,
    KEYSETS,
    PROPOSALS,
    RULES,
    ProposalStatus,
    index_key,
)
from accord.ledger.views import caller_of, policy_of
from accord.statements.bodies import (
    Accredit,
    Acknowledge,
    AdmitAgency,
    Attest,
    Compromised,
    Dispute,
    DisputeReason,
    Epoch,
    Keyset,
    Parameters,
    Propose,
    RefRange,
    RemoveAgency,
    RemovePlatform,
    ReplaceKeys,
    Role,
    RoleKey,
    Rule,
    SuspendPlatform,
    Vote,
    Wrap,
    is_possible,
)
from accord.statements.rules import (
    Action,
    Algorithm,
    Ceiling,
    Certification,
    ClassCode,
    Clause,
    Exact,
    LegalBasis,
    Metric,
    Modality,
    Near,
    RuleSet,
    Scope,
    Service,
)
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, MemberId, TimeMs
from accord.wire.limits import EPOCH_PENDING_MS_MAX, ROTATION_GRACE_MS
from consortium_kit import (
    CHAIN,
    FOUR,
    GROUPS,
    Consortium,
    derived_key,
    founding,
    keys_for,
    listings,
    plan,
)

FIFTH = agency_application(CHAIN, plan("fr-five", "FR"), keys_for("fr-five", AGENCY_STAFF))
PLATFORMS = GroupId("platforms")


@pytest.fixture
def four() -> Consortium:
    return Consortium().open_epochs()


def vote(consortium: Consortium, agency: str, entry: int, *, approve: bool = True) -> object:
    return consortium.say(Vote(consortium.header(agency), entry, approve), Role.GOVERNOR)


def status(consortium: Consortium, entry: int) -> ProposalStatus:
    row = consortium.ledger.state.get(PROPOSALS, index_key(entry))
    assert row is not None
    return row.status


def test_admission_needs_more_than_two_thirds(four: Consortium) -> None:
    entry = four.must(Propose(four.header("nl-one"), FIFTH), Role.GOVERNOR)
    vote(four, "ie-two", entry)
    vote(four, "ie-two", entry)  # Twice is once.
    assert MemberId("fr-five") not in agencies(four.ledger.state)
    vote(four, "ca-three", entry)
    row = agencies(four.ledger.state)[MemberId("fr-five")]
    assert (row.number, status(four, entry)) == (4, ProposalStatus.DONE)
    assert len(policy_of(four.ledger.state, CHAIN).witnesses) == 5
    assert vote(four, "nl-four", entry) is RejectCode.PROPOSAL_CLOSED
    again = Propose(four.header("nl-one"), FIFTH)
    assert four.say(again, Role.GOVERNOR) is RejectCode.INVALID_ACTION


def test_a_ballot_can_be_changed_while_the_vote_is_open(four: Consortium) -> None:
    entry = four.must(Propose(four.header("nl-one"), FIFTH), Role.GOVERNOR)
    vote(four, "ie-two", entry)
    vote(four, "ie-two", entry, approve=False)
    vote(four, "ca-three", entry)
    assert status(four, entry) is ProposalStatus.OPEN
    assert vote(four, "ca-three", 0) is RejectCode.UNKNOWN_PROPOSAL


def test_the_one_to_be_removed_is_not_counted(four: Consortium) -> None:
    entry = four.must(
        Propose(four.header("nl-one"), RemoveAgency(MemberId("nl-four"))), Role.GOVERNOR
    )
    vote(four, "nl-four", entry, approve=False)
    vote(four, "ie-two", entry)
    vote(four, "ca-three", entry)  # Three of three: 2 * 3 // 3 + 1 = 3.
    assert status(four, entry) is ProposalStatus.DONE
    assert four.say(Vote(four.header("nl-four"), entry, approve=True), Role.GOVERNOR) is (
        RejectCode.MEMBER_SUSPENDED
    )
    assert epoch_of(four.ledger.state, AGENCIES).rotate_by_ms is not None


def test_a_time_lock_holds_until_an_entry_of_that_time() -> None:
    locked = replace(TRIAL_PARAMETERS, time_lock_ms=10_000, proposal_life_ms=60_000)
    consortium = Consortium(founding(parameters=locked)).open_epochs()
    entry = consortium.decide(Propose(consortium.header("nl-one"), FIFTH))
    assert status(consortium, entry) is ProposalStatus.PASSED
    assert MemberId("fr-five") not in agencies(consortium.ledger.state)
    consortium.now = TimeMs(consortium.now + 20_000)
    consortium.publish("nl-one", listings(1))
    assert MemberId("fr-five") in agencies(consortium.ledger.state)


def test_an_old_proposal_lapses() -> None:
    short = replace(TRIAL_PARAMETERS, proposal_life_ms=5_000)
    consortium = Consortium(founding(parameters=short)).open_epochs()
    entry = consortium.must(Propose(consortium.header("nl-one"), FIFTH), Role.GOVERNOR)
    consortium.now = TimeMs(consortium.now + 20_000)
    consortium.publish("nl-one", listings(1))
    assert status(consortium, entry) is ProposalStatus.LAPSED


def test_an_action_that_became_impossible_fails() -> None:
    locked = replace(TRIAL_PARAMETERS, time_lock_ms=30_000)
    consortium = Consortium(founding(parameters=locked)).open_epochs()
    first = consortium.decide(Propose(consortium.header("nl-one"), FIFTH))
    second = consortium.decide(Propose(consortium.header("nl-one"), FIFTH))
    consortium.now = TimeMs(consortium.now + 60_000)
    consortium.publish("nl-one", listings(1))
    assert (status(consortium, first), status(consortium, second)) == (
        ProposalStatus.DONE,
        ProposalStatus.FAILED,
    )


def test_a_platform_is_admitted_suspended_and_admitted_again(four: Consortium) -> None:
    four.admit_platform("cloud")
    scanner = derived_key("cloud", Role.SCANNER, "scanner")
    caller = caller_of(four.ledger.state, scanner.key_id)
    assert caller is not None
    assert (caller.member, caller.groups, caller.is_agency) == ("cloud", (PLATFORMS,), False)
    four.decide(Propose(four.header("nl-one"), SuspendPlatform(MemberId("cloud"))))
    assert caller_of(four.ledger.state, scanner.key_id) is None
    assert groups_of(four.ledger.state, MemberId("cloud")) == ()
    four.admit_platform("cloud")
    assert caller_of(four.ledger.state, scanner.key_id) is not None
    four.decide(Propose(four.header("nl-one"), RemovePlatform(MemberId("cloud"))))
    four.keys[MemberId("cloud")] = ()
    action = Propose(four.header("nl-one"), RemovePlatform(MemberId("cloud")))
    assert four.say(action, Role.GOVERNOR) is RejectCode.INVALID_ACTION


def test_a_keyset_supersedes_the_one_before(four: Consortium) -> None:
    keys = list(keys_for("nl-one", AGENCY_STAFF))
    analyst = next(key for key in keys if key.role is Role.ANALYST)
    keys.remove(analyst)
    keys.append(derived_key("nl-one", Role.ANALYST, "analyst-new"))
    public = role_keys(CHAIN, MemberId("nl-one"), keys)
    stale = Keyset(four.header("nl-one"), 1, public)
    assert four.say(stale, Role.ROOT) is RejectCode.SUPERSEDED
    wrong_role = Keyset(four.header("nl-one"), 2, public)
    assert four.say(wrong_role, Role.GOVERNOR) is RejectCode.WRONG_ROLE
    four.must(Keyset(four.header("nl-one"), 2, public), Role.ROOT)
    body, blob = four.publish_body("nl-one", listings(1))
    assert four.say(body, Role.ANALYST, blob) is RejectCode.UNKNOWN_KEY
    back = role_keys(CHAIN, MemberId("nl-one"), [*keys, analyst])
    assert four.say(Keyset(four.header("nl-one"), 3, back), Role.ROOT) is RejectCode.KEY_REUSED


def test_a_bad_keyset_is_refused(four: Consortium) -> None:
    keys = keys_for("nl-one", AGENCY_STAFF)
    good = role_keys(CHAIN, MemberId("nl-one"), keys)
    foreign = role_keys(CHAIN, MemberId("ie-two"), keys_for("ie-two", AGENCY_STAFF))
    no_root = tuple(key for key in good if key.role is not Role.ROOT)
    no_cosigner = tuple(key for key in good if key.role is not Role.COSIGNER)
    scanner = derived_key("nl-one", Role.SCANNER, "x-ray").role_key(CHAIN, MemberId("nl-one"))
    stranger = derived_key("nl-one", Role.ANALYST, "analyst-z").role_key(CHAIN, MemberId("nl-one"))
    unproved = tuple(sorted([*good, replace(stranger, proof=b"")]))
    forged = tuple(replace(k, proof=bytes(64)) if k.role is Role.ANALYST else k for k in good)
    low = tuple(replace(k, public=bytes(32)) if k.role is Role.ANALYST else k for k in good)
    bad = (no_root, no_cosigner, tuple(sorted([*good, scanner])), unproved, forged, low, good[::-1])
    for keyset in bad:
        body = Keyset(four.header("nl-one"), 2, keyset)
        assert four.say(body, Role.ROOT) is RejectCode.BAD_KEYSET
    body = Keyset(four.header("nl-one"), 2, foreign)
    assert four.say(body, Role.ROOT) in (RejectCode.BAD_KEYSET, RejectCode.KEY_REUSED)


def test_a_key_in_force_needs_no_second_proof(four: Consortium) -> None:
    keys = role_keys(CHAIN, MemberId("nl-one"), keys_for("nl-one", AGENCY_STAFF))
    bare = tuple(replace(key, proof=b"") for key in keys)
    four.must(Keyset(four.header("nl-one"), 2, bare), Role.ROOT)
    body, blob = four.publish_body("nl-one", listings(1))
    four.must(body, Role.ANALYST, blob)


def test_a_lost_root_is_replaced_by_vote(four: Consortium) -> None:
    keys = [key for key in keys_for("nl-one", AGENCY_STAFF) if key.role is not Role.ROOT]
    keys.append(derived_key("nl-one", Role.ROOT, "new-safe"))
    public = role_keys(CHAIN, MemberId("nl-one"), keys)
    four.decide(Propose(four.header("ie-two"), ReplaceKeys(MemberId("nl-one"), public)))
    four.keys[MemberId("nl-one")] = tuple(keys)
    four.must(Keyset(four.header("nl-one"), 3, public), Role.ROOT)
    old = derived_key("nl-one", Role.ROOT, "safe")
    row = four.ledger.state.get(KEYS, old.key_id)
    assert row is not None
    assert row.revoked_ms is not None


def test_accreditation_and_parameters(four: Consortium) -> None:
    accredit = Accredit(MemberId("nl-one"), JurisdictionId("EU"))
    four.decide(Propose(four.header("nl-one"), accredit))
    assert "EU" in agencies(four.ledger.state)[MemberId("nl-one")].jurisdictions
    again = Propose(four.header("nl-one"), accredit)
    assert four.say(again, Role.GOVERNOR) is RejectCode.INVALID_ACTION
    upside_down = replace(TRIAL_PARAMETERS, agencies_min=1, sovereigns_min=2)
    assert four.say(Propose(four.header("nl-one"), upside_down), Role.GOVERNOR) is (
        RejectCode.INVALID_ACTION
    )


def rule_set(agencies: int = 2, threshold: int = 31, **changes: object) -> RuleSet:
    clause = Clause(
        name="known",
        classes=(ClassCode("test", "", "T1"),),
        certification=Certification(agencies, min(agencies, 2), 0),
        exact=Exact((Algorithm.SHA256,), Action.BLOCK),
        near=(Near(Algorithm.PDQ, threshold, 50, Action.BLOCK, alone=True),),
    )
    rules = RuleSet(
        title="Test rules",
        modality=Modality.REQUIRED,
        legal_basis=LegalBasis("none: a test", ""),
        valid_from_ms=0,
        valid_to_ms=None,
        services=(Service.HOSTING,),
        scope=(Scope.STORED, Scope.UPLOADS),
        clauses=(clause,),
        undetermined=Action.REVIEW,
        stale=Action.ALLOW,
        report=None,
        preserve_days=365,
        sync_within_minutes=60,
        rescan_within_hours=24,
        user_notice="",
    )
    return replace(rules, **changes)  # type: ignore[arg-type]  # Test changes, by name.


def test_rules_are_for_the_accredited_above_the_floors_and_in_order() -> None:
    floors = replace(TRIAL_PARAMETERS, agencies_min=2, sovereigns_min=2)
    four = Consortium(founding(parameters=floors))

    def set_rule(agency: str, where: str, version: int, rules: RuleSet) -> int | RejectCode:
        body = Rule(four.header(agency), JurisdictionId(where), version, rules)
        return four.say(body, Role.GOVERNOR)

    assert set_rule("nl-one", "CA", 1, rule_set()) is RejectCode.NOT_ACCREDITED
    assert set_rule("nl-one", "NL", 2, rule_set()) is RejectCode.SUPERSEDED
    assert set_rule("nl-one", "NL", 1, rule_set(agencies=1)) is RejectCode.BELOW_FLOOR
    assert set_rule("nl-one", "NL", 1, rule_set(threshold=32)) is RejectCode.BELOW_FLOOR
    backwards = rule_set(valid_from_ms=2, valid_to_ms=1)
    assert set_rule("nl-one", "NL", 1, backwards) is RejectCode.BAD_RULE_SET
    twice = rule_set(clauses=rule_set().clauses * 2)
    assert set_rule("nl-one", "NL", 1, twice) is RejectCode.BAD_RULE_SET
    nothing = rule_set(clauses=(replace(rule_set().clauses[0], exact=None, near=()),))
    assert set_rule("nl-one", "NL", 1, nothing) is RejectCode.BAD_RULE_SET
    assert isinstance(set_rule("nl-one", "NL", 1, rule_set()), int)
    assert set_rule("nl-four", "NL", 1, rule_set()) is RejectCode.SUPERSEDED
    assert isinstance(set_rule("nl-four", "NL", 2, rule_set()), int)
    row = four.ledger.state.get(RULES, b"NL")
    assert row is not None
    assert row.version == 2


def test_a_garbled_epoch_never_takes_hold_and_can_be_replaced(four: Consortium) -> None:
    state = four.ledger.state
    recipients = recipients_of(state, AGENCIES)

    def epoch(opener: str, number: int = 2, to: int | None = None) -> int | RejectCode:
        some = recipients[:to]
        publics = [(item, k.public) for item in some if (k := state.get(KEYS, item.key_id))]
        sealed = seal_epoch(CHAIN, AGENCIES, number, publics, bytes(32) if number > 1 else None)
        digest = sha256(sealed.blob)
        body = Epoch(four.header(opener), AGENCIES, number, sealed.commitment, some, digest)
        return four.say(body, Role.KEEPER, sealed.blob)

    assert epoch("nl-one", number=1) is RejectCode.SUPERSEDED
    assert epoch("nl-one", number=3) is RejectCode.SUPERSEDED
    assert epoch("nl-one", to=2) is RejectCode.WRONG_RECIPIENTS
    assert isinstance(epoch("nl-one"), int)
    assert epoch("ie-two") is RejectCode.EPOCH_PENDING
    for agency in ("nl-one", "ie-two"):  # Two of four find that it opens: not enough.
        pending = epoch_of(state, AGENCIES).pending
        assert pending is not None
        ack = Acknowledge(four.header(agency), AGENCIES, 2, pending.commitment)
        four.must(ack, Role.KEEPER)
        assert (
            four.say(replace(ack, header=four.header(agency)), Role.KEEPER)
            is RejectCode.ALREADY_ACKNOWLEDGED
        )
    assert epoch_of(state, AGENCIES).number == 1
    four.publish("nl-one", listings(1))  # Publishing goes on under the epoch in force.
    four.now = TimeMs(four.now + EPOCH_PENDING_MS_MAX)
    assert isinstance(epoch("ie-two"), int)
    stale = Acknowledge(four.header("ca-three"), AGENCIES, 2, bytes(32))
    assert four.say(stale, Role.KEEPER) is RejectCode.UNKNOWN_EPOCH


def test_after_a_removal_publishing_pauses_rather_than_leaks(four: Consortium) -> None:
    four.admit_platform("cloud")
    four.decide(Propose(four.header("nl-one"), SuspendPlatform(MemberId("cloud"))))
    four.publish("nl-one", listings(1))  # Within the grace.
    four.now = TimeMs(four.now + ROTATION_GRACE_MS)
    body, blob = four.publish_body("nl-one", listings(1))
    assert four.say(body, Role.ANALYST, blob) is RejectCode.EPOCH_ROTATION_DUE
    four.open_epoch(PLATFORMS)
    cloud = derived_key("cloud", Role.DECRYPTOR, "scanner").key_id
    assert cloud not in {to.key_id for to in epoch_of(four.ledger.state, PLATFORMS).recipients}
    four.publish("nl-one", listings(1))


def test_a_newcomer_gets_the_key_in_force(four: Consortium) -> None:
    four.admit_platform("cloud")
    state = four.ledger.state
    missing = set(recipients_of(state, PLATFORMS)) - set(epoch_of(state, PLATFORMS).recipients)
    assert {to.member for to in missing} == {"cloud"}

    def wrap(number: int, to: tuple[object, ...], group: GroupId = PLATFORMS) -> object:
        from accord.agency.sealing import wrap_epoch

        key = four.epoch_keys[group, 1]
        publics = [(item, k.public) for item in to if (k := state.get(KEYS, item.key_id))]  # type: ignore[attr-defined]  # Recipients.
        blob = wrap_epoch(CHAIN, group, number, key, publics, None)
        body = Wrap(four.header("ie-two"), group, number, tuple(to), sha256(blob))  # type: ignore[arg-type]  # Likewise.
        return four.say(body, Role.KEEPER, blob)

    assert wrap(2, tuple(missing)) is RejectCode.EPOCH_NOT_CURRENT
    assert wrap(1, tuple(missing), AGENCIES) is RejectCode.WRONG_RECIPIENTS
    assert isinstance(wrap(1, tuple(missing)), int)
    assert isinstance(wrap(1, tuple(missing)), int)  # Once more: the first may not have opened.
    four.decide(Propose(four.header("nl-one"), SuspendPlatform(MemberId("cloud"))))
    assert wrap(1, tuple(missing)) is RejectCode.WRONG_RECIPIENTS


def test_an_attestation_cannot_be_about_the_future(four: Consortium) -> None:
    four.admit_platform("cloud")
    zero = bytes(32)
    size = four.ledger.frontier.size

    def attest(about: int) -> int | RejectCode:
        header = four.header("cloud")
        body = Attest(header, about, zero, zero, zero, four.now, 0, zero, "test")
        return four.say(body, Role.SCANNER)

    assert attest(size + 1) is RejectCode.ATTESTATION_AHEAD
    assert isinstance(attest(size), int)


def test_a_genesis_is_canonical_and_sound() -> None:
    raw = encode_genesis(founding().genesis)
    assert parse_genesis(raw).genesis == founding().genesis
    with pytest.raises(Malformed, match=r"genesis\.not_canonical"):
        parse_genesis(raw + b"\n")
    for noise in (b"", b"{", b"[]", raw.replace(b'"version": 1', b'"version": 1.0')):
        with pytest.raises(Malformed):
            parse_genesis(noise)
    twice = replace(founding().genesis, agencies=founding().genesis.agencies[:1] * 2)
    with pytest.raises(Malformed, match=r"genesis\.agency"):
        parse_genesis(encode_genesis(twice))
    assert len(FOUR) == len(founding().genesis.agencies)
    assert set(GROUPS) == set(founding().genesis.groups)


def test_only_governors_govern(four: Consortium) -> None:
    body = Propose(four.header("nl-one"), RemoveAgency(MemberId("nl-four")))
    assert four.say(body, Role.ANALYST) is RejectCode.WRONG_ROLE
    assert isinstance(FIFTH, AdmitAgency)
    assert isinstance(TRIAL_PARAMETERS, Parameters)


def test_disputes_of_others_listings_have_a_quota_a_day() -> None:
    few = replace(TRIAL_PARAMETERS, dispute_day_max=3)
    four = Consortium(founding(parameters=few)).open_epochs()
    theirs, own = four.publish("ie-two", listings(5)), four.publish("nl-one", listings(5, "own"))

    def dispute(entry: int, count: int) -> int | RejectCode:
        refs = (RefRange(entry, 0, count),)
        body = Dispute(four.header("nl-one"), refs, DisputeReason.NOT_CSAM)
        return four.say(body, Role.ANALYST)

    assert isinstance(dispute(theirs, 2), int)
    assert isinstance(dispute(own, 5), int)
    assert dispute(theirs, 2) is RejectCode.OVER_QUOTA
    assert isinstance(dispute(theirs, 1), int)
    assert dispute(theirs, 1) is RejectCode.OVER_QUOTA
    four.now = TimeMs(four.now + 86_400_000)
    assert isinstance(dispute(theirs, 3), int)


def test_a_member_declares_former_keys_of_its_own_compromised(four: Consortium) -> None:
    state, since = four.ledger.state, TimeMs(four.now - 10)
    old, staff = four.key("nl-one", Role.ANALYST), [*four.keys[MemberId("nl-one")]]
    fresh = derived_key("nl-one", Role.ANALYST, "analyst-z")
    kept = tuple(sorted(k.role_key(CHAIN, MemberId("nl-one")) for k in [*staff, fresh] if k != old))
    theirs = four.key("ie-two", Role.ANALYST).key_id

    def declare(key_id: bytes, at_ms: int, keys: tuple[RoleKey, ...] = kept) -> int | RejectCode:
        row = state.get(KEYSETS, b"nl-one")
        void = (Compromised(key_id, TimeMs(at_ms)),)
        body = Keyset(four.header("nl-one"), row.version + 1 if row else 1, keys, void)
        return four.say(body, Role.ROOT)

    whole = tuple(sorted(key.role_key(CHAIN, MemberId("nl-one")) for key in staff))
    assert declare(old.key_id, since, whole) is RejectCode.BAD_KEYSET  # It would stay in force.
    assert declare(theirs, since) is RejectCode.BAD_KEYSET
    assert declare(bytes(16), since) is RejectCode.BAD_KEYSET
    assert declare(old.key_id, four.now + 999_999) is RejectCode.BAD_KEYSET
    assert isinstance(declare(old.key_id, since), int)
    assert isinstance(declare(old.key_id, since + 5), int)  # The earlier time stays.
    row = state.get(COMPROMISES, old.key_id)
    assert row is not None
    assert (row.member, row.since_ms) == ("nl-one", since)


def test_rules_name_admitted_classes_and_known_groups_and_fit_their_algorithms() -> None:
    four = Consortium(founding(parameters=replace(TRIAL_PARAMETERS, review_level_min=1)))

    def set_rule(**changes: object) -> int | RejectCode:
        whole = rule_set(agencies=1)
        asked = replace(whole.clauses[0].certification, review_level=1)
        clause = replace(whole.clauses[0], certification=asked)
        groups = changes.pop("groups", ())
        one = replace(clause, **changes)  # type: ignore[arg-type]  # Test changes, by name.
        rules = replace(whole, clauses=(one,), groups=groups)  # type: ignore[arg-type]
        body = Rule(four.header("nl-one"), JurisdictionId("NL"), 1, rules)
        return four.say(body, Role.GOVERNOR)

    near = rule_set().clauses[0].near[0]
    vector = Near(Algorithm.PHOTODNA, 10, 0, Action.TAG, False, Metric.L2)
    odd = ClassCode("test", "", "T9")
    loose = rule_set(agencies=1).clauses[0].certification
    assert set_rule(classes=(odd,)) is RejectCode.CLASS_NOT_ADMITTED
    assert set_rule(groups=(GroupId("nobody"),)) is RejectCode.UNKNOWN_GROUP
    assert set_rule(certification=loose) is RejectCode.BELOW_FLOOR
    assert set_rule(near=(replace(vector, threshold=301),)) is RejectCode.BELOW_FLOOR
    for bad in (
        (near, near),
        (vector, near),
        (replace(near, metric=Metric.L2),),
        (replace(vector, quality_min=1),),
        (replace(near, confirmed_by=(Algorithm.PDQ,)),),
    ):
        assert set_rule(near=bad) is RejectCode.BAD_RULE_SET
    assert isinstance(set_rule(near=(near, vector), groups=(PLATFORMS,)), int)


def test_parameters_have_each_ceiling_once_and_of_a_metric_that_there_is() -> None:
    for ceilings in (
        (Ceiling(Algorithm.PDQ, Metric.L1, 3),),
        (Ceiling(Algorithm.PDQ, Metric.HAMMING, 3), Ceiling(Algorithm.PDQ, Metric.HAMMING, 4)),
        (Ceiling(Algorithm.MD5, Metric.HAMMING, 0),),
    ):
        assert not is_possible(replace(TRIAL_PARAMETERS, ceilings=ceilings))
    assert is_possible(TRIAL_PARAMETERS)
