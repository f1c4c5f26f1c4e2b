"""The messages of ABCI 2.0 that CometBFT 0.38 and 0.39 exchange with an application.

Declared here, in the syntax of the `.proto` files, and handed to the protobuf runtime, so that no
compiler is part of the build. Fields that Accord neither reads nor writes are left out: the
runtime skips what it does not know. Enumerations are integers, which is how they travel.
Source: CometBFT v0.39.4, proto/tendermint/abci/types.proto; docs/spec/consensus.md.
"""

import re
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from accord.wire.errors import Broken

ACCEPT: Final = 1  # ProposalStatus, VerifyStatus.
REJECT: Final = 2
RECHECK: Final = 1  # CheckTxType.
ABORT: Final = 2  # ResponseOfferSnapshot.Result, ResponseApplySnapshotChunk.Result.
REJECT_SNAPSHOT: Final = 3  # ResponseOfferSnapshot.Result, where the snapshot lies.
REJECT_FORMAT: Final = 4
REJECT_SENDER: Final = 5
RETRY_CHUNK: Final = 3  # ResponseApplySnapshotChunk.Result.
MISBEHAVIOUR_KINDS: Final = {1: "duplicate-vote", 2: "light-client-attack"}

_SCHEMA: Final = """
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message PublicKey { bytes ed25519 = 1; }
message ValidatorUpdate { PublicKey pub_key = 1; int64 power = 2; }
message Validator { bytes address = 1; int64 power = 3; }
message Misbehavior { int32 type = 1; Validator validator = 2; int64 height = 3;
  Timestamp time = 4; int64 total_voting_power = 5; }
message ExecTxResult { uint32 code = 1; bytes data = 2; string log = 3; string codespace = 8; }
message Text { string message = 1; }
message Empty { }

message RequestInitChain { Timestamp time = 1; string chain_id = 2;
  repeated ValidatorUpdate validators = 4; int64 initial_height = 6; }
message RequestQuery { bytes data = 1; string path = 2; }
message RequestCheckTx { bytes tx = 1; int32 type = 2; }
message RequestPrepareProposal { int64 max_tx_bytes = 1; repeated bytes txs = 2;
  int64 height = 5; Timestamp time = 6; }
message RequestProcessProposal { repeated bytes txs = 1; int64 height = 5; Timestamp time = 6; }
message RequestFinalizeBlock { repeated bytes txs = 1; repeated Misbehavior misbehavior = 3;
  int64 height = 5; Timestamp time = 6; }
message Snapshot { uint64 height = 1; uint32 format = 2; uint32 chunks = 3; bytes hash = 4;
  bytes metadata = 5; }
message RequestOfferSnapshot { Snapshot snapshot = 1; bytes app_hash = 2; }
message RequestLoadSnapshotChunk { uint64 height = 1; uint32 format = 2; uint32 chunk = 3; }
message RequestApplySnapshotChunk { uint32 index = 1; bytes chunk = 2; string sender = 3; }
message Request { oneof { Text echo = 1; Empty flush = 2; Empty info = 3;
  RequestInitChain init_chain = 5; RequestQuery query = 6; RequestCheckTx check_tx = 8;
  Empty commit = 11; Empty list_snapshots = 12; RequestOfferSnapshot offer_snapshot = 13;
  RequestLoadSnapshotChunk load_snapshot_chunk = 14;
  RequestApplySnapshotChunk apply_snapshot_chunk = 15;
  RequestPrepareProposal prepare_proposal = 16; RequestProcessProposal process_proposal = 17;
  Empty extend_vote = 18; Empty verify_vote_extension = 19;
  RequestFinalizeBlock finalize_block = 20; } }

message ResponseInfo { string data = 1; string version = 2; uint64 app_version = 3;
  int64 last_block_height = 4; bytes last_block_app_hash = 5; }
message ResponseInitChain { repeated ValidatorUpdate validators = 2; bytes app_hash = 3; }
message ResponseCode { uint32 code = 1; string log = 3; }
message ResponseCommit { int64 retain_height = 3; }
message ResponseResult { int32 result = 1; }
message ResponseListSnapshots { repeated Snapshot snapshots = 1; }
message ResponseLoadSnapshotChunk { bytes chunk = 1; }
message ResponseApplySnapshotChunk { int32 result = 1; repeated uint32 refetch_chunks = 2;
  repeated string reject_senders = 3; }
message ResponsePrepareProposal { repeated bytes txs = 1; }
message ResponseFinalizeBlock { repeated ExecTxResult tx_results = 2;
  repeated ValidatorUpdate validator_updates = 3; bytes app_hash = 5; }
message Response { oneof { Text exception = 1; Text echo = 2; Empty flush = 3;
  ResponseInfo info = 4; ResponseInitChain init_chain = 6; ResponseCode query = 7;
  ResponseCode check_tx = 9; ResponseCommit commit = 12;
  ResponseListSnapshots list_snapshots = 13; ResponseResult offer_snapshot = 14;
  ResponseLoadSnapshotChunk load_snapshot_chunk = 15;
  ResponseApplySnapshotChunk apply_snapshot_chunk = 16;
  ResponsePrepareProposal prepare_proposal = 17;
  ResponseResult process_proposal = 18; Empty extend_vote = 19;
  ResponseResult verify_vote_extension = 20; ResponseFinalizeBlock finalize_block = 21; } }
"""

_PACKAGE: Final = "accord.abci"
_MESSAGE_RE: Final = re.compile(r"message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\}")
_FIELD_RE: Final = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_SCALARS: Final = {
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}


def _compile(schema: str) -> dict[str, Any]:
    """The message classes of a schema, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="accord/abci.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, inside in _MESSAGE_RE.findall(schema):
        message = file.message_type.add(name=name)
        is_oneof = inside.lstrip().startswith("oneof")
        if is_oneof:
            message.oneof_decl.add(name="value")
        for repeated, kind, field_name, number in _FIELD_RE.findall(inside):
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            if is_oneof:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call, unused-ignore]  # protobuf's types lack it in some versions.
    classes = {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}")
        )
        for message in file.message_type
    }
    if "Request" not in classes or "Response" not in classes:
        raise Broken("abci.schema")
    return classes


_CLASSES: Final = _compile(_SCHEMA)
Request: Final[Any] = _CLASSES["Request"]
Response: Final[Any] = _CLASSES["Response"]
