"""A node's settings and what its engine reads: exact, derived, and never by guess."""

import json
import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.client.home import Home, create_home
from accord.ledger.genesis import encode_genesis
from accord.node.abci_app import address_of
from accord.node.comet_files import (
    DOUBLE_SIGN_BLOCKS,
    SIGNER_STATE_FILE,
    Sockets,
    encode_config,
    encode_engine_genesis,
    write_engine_files,
)
from accord.node.comet_process import BINARY_VARIABLE, find_cometbft
from accord.node.process import SOCKET_CHARS_MAX, socket_directory
from accord.node.settings import (
    Peer,
    Settings,
    Trust,
    load_settings,
    parse_settings,
    peer_id_of,
    peer_key,
    write_settings,
)
from accord.statements.bodies import Role
from accord.wire.errors import Broken, Malformed, Unavailable
from accord.wire.ids import MemberId
from accord.wire.limits import BLOCK_BYTES_MAX, TRANSACTION_BYTES_MAX
from consortium_kit import Consortium

PEER = Peer(MemberId("ie-two"), "ab" * 20, "node.two.example:26656", "https://node.two.example")
SETTINGS = Settings("127.0.0.1:8700", "0.0.0.0:26656", (PEER,))


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    full = replace(SETTINGS, tls_certificate='/etc/"x".pem', tls_key="/etc/k.pem", block_ms=200)
    joining = replace(
        SETTINGS, snapshot_blocks=5, keep_blocks=10, state_sync=True, trust=Trust(7, b"\xab" * 32)
    )
    for settings in (SETTINGS, full, joining, replace(SETTINGS, peers=())):
        write_settings(tmp_path, settings)
        assert load_settings(tmp_path) == settings


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("[api]", "[apis]", "settings.section"),
        ("block_ms", "block_s", "settings.section"),
        ("block_ms = 1000", "block_ms = 1", "settings.value"),
        ("block_ms = 1000", 'block_ms = "1000"', "settings.value"),
        ("block_ms = 1000", "block_ms = ", "settings.toml"),
        ("127.0.0.1:8700", "127.0.0.1", "settings.address"),
        ("127.0.0.1:8700", "127.0.0.1:87000", "settings.address"),
        ('tls_key = ""', 'tls_key = "k"', "settings.value"),
        ("keep_blocks = 0", "keep_blocks = 9", "settings.value"),
        ("keep_blocks = 0", "keep_blocks = true", "settings.value"),
        ("snapshot_blocks = 1000", "snapshot_blocks = -1", "settings.value"),
        ("state_sync = false", "state_sync = 1", "settings.value"),
        ('trust = ""', 'trust = "7"', "settings.trust"),
        ('trust = ""', 'trust = "0:' + "ab" * 32 + '"', "settings.trust"),
        ("ab" * 20, "AB" * 20, "settings.peer"),
        ("https://", "ftp://", "settings.peer"),
        ('agency = "ie-two"', "", "settings.peer"),
        ("node.two.example:26656", "node.two.example", "settings.address"),
    ],
)
def test_a_wrong_line_is_named(old: str, new: str, code: str) -> None:
    text = SETTINGS.encode().decode()
    assert old in text
    with pytest.raises(Malformed) as caught:
        parse_settings(text.replace(old, new).encode())
    assert caught.value.code == code


def test_pruning_without_snapshots_would_keep_everybody_out() -> None:
    text = replace(SETTINGS, snapshot_blocks=0).encode().decode()
    assert parse_settings(text.encode()).snapshot_blocks == 0
    with pytest.raises(Malformed, match=r"settings\.value"):
        parse_settings(text.replace("keep_blocks = 0", "keep_blocks = 10").encode())


def test_older_settings_mean_what_they_meant() -> None:
    new = ("snapshot_blocks", "keep_blocks", "state_sync", "trust")
    lines = [
        line
        for line in SETTINGS.encode().splitlines()
        if not line.startswith(tuple(n.encode() for n in new))
    ]
    assert parse_settings(b"\n".join(lines)) == SETTINGS


def test_a_peer_stands_there_once() -> None:
    twice = replace(SETTINGS, peers=(PEER, replace(PEER, agency=MemberId("ca-three"))))
    with pytest.raises(Malformed, match=r"settings\.peer"):
        parse_settings(twice.encode())


def test_missing_settings_name_their_place(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match=r"settings\.missing") as caught:
        load_settings(tmp_path)
    assert str(tmp_path) in str(caught.value.detail["path"])


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_settings(raw)


def test_the_peer_key_is_made_once_and_private(tmp_path: Path) -> None:
    first, second = peer_key(tmp_path), peer_key(tmp_path)
    assert peer_id_of(first) == peer_id_of(second)
    assert stat.S_IMODE((tmp_path / "peer.key").stat().st_mode) == 0o600
    (tmp_path / "peer.key").write_text("noise")
    with pytest.raises(Malformed, match=r"settings\.peer_key"):
        peer_key(tmp_path)


def test_the_engine_gets_what_the_home_says(tmp_path: Path) -> None:
    consortium = Consortium()
    genesis = encode_genesis(consortium.founding.genesis)
    keys = consortium.keys[MemberId("nl-one")]
    home = create_home(tmp_path / "h", "agency", MemberId("nl-one"), genesis, [], keys)
    node = home.path / "node"
    node.mkdir()
    sockets = Sockets(tmp_path / "a.sock", tmp_path / "r.sock")
    engine = write_engine_files(node, home, SETTINGS, peer_key(node), sockets)
    config = tomllib.loads((engine / "config" / "config.toml").read_text())
    assert config["proxy_app"] == f"unix://{sockets.application}"
    assert config["rpc"]["laddr"].startswith("unix://")  # Nobody else reaches it.
    assert (config["p2p"]["pex"], config["filter_peers"]) == (False, True)
    assert config["p2p"]["persistent_peers"] == f"{PEER.peer_id}@{PEER.address}"
    assert config["mempool"]["max_tx_bytes"] == TRANSACTION_BYTES_MAX
    signer = json.loads((engine / "config" / "signer.json").read_bytes())
    public = consortium.key("nl-one", Role.CONSENSUS).public
    assert signer["address"] == address_of(public).hex().upper()
    for file in ("signer.json", "node_key.json"):
        assert stat.S_IMODE((engine / "config" / file).stat().st_mode) == 0o600
    state = home.path / SIGNER_STATE_FILE
    state.write_text("signed")
    write_engine_files(node, home, SETTINGS, peer_key(node), sockets)
    assert state.read_text() == "signed", "what was signed is never forgotten"
    state.unlink()
    with pytest.raises(Broken, match=r"node\.signer_state_gone"):
        write_engine_files(node, home, SETTINGS, peer_key(node), sockets)


def engine_config(home: Home, trust: Trust | None = None) -> dict[str, Any]:
    light = (home.path / "1.sock", home.path / "2.sock")
    sockets = Sockets(home.path / "a.sock", home.path / "r.sock", light)
    return tomllib.loads(encode_config(home, SETTINGS, sockets, trust).decode())


def test_an_engine_begins_with_a_snapshot_only_from_a_trusted_block(tmp_path: Path) -> None:
    consortium = Consortium()
    genesis = encode_genesis(consortium.founding.genesis)
    keys = consortium.keys[MemberId("nl-one")]
    home = create_home(tmp_path / "h", "agency", MemberId("nl-one"), genesis, [], keys)
    assert engine_config(home)["statesync"] == {"enable": False}
    found = engine_config(home, Trust(7, b"\xab" * 32))["statesync"]
    assert (found["enable"], found["trust_height"], found["trust_hash"]) == (True, 7, "AB" * 32)
    assert [url.partition(":")[0] for url in found["rpc_servers"].split(",")] == ["unix", "unix"]
    evidence = json.loads(encode_engine_genesis(home.founding.genesis))["consensus_params"]
    age_s = int(evidence["evidence"]["max_age_duration"]) // 10**9
    assert int(found["trust_period"].removesuffix("s")) < age_s, "who lies can still be held to it"


def test_only_a_key_without_a_memory_is_looked_for_in_the_last_blocks(tmp_path: Path) -> None:
    consortium = Consortium()
    genesis = encode_genesis(consortium.founding.genesis)
    keys = consortium.keys[MemberId("nl-one")]
    home = create_home(tmp_path / "h", "agency", MemberId("nl-one"), genesis, [], keys)
    state = home.path / SIGNER_STATE_FILE
    for memory, blocks in (
        ('{"height": "0", "round": 0, "step": 0}', DOUBLE_SIGN_BLOCKS),
        ('{"height": "41", "round": 0, "step": 3}', 0),
        ("noise", 0),
    ):
        state.write_text(memory)
        assert engine_config(home)["consensus"]["double_sign_check_height"] == blocks


def test_the_engines_genesis_is_the_same_everywhere() -> None:
    genesis = Consortium().founding.genesis
    raw = encode_engine_genesis(genesis)
    assert raw == encode_engine_genesis(Consortium().founding.genesis)
    value = json.loads(raw)
    assert value["genesis_time"] == "2027-01-15T08:00:00.000Z"
    block = int(value["consensus_params"]["block"]["max_bytes"])
    evidence = int(value["consensus_params"]["evidence"]["max_bytes"])
    assert evidence <= block, "or nodes do not start"
    assert block - evidence > BLOCK_BYTES_MAX


def test_sockets_fit_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    with socket_directory(tmp_path / "near") as near:
        assert near == (tmp_path / "near" / "run").resolve()
        assert stat.S_IMODE(near.stat().st_mode) == 0o700
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with socket_directory(deep) as far:
        assert len(str(far / "application.sock")) <= SOCKET_CHARS_MAX
        assert stat.S_IMODE(far.stat().st_mode) == 0o700
    assert not far.exists()


def test_an_engine_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "cometbft"
    monkeypatch.setenv(BINARY_VARIABLE, str(other))
    with pytest.raises(Unavailable, match=r"comet\.missing"):
        find_cometbft()
    other.write_text("#!/bin/sh\necho 0.38.1\n")
    other.chmod(0o700)
    with pytest.raises(Unavailable, match=r"comet\.version"):
        find_cometbft()
    other.write_text("#!/bin/sh\necho v0.39.4+abc\n")
    assert find_cometbft() == other
