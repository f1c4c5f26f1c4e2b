"""Whatever the order of joins, rotations and removals: history opens, the future does not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from epochs_kit import GROUP, Epochs

MEMBERS = ("cloud", "drive", "share")
STEP = st.tuples(st.sampled_from(["join", "leave", "rotate"]), st.sampled_from(MEMBERS))


@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_a_member_opens_every_epoch_up_to_its_last_and_none_after(
    steps: list[tuple[str, str]],
) -> None:
    epochs = Epochs()
    epochs.open(["nl-one"])
    inside: set[str] = {"nl-one"}
    last = dict.fromkeys(MEMBERS, 0) | {"nl-one": 1}
    for step, member in steps:
        if step == "join" and member not in inside:
            inside.add(member)
            epochs.wrap([member])
            last[member] = epochs.number
            continue
        if step == "leave":
            inside.discard(member)
        if step != "join":
            epochs.open(sorted(inside))
            last |= dict.fromkeys(inside, epochs.number)
    for member, reach in last.items():
        ring, _ = epochs.told_to(member)
        wanted = {(GROUP, i + 1): s.key for i, s in enumerate(epochs.sealed) if i + 1 <= reach}
        assert ring.keys == wanted
