"""What other implementations are given is what this one does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accord.ledger.block import Ledger
from accord.ledger.codes import RejectCode
from accord.ledger.genesis import parse_genesis
from accord.statements.batch import encode_batch, parse_batch
from accord.statements.bodies import Feedback, Header, Publish, Recipient, encode_body, parse_body
from accord.statements.confidential import (
    load_decrypt_private,
    open_batch,
    open_epoch,
    open_previous,
    parse_epoch_blob,
)
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.statements.feedback import (
    encode_words,
    open_feedback,
    parse_feedback_blob,
    parse_words,
    recipients_sha256,
    wrapped_to,
)
from accord.wire.digests import sha256
from accord.wire.ids import ChainId, GroupId, KeyId, MemberId, TimeMs
from accord.wire.keys import VerifyKey

FOLDER = Path(__file__).parents[2] / "vectors"


def load(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return value


def test_statements() -> None:
    vectors = load("statements")
    key = VerifyKey(bytes.fromhex(vectors["public"]))
    for case in vectors["cases"]:
        entry = parse_entry(bytes.fromhex(case["leaf"]))
        assert (entry.time_ms, entry.statement.hex()) == (
            vectors["block_time_ms"],
            case["envelope"],
        )
        envelope = parse_envelope(entry.statement)
        envelope.verify(ChainId(vectors["chain"]), key)
        assert envelope.payload.hex() == case["payload"]
        assert encode_body(parse_body(envelope.payload)).hex() == case["payload"]
    for name in ("batch", "batch_with_views"):
        batch = bytes.fromhex(vectors[name])
        assert encode_batch(parse_batch(batch)) == batch
    words = bytes.fromhex(vectors["words"])
    assert encode_words(parse_words(words)) == words
    told = [Recipient(MemberId(name), bytes.fromhex(raw)) for name, raw in vectors["recipients"]]
    (said,) = (
        body
        for case in vectors["cases"]
        if isinstance(body := parse_body(bytes.fromhex(case["payload"])), Feedback)
    )
    assert said.recipients_sha256 == recipients_sha256(told)


def test_confidential() -> None:
    vectors = load("confidential")
    chain, agency = ChainId(vectors["chain"]), MemberId(vectors["agency"])
    raw = bytes.fromhex(vectors["batch_blob"])
    groups = tuple(GroupId(group) for group, _, _ in vectors["epoch_keys"])
    epochs = tuple(number for _, number, _ in vectors["epoch_keys"])
    header = Header(agency, bytes(16), TimeMs(0))
    body = Publish(header, 3, groups, epochs, urgent=False, blob_sha256=sha256(raw))
    for group, number, key in vectors["epoch_keys"]:
        batch = open_batch(chain, body, raw, {(GroupId(group), number): bytes.fromhex(key)})
        assert batch is not None
        assert encode_batch(batch).hex() == vectors["batch"]
    key_id, private = load_decrypt_private(bytes.fromhex(vectors["decryptor_seed"]))
    epoch = parse_epoch_blob(bytes.fromhex(vectors["epoch_blob"]))
    commitment = bytes.fromhex(vectors["epoch_commitment"])
    key = open_epoch(chain, epoch, commitment, agency, key_id, private)
    assert key is not None
    assert key.hex() == vectors["epoch"]["key"]
    previous = open_previous(chain, epoch, key)
    assert previous is not None
    assert previous.hex() == vectors["epoch"]["previous"]
    raw = bytes.fromhex(vectors["feedback_blob"])
    blob = parse_feedback_blob(raw)
    words = parse_words(bytes.fromhex(vectors["words"]))
    said = Feedback(
        Header(blob.platform, bytes(16), TimeMs(0)), len(words), wrapped_to(blob), sha256(raw)
    )
    assert open_feedback(chain, said, raw, agency, {KeyId(key_id): private}) == words


def replayed() -> list[str]:
    vectors = load("ledger")
    ledger = Ledger.founded(parse_genesis(vectors["genesis"].encode()).genesis)
    hashes: list[str] = []
    for block in vectors["blocks"]:
        raw = [bytes.fromhex(item) for item in block["transactions"]]
        result = ledger.finalize(raw, TimeMs(block["time_ms"]))
        verdicts = [v.code if isinstance(v, RejectCode) else v for v in result.verdicts]
        assert verdicts == block["verdicts"]
        assert result.frontier.root().hex() == block["log_root"]
        hashes.append(result.app_hash.hex())
    return hashes


def test_the_recorded_chain_folds_to_the_recorded_hashes() -> None:
    assert replayed() == [block["app_hash"] for block in load("ledger")["blocks"]]


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_the_fold_does_not_depend_on_the_hash_seed(seed: str) -> None:
    code = (
        "import importlib.util as u, sys; sys.path.insert(0, sys.argv[2]);"
        "s = u.spec_from_file_location('m', sys.argv[1]); m = u.module_from_spec(s);"
        "s.loader.exec_module(m); print(','.join(m.replayed()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, __file__, str(Path(__file__).parents[1])],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip().split(",") == replayed()
