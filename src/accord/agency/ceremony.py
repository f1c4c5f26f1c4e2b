"""An agency's way into a consortium: keys first, then the genesis that everybody compared.

    keys/              made here; they never leave
    application.json   the public part, for the others
    earlier/           geneses that the one to come continues, if it does

To found a consortium, one agency makes the genesis out of all applications and every agency checks
that it stands in it as it applied. To join one that exists, the agencies vote on the application.
Either way the directory is a home only once it has the genesis.
An agency whose root is lost or stolen applies once more, in a new place; a vote puts those keys in
force (propose replace-keys), and the genesis goes on naming the old ones.
An agency that goes on with others after the quorum was lost takes its keys along to a new home, all
but the two that signed the old log.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accord.agency.application import (
    APPLICATION_BYTES_MAX,
    APPLICATION_FILE,
    encode_application,
    parse_application,
)
from accord.agency.founding import AGENCY_STAFF, AgencyPlan, agency_application, make_keys
from accord.client.files import write_durably
from accord.client.home import (
    CONTINUED_FILE,
    KEYS_FOLDER,
    Home,
    PrivateKey,
    adopt_genesis,
    load_earlier,
    load_keys,
    role_keys,
    store_earlier,
    store_key,
)
from accord.ledger.genesis import encode_genesis, parse_genesis
from accord.statements.bodies import AdmitAgency, Role
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId

SIGNERS = (Role.CONSENSUS, Role.COSIGNER)


@dataclass(frozen=True, slots=True)
class Joined:
    """A finished home. `is_founder`: the genesis names this agency; else a vote must admit it."""

    home: Home
    is_founder: bool


def apply_as_agency(path: Path, chain: ChainId, plan: AgencyPlan) -> AdmitAgency:
    """Fresh keys and an application; `application.json` last, so that a half-made one is none.

    Raises: Malformed, where keys are already; Unavailable, when the disk refuses.
    """
    return store_application(path, chain, plan, make_keys(AGENCY_STAFF))


def store_application(
    path: Path, chain: ChainId, plan: AgencyPlan, keys: Sequence[PrivateKey]
) -> AdmitAgency:
    """As `apply_as_agency`, with these keys."""
    application = agency_application(chain, plan, keys)
    try:
        if (path / APPLICATION_FILE).exists():
            raise Malformed("ceremony.applied", path=str(path), mend="another directory")
        (path / KEYS_FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        for key in keys:
            store_key(path, key)
        write_durably(path / APPLICATION_FILE, encode_application(application))
    except OSError as err:
        raise Unavailable("home.store", path=str(path), why=err.strerror or "") from err
    return application


def go_on_elsewhere(old: Home, path: Path, chain: ChainId) -> AdmitAgency:
    """A new home to be for the same agency on another chain, with the keys of `old` but for those
    that signed the old log, which are made anew. From here on no node of `old` starts.

    Raises: Malformed, where there are keys already, or the old home has not its root or no
    decryption key; Unavailable.
    """
    plan = plan_of(old)
    for role in (Role.ROOT, Role.DECRYPTOR):  # Who the others know, and who opens the old keys.
        if all(key.role is not role for key in old.keys):
            raise Malformed("ceremony.key_needed", role=role.value, mend="put its file into keys/")
    kept = [key for key in old.keys if key.role not in SIGNERS]
    keys = (*kept, *make_keys([item for item in AGENCY_STAFF if item[0] in SIGNERS]))
    geneses = [encode_genesis(founding.genesis) for founding in old.founding.line()]
    application = store_application(path, chain, plan, keys)
    store_earlier(path, geneses)
    try:
        write_durably(old.path / CONTINUED_FILE, json.dumps({"chain": chain}).encode() + b"\n")
    except OSError as err:
        raise Unavailable("home.store", path=str(old.path), why=err.strerror or "") from err
    return application


def plan_of(home: Home) -> AgencyPlan:
    """What an agency says of itself, as its genesis or its own application has it.

    Raises: Malformed.
    """
    listed = [item for item in home.founding.genesis.agencies if item.agency == home.member]
    item = listed[0] if listed else read_agency_application(home.path / APPLICATION_FILE)
    return AgencyPlan(item.agency, item.title, item.sovereign, item.jurisdictions)


def read_agency_application(file: Path) -> AdmitAgency:
    """Raises: Malformed, for anything but an agency's application; Unavailable."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(APPLICATION_BYTES_MAX + 1)
    except FileNotFoundError as err:
        raise Malformed("ceremony.no_application", path=str(file)) from err
    except OSError as err:
        raise Unavailable("home.store", path=str(file), why=err.strerror or "") from err
    action = parse_application(raw)
    if not isinstance(action, AdmitAgency):
        raise Malformed("ceremony.not_an_agency", path=str(file))
    return action


def join(path: Path, genesis: bytes, nodes: Sequence[str], *, keys_by_vote: bool = False) -> Joined:
    """Make the applicant's directory a home. Again with the same genesis changes nothing but nodes.

    With `keys_by_vote` the genesis may name other keys of this agency, and nothing else other.
    Raises: Unproven, where the genesis has this agency otherwise than it applied, or its keys on
    the disk are others; Malformed; Unavailable.
    """
    application = read_agency_application(path / APPLICATION_FILE)
    founding = parse_genesis(genesis, load_earlier(path))
    own = role_keys(founding.genesis.chain, application.agency, load_keys(path))
    if own != application.keys:
        mend = "the chain id applied for and all of keys/ as they were made"
        raise Unproven("ceremony.keys_differ", chain=founding.genesis.chain, mend=mend)
    listed = {agency.agency: agency for agency in founding.genesis.agencies}
    found = listed.get(application.agency)
    is_founder = found == application
    if keys_by_vote and found is not None:
        found = replace(found, keys=application.keys)
    if found is not None and found != application:
        raise Unproven("ceremony.listed_otherwise", agency=application.agency)
    home = adopt_genesis(path, "agency", application.agency, genesis, nodes)
    return Joined(home, is_founder=is_founder)
