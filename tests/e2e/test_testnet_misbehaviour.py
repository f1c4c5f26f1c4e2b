"""A validator that signs two blocks at one height is found out, on every node, for good."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from accord.node.abci_app import address_of
from accord.statements.bodies import Role
from accord.wire.ids import MemberId
from testnet_kit import Cluster, accord_json, cluster, wait_for

PRECOMMIT = 2


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("evil") / "net") as running:
        yield running


def field(number: int, raw: bytes) -> bytes:
    """A length-delimited protobuf field; everything here is shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(raw)]) + raw


def signed_bytes(chain: str, height: int, block: bytes, seconds: int) -> bytes:
    """CometBFT, CanonicalVote: what a validator signs."""
    parts = field(2, b"\x08\x01" + field(2, block))
    body = bytes([0x08, PRECOMMIT, 0x11]) + struct.pack("<q", height)
    body += field(4, field(1, block) + parts)
    body += field(5, b"\x08" + uvarint(seconds)) + field(6, chain.encode())
    return uvarint(len(body)) + body


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def vote(net: Cluster, name: MemberId, index: int, height: int, block: bytes) -> dict[str, Any]:
    home, seconds = net.homes[name], 1_800_000_000
    key = home.key(Role.CONSENSUS)
    signature = key.sign(signed_bytes(home.chain, height, block, seconds))
    return {
        "type": PRECOMMIT,
        "height": str(height),
        "round": 0,
        "block_id": {
            "hash": block.hex().upper(),
            "parts": {"total": 1, "hash": block.hex().upper()},
        },
        "timestamp": "2027-01-15T08:00:00Z",
        "validator_address": address_of(key.public).hex().upper(),
        "validator_index": index,
        "signature": base64.b64encode(signature).decode(),
        "extension": None,
        "extension_signature": None,
    }


def test_a_double_vote_is_recorded_by_all(net: Cluster) -> None:
    liar = net.names[2]
    net.submit(net.names[0], net.vote(net.names[0]))
    with net.rpc(net.names[0]) as ask:
        height = int(ask("status")["sync_info"]["latest_block_height"]) - 1
        found = ask("validators", height=str(height))["validators"]
        address = address_of(net.homes[liar].key(Role.CONSENSUS).public).hex().upper()
        index = next(i for i, item in enumerate(found) if item["address"] == address)
        time = ask("block", height=str(height))["block"]["header"]["time"]
        evidence = {
            "type": "tendermint/DuplicateVoteEvidence",
            "value": {
                "vote_a": vote(net, liar, index, height, b"\x01" * 32),
                "vote_b": vote(net, liar, index, height, b"\x02" * 32),
                "TotalVotingPower": "4",
                "ValidatorPower": "1",
                "Timestamp": time,
            },
        }
        said = ask("broadcast_evidence", evidence=evidence)
        assert "hash" in said, said

    def recorded(name: MemberId) -> list[dict[str, Any]]:
        view = accord_json("members", "--home", str(net.homes[name].path))
        return list(view["misbehaviour"])

    for name in net.names:
        wait_for(lambda n=name: recorded(n), 60)  # type: ignore[misc]
        (seen,) = recorded(name)
        assert (seen["kind"], seen["agency"]) == ("duplicate-vote", liar)
        assert (seen["height"], seen["address"]) == (height, address.lower())
    net.submit(liar, net.vote(liar))  # What follows is for the agencies to decide.
