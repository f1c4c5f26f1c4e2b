"""Whose word counts: the consortium's members as masks over a registry's agencies.

Not here: what they said (listings), how many are needed (obligation).
Invariants: only agencies in good standing count, for and against a listing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accord.ledger.state import (
    AGENCIES_TABLE,
    CONSORTIUM,
    ONLY,
    PARAMETERS,
    AgencyRow,
    Reader,
    Standing,
)
from accord.registry.columns import Bytes, Flags, Masks
from accord.registry.listings import Snapshot
from accord.statements.bodies import Parameters
from accord.wire.errors import Broken
from accord.wire.ids import JurisdictionId, TimeMs


@dataclass(frozen=True, slots=True)
class Bench:
    """Masks over `Snapshot.agencies`: those in good standing, by sovereign, and by jurisdiction
    that they are accredited for."""

    admitted: int
    sovereigns: tuple[int, ...]
    home: Mapping[JurisdictionId, int]

    def sovereigns_in(self, masks: Masks) -> Bytes:
        """How many distinct sovereigns each mask spans."""
        spans = np.zeros(len(masks), dtype=np.uint8)
        for sovereign in self.sovereigns:
            spans += (masks & np.uint64(sovereign)) != 0
        return spans

    def certifies(self, masks: Masks, agencies_min: int, sovereigns_min: int) -> Flags:
        """Which masks hold enough agencies in good standing from enough sovereigns."""
        counted = masks & np.uint64(self.admitted)
        enough: Flags = np.bitwise_count(counted) >= agencies_min
        enough &= self.sovereigns_in(counted) >= sovereigns_min
        return enough


def bench_of(snapshot: Snapshot, state: Reader) -> Bench:
    rows = [(state.get(AGENCIES_TABLE, name.encode()), name) for name in snapshot.agencies]
    admitted = 0
    sovereigns: dict[JurisdictionId, int] = {}
    home: dict[JurisdictionId, int] = {}
    for bit, (row, _) in enumerate(rows):
        if row is None:  # The ledger fold let it speak, so it has a row.
            raise Broken("registry.agency_unknown", bit=bit)
        if row.standing is Standing.ADMITTED:
            admitted |= 1 << bit
            _note(row, 1 << bit, sovereigns, home)
    return Bench(admitted, tuple(sovereigns.values()), home)


def _note(
    row: AgencyRow,
    bit: int,
    sovereigns: dict[JurisdictionId, int],
    home: dict[JurisdictionId, int],
) -> None:
    sovereigns[row.sovereign] = sovereigns.get(row.sovereign, 0) | bit
    for jurisdiction in row.jurisdictions:
        home[jurisdiction] = home.get(jurisdiction, 0) | bit


def block_time_ms(state: Reader) -> TimeMs:
    """The block time of the newest entry: the clock of everything that is attested."""
    whole = state.get(CONSORTIUM, ONLY)
    if whole is None:
        raise Broken("registry.no_consortium")
    return whole.time_ms


def parameters_of(state: Reader) -> Parameters:
    parameters = state.get(PARAMETERS, ONLY)
    if parameters is None:
        raise Broken("registry.no_consortium")
    return parameters
