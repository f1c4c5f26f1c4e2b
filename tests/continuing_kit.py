"""A consortium that goes on with the log of another one, on a new chain, by whoever is left."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from accord.agency.founding import (
    AGENCY_STAFF,
    TRIAL_PARAMETERS,
    AgencyPlan,
    agency_application,
    continue_genesis,
)
from accord.client.home import PrivateKey
from accord.ledger.block import Ledger
from accord.ledger.genesis import Founding, encode_genesis, parse_genesis
from accord.statements.bodies import AdmitAgency, Parameters, Role
from accord.tlog import leaf_hash, tree_root
from accord.wire.ids import ChainId, MemberId, TimeMs
from consortium_kit import Consortium, keys_for, plan

SECOND = ChainId("trial-tests-2.example")
FRESH = (Role.CONSENSUS, Role.COSIGNER)
SURVIVORS = ("nl-one", "ie-two")
NEWCOMERS = (plan("fr-five", "FR"), plan("de-six", "DE"))


def with_fresh_signers(keys: Sequence[PrivateKey], chain: ChainId) -> tuple[PrivateKey, ...]:
    """The same keys, but for those that signed the old log."""
    return tuple(
        replace(key, seed=hashlib.sha256(chain.encode() + key.seed).digest())
        if key.role in FRESH
        else key
        for key in keys
    )


def plan_of(world: Consortium, member: str) -> AgencyPlan:
    (known,) = (a for a in world.founding.genesis.agencies if a.agency == member)
    return AgencyPlan(known.agency, known.title, known.sovereign, known.jurisdictions)


@dataclass(frozen=True)
class Shape:
    """Who goes on, from where, and as what."""

    survivors: Sequence[str] = SURVIVORS
    newcomers: Sequence[AgencyPlan] = NEWCOMERS
    chain: ChainId = SECOND
    size: int | None = None
    parameters: Parameters = TRIAL_PARAMETERS


def keys_of(world: Consortium, shape: Shape) -> dict[MemberId, tuple[PrivateKey, ...]]:
    old = {
        MemberId(m): with_fresh_signers(world.keys[MemberId(m)], shape.chain)
        for m in shape.survivors
    }
    return old | {p.member: keys_for(p.member, AGENCY_STAFF) for p in shape.newcomers}


def applications(world: Consortium, shape: Shape) -> list[AdmitAgency]:
    plans = [*(plan_of(world, member) for member in shape.survivors), *shape.newcomers]
    keys = keys_of(world, shape)
    return [agency_application(shape.chain, plan, keys[plan.member]) for plan in plans]


def continuing(world: Consortium, shape: Shape = Shape(), root: bytes | None = None) -> Founding:
    """The genesis by which some go on with what `world` logged."""
    leaves = world.leaves[: shape.size]
    pinned = tree_root(map(leaf_hash, leaves)) if root is None else root
    raw = continue_genesis(
        world.founding,
        len(leaves),
        pinned,
        shape.chain,
        TimeMs(world.now + 60_000),
        shape.parameters,
        applications(world, shape),
    )
    return parse_genesis(raw, [encode_genesis(f.genesis) for f in world.founding.line()])


@dataclass
class Continued(Consortium):
    """The consortium after it went on; `old` is what it was."""

    old: Consortium = field(kw_only=True)
    shape: Shape = field(kw_only=True, default=Shape())

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.founding.begins_at
        self.leaves = self.old.leaves[:size]
        self.ledger = Ledger.begun(self.founding, self.leaves)
        self.keys = {**self.old.keys, **keys_of(self.old, self.shape)}
        self.epoch_keys = dict(self.old.epoch_keys)
        self.blobs = dict(self.old.blobs)
        self.now = TimeMs(self.old.now + 60_000)
        self._ids = 1_000_000 * len(self.founding.line())


def go_on(world: Consortium, shape: Shape = Shape()) -> Continued:
    return Continued(continuing(world, shape), old=world, shape=shape)
