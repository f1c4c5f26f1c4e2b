"""The node's HTTP API: who gets in, what they get, and how a refusal reads."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from http_message_signatures.algorithms import ED25519
from http_message_signatures.signatures import HTTPMessageSigner

from accord.client.home import PrivateKey
from accord.client.http import NodeClient
from accord.client.signing import (
    COMPONENTS,
    TAG,
    FieldLines,
    SignedMessage,
    signed_headers,
)
from accord.client.verifying import proven_of
from accord.ledger.codes import RejectCode
from accord.ledger.views import policy_of
from accord.statements.bodies import Approve, Feedback, Propose, Publish, Role, SuspendPlatform
from accord.statements.entries import parse_entry
from accord.statements.envelope import parse_envelope
from accord.tlog import Tile, leaf_hash, parse_bundle, parse_policy, tree_root, verify_checkpoint
from accord.tlog.tiles import ENTRIES
from accord.wire.digests import sha256
from accord.wire.errors import AccordError, Malformed, Rejected, Unavailable, Unproven
from accord.wire.ids import AGENCIES, KeyId, MemberId
from accord.wire.limits import REQUEST_LIFE_S_MAX, TRANSACTION_BYTES_MAX
from consortium_kit import CHAIN, derived_key, listings
from feedback_kit import feedback_body, word
from node_kit import Mirrored, NodeThread, make_homes


@pytest.fixture(scope="module")
def consortium() -> Mirrored:
    return Mirrored()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, consortium: Mirrored) -> Iterator[NodeThread]:
    directory = tmp_path_factory.mktemp("trial")
    make_homes(directory, consortium)
    thread = NodeThread(directory, consortium)
    with thread.client(consortium.key("nl-one", Role.KEEPER)) as client:
        consortium.node = client
        consortium.admit_platform()
        consortium.open_epochs()
        consortium.publish("nl-one", listings(3))
        body, blob = consortium.publish_body("ie-two", listings(2, "own"), (AGENCIES,))
        consortium.must(body, Role.ANALYST, blob)
        yield thread
        consortium.node = None
    thread.close()
    assert thread.broken == []


@pytest.fixture(scope="module")
def scanner(consortium: Mirrored, node: NodeThread) -> PrivateKey:
    return consortium.key("cloud", Role.SCANNER)


def get(node: NodeThread, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.get(node.url + path, headers=headers, trust_env=False)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "mend"}
    return answer.status_code, error["code"]


def blobs_of(consortium: Mirrored, kind: type[Publish]) -> list[tuple[Publish, bytes]]:
    bodies = [parse_envelope(parse_entry(leaf).statement).body for leaf in consortium.leaves]
    return [(body, consortium.blobs[body.blob_sha256]) for body in bodies if isinstance(body, kind)]


def test_anybody_can_check_the_whole_log(node: NodeThread, consortium: Mirrored) -> None:
    with node.client() as client:
        policy = parse_policy(client.fetch_policy())
        assert policy == policy_of(consortium.ledger.state, CHAIN)
        head = verify_checkpoint(client.fetch_checkpoint(), policy, CHAIN)
        assert head.size == len(consortium.leaves)
        bundle = client.fetch_tile(Tile(ENTRIES, 0, head.size).path)
        hashes = client.fetch_tile(Tile(0, 0, head.size).path)
        assert client.fetch_genesis() == (node.directory / "node" / "genesis.json").read_bytes()
        assert client.fetch_transitions() == []
    leaves = parse_bundle(bundle, head.size)
    assert list(leaves) == consortium.leaves
    assert hashes == b"".join(leaf_hash(leaf) for leaf in leaves)
    assert tree_root(leaf_hash(leaf) for leaf in leaves) == head.root


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/tile/0/000", (404, "http.not_found")),
        ("/tile/0/000.p/255", (404, "http.not_found")),
        ("/tile/1/000.p/1", (404, "http.not_found")),
        ("/tile/entries/001.p/1", (404, "http.not_found")),
        ("/tile/0/0", (400, "tlog.tile_path")),
        ("/tile/0/000.p/256", (400, "tlog.tile_path")),
        ("/tile/-1/000.p/1", (400, "tlog.tile_path")),
        ("/transition/7", (404, "http.not_found")),
        ("/transition/x", (400, "http.request")),
        ("/wait", (400, "http.request")),
        ("/wait?size=0&wait_ms=99999999", (400, "http.request")),
        ("/nowhere", (404, "http.not_found")),
        ("/submit", (405, "http.method")),
        ("/members", (403, "http.signature")),
        ("/blob/" + "00" * 32, (403, "http.signature")),
    ],
)
def test_a_refusal_has_a_status_and_a_code(
    node: NodeThread, path: str, wanted: tuple[int, str]
) -> None:
    assert code_of(get(node, path)) == wanted


def test_what_cannot_change_is_cached_for_ever(node: NodeThread) -> None:
    assert "immutable" in get(node, "/tile/0/000.p/2").headers["cache-control"]
    assert get(node, "/checkpoint").headers["cache-control"] == "no-cache"


def test_waiting_ends_with_the_next_entry_or_the_time(
    node: NodeThread, consortium: Mirrored
) -> None:
    size = len(consortium.leaves)
    with node.client() as client:
        assert client.wait(size - 1, 20_000) == size
        started = time.monotonic()
        assert client.wait(size, 50) == size
        assert time.monotonic() - started < 10
    stranger = NodeClient(node.url, type(CHAIN)("trial-else"))
    with stranger, pytest.raises(Unproven, match=r"http\.chain"):
        stranger.wait(0, 0)


def test_members_see_members(node: NodeThread, scanner: PrivateKey) -> None:
    with node.client(scanner) as client:
        view = client.members()
    assert [row["id"] for row in view["agencies"]] == ["ca-three", "ie-two", "nl-four", "nl-one"]
    assert [row["id"] for row in view["platforms"]] == ["cloud"]
    assert {row["group"]: row["number"] for row in view["epochs"]} == {
        "agencies": 1,
        "platforms": 1,
    }
    assert view["proposals"][0]["status"] == "done"


def test_a_blob_goes_to_the_groups_it_was_released_to(
    node: NodeThread, consortium: Mirrored, scanner: PrivateKey
) -> None:
    (_, released), (_, own) = blobs_of(consortium, Publish)
    with node.client(scanner) as cloud, node.client(consortium.key("ca-three", Role.AUDITOR)) as ca:
        assert cloud.fetch_blob(sha256(released)) == ca.fetch_blob(sha256(released)) == released
        assert ca.fetch_blob(sha256(own)) == own
        with pytest.raises(Unproven, match=r"http\.not_released"):
            cloud.fetch_blob(sha256(own))
        for digest, blob in consortium.blobs.items():
            assert ca.fetch_blob(digest) == blob
        with pytest.raises(Malformed, match=r"http\.not_found"):
            ca.fetch_blob(bytes(32))


def test_what_platforms_say_of_listings_goes_to_agencies_only(
    node: NodeThread, consortium: Mirrored, scanner: PrivateKey
) -> None:
    consortium.must(*said_by_cloud(consortium))
    ((_, blob),) = blobs_of(consortium, Feedback)
    with node.client(scanner) as cloud, node.client(consortium.key("ca-three", Role.AUDITOR)) as ca:
        assert ca.fetch_blob(sha256(blob)) == blob
        with pytest.raises(Unproven, match=r"http\.not_released"):
            cloud.fetch_blob(sha256(blob))


def said_by_cloud(consortium: Mirrored) -> tuple[Feedback, Role, bytes]:
    body, blob = feedback_body(consortium, [word("9/0")])
    return body, Role.REPORTER, blob


def test_a_request_counts_once_and_only_as_signed(node: NodeThread, scanner: PrivateKey) -> None:
    url = node.url + "/members"
    headers = signed_headers(scanner, "GET", url)
    assert get(node, "/members", headers).status_code == 200
    assert code_of(get(node, "/members", headers)) == (403, "http.replayed")
    fresh = signed_headers(scanner, "GET", url)
    assert code_of(get(node, "/members?x=1", fresh)) == (403, "http.signature")
    assert code_of(get(node, "/blob/" + "00" * 32, fresh)) == (403, "http.signature")
    fresh = signed_headers(scanner, "GET", url)
    fresh["Host"] = "elsewhere.example"
    assert code_of(get(node, "/members", fresh)) == (403, "http.signature")


@pytest.mark.parametrize("left_out", ["@method", "@authority", "@path", "@query"])
def test_a_signature_covers_all_it_must(
    node: NodeThread, scanner: PrivateKey, left_out: str
) -> None:
    now = datetime.now(UTC)
    message = SignedMessage("GET", node.url + "/members", FieldLines([]))
    signer = HTTPMessageSigner(signature_algorithm=ED25519)
    prepared = signer.prepare(
        message,
        key_id=scanner.key_id.hex(),
        created=now,
        expires=now + timedelta(seconds=60),
        nonce=left_out,
        tag=TAG,
        covered_component_ids=[item for item in COMPONENTS if item != left_out],
    )
    signer.apply(message, prepared, scanner.sign(prepared.signature_base))
    answer = get(node, "/members", dict(message.headers.items()))
    assert code_of(answer) == (403, "http.signature")


def test_only_keys_of_the_ledger_get_in(node: NodeThread, consortium: Mirrored) -> None:
    stranger = derived_key("stranger", Role.SCANNER, "scanner")
    thief = PrivateKey(Role.SCANNER, stranger.operator, stranger.seed)
    for key in (stranger, thief):
        with node.client(key) as client, pytest.raises(Unproven, match=r"http\.signature"):
            client.members()
    with node.client() as nobody, pytest.raises(Malformed, match=r"http\.no_key"):
        nobody.members()
    headers = signed_headers(stranger, "GET", node.url + "/members")
    good = consortium.key("nl-one", Role.KEEPER).key_id.hex()
    headers["Signature-Input"] = headers["Signature-Input"].replace(stranger.key_id.hex(), good)
    assert code_of(get(node, "/members", headers)) == (403, "http.signature")


def test_times_are_checked_by_the_nodes_clock(node: NodeThread, scanner: PrivateKey) -> None:
    url, now = node.url + "/members", int(time.time())
    late = signed_headers(scanner, "GET", url, now_s=now - 120)
    early = signed_headers(scanner, "GET", url, now_s=now + 120)
    for headers in (late, early):
        assert code_of(get(node, "/members", headers)) == (403, "http.signature_time")
    skewed = signed_headers(scanner, "GET", url, now_s=now + 15)
    assert get(node, "/members", skewed).status_code == 200
    long = signed_headers(scanner, "GET", url)
    until = now + REQUEST_LIFE_S_MAX + 60
    fields = re.sub(r"expires=\d+", f"expires={until}", long["Signature-Input"])
    stretched = long | {"Signature-Input": fields}
    assert code_of(get(node, "/members", stretched)) == (403, "http.signature")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"expires": REQUEST_LIFE_S_MAX + 1}, "http.signature_life"),
        ({"expires": -1}, "http.signature_life"),
        ({"nonce": ""}, "http.signature_parameters"),
        ({"nonce": "n" * 65}, "http.signature_parameters"),
        ({"nonce": 7}, "http.signature_parameters"),
        ({}, None),
    ],
)
def test_parameters_are_all_there_and_within_limits(
    change: dict[str, int | str], code: str | None
) -> None:
    life = change.get("expires", 60)
    assert isinstance(life, int)
    sent = {"created": 1_000, "nonce": "n", "keyid": "k"} | change | {"expires": 1_000 + life}
    key_id = KeyId(bytes(16))
    if code is None:
        assert proven_of(key_id, sent, None).nonce == "n"
        return
    with pytest.raises(Unproven, match=re.escape(code)):
        proven_of(key_id, sent, None)


def test_a_request_signed_before_the_node_started_is_asked_for_again(
    node: NodeThread, scanner: PrivateKey
) -> None:
    before = int(time.time()) - 45
    node.gate._started_s, kept = before + 30, node.gate._started_s
    headers = signed_headers(scanner, "GET", node.url + "/members", now_s=before)
    assert code_of(get(node, "/members", headers)) == (503, "http.signed_before_start")
    node.gate._started_s = kept


def post(
    node: NodeThread, key: PrivateKey, body: bytes, signed: bytes | None = None
) -> httpx.Response:
    headers = signed_headers(key, "POST", node.url + "/submit", body if signed is None else signed)
    return httpx.post(node.url + "/submit", content=body, headers=headers, trust_env=False)


def test_a_body_must_be_the_signed_one_and_no_longer_than_allowed(
    node: NodeThread, consortium: Mirrored
) -> None:
    key = consortium.key("nl-one", Role.ANALYST)
    assert code_of(post(node, key, b"x" * 10, b"y" * 10)) == (403, "http.body_digest")
    assert code_of(post(node, key, b"noise")) == (400, "cbor.syntax")
    huge = bytes(TRANSACTION_BYTES_MAX + 1)
    assert code_of(post(node, key, huge)) == (400, "http.body_size")
    bare = signed_headers(key, "POST", node.url + "/submit")
    answer = httpx.post(node.url + "/submit", content=b"x", headers=bare, trust_env=False)
    assert code_of(answer) == (403, "http.body_not_signed")


def test_a_body_without_a_length_is_cut_off_too(node: NodeThread, consortium: Mirrored) -> None:
    key = consortium.key("nl-one", Role.ANALYST)
    headers = signed_headers(key, "POST", node.url + "/submit", b"x")
    chunks = (bytes(100_000) for _ in range(TRANSACTION_BYTES_MAX // 100_000 + 2))
    try:
        answer = httpx.post(node.url + "/submit", content=chunks, headers=headers, trust_env=False)
    except httpx.WriteError:
        return  # The node hung up before all was sent.
    assert code_of(answer) == (400, "http.body_size")


def test_the_ledgers_no_comes_back_as_its_code(node: NodeThread, consortium: Mirrored) -> None:
    raw = consortium.sign(Approve(consortium.header("nl-one"), 9_999), Role.APPROVER)
    client = node.client(consortium.key("nl-one", Role.ANALYST))
    with client, pytest.raises(Rejected, match=RejectCode.UNKNOWN_ENTRY.code):
        client.submit(raw)


def test_a_suspended_platform_is_out_at_once(
    node: NodeThread, consortium: Mirrored, scanner: PrivateKey
) -> None:
    with node.client(scanner) as client:
        client.members()
        consortium.decide(Propose(consortium.header("nl-one"), SuspendPlatform(MemberId("cloud"))))
        with pytest.raises(Unproven, match=r"http\.signature"):
            client.members()
        assert client.fetch_checkpoint()


def test_operators_see_health_and_figures(node: NodeThread, consortium: Mirrored) -> None:
    assert get(node, "/healthz").json()["size"] == len(consortium.leaves)
    text = get(node, "/metrics").text
    assert f"accord_node_checkpoint_size {len(consortium.leaves)}\n" in text
    assert 'accord_node_requests_total{route="/members",status="403"}' in text
    paths = get(node, "/openapi.json").json()["paths"]
    assert {"/checkpoint", "/submit", "/blob/{sha256}", "/members", "/wait"} <= set(paths)


def answer_of(*answers: httpx.Response | Exception) -> NodeClient:
    """A client of a node that gives these answers in turn."""
    queue = list(answers)

    def handle(_: httpx.Request) -> httpx.Response:
        answer = queue.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handle)
    return NodeClient("http://node.example", transport=transport, sleep=lambda _: None)


def test_a_client_asks_again_when_nobody_answers() -> None:
    busy = httpx.Response(503, json={"error": {"code": "node.busy", "message": "m"}})
    with answer_of(httpx.ConnectError("no"), busy, httpx.Response(200, content=b"note")) as client:
        assert client.fetch_checkpoint() == b"note"
    with answer_of(*[busy] * 5) as client, pytest.raises(Unavailable, match=r"node\.busy"):
        client.fetch_checkpoint()


@pytest.mark.parametrize(
    ("answer", "family", "code"),
    [
        (httpx.Response(400, json={"error": {"code": "a.b", "message": "m"}}), Malformed, "a.b"),
        (httpx.Response(403, json={"error": {"code": "a.b", "message": "m"}}), Unproven, "a.b"),
        (httpx.Response(409, json={"error": {"code": "a.b", "message": "m"}}), Rejected, "a.b"),
        (httpx.Response(404, content=b"<html>"), Malformed, "http.status"),
        (httpx.Response(200, content=bytes(70_000)), Malformed, "http.answer_size"),
    ],
)
def test_a_client_turns_answers_into_families(
    answer: httpx.Response, family: type[AccordError], code: str
) -> None:
    with answer_of(answer) as client, pytest.raises(family) as caught:
        client.fetch_checkpoint()
    assert caught.value.code == code


@pytest.mark.parametrize("url", ["", "node.example", "ftp://x", "http://", "http://x?y"])
def test_a_client_wants_a_base_url(url: str) -> None:
    with pytest.raises(Malformed, match=r"http\.url"):
        NodeClient(url)
