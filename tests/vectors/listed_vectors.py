"""Vectors of signed answers about the list, over the chain that `ledger.json` records."""

import json
from typing import Any

from core_vectors import FOLDER, head
from past_vectors import recorded

from accord.audit.listed import (
    FORMAT,
    AskedValue,
    Place,
    SignedAnswer,
    answer_of,
    commitment_to,
    signed_bytes,
)
from accord.statements.batch import Listing
from accord.statements.bodies import Role
from accord.statements.rules import Algorithm, Metric
from accord.tlog import leaf_hash, tree_root
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import CLASS, derived_key
from registry_kit import World, flip, pdq_of

SALT = bytes(range(32))
AGENCY = MemberId("nl-one")
MD5, SHA256 = b"\x05" * 16, b"\x06" * 32
VECTOR = bytes(range(144))
GENERATOR = "tests/vectors/listed_vectors.py"


def write() -> None:
    (FOLDER / "listed.json").write_text(json.dumps(listed(), indent=1) + "\n")


def world() -> World:
    """One listing of each standing; the entries are not those of the recorded chain."""
    made = World()
    first = made.publish(
        "ada",
        Listing(CLASS, pdq=pdq_of(1), pdq_quality=90, md5=MD5),
        Listing(CLASS, photodna=VECTOR),
        Listing(CLASS, pdq=pdq_of(2), pdq_quality=90),
    )
    made.withdraw("ada", first, first=2)
    made.publish("bea", Listing(CLASS, sha256=SHA256), approved=False)
    return made


def questions() -> list[AskedValue]:
    pdq, hamming = Algorithm.PDQ, Metric.HAMMING
    other = bytes([30, 41, *range(2, 144)])  # 50 from `VECTOR` by Euclid, 70 by sum.
    return [
        AskedValue(Algorithm.MD5, MD5),
        AskedValue(Algorithm.SHA1, bytes(20)),
        AskedValue(Algorithm.SHA256, SHA256),
        AskedValue(pdq, flip(pdq_of(1), 31), hamming, 31),
        AskedValue(pdq, flip(pdq_of(1), 32), hamming, 31),
        AskedValue(pdq, pdq_of(1)),
        AskedValue(pdq, pdq_of(2), hamming, 31),
        AskedValue(Algorithm.PHOTODNA, other, Metric.L2, 50),
        AskedValue(Algorithm.PHOTODNA, other, Metric.L2, 49),
        AskedValue(Algorithm.PHOTODNA, other, Metric.L1, 70),
    ]


def listed() -> dict[str, Any]:
    founding, leaves, time_ms = recorded()
    root = tree_root(map(leaf_hash, leaves))
    place = Place(founding.genesis.chain, len(leaves), root, TimeMs(time_ms))
    answer, _ = answer_of(world().registry().snapshot(), place, 1, SALT, questions())
    key = derived_key(AGENCY, Role.ANALYST, "analyst")
    covered = signed_bytes(AGENCY, answer)
    signed = SignedAnswer(AGENCY, answer, key.key_id, key.sign(covered))
    return {
        **head("signed answers about the list; listings: see the generator"),
        "generator": GENERATOR,
        "format": FORMAT,
        "salt": SALT.hex(),
        "asked": [
            {
                "scheme": one.scheme.value,
                "value": one.value.hex(),
                "metric": one.metric and one.metric.value,
                "distance": one.distance,
                "commitment": commitment_to(SALT, one).hex(),
                "listed": said.listed.value,
            }
            for one, said in zip(questions(), answer.values, strict=True)
        ],
        "public_key": key.public.hex(),
        "signed_bytes": covered.hex(),
        "file": signed.encode().decode(),
    }
