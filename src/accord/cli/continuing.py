"""Going on from a new genesis after the quorum was lost for good: what the survivors, the newcomers
and the platforms do, one command each.

`accord agency continue`, `accord genesis adopt`, `accord node inherit`; `accord genesis make` and
`show` ask here for what an old node knows.
Source: docs/operate.md, Quorum lost; ADR 0008.
"""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from accord.agency.application import APPLICATION_FILE
from accord.agency.ceremony import go_on_elsewhere
from accord.agency.founding import continue_genesis
from accord.cli.assemble import connected, identity_of, now_ms, open_replica, replica_file
from accord.cli.options import HomeOption, Json, Trial
from accord.client.home import Home, go_on, load_earlier, open_home, store_earlier
from accord.ledger.genesis import Continues, Founding, encode_genesis, parse_genesis
from accord.ledger.membership import parameters
from accord.ledger.past import begin
from accord.replica.replica import Replica, sync_any
from accord.statements.bodies import AdmitAgency, Parameters
from accord.tlog.merkle import root_at
from accord.wire.digests import sha256 as digest_of
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import CHAIN_RE, ChainId, TimeMs

_CONTINUE = """Make the new home of an agency that goes on after the quorum was lost for good.

OLD is its home so far, with the root key in keys/; its node is stopped, and never starts again. NEW
gets its keys, but for the consensus and the cosigner key, which are made anew, and an application
for the new chain. Hand NEW/application.json to the others.

Examples:

    accord agency continue ./nl-police ./nl-police-2 --chain accord-2
"""
_INHERIT = """Make a new home's node begin with the entries that its genesis pins.

With --from out of the old node of the same agency, which is stopped for good; else from the nodes
of home.toml, where another survivor's new node runs already. Either way every entry is hashed up to
the pinned root and folded again.

Examples:

    accord node inherit --home ./nl-police-2 --from ./nl-police

    accord node inherit --home ./fr-ofmin
"""
_ADOPT = """Take a platform's home over to the genesis that continues its consortium.

Give the SHA-256 that several agencies told you. What this home proved of the old log is held
against the new genesis first: one that leaves out or changes what a quorum had signed is refused,
and nothing changes. Stop the gateway before, start it afterwards.

Examples:

    accord genesis adopt genesis-2.json --home ./clouddrive --sha256 4be1...
"""


def register(agency_app: typer.Typer, genesis_app: typer.Typer, node_app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    agency_app.command("continue", help=_CONTINUE)(continue_agency)
    genesis_app.command("adopt", help=_ADOPT)(adopt)
    node_app.command("inherit", help=_INHERIT)(inherit)


def continue_agency(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The agency's home so far.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Its home to be.")],
    chain: Annotated[str, typer.Option(help="The new chain id, agreed by all who go on.")],
    as_json: Json = False,
) -> None:
    home = open_home(old)
    if home.kind != "agency":
        raise Malformed("cli.not_an_agency", member=home.member, mend="accord genesis adopt")
    if CHAIN_RE.fullmatch(chain) is None or chain == home.chain:
        raise Malformed("cli.chain", chain=chain[:80], mend="a chain id that is new")
    go_on_elsewhere(home, new, ChainId(chain))
    said = {"member": home.member, "chain": chain, "application": str(new / APPLICATION_FILE)}
    if as_json:
        _print_json(said)
        return
    sys.stdout.write(
        f"Made {new} for {home.member} on {chain}; no node of {old} starts any more.\n"
        f"Next: hand {said['application']} to whoever makes the genesis:\n"
        f"  accord genesis make ... --chain {chain} --continues {old}\n"
    )


@dataclass(frozen=True, slots=True)
class OldLog:
    """What a stopped node holds: all of it, in order, was agreed on."""

    founding: Founding
    size: int
    root: bytes
    parameters: Parameters
    leaves: Sequence[bytes]
    root_there: bytes | None = None  # At the size that was asked for, if it goes so far.


def read_old_log(path: Path, at: int | None = None) -> OldLog:
    """Raises: Malformed, Unavailable (its node runs), Broken (its disk was altered)."""
    # Here and not above: a web server would slow every other command's start by half a second.
    from accord.node.inheriting import old_log  # noqa: PLC0415

    home = open_home(path)
    with old_log(home) as store:
        there = root_at(store, at) if at is not None and at <= store.size else None
        rules = parameters(store.ledger().state)
        leaves = store.leaves(0, store.size)
        return OldLog(home.founding, store.size, store.root, rules, leaves, there)


def make_continuing(
    old: OldLog,
    chain: ChainId,
    time_ms: TimeMs,
    wanted: Parameters,
    agencies: Sequence[AdmitAgency],
) -> bytes:
    """The genesis that goes on with all that the old node has. Raises: Malformed."""
    raw = continue_genesis(old.founding, old.size, old.root, chain, time_ms, wanted, agencies)
    line = [encode_genesis(item.genesis) for item in old.founding.line()]
    begin(parse_genesis(raw, line), old.leaves)  # Better here than at everybody's.
    return raw


def hold_against(founding: Founding, path: Path) -> str:
    """What the log of our own stopped node says to a genesis that goes on with it.

    Raises: Unproven, where the genesis leaves out entries that are here, or pins others.
    """
    pinned: Continues | None = founding.genesis.continues
    if pinned is None:
        raise Malformed("cli.continues_nothing", chain=founding.genesis.chain)
    old = read_old_log(path, pinned.size)
    if old.founding.digest != pinned.genesis_sha256:
        raise Unproven("continuing.other_genesis", ours=old.founding.digest.hex())
    if old.root_there is None:
        return f"pins {pinned.size - old.size} entries more than this node has: look at theirs too"
    if old.root_there != pinned.root:
        mend = "stop: two logs exist; keep both nodes' disks and tell all agencies"
        raise Unproven("continuing.other_log", size=pinned.size, mend=mend)
    if old.size > pinned.size:
        mend = "make the genesis from this node's log"
        raise Unproven("continuing.log_is_longer", have=old.size, pinned=pinned.size, mend=mend)
    return f"pins all {pinned.size} entries of this node"


def complete(raw: bytes, fetch: Callable[[str], bytes]) -> Founding:
    """A genesis with those that it continues, fetched by their digests. Raises: Malformed."""
    earlier: list[bytes] = []
    founding = parse_genesis(raw)
    while (digest := founding.missing) is not None:
        earlier.append(fetch(digest.hex()))
        if digest_of(earlier[-1]) != digest:
            raise Malformed("genesis.no_previous", sha256=digest.hex(), mend="another node")
        founding = parse_genesis(raw, earlier)
    return founding


def inherit(
    home: HomeOption,
    old: Annotated[
        Path | None, typer.Option("--from", metavar="OLD", help="The old home of this agency.")
    ] = None,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    opened = open_home(home)
    begins_at = opened.founding.begins_at
    if not begins_at:
        raise Malformed("cli.continues_nothing", chain=opened.chain)
    lacking = _from_old(opened, old) if old is not None else _from_nodes(opened, trial)
    if as_json:
        _print_json({"home": str(home), "entries": begins_at, "blobs_lacking": lacking})
        return
    sys.stdout.write(f"{home}: its node begins with {begins_at} entries, proved and folded.\n")
    if lacking:
        sys.stdout.write(f"{lacking} of their blobs are not here, and are not served.\n")


def _from_old(home: Home, old: Path) -> int:
    from accord.node import inheriting  # noqa: PLC0415  (as above)

    with inheriting.old_log(open_home(old)) as store:
        if store.size < home.founding.begins_at:
            mend = "without --from, from another survivor's new node"
            raise Unavailable(
                "inherit.shorter", have=store.size, wanted=home.founding.begins_at, mend=mend
            )
        return inheriting.inherit(home, store)


def _from_nodes(home: Home, trial: bool) -> int:
    from accord.node import inheriting  # noqa: PLC0415  (as above)

    with connected(home) as nodes, closing(open_replica(home, trial)) as replica:
        refused: Unproven | Malformed | Unavailable | None = None
        for node in nodes:
            try:
                replica.fetch_past(node)
                break
            except (Unproven, Malformed, Unavailable) as err:
                refused = err
        else:
            raise refused or Malformed("cli.no_node", mend="name a node in home.toml")
        return inheriting.inherit(home, replica)


def adopt(
    genesis: Annotated[Path, typer.Argument(metavar="FILE", help="The new genesis.json.")],
    home: HomeOption,
    sha256: Annotated[str, typer.Option(help="Its SHA-256, from several agencies.")],
    node: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Nodes from now on, if others.")
    ] = None,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.cli.founding import read_genesis  # noqa: PLC0415  (founding asks us, too)

    opened = open_home(home)
    line = [encode_genesis(item.genesis) for item in opened.founding.line()]
    raw, founding = read_genesis(genesis, sha256, [*line, *load_earlier(opened.path)])
    if opened.founding not in founding.line():
        raise Unproven("home.genesis", mend="compare it with several agencies")
    with closing(
        Replica(replica_file(opened), founding, identity_of(opened), allow_trial=trial)
    ):  # Refuses what contradicts what it proved; changes nothing yet.
        pass
    store_earlier(opened.path, line)
    after = go_on(opened, raw, node or opened.nodes)
    with connected(after) as nodes, closing(open_replica(after, trial)) as replica:
        sync_any(replica, nodes, now_ms())
        size = replica.size
    if as_json:
        _print_json({"home": str(home), "chain": after.chain, "size": size})
        return
    sys.stdout.write(f"{home} is on {after.chain} now, with {size} entries proved.\n")


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
