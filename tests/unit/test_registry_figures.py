"""Figures for the public: what they count, and that nothing else is in them."""

from accord.registry.figures import AgencyFigures, figures
from accord.registry.views import Count, Status
from accord.statements.feedback import Reason
from accord.wire.ids import MemberId
from feedback_kit import word
from registry_kit import A1, B2, World, listing, pdq_of

ADA, BEA = MemberId("ada"), MemberId("bea")


def test_figures_are_by_agency_class_and_status() -> None:
    world = World()
    entry = world.publish("ada", listing(1), listing(2), listing(3, B2))
    world.publish("bea", listing(4), approved=False)
    world.withdraw("ada", entry, first=1)
    world.dispute("bea", entry)
    world.dispute("cyd", entry, first=2)
    world.dispute("ada", entry, first=2)  # Its publisher agrees: upheld.
    world.feedback(
        word("0/0", Reason.CONFIRMED),
        word("0/2", Reason.NOT_CSAM),
        word("0/2", Reason.FALSE_NEAR, "pdq"),
        word("0/1", Reason.NOISY, ""),
    )
    made = figures(world.registry().snapshot(), world.weighed(), world.state)
    assert made.agencies == (
        AgencyFigures(ADA, 3, 1, 2, 1, 1, 3, 2),
        AgencyFigures(BEA, 1, 0, 0, 0, 0, 0, 0),
    )
    assert made.agencies[0].judged == 3
    assert Count(ADA, A1, Status.WITHDRAWN, 1) in made.counts
    assert Count(ADA, B2, Status.DISPUTED, 1) in made.counts
    assert pdq_of(1).hex() not in repr(made)
    assert "cloud" not in repr(made)


def test_an_empty_list_has_figures_too() -> None:
    world = World()
    world.dispute("ada", 17)
    made = figures(world.registry().snapshot(), world.weighed(), world.state)
    assert (made.agencies, made.counts, made.size) == ((), (), 1)
