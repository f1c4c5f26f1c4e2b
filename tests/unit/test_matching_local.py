"""A platform's own layer: milder only, only where rules permit, and always said."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.fingerprint.types import Fingerprint
from accord.matching import Answer, Context, Decision, Query, Screen, build_screen
from accord.matching.decision import LocalStep, Place
from accord.matching.local import (
    Allowed,
    LocalLayer,
    apply_local,
    check_layer,
    is_enabled,
    modalities_of,
    noisy,
)
from accord.scan.local_file import load_local
from accord.statements.batch import Listing
from accord.statements.rules import Action, Algorithm, Modality, Near
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import TimeMs
from cases_kit import START, Desk, case_of, platform_home
from command_kit import refused, told
from registry_kit import A1, PLATFORM, World, clause, flip, pdq_of
from registry_kit import rule_set as rules

NEAR = Near(Algorithm.PDQ, 31, 50, Action.QUARANTINE, alone=True)
DIGEST = sha256(b"a benign file")
EXACT = Query(((Algorithm.SHA256, DIGEST),), (Fingerprint(pdq_of(9), 100),))
FAR = Query((), (Fingerprint(flip(pdq_of(2), 20), 100),))
ALLOWS = LocalLayer({DIGEST: Allowed("ada", "our logo")})
OFF = LocalLayer(ratios={"AT/main": 0, "BE/main": 0})
NARROW = LocalLayer(thresholds={Algorithm.PDQ: 10})
DRY = LocalLayer(dry_run=True)


def screen(at: Modality = Modality.PERMITTED, be: Modality = Modality.PERMITTED) -> Screen:
    world = World()
    world.put_platform(("AT", "BE"))
    for name, modality in (("AT", at), ("BE", be)):
        world.put_rules(name, rules(clause(near=NEAR), modality=modality, preserve_days=90))
    world.publish("ada", Listing(A1, sha256=DIGEST), Listing(A1, pdq=pdq_of(2), pdq_quality=100))
    return build_screen(world.registry(), world.state, PLATFORM, Place(2, bytes(32)))


PERMITTED = screen()
MIXED = screen(be=Modality.REQUIRED)


def local(
    found: Screen, query: Query, layer: LocalLayer, held: frozenset[str] = frozenset()
) -> tuple[Decision, Decision]:
    before = found.decide(query, Context())
    assert before.answer is Answer.MATCH
    return before, apply_local(before, query, layer, modalities_of(found.obligations), held)


def test_an_allowed_file_is_let_be_and_owes_nothing() -> None:
    before, after = local(PERMITTED, EXACT, ALLOWS)
    assert (before.action, after.action) == (Action.BLOCK, Action.ALLOW)
    assert after.answer is Answer.MATCH
    assert (after.duties.reports, after.duties.preserve_days) == ((), 0)
    assert {note.step for note in after.local} == {LocalStep.ALLOWED}
    assert not any(note.is_refused for note in after.local)


@pytest.mark.parametrize(
    ("query", "layer"), [(EXACT, ALLOWS), (EXACT, OFF), (FAR, NARROW), (EXACT, DRY)]
)
def test_nothing_goes_below_what_is_required(query: Query, layer: LocalLayer) -> None:
    before, after = local(MIXED, query, layer)
    assert after.action is before.action
    said = {verdict.jurisdiction: verdict.action for verdict in after.verdicts}
    assert said == {"AT": Action.ALLOW, "BE": before.action}
    assert {note.list_name[:2] for note in after.local if note.is_refused} == {"BE"}
    assert {duty.jurisdiction for duty in after.duties.reports} >= {"BE"}
    assert after.duties.preserve_days == 90
    with pytest.raises(Malformed, match=r"local\.required"):
        check_layer(replace(layer, ratios=layer.ratios or {"BE/main": 5}), MIXED.obligations)


def test_a_narrower_threshold_lets_the_far_be_and_not_the_near() -> None:
    assert local(PERMITTED, FAR, NARROW)[1].action is Action.ALLOW
    close = Query((), (Fingerprint(flip(pdq_of(2), 10), 100),))
    before, after = local(PERMITTED, close, NARROW)
    assert after == before
    check_layer(NARROW, PERMITTED.obligations)
    with pytest.raises(Malformed, match=r"local\.laxer"):
        check_layer(LocalLayer(thresholds={Algorithm.PDQ: 32}), PERMITTED.obligations)
    with pytest.raises(Malformed, match=r"local\.unknown"):
        check_layer(LocalLayer(ratios={"AT/other": 5}), PERMITTED.obligations)


def test_a_dry_run_acts_on_nothing_and_keeps_the_duties() -> None:
    before, after = local(PERMITTED, EXACT, DRY)
    assert (after.action, after.duties, after.reasons) == (
        Action.ALLOW,
        before.duties,
        before.reasons,
    )


def test_a_noisy_listing_goes_to_review_where_rules_permit() -> None:
    listing = str(PERMITTED.decide(EXACT, Context()).reasons[0].ref)
    held = frozenset({listing})
    assert local(PERMITTED, EXACT, LocalLayer(), held)[1].action is Action.REVIEW
    before, after = local(MIXED, EXACT, LocalLayer(), held)
    assert after.action is before.action
    assert local(PERMITTED, EXACT, LocalLayer(), frozenset({"99/9"}))[1].local == ()


def test_a_match_that_is_not_all_named_is_not_lessened() -> None:
    before = replace(PERMITTED.decide(EXACT, Context()), truncated=True)
    modalities = modalities_of(PERMITTED.obligations)
    assert apply_local(before, EXACT, OFF, modalities).action is before.action
    assert apply_local(before, EXACT, OFF, modalities).duties == before.duties
    assert apply_local(before, EXACT, ALLOWS, modalities).action is Action.ALLOW


@given(st.binary(min_size=32, max_size=32), st.integers(0, 1000), st.integers(0, 1000))
def test_a_file_that_is_in_stays_in(digest: bytes, one: int, other: int) -> None:
    query = Query(((Algorithm.SHA256, digest),))
    low, high = sorted((one, other))
    assert is_enabled("AT/main", high, query) >= is_enabled("AT/main", low, query)
    assert is_enabled("AT/main", 1000, query)
    assert not is_enabled("AT/main", 0, query)


def test_a_ratio_is_about_that_share_of_files() -> None:
    files = [Query(((Algorithm.SHA256, sha256(b"%d" % number)),)) for number in range(2_000)]
    share = sum(is_enabled("AT/main", 250, query) for query in files) / len(files)
    assert 0.2 < share < 0.3
    other = [is_enabled("BE/main", 250, query) for query in files]
    assert other != [is_enabled("AT/main", 250, query) for query in files]


LAYERS = st.builds(
    LocalLayer,
    st.sampled_from([{}, ALLOWS.allowed]),
    st.dictionaries(st.sampled_from(["AT/main", "BE/main"]), st.integers(0, 1000)),
    st.dictionaries(st.just(Algorithm.PDQ), st.integers(0, 31)),
    st.booleans(),
)


@settings(deadline=None)
@given(LAYERS, st.sampled_from([EXACT, FAR]), st.booleans(), st.booleans())
def test_no_layer_is_stricter_or_below_a_required_rule(
    layer: LocalLayer, query: Query, is_mixed: bool, is_held: bool
) -> None:
    found = MIXED if is_mixed else PERMITTED
    first = str(found.decide(query, Context()).reasons[0].ref)
    before, after = local(found, query, layer, frozenset({first} if is_held else ()))
    assert after.action.severity <= before.action.severity
    assert (after.local == ()) <= (after == before)
    if is_mixed:
        assert after.action is before.action
        assert apply_local(after, query, layer, {}).action is before.action


def test_what_matches_far_too_much_is_held_reported_and_released(tmp_path: Path) -> None:
    assert noisy({"1/0": 3, "1/1": 2}, 2) == {"1/0"}
    home = platform_home(tmp_path)
    world = Desk(home)
    world.desk = replace(world.desk, files_per_day=3)
    for number in range(4):
        assert world.store.held() == {}
        world.desk.take_in(case_of(f"c{number}"), ["12/3"], None)
    assert world.store.held() == {"12/3": 4}
    world.desk.take_in(case_of("c9"), ["12/3", "15/0"], None)
    assert world.store.held() == {"12/3": 4}, "told once"
    (told_to_agencies,) = world.store.feedback()
    assert told_to_agencies == {
        "listing": "12/3",
        "verdict": "negative",
        "reason": "noisy",
        "files": 4,
    }
    at = ("--home", home)
    assert told("local", "held", *at)["held"] == [{"listing": "12/3", "files": 4}]
    assert told("local", "release", "12/3", "--as", "rev-1", *at)["released"]
    assert refused("local", "release", "12/3", "--as", "rev-1", *at) == "local.not_held"
    assert world.store.held() == {}


def test_a_released_listing_is_held_again_after_a_day(tmp_path: Path) -> None:
    store = Desk(tmp_path).store
    store.hold_noisy({"1/0": 5}, TimeMs(START))
    store.release_noisy("1/0", "rev-1", TimeMs(START + 1))
    assert store.hold_noisy({"1/0": 9}, TimeMs(START + 86_400_000)) == []
    assert store.hold_noisy({"1/0": 9}, TimeMs(START + 86_400_001)) == ["1/0"]


def test_the_file_says_what_does_not_fit(tmp_path: Path) -> None:
    assert load_local(tmp_path) is None
    file = tmp_path / "local.toml"
    file.write_text(
        f'dry_run = true\n[ratio]\n"US/known" = 0.25\n[threshold]\npdq = 20\n'
        f'[noisy]\nfiles_per_day = 7\n[[allow]]\nsha256 = "{DIGEST.hex()}"\nwho = "a"\nwhy = "b"\n'
    )
    found = load_local(tmp_path)
    assert found is not None
    assert found.layer == LocalLayer(
        {DIGEST: Allowed("a", "b")}, {"US/known": 250}, {Algorithm.PDQ: 20}, True
    )
    assert found.files_per_day == 7
    for bad in (
        "[",
        "more = 1",
        "dry_run = 1",
        "ratio = 1",
        '[ratio]\n"known" = 0.5',
        '[ratio]\n"US/known" = 1.5',
        '[ratio]\n"US/known" = true',
        "[threshold]\nmd5 = 1",
        "[threshold]\npdq = -1",
        "[noisy]\nfiles_per_day = 0",
        "allow = 1",
        '[[allow]]\nsha256 = "aa"\nwho = "a"\nwhy = "b"',
        f'[[allow]]\nsha256 = "{DIGEST.hex()}"\nwho = ""\nwhy = "b"',
        f'[[allow]]\nsha256 = "{DIGEST.hex()}"\nwho = "a"',
    ):
        file.write_text(bad)
        with pytest.raises(Malformed, match=r"local\.settings|cases\.text"):
            load_local(tmp_path)


def test_a_check_needs_a_list_and_nothing_where_there_is_no_layer(tmp_path: Path) -> None:
    home = platform_home(tmp_path)
    at = ("--home", home, "--trial")
    assert told("local", "check", *at)["local"] is False
    (home / "local.toml").write_text("dry_run = true\n")
    assert refused("local", "check", *at) == "screen.no_list"
    (home / "local.toml").write_text("dry_run = 1\n")
    assert refused("local", "check", *at) == "local.settings"
