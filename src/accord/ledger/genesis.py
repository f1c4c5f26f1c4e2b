"""The genesis: what members agree on by digest before there is a ledger to agree on.

A JSON file, so that people can read what they agree to; its identity is the SHA-256 of its exact
bytes, compared out of band by every member and platform.
Version 2 goes on with the log of an earlier genesis, from a size and a root that it pins: how a
consortium goes on that lost its quorum for good. What it begins with: `ledger.past`.
Source: docs/spec/ledger.md, section Genesis.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from accord.ledger.membership import admit_agency, check_keys
from accord.ledger.state import CONSORTIUM, ONLY, PARAMETERS, ConsortiumRow, Draft, State
from accord.statements.bodies import (
    AdmitAgency,
    Chain,
    Groups,
    Index,
    Millis,
    Parameters,
    Sha256,
    Version,
    is_possible,
)
from accord.wire import record
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES, TRIAL_PREFIX, ChainId
from accord.wire.limits import AGENCIES_MAX, CONTINUATIONS_MAX
from accord.wire.readable import dump_json, load_json
from accord.wire.record import Count

GENESIS_BYTES_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class Continues:
    """The log that is gone on with: its first `size` entries, which hash to `root`."""

    genesis_sha256: Sha256
    chain: Chain
    size: Index
    root: Sha256


@dataclass(frozen=True, slots=True)
class Genesis:
    """A parsed genesis. `digest` is what members compare. Version 1 continues nothing, 2 does."""

    version: Version
    chain: Chain
    time_ms: Millis
    groups: Groups
    parameters: Parameters
    agencies: Annotated[tuple[AdmitAgency, ...], Count(1, AGENCIES_MAX)]
    continues: Continues | None = None


@dataclass(frozen=True, slots=True)
class Founding:
    """A genesis with the digest of the bytes it came from, and the one it continues, if any."""

    genesis: Genesis
    digest: bytes
    previous: "Founding | None" = None

    def line(self) -> "tuple[Founding, ...]":
        """Itself and all that it continues, oldest first.

        Raises: Malformed, where the file of an earlier one is not at hand.
        """
        pinned = self.genesis.continues
        if pinned is None:
            return (self,)
        if self.previous is None:
            digest = pinned.genesis_sha256.hex()
            raise Malformed("genesis.no_previous", sha256=digest, mend="give the earlier genesis")
        return (*self.previous.line(), self)

    @property
    def missing(self) -> bytes | None:
        """The SHA-256 of the newest earlier genesis that is not at hand."""
        if self.previous is not None:
            return self.previous.missing
        return None if self.genesis.continues is None else self.genesis.continues.genesis_sha256

    @property
    def begins_at(self) -> int:
        """The index of its first own entry."""
        return 0 if self.genesis.continues is None else self.genesis.continues.size

    def chain_at(self, index: int) -> ChainId:
        """The chain that an entry was said on: what its signature and its blob are bound to."""
        if index < self.begins_at and self.previous is not None:
            return self.previous.chain_at(index)
        return self.genesis.chain

    @property
    def is_trial(self) -> bool:
        return any(founding.genesis.chain.startswith(TRIAL_PREFIX) for founding in self.line())


def encode_genesis(genesis: Genesis) -> bytes:
    """Shape: see `wire.readable`; version 1 has no field `continues`."""
    value = record.dump_record(genesis)
    if isinstance(value, dict) and genesis.continues is None:
        value = {name: item for name, item in value.items() if name != "continues"}
    return dump_json(value)


def parse_genesis(raw: bytes, earlier: Iterable[bytes] = ()) -> Founding:
    """The genesis with those it continues, as far as `earlier` holds their bytes.

    Raises: Malformed, also for a genesis that could not found a consortium.
    """
    return _parse(raw, {sha256(item): item for item in earlier}, CONTINUATIONS_MAX)


def _parse(raw: bytes, earlier: dict[bytes, bytes], deep: int) -> Founding:
    genesis = _read(raw)
    found(genesis)  # Of nothing: keys, proofs and roles stand for themselves.
    pinned = genesis.continues
    if pinned is None or pinned.genesis_sha256 not in earlier:
        return Founding(genesis, sha256(raw))
    if deep == 0:
        raise Malformed("genesis.continuations", limit=CONTINUATIONS_MAX)
    previous = _parse(earlier[pinned.genesis_sha256], earlier, deep - 1)
    founding = Founding(genesis, sha256(raw), previous)
    _check_continued(founding, previous, pinned)
    return founding


def _check_continued(founding: Founding, previous: Founding, pinned: Continues) -> None:
    """Raises: Malformed, for what no log of the earlier genesis could make right."""
    before, after = previous.genesis, founding.genesis
    if before.chain != pinned.chain or pinned.size < previous.begins_at:
        raise Malformed("genesis.continues", chain=pinned.chain, size=pinned.size)
    older: Founding | None = previous
    while older is not None:  # Who signed for one chain has said nothing on another.
        if older.genesis.chain == after.chain:
            raise Malformed("genesis.chain", chain=after.chain, mend="a chain id that is new")
        older = older.previous
    missing = sorted(set(before.groups) - set(after.groups))
    if missing:
        raise Malformed("genesis.groups", missing=", ".join(missing))


def _read(raw: bytes) -> Genesis:
    if len(raw) > GENESIS_BYTES_MAX:
        raise Malformed("genesis.size", size=len(raw))
    value = load_json(raw, "genesis.json")
    if isinstance(value, dict):
        value = {"continues": None, **value}
    genesis = record.load_record(Genesis, value, "genesis")
    if encode_genesis(genesis) != raw:
        raise Malformed("genesis.not_canonical")
    if genesis.version != (1 if genesis.continues is None else 2):
        raise Malformed("genesis.version", version=genesis.version)
    return genesis


def found(genesis: Genesis) -> State:
    """The state of a consortium of these agencies from nothing. Raises: Malformed."""
    if AGENCIES not in genesis.groups:
        raise Malformed("genesis.groups", missing=AGENCIES)
    if not is_possible(genesis.parameters):
        raise Malformed("genesis.parameters")
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
