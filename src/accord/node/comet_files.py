"""What CometBFT reads: its configuration, genesis and keys, written before each start.

Everything here is derived: from the ledger's genesis, the agency's home and node.toml. Nothing is
edited by hand, and nothing but `consensus.state` must survive: the signer's memory of what it
signed, which stands in the home beside the cosigner's.
Source: CometBFT v0.39.4, config/config.go, types/genesis.go; docs/spec/consensus.md section 5.
"""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accord.client.files import write_durably
from accord.client.home import Home, PrivateKey
from accord.ledger.genesis import Genesis
from accord.node.abci_app import address_of, chain_for_engine
from accord.node.settings import Settings, Trust
from accord.statements.bodies import Role
from accord.wire.errors import Broken
from accord.wire.limits import (
    BLOCK_BYTES_MAX,
    POOL_BYTES_MAX,
    POOL_MAX,
    TRANSACTION_BYTES_MAX,
)

ENGINE_DIRECTORY: Final = "engine"
SIGNER_STATE_FILE: Final = "consensus.state"
HEARTBEAT_S: Final = 30  # An empty block so often, so that a halt shows.
EVIDENCE_BYTES_MAX: Final = 262_144  # Of a block; more waits for the next.
# The header, the last commit of 64 validators and evidence, beside the transactions.
ENGINE_BLOCK_BYTES_MAX: Final = BLOCK_BYTES_MAX + EVIDENCE_BYTES_MAX + 65_536
RPC_BODY_BYTES_MAX: Final = 2_000_000  # A transaction in base64, and the call around it.
PEER_BYTES_S: Final = 50_000_000  # Between two engines, either way.
PEER_PACKET_BYTES: Final = 16_384  # A batch in 1 KB packets would be a thousand of them.
EVIDENCE_S: Final = 21 * 86_400  # How long a double vote can still be proved.
TRUST_S: Final = EVIDENCE_S * 2 // 3  # Who signed a block we trust can still be held to it.
DOUBLE_SIGN_BLOCKS: Final = 1_000  # How far back a key without a memory is looked for.


@dataclass(frozen=True, slots=True)
class Sockets:
    """The doors between a node and its engine, all private unix sockets. `light` are the two where
    an engine that joins finds other agencies' headers.
    """

    application: Path
    rpc: Path
    light: tuple[Path, ...] = ()


def write_engine_files(
    directory: Path,
    home: Home,
    settings: Settings,
    peer: Ed25519PrivateKey,
    sockets: Sockets,
    trust: Trust | None = None,
) -> Path:
    """Bring the engine's directory up to date; returns it. With `trust` an empty engine begins
    with a snapshot. Raises: Broken, where the signer's memory is gone although it has signed.
    """
    engine = directory / ENGINE_DIRECTORY
    state = home.path / SIGNER_STATE_FILE
    if not state.exists():
        if engine.exists():
            mend = "a new consensus key by keyset"
            raise Broken("node.signer_state_gone", path=str(state), mend=mend)
        # Crash from here: the state says that nothing was signed, and nothing was.
        write_durably(state, _json({"height": "0", "round": 0, "step": 0}), mode=0o600)
    for name in ("config", "data"):
        (engine / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    config = engine / "config"
    write_durably(config / "config.toml", encode_config(home, settings, sockets, trust))
    write_durably(config / "genesis.json", encode_engine_genesis(home.founding.genesis))
    signer = home.key(Role.CONSENSUS)
    write_durably(config / "signer.json", _signer_file(signer), mode=0o600)
    write_durably(config / "node_key.json", _peer_file(peer), mode=0o600)
    return engine


def encode_engine_genesis(genesis: Genesis) -> bytes:
    """The engine's genesis: same bytes on every node. Validators come from the application."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=genesis.time_ms)
    return _json(
        {
            "genesis_time": f"{moment:%Y-%m-%dT%H:%M:%S}.{genesis.time_ms % 1000:03d}Z",
            "chain_id": chain_for_engine(genesis.chain),
            "initial_height": "1",
            "consensus_params": {
                "block": {"max_bytes": str(ENGINE_BLOCK_BYTES_MAX), "max_gas": "-1"},
                "evidence": {
                    "max_age_num_blocks": "2000000",
                    "max_age_duration": str(EVIDENCE_S * 10**9),
                    "max_bytes": str(EVIDENCE_BYTES_MAX),
                },
                "validator": {"pub_key_types": ["ed25519"]},
                "version": {"app": "1"},
                "abci": {"vote_extensions_enable_height": "0"},
            },
            "validators": [],
            "app_hash": "",
        }
    )


def encode_config(
    home: Home, settings: Settings, sockets: Sockets, trust: Trust | None = None
) -> bytes:
    """config.toml: what differs from the engine's defaults, and the defaults we rely on."""
    peers = ",".join(f"{peer.peer_id}@{peer.address}" for peer in settings.peers)
    ids = ",".join(peer.peer_id for peer in settings.peers)
    commit_ms = settings.block_ms
    tables: dict[str, dict[str, str | int | bool]] = {
        "": {
            "proxy_app": f"unix://{sockets.application}",
            "moniker": home.member,
            "abci": "socket",
            "filter_peers": True,
            "log_level": "error",
            "log_format": "plain",
            "genesis_file": "config/genesis.json",
            "priv_validator_key_file": "config/signer.json",
            "priv_validator_state_file": str((home.path / SIGNER_STATE_FILE).resolve()),
            "node_key_file": "config/node_key.json",
        },
        "rpc": {"laddr": f"unix://{sockets.rpc}", "max_body_bytes": RPC_BODY_BYTES_MAX},
        "p2p": {
            "laddr": f"tcp://{settings.peers_listen}",
            "persistent_peers": peers,
            "unconditional_peer_ids": ids,
            "persistent_peers_max_dial_period": "5s",
            "max_num_inbound_peers": 0,
            "max_num_outbound_peers": len(settings.peers),
            "pex": False,
            "addr_book_strict": False,
            "allow_duplicate_ip": True,
            "send_rate": PEER_BYTES_S,
            "recv_rate": PEER_BYTES_S,
            "max_packet_msg_payload_size": PEER_PACKET_BYTES,
        },
        "mempool": {
            "size": POOL_MAX,
            "max_txs_bytes": POOL_BYTES_MAX,
            "max_tx_bytes": TRANSACTION_BYTES_MAX,
        },
        "statesync": _state_sync(sockets, trust),
        "blocksync": {"adaptive_sync": False},
        "consensus": {
            "timeout_commit": f"{commit_ms}ms",
            "create_empty_blocks": False,
            "create_empty_blocks_interval": f"{HEARTBEAT_S}s",
            "double_sign_check_height": 0 if has_signed(home) else DOUBLE_SIGN_BLOCKS,
        },
        "storage": {"discard_abci_responses": True},
        "tx_index": {"indexer": "null"},
    }
    lines = ["# Written before each start of the node; edit node.toml instead."]
    for name, table in tables.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines).encode() + b"\n"


def _state_sync(sockets: Sockets, trust: Trust | None) -> dict[str, str | int | bool]:
    if trust is None:
        return {"enable": False}
    # GAP(#3): an engine that begins at H has no headers before it, and a block with evidence of a
    # vote before H stops it. It is rebuilt from a later snapshot; docs/spec/consensus.md section 9.
    return {
        "enable": True,
        "rpc_servers": ",".join(f"unix://{path}" for path in sockets.light),
        "trust_height": trust.height,
        "trust_hash": trust.block_sha256.hex().upper(),
        "trust_period": f"{TRUST_S}s",
        "discovery_time": "5s",
        "chunk_request_timeout": "30s",
    }


def has_signed(home: Home) -> bool:
    """Whether the signer remembers a vote. Without one the key is new, or its memory was lost: then
    the engine does not vote while its own signature is among the last blocks.

    With one the engine must not look: after any restart its own signature is there, and after a
    halt of the whole consortium no node would ever vote again.
    """
    return remembered_height(home) != 0


def remembered_height(home: Home) -> int | None:
    """The height of the signer's last vote, 0 before the first and where its file is not there yet;
    None where it does not parse, which the engine finds out and says.
    """
    path = home.path / SIGNER_STATE_FILE
    try:
        return int(json.loads(path.read_bytes())["height"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _signer_file(key: PrivateKey) -> bytes:
    return _json(
        {
            "address": address_of(key.public).hex().upper(),
            "pub_key": {"type": "tendermint/PubKeyEd25519", "value": _base64(key.public)},
            "priv_key": {
                "type": "tendermint/PrivKeyEd25519",
                "value": _base64(key.seed + key.public),
            },
        }
    )


def _peer_file(key: Ed25519PrivateKey) -> bytes:
    raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return _json({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": _base64(raw)}})


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
