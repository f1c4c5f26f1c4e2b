"""Vectors of statements, sealed blobs and a recorded chain, for other implementations.

HPKE draws randomness, so sealed epochs and the recorded chain are made once and kept; running this
again recomputes everything that follows from them and leaves the recordings as they are.
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from accord.agency.sealing import seal_batch, wrap_epoch
from accord.client.home import PrivateKey
from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import encode_genesis, parse_genesis
from accord.scan.cases.sealed import hearers, seal_feedback
from accord.statements.batch import Listing, batch_of, encode_batch
from accord.statements.bodies import (
    Approve,
    Body,
    Dispute,
    DisputeReason,
    Endorse,
    Feedback,
    Header,
    Propose,
    Recipient,
    RefRange,
    RemoveAgency,
    Role,
    Vote,
    Withdraw,
    encode_body,
)
from accord.statements.confidential import (
    content_commitment,
    decrypt_public_of,
    epoch_commitment,
    load_decrypt_private,
)
from accord.statements.entries import Entry
from accord.statements.envelope import seal_envelope
from accord.statements.feedback import Reason, encode_words, recipients_sha256
from accord.wire.ids import AGENCIES, ListingRef, MemberId, TimeMs
from accord.wire.keys import key_id_of
from consortium_kit import (
    CHAIN,
    PLATFORMS_GROUP,
    START_MS,
    Consortium,
    derived_key,
    listings,
)
from feedback_kit import feedback_body, word

CLOUD = MemberId("cloud")
WORDS = (
    word("3/0", Reason.CONFIRMED),
    word("3/4", Reason.FALSE_NEAR, "pdq"),
    word("9/2", Reason.NOISY, ""),
)
HEARERS = (
    Recipient(MemberId("ie-two"), bytes(range(16))),
    Recipient(MemberId("nl-one"), bytes(range(16, 32))),
)
FOLDER = Path(__file__).parents[2] / "vectors"
DATE = "2026-11-26"
GENERATOR = "tests/vectors/core_vectors.py"


def write() -> None:
    for name, make in (
        ("statements", statements),
        ("confidential", confidential),
        ("ledger", ledger),
    ):
        path = FOLDER / f"{name}.json"
        before = json.loads(path.read_text()) if path.exists() else None
        path.write_text(json.dumps(make(before), indent=1) + "\n")


def head(about: str) -> dict[str, Any]:
    return {"about": about, "generator": GENERATOR, "date": DATE}


def statements(_before: dict[str, Any] | None) -> dict[str, Any]:
    header = Header(MemberId("nl-one"), bytes(range(16)), TimeMs(START_MS))
    key = derived_key("nl-one", Role.ANALYST, "analyst-a")
    refs = (RefRange(3, 0, 5), RefRange(9, 2, 1))
    bodies: list[Body] = [
        Approve(header, 7),
        Endorse(header, refs, 2),
        Dispute(header, refs, DisputeReason.NOT_CSAM),
        Withdraw(header, refs, DisputeReason.OTHER),
        Propose(header, RemoveAgency(MemberId("nl-four"))),
        Vote(header, 12, approve=True),
        Feedback(header, 3, recipients_sha256(HEARERS), b"\x66" * 32),
    ]
    cases: list[dict[str, Any]] = []
    for body in bodies:
        envelope = seal_envelope(CHAIN, key.key_id, body, key.sign)
        leaf = Entry(START_MS, envelope).encode()
        cases.append(
            {
                "kind": body.KIND,
                "payload": encode_body(body).hex(),
                "envelope": envelope.hex(),
                "leaf": leaf.hex(),
            }
        )
    return {
        **head("bodies, envelopes and leaves"),
        "chain": CHAIN,
        "seed": key.seed.hex(),
        "public": key.public.hex(),
        "key_id": key.key_id.hex(),
        "block_time_ms": START_MS,
        "cases": cases,
        "batch": encode_batch(batch_of(listings(3))).hex(),
        "batch_with_views": encode_batch(batch_of(viewed())).hex(),
        "words": encode_words(WORDS).hex(),
        "recipients": [[to.member, to.key_id.hex()] for to in HEARERS],
    }


def viewed() -> list[Listing]:
    """A listing with patches, one without, a film's frames, and patches added to an earlier one."""
    values = [sha256(bytes([number])).digest() for number in range(9)]
    one, two, three = listings(3)
    return [
        replace(one, patches=tuple(values[:3])),
        two,
        replace(three, frames=tuple(values[3:5]), patches=(values[0],)),
        Listing(one.class_code, patches=tuple(values[5:]), of=ListingRef(7, 2)),
    ]


def confidential(before: dict[str, Any] | None) -> dict[str, Any]:
    content, epoch = b"\x11" * 32, b"\x22" * 32
    keys = {AGENCIES: (1, epoch), PLATFORMS_GROUP: (4, b"\x33" * 32)}
    batch = batch_of(listings(3))
    private = derived_key("nl-one", Role.DECRYPTOR, "keeper")
    public = decrypt_public_of(private.seed)
    to = Recipient(MemberId("nl-one"), key_id_of(public))
    kept = before["epoch_blob"] if before else None
    blob = kept or wrap_epoch(CHAIN, AGENCIES, 2, epoch, [(to, public)], b"\x44" * 32).hex()
    return {
        **head("a sealed batch and a wrapped epoch; the HPKE wrap is recorded"),
        "chain": CHAIN,
        "agency": "nl-one",
        "content_key": content.hex(),
        "content_commitment": content_commitment(content).hex(),
        "epoch_keys": [[group, number, key.hex()] for group, (number, key) in keys.items()],
        "batch": encode_batch(batch).hex(),
        "batch_blob": seal_batch(CHAIN, MemberId("nl-one"), batch, keys, content).hex(),
        "decryptor_seed": private.seed.hex(),
        "decryptor_key_id": load_decrypt_private(private.seed)[0].hex(),
        "epoch": {"group": AGENCIES, "number": 2, "key": epoch.hex(), "previous": "44" * 32},
        "epoch_commitment": epoch_commitment(CHAIN, AGENCIES, 2, epoch).hex(),
        "epoch_blob": blob,
        "feedback_blob": feedback_blob(before, private),
        "words": encode_words(WORDS).hex(),
    }


def feedback_blob(before: dict[str, Any] | None, private: PrivateKey) -> str:
    """Sealed by the platform `cloud` to the one agency of this file."""
    kept = None if before is None else before.get("feedback_blob")
    to = Recipient(MemberId("nl-one"), private.key_id)
    return kept or seal_feedback(CHAIN, CLOUD, WORDS, [(to, private.public)]).hex()


def ledger(before: dict[str, Any] | None) -> dict[str, Any]:
    if before is None:
        genesis, blocks = record_chain()
    else:
        genesis = before["genesis"]
        blocks = [
            (b["time_ms"], [bytes.fromhex(t) for t in b["transactions"]]) for b in before["blocks"]
        ]
    replica = Ledger.founded(parse_genesis(genesis.encode()).genesis)
    rows: list[dict[str, Any]] = []
    for time_ms, transactions in blocks:
        result = replica.finalize(transactions, TimeMs(time_ms))
        verdicts = [v.code if isinstance(v, RejectCode) else v for v in result.verdicts]
        rows.append(
            {
                "time_ms": time_ms,
                "transactions": [raw.hex() for raw in transactions],
                "verdicts": verdicts,
                "app_hash": result.app_hash.hex(),
                "log_root": result.frontier.root().hex(),
            }
        )
    return {**head("a recorded chain and what it must fold to"), "genesis": genesis, "blocks": rows}


def record_chain() -> tuple[str, list[tuple[int, list[bytes]]]]:
    """A short life: epochs, a platform, a batch, corroboration, refusals, a removal."""
    world = Consortium().open_epochs()
    world.admit_platform()
    entry = world.publish("nl-one", listings(2))
    refs = (RefRange(entry, 0, 2),)
    world.must(Endorse(world.header("ie-two"), refs, 1), Role.ANALYST)
    world.say(Endorse(world.header("nl-one"), refs, 1), Role.ANALYST)  # Rejected: its own.
    world.must(Dispute(world.header("ca-three"), refs, DisputeReason.OTHER), Role.ANALYST)
    world.block(b"noise", world.blocks[-1][1][0])  # Malformed, and a replay.
    body, blob = feedback_body(world, [word(f"{entry}/1", Reason.FALSE_NEAR, "pdq")])
    world.must(body, Role.REPORTER, blob)
    few, to_few = feedback_body(world, WORDS, recipients=hearers(world.ledger.state)[1:])
    world.say(few, Role.REPORTER, to_few)  # Rejected: an agency is left out.
    much = world.sign(feedback_body(world, WORDS)[0], Role.REPORTER)
    world.block(much)  # Rejected: without its blob.
    world.decide(Propose(world.header("nl-one"), RemoveAgency(MemberId("nl-four"))))
    genesis = encode_genesis(world.founding.genesis).decode()
    return genesis, [(int(time), list(raw)) for time, raw in world.blocks]


if __name__ == "__main__":
    write()
