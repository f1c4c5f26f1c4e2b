"""The genesis: what members agree on by digest before there is a ledger to agree on.

A JSON file, so that people can read what they agree to; its identity is the SHA-256 of its exact
bytes, compared out of band by every member and platform.
Source: docs/spec/ledger.md, section Genesis.
"""

import json
from dataclasses import dataclass
from typing import Annotated, cast

from accord.ledger.membership import admit_agency, check_keys
from accord.ledger.state import CONSORTIUM, ONLY, PARAMETERS, ConsortiumRow, Draft, State
from accord.statements.bodies import AdmitAgency, Chain, Groups, Millis, Parameters, Version
from accord.wire import cbor, record
from accord.wire.digests import sha256
from accord.wire.errors import Malformed
from accord.wire.ids import AGENCIES
from accord.wire.limits import AGENCIES_MAX
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
    """Shape: JSON, sorted keys, two spaces, byte strings as `hex:...`, a final newline."""
    value = _to_json(record.dump_record(genesis))
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse_genesis(raw: bytes) -> Founding:
    """Raises: Malformed, also for a genesis that could not found a consortium."""
    if len(raw) > GENESIS_BYTES_MAX:
        raise Malformed("genesis.size", size=len(raw))
    try:
        value = json.loads(raw.decode(), parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError) as err:
        raise Malformed("genesis.json") from err
    genesis = record.load_record(Genesis, _from_json(value), "genesis")
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


def _refuse(_: str) -> int:
    raise ValueError("no floats")


def _to_json(value: cbor.Value) -> object:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    return "hex:" + value.hex() if isinstance(value, bytes) else value


def _from_json(value: object) -> cbor.Value:
    match value:
        case dict():
            return {str(k): _from_json(v) for k, v in cast(dict[object, object], value).items()}
        case list():
            return [_from_json(item) for item in cast(list[object], value)]
        case str() if value.startswith("hex:"):
            try:
                return bytes.fromhex(value[4:])
            except ValueError as err:
                raise Malformed("genesis.hex") from err
        case None | bool() | int() | str():
            return value
        case _:
            raise Malformed("genesis.json")
