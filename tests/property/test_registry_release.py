"""A batch sealed wrongly for some of its groups: platforms and agencies still fold one obligation.

Otherwise a publisher could make an honest platform attest another list than its auditors expect.
"""

from collections.abc import Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.agency.sealing import seal_batch
from accord.follow.delta import Fault, FoldedEntry
from accord.follow.opening import NO_KEY, NOT_RELEASED, open_entry
from accord.ledger.state import PLATFORMS, PlatformRow, Standing
from accord.registry import Registry, platform_obligations
from accord.statements.batch import batch_of
from accord.statements.bodies import Header, Publish
from accord.statements.confidential import (
    KEY_BYTES,
    NONCE,
    derive,
    parse_batch_blob,
    wrap_aad,
    wrap_purpose,
)
from accord.wire.digests import sha256
from accord.wire.ids import AGENCIES, GroupId, JurisdictionId, KeyId, MemberId, TimeMs
from accord.wire.record import encode_record
from consortium_kit import CHAIN
from registry_kit import NOW, PLATFORM, World, clause, listing, rule_set

A, B = GroupId("east"), GroupId("west")
GROUPS = (AGENCIES, A, B)
KEYS = {(group, 1): sha256(group.encode()) for group in GROUPS}
HOW = st.sampled_from(["right", "garbage", "other-key"])


def sealed(how: Mapping[GroupId, str], seed: int) -> tuple[Publish, bytes]:
    """A batch whose wraps are right, or open to nothing, or to a key that was not committed to."""
    blob = seal_batch(
        CHAIN, MemberId("ada"), batch_of([listing(seed)]), {g: (1, KEYS[g, 1]) for g in how}
    )
    parsed = parse_batch_blob(blob)

    def spoilt(group: GroupId, wrapped: bytes) -> bytes:
        if how[group] == "right":
            return wrapped
        if how[group] == "garbage":
            return bytes(len(wrapped))
        key = derive(KEYS[group, 1], wrap_purpose(parsed.commitment))
        aad = wrap_aad(CHAIN, group, 1, parsed.commitment)
        return ChaCha20Poly1305(key).encrypt(NONCE, b"\x07" * KEY_BYTES, aad)

    wraps = tuple(replace(w, wrapped=spoilt(w.group, w.wrapped)) for w in parsed.wraps)
    raw = encode_record(replace(parsed, wraps=wraps))
    header = Header(MemberId("ada"), bytes(16), TimeMs(NOW))
    body = Publish(header, 1, tuple(sorted(how)), (1,) * len(how), False, sha256(raw))
    return body, raw


def opened(
    body: Publish, raw: bytes, *groups: GroupId, held: tuple[GroupId, ...] = GROUPS
) -> FoldedEntry:
    entry = FoldedEntry(0, TimeMs(NOW), KeyId(bytes(16)), body)
    keys = {(group, 1): KEYS[group, 1] for group in groups if group in held}
    return open_entry(CHAIN, entry, raw, keys, groups)


def world_for(groups: tuple[GroupId, ...]) -> World:
    world = World()
    world.put_rules("AT", rule_set(clause(agencies=1)))
    row = PlatformRow("P", (JurisdictionId("AT"),), groups, Standing.ADMITTED, TimeMs(0))
    world.put(PLATFORMS, PLATFORM.encode(), row)
    return world


@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(GROUPS, HOW)), min_size=1, max_size=4),
    st.sampled_from([(A,), (B,), (A, B)]),
)
@settings(max_examples=60, deadline=None)
def test_a_platform_and_an_agency_fold_the_same_obligation(
    batches: list[dict[GroupId, str]], groups: tuple[GroupId, ...]
) -> None:
    roots: list[bytes] = []
    faults: list[int] = []
    for reader in (groups, GROUPS):
        world = world_for(groups)
        for seed, how in enumerate(batches):
            body, raw = sealed(how, seed)
            found = opened(body, raw, *reader)
            said = world.say(body, batch=found.batch, unopened=found.unopened, faults=found.faults)
            world.approve("ada", said)
        registry = Registry()
        registry.fold_all(world.entries)
        snapshot = registry.snapshot()
        assert (snapshot.unopened, snapshot.unchecked) == (0, 0)
        roots.append(platform_obligations(snapshot, world.state, PLATFORM).active_root)
        faults.append(len(snapshot.faults))
    assert roots[0] == roots[1]
    wrong = [[how[group] != "right" for group in GROUPS] for how in batches]
    assert faults[1] == sum(map(sum, wrong))  # An agency sees every fault, with its publisher.


def test_a_wrong_wrap_is_named_with_its_group() -> None:
    body, raw = sealed({AGENCIES: "right", A: "garbage", B: "other-key"}, 1)
    found = opened(body, raw, *GROUPS)
    assert found.batch is not None
    assert found.faults == (Fault(A, "confidential.wrap"), Fault(B, "confidential.commitment"))
    east = opened(body, raw, A)
    assert (east.batch, east.unopened) == (None, "confidential.wrap")


def test_a_key_that_is_missing_is_a_hole_unless_another_group_opens() -> None:
    body, raw = sealed(dict.fromkeys(GROUPS, "right"), 1)
    assert opened(body, raw, A, held=()).unopened == NO_KEY
    both = opened(body, raw, A, B, held=(B,))
    assert both.batch is not None
    assert both.lacking == (A,)
    # What could be opened is wrong, what could not be looked at may be right: a hole.
    body, raw = sealed({AGENCIES: "right", A: "right", B: "garbage"}, 1)
    assert opened(body, raw, A, B, held=(B,)).unopened == NO_KEY
    assert opened(body, raw, GroupId("north")).unopened == NOT_RELEASED


def test_a_registry_counts_what_it_could_not_check() -> None:
    world = world_for((A, B))
    body, raw = sealed(dict.fromkeys(GROUPS, "right"), 1)
    found = opened(body, raw, A, B, held=(B,))
    world.say(body, batch=found.batch, lacking=found.lacking)
    registry = Registry()
    registry.fold_all(world.entries)
    assert (registry.snapshot().unopened, registry.snapshot().unchecked) == (0, 1)


def test_a_blob_for_other_groups_than_were_signed_is_refused() -> None:
    """Validators compare them; a reader does not have to take their word for it."""
    body, raw = sealed({AGENCIES: "right", A: "right"}, 1)
    wider = replace(body, groups=GROUPS, epochs=(1, 1, 1))
    found = opened(wider, raw, *GROUPS)
    assert (found.batch, found.unopened) == (None, "confidential.groups")
