"""The genesis: what members agree on by digest before there is a ledger to agree on.

A JSON file, so that people can read what they agree to; its identity is the SHA-256 of its exact
bytes, compared out of band by every member and platform.
Source: docs/spec/ledger.md, section Genesis.
"""

from dataclasses import dataclass
from typing import Annotated

from accord.ledger.membership import admit_agency, check_keys
from accord.ledger.state import CONSORTIUM, ONLY, PARAMETERS, ConsortiumRow, Draft, State
from accord.statements.bodies import AdmitAgency, Chain, Groups, Millis, Parameters, Version
from accord.wire import record
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES
from accord.wire.limits import AGENCIES_MAX
from accord.wire.readable import dump_json, load_json
from accord.wire.record import Count

GENESIS_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class Genesis:
    """A parsed genesis. `digest` is what members compare."""

    version: Version
    chain: Chain
    time_ms: Millis
    groups: Groups
    parameters: Parameters
    agencies: Annotated[tuple[AdmitAgency, ...], Count(1, AGENCIES_MAX)]


@dataclass(frozen=True, slots=True)
class Founding:
    """A genesis with the digest of the bytes it came from."""

    genesis: Genesis
    digest: bytes


def encode_genesis(genesis: Genesis) -> bytes:
    """Shape: see `wire.readable`."""
    return dump_json(record.dump_record(genesis))


def parse_genesis(raw: bytes) -> Founding:
    """Raises: Malformed, also for a genesis that could not found a consortium."""
    if len(raw) > GENESIS_BYTES_MAX:
        raise Malformed("genesis.size", size=len(raw))
    genesis = record.load_record(Genesis, load_json(raw, "genesis.json"), "genesis")
    if encode_genesis(genesis) != raw:
        raise Malformed("genesis.not_canonical")
    found(genesis)
    return Founding(genesis, sha256(raw))


def found(genesis: Genesis) -> State:
    """The state before the first entry. Raises: Malformed."""
    if AGENCIES not in genesis.groups:
        raise Malformed("genesis.groups", missing=AGENCIES)
    draft = Draft(State())
    draft.put(CONSORTIUM, ONLY, ConsortiumRow(genesis.time_ms, 0, 0, genesis.groups))
    draft.put(PARAMETERS, ONLY, genesis.parameters)
    for agency in genesis.agencies:
        code = check_keys(draft, genesis.chain, agency.agency, agency.keys, is_agency=True)
        code = code or admit_agency(draft, agency, genesis.time_ms)
        if code is not None:
            raise Malformed("genesis.agency", agency=agency.agency, why=code.code)
    state = State()
    state.commit(draft.writes())
    return state
