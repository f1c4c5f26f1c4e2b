"""Bad input as people and programs meet it: a command or an HTTP call, a stable code, no change.

The rules themselves are tested where they live: decoders in test_fingerprint_decode, parsers in
tests/property, the ledger in test_ledger_*. A full disk is in test_full_disk.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from PIL import Image

from accord.agency.sealing import seal_batch
from accord.agency.voice import Voice
from accord.cli.assemble import now_ms
from accord.client.home import Home, new_key, open_home
from accord.client.http import NodeClient
from accord.statements.batch import Listing, Media, batch_of
from accord.statements.bodies import Approve, Body, Header, Publish, Role, Rule, Vote
from accord.statements.envelope import (
    Transaction,
    encode_transaction,
    parse_transaction,
    seal_envelope,
)
from accord.statements.rules import ClassCode
from accord.wire.digests import sha256
from accord.wire.errors import AccordError
from accord.wire.ids import ChainId, GroupId, JurisdictionId, MemberId, OperatorId, TimeMs
from accord.wire.limits import IMAGE_BYTES_MAX, RULE_FILE_BYTES_MAX
from command_kit import House, founded, is_ready, refused, run, running, screened, told, until
from pictures_kit import animation, encoded, picture
from registry_kit import rule_set

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with founded(tmp_path_factory.mktemp("bad") / "trial") as made:
        yield made


@pytest.fixture(scope="module")
def platform(house: House, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Admitted, with a rule and one listed picture: seed 1."""
    place = tmp_path_factory.mktemp("list")
    house.set_rules(place)
    home = house.found_platform("drive")
    house.admit(home)
    listed = place / "listed.png"
    listed.write_bytes(encoded(picture(1, (240, 160)), "PNG"))
    house.certify(listed)
    return home


def size_of(house: House) -> int:
    return int(told("members", "--home", house.home("nl-one"))["size"])


# Pictures


def _pictures() -> dict[str, tuple[bytes, str | None]]:
    """Files of every bad kind: bytes, and the code they get everywhere; None where they are fine,
    however odd."""
    jpeg = encoded(picture(7), "JPEG")
    png = encoded(picture(8), "PNG")
    wide = encoded(Image.new("1", (20_000, 8_000)), "PNG")
    return {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "image.truncated"),
        "cut-animation.png": (animation([1, 2, 3], "PNG")[:-400], "image.truncated"),
        "empty.jpg": (b"", "image.empty"),
        "flat.png": (encoded(Image.new("RGB", (90, 90), "grey"), "PNG"), "image.too_flat"),
        "huge.png": (wide, "image.too_large"),
        "mislabelled.gif": (encoded(picture(9), "JPEG"), None),
        "noise.webp": (bytes(range(256)) * 40, "image.unknown_format"),
        "script.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image.unknown_format"),
        "torn.png": (png[:300] + bytes(64) + png[364:], "image.not_decodable"),
    }


PICTURES = _pictures()
UNHASHABLE = sorted(name for name, (_, code) in PICTURES.items() if code is not None)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as it comes from somewhere: the bad pictures, and files nobody can read."""
    directory = tmp_path_factory.mktemp("files")
    for name, (data, _) in PICTURES.items():
        (directory / name).write_bytes(data)
    with (directory / "too-long.png").open("wb") as sparse:
        sparse.truncate(IMAGE_BYTES_MAX + 1)
    (directory / "dangling").symlink_to(directory / "nowhere")
    (directory / "loop").symlink_to(directory)
    os.mkfifo(directory / "pipe")
    (directory / "sub").mkdir()
    (directory / "sub" / os.fsdecode(b"caf\xe9.png")).write_bytes(PICTURES["huge.png"][0])
    closed = directory / "closed"
    closed.mkdir()
    (closed / "in.png").write_bytes(b"")
    closed.chmod(0)
    return directory


def _expected() -> dict[str, str | None]:
    codes = {name: code for name, (_, code) in PICTURES.items()}
    unreadable = {"dangling": "file.unreadable", "pipe": "file.unreadable"}
    there = {"closed/in.png": "image.empty"} if os.geteuid() == 0 else {"closed": "file.unreadable"}
    odd = {os.fsdecode(b"sub/caf\xe9.png"): "image.too_large", "too-long.png": "image.too_large"}
    return codes | unreadable | there | odd


def _by_name(directory: Path, stdout: str) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in stdout.splitlines()]
    return {str(Path(row["path"]).relative_to(directory)): row for row in rows}


def test_every_command_gives_a_file_the_same_code(
    house: House, platform: Path, bad_files: Path
) -> None:
    expected = _expected()
    printed = run("fingerprint", bad_files, status=1)
    rows = _by_name(bad_files, printed.stdout)
    assert {name: row.get("code") for name, row in rows.items()} == expected

    scanned = run("scan", bad_files, "--home", platform, "--trial", "--json", status=1)
    answers = _by_name(bad_files, scanned.stdout)
    assert {name: row["code"] for name, row in answers.items()} == expected
    for name, row in answers.items():
        wanted = ("no_match", "allow") if expected[name] is None else ("undetermined", "review")
        assert (row["decision"], row["action"]) == wanted, name

    before = size_of(house)
    publish = ("publish", bad_files, "--class", "test/T1", "--home", house.home("nl-one"))
    said = run(*publish, status=1)
    assert said.code == "cli.refused_files"
    told_of = {
        str(Path(line.split(": ")[0].removeprefix("refused ")).relative_to(bad_files))
        for line in said.stderr.splitlines()
        if line.startswith("refused ")
    }
    assert len(told_of) == sum(code is not None for code in expected.values())
    assert size_of(house) == before
    dry = told(*publish, "--skip-refused", "--dry-run")
    assert dry["count"] == sum(code is None for code in expected.values())


def test_the_gateway_never_calls_undecodable_no_match(
    house: House, platform: Path, tmp_path: Path
) -> None:
    words = ("gateway", "--home", platform, "--trial", "--port", "0", "--workers", "1")
    with running(tmp_path, *words) as gateway:
        url = str(gateway.line()["listening"])
        until(lambda: is_ready(url))
        for name, (data, code) in PICTURES.items():
            answer = screened(url, data)
            wanted = ("no_match", None) if code is None else ("undetermined", code)
            assert (answer["decision"], answer["code"]) == wanted, name
        big = httpx.post(f"{url}/v1/screen", content=bytes(IMAGE_BYTES_MAX + 1))
        assert (big.status_code, big.json()["error"]["code"]) == (413, "image.too_large")
        # A listed picture as a later frame of an animation.
        moving = screened(url, animation([5, 1, 6], "GIF"))
        assert moving["decision"] == "match"
        assert screened(url, animation([5, 6], "GIF"))["decision"] == "no_match"
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said()


# Files that people write


BAD_RULES = {
    "empty": (b"", "rules.file"),
    "binary": (bytes(range(256)), "rules.file"),
    "not utf-8": (b"title: caf\xe9\n", "rules.file"),
    "tabs": (b"title: x\n\tmodality: required\n", "rules.file"),
    "no mapping": (b"- a\n- b\n", "rules.file"),
    "two documents": (b"title: a\n---\ntitle: b\n", "rules.file"),
    "a bomb": (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "rules.file"),
    "a tag": (b"title: !!python/object/apply:os.system [id]\n", "rules.file"),
    "deep": (b"[" * 10_000, "rules.file"),
    "huge": (b"#" * (RULE_FILE_BYTES_MAX + 1), "rules.file"),
    "unknown field": (b"titel: x\n", "rules.field"),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_a_bad_rule_file_is_explained_and_changes_nothing(
    house: House, tmp_path: Path, name: str
) -> None:
    data, _ = BAD_RULES[name]
    file = tmp_path / "r.yaml"
    file.write_bytes(data)
    nl = house.home("nl-one")
    before = size_of(house)
    for words in (("check", file), ("set", file, "--jurisdiction", "NL", "--home", nl)):
        said = run("rules", *words, status=1)
        assert f"{file}:" in said.stderr or said.code.startswith("rules."), said
    faults = json.loads(run("rules", "check", file, "--json", status=1).stdout or "null")
    assert faults is None or all(fault["mend"] for fault in faults["faults"])
    assert size_of(house) == before


def test_files_of_others_are_checked_before_anything_happens(house: House, tmp_path: Path) -> None:
    nl, before = house.home("nl-one"), size_of(house)
    file = tmp_path / "file"
    good = json.loads((house.found_platform("checked") / "application.json").read_text())
    infinite = b'{"index": 1e400, "leaf": "", "time_ms": 0, "key_id": "", "signature": ""}'
    changed = json.dumps(good | {"more": 1}).encode()
    for content in (b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, infinite, changed):
        file.write_bytes(content)
        assert refused("propose", "admit", file, "--home", nl).startswith(
            ("application.", "record.")
        )
        code = refused("audit", "checked", "--home", nl, "--trial", "--receipt", file)
        assert code == "cli.receipt"
        genesis = ("--genesis", file, "--member", "m-x", "--title", "X")
        where = ("--jurisdiction", "NL", "--node", house.url)
        code = refused("platform", "init", tmp_path / "new", *genesis, *where)
        assert code.startswith(("genesis.", "record."))
    assert not (tmp_path / "new").exists()
    assert size_of(house) == before


HOSTILE = "A[/b]\x1b[2J\x9b31m[link=x]\u202eB"  # Markup, and what moves a terminal's cursor.


def test_what_others_wrote_is_shown_and_not_obeyed(
    house: House, platform: Path, tmp_path: Path
) -> None:
    home = house.directory / "hostile"
    genesis = ("--genesis", house.node_directory / "genesis.json", "--member", "hostile")
    where = ("--jurisdiction", "NL", "--node", house.url)
    run("platform", "init", home, *genesis, "--title", HOSTILE, *where)
    nl = house.home("nl-one")
    words = ("propose", "admit", home / "application.json", "--home", nl)
    said = run(*words)
    house.carry(int(said.stdout.split("accord vote ")[1].split()[0]), "ie-two", "ca-three")
    shown = run("members", "--home", nl).stdout
    for text in (said.stdout, shown):
        assert "A[/b]\\x1b[2J\\x9b31m[link=x]\\u202eB" in text
        assert not set(text) & set("\x1b\x9b\u202e")
    titles = [row["title"] for row in told("members", "--home", nl)["platforms"]]
    assert HOSTILE in titles

    odd = tmp_path / "[" / "b]\x1b[2J.png"  # As text, a tag that closes what nobody opened.
    odd.parent.mkdir()
    odd.write_bytes(encoded(picture(1, (240, 160)), "PNG"))
    found = run("screen", odd, "--home", platform, "--trial", status=3).stdout
    assert "x1b[2J.png" in found
    assert "\x1b" not in found
    odd.write_bytes(b"")
    assert "\\x1b" in run("publish", odd, "--class", "test/T1", "--home", nl, status=1).stderr


@pytest.mark.parametrize("number", [str(10**30), "-1", "x"])
def test_a_number_that_cannot_be_is_a_usage_error(house: House, number: str) -> None:
    nl = house.home("nl-one")
    for words in (("vote", number, "yes"), ("approve", number), ("audit", "drive", "--at", number)):
        assert "Usage:" in run(*words, "--home", nl, status=2).stderr


def test_a_home_that_was_changed_is_refused(house: House) -> None:
    home = house.found_platform("changed")
    words = ("members", "--home", home)
    assert refused(*words) == "http.signature"  # Not admitted yet.
    key = next((home / "keys").glob("scanner.*.key"))
    secret = key.read_text()
    key.chmod(0o644)
    assert refused(*words) == "home.key_mode"
    key.chmod(0o600)
    key.write_text("not hex")
    assert refused(*words) == "home.key"
    key.write_text(secret)
    stray = home / "keys" / "wizard.x.key"
    stray.write_text(secret)
    assert refused(*words) == "home.key_name"
    stray.unlink()
    genesis = home / "genesis.json"
    whole = genesis.read_bytes()
    other = whole.replace(b'"Nl-One"', b'"Nl-Two"')
    assert other != whole
    genesis.write_bytes(other)
    assert refused(*words).startswith(("home.genesis", "genesis."))
    genesis.unlink()
    assert refused(*words) == "home.store"
    genesis.write_bytes(whole)
    toml = home / "home.toml"
    text = toml.read_text()
    toml.write_text("kind = [")
    assert refused(*words) == "home.toml"
    toml.write_text("kind = 'agency'")
    assert refused(*words) == "home.fields"
    toml.write_text(text)
    assert refused(*words) == "http.signature"


# Statements


Make = Callable[["Said"], tuple[bytes, str]]


class Said:
    """One agency's means to say what it must not."""

    def __init__(self, house: House) -> None:
        self.home = open_home(house.home("nl-one"))
        self.other = open_home(house.home("ie-two"))
        self.client = NodeClient(house.url, self.home.chain, self.home.key(Role.KEEPER))
        self.voice = Voice(self.home, self.client, now_ms)

    def header(self, home: Home | None = None, after_ms: int = 60_000) -> Header:
        member = (home or self.home).member
        return Header(member, os.urandom(16), TimeMs(now_ms() + after_ms))

    def sign(self, body: Body, home: Home, role: Role, chain: ChainId | None = None) -> bytes:
        key = home.key(role)
        envelope = seal_envelope(chain or home.chain, key.key_id, body, key.sign)
        return encode_transaction(Transaction(envelope, None))

    def vote(self) -> Vote:
        return Vote(self.header(), 0, True)

    def publish(self, blob_sha256: bytes) -> Publish:
        groups = (GroupId("agencies"),)
        return Publish(self.header(), 1, groups, (1,), False, blob_sha256)


def _wrong_tag(said: Said) -> tuple[bytes, str]:
    raw = said.sign(said.vote(), said.home, Role.GOVERNOR)
    transaction = parse_transaction(raw)
    mac = bytes((0xD1,)) + transaction.envelope[1:]  # COSE_Mac0's tag.
    return encode_transaction(Transaction(mac, None)), "envelope.tag"


def _flipped(said: Said) -> tuple[bytes, str]:
    transaction = parse_transaction(said.sign(said.vote(), said.home, Role.GOVERNOR))
    bent = transaction.envelope[:-1] + bytes((transaction.envelope[-1] ^ 1,))
    return encode_transaction(Transaction(bent, None)), "reject.bad_signature"


def _unknown_member(said: Said) -> tuple[bytes, str]:
    key = new_key(Role.GOVERNOR, OperatorId("nobody"))
    stranger = replace(said.home, member=MemberId("zz-stranger"), keys=(key,))
    body = Vote(said.header(stranger), 0, True)
    return said.sign(body, stranger, Role.GOVERNOR), "reject.unknown_key"


def _blob_exchanged(said: Said) -> tuple[bytes, str]:
    row = Listing(ClassCode("test", "", "T1"), Media.IMAGE, sha256=os.urandom(32))
    epochs = {GroupId("agencies"): (1, os.urandom(32))}
    blob = seal_batch(said.home.chain, said.home.member, batch_of([row]), epochs)
    body = said.publish(sha256(b"another blob"))
    key = said.home.key(Role.ANALYST)
    envelope = seal_envelope(said.home.chain, key.key_id, body, key.sign)
    return encode_transaction(Transaction(envelope, blob)), "reject.blob_mismatch"


SAID: dict[str, Make] = {
    "noise": lambda _: (os.urandom(0) + b"\xff\x00noise", "cbor.syntax"),
    "nothing": lambda _: (b"", "cbor.syntax"),
    "another shape": lambda _: (b"\x80", "transaction.shape"),
    "a float": lambda _: (b"\xf9\x3c\x00", "cbor.type"),
    "cut": lambda s: (s.sign(s.vote(), s.home, Role.GOVERNOR)[:-3], "cbor.syntax"),
    "more behind it": lambda s: (
        s.sign(s.vote(), s.home, Role.GOVERNOR) + b"\0",
        "cbor.not_canonical",
    ),
    "another COSE type": _wrong_tag,
    "a flipped bit": _flipped,
    "another chain": lambda s: (
        s.sign(s.vote(), s.home, Role.GOVERNOR, ChainId("trial-other")),
        "reject.bad_signature",
    ),
    "another member's key": lambda s: (
        s.sign(s.vote(), replace(s.other, chain=s.home.chain), Role.GOVERNOR),
        "reject.wrong_member",
    ),
    "an unknown member": _unknown_member,
    "the wrong role": lambda s: (s.sign(s.vote(), s.home, Role.ANALYST), "reject.wrong_role"),
    "expired": lambda s: (
        s.sign(Vote(s.header(after_ms=-5_000), 0, True), s.home, Role.GOVERNOR),
        "reject.expired",
    ),
    "a day ahead": lambda s: (
        s.sign(Vote(s.header(after_ms=DAY_MS), 0, True), s.home, Role.GOVERNOR),
        "reject.too_far_ahead",
    ),
    "superseded": lambda s: (
        s.sign(Rule(s.header(), JurisdictionId("NL"), 1, rule_set()), s.home, Role.GOVERNOR),
        "reject.superseded",
    ),
    "no blob": lambda s: (
        s.sign(s.publish(bytes(32)), s.home, Role.ANALYST),
        "reject.blob_missing",
    ),
    "another blob": _blob_exchanged,
    "an unknown entry": lambda s: (
        s.sign(Approve(s.header(), 10**9), s.home, Role.APPROVER),
        "reject.unknown_entry",
    ),
}


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("name", SAID)
def test_a_bad_statement_gets_its_code_and_changes_nothing(house: House, name: str) -> None:
    said = Said(house)
    raw, code = SAID[name](said)
    with said.client as client:
        before = client.fetch_checkpoint().split(b"\n")[:3]
        for _ in range(2):  # The same bytes once more get the same answer.
            with pytest.raises(AccordError) as caught:
                client.submit(raw)
            assert caught.value.code == code
        assert client.fetch_checkpoint().split(b"\n")[:3] == before
    assert is_ready(house.url)


@pytest.mark.usefixtures("platform")
def test_a_replay_is_answered_and_never_counts_twice(house: House) -> None:
    said = Said(house)
    view = told("propose", "accredit", "nl-one", "XA", "--home", house.home("nl-one"))
    raw = said.voice.sign(Vote(said.header(), int(view["proposal"]), False))
    with said.client as client:
        entry = client.submit(raw)
        size = size_of(house)
        assert client.submit(raw) == entry
        assert size_of(house) == size
        stranger = NodeClient(house.url, said.home.chain, new_key(Role.KEEPER, OperatorId("x")))
        with stranger, pytest.raises(AccordError) as caught:
            stranger.submit(raw)
        assert caught.value.code == "http.signature"


# A node that lies


Bend = Callable[[str, bytes], bytes]


def _flip(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes((raw[middle] ^ 1,)) + raw[middle + 1 :]


def _on(part: str, bend: Callable[[bytes], bytes]) -> Bend:
    return lambda path, raw: bend(raw) if path.startswith(part) else raw


LIES: dict[str, tuple[Bend, Sequence[str]]] = {
    "a flipped entry": (_on("/tile/entries", _flip), ("follow.", "entry.", "tlog.", "envelope.")),
    "a cut bundle": (_on("/tile/entries", lambda raw: raw[:-5]), ("tlog.bundle",)),
    "an empty bundle": (_on("/tile/entries", lambda _: b""), ("tlog.bundle",)),
    "a flipped blob": (_on("/blob/", _flip), ("replica.blob",)),
    "an endless blob": (_on("/blob/", lambda raw: raw * 3000), ("http.answer_size",)),
    "a flipped checkpoint": (_on("/checkpoint", _flip), ("tlog.",)),
    "no checkpoint": (_on("/checkpoint", lambda _: b"<html>hello</html>"), ("tlog.",)),
    "no signatures": (
        _on("/checkpoint", lambda raw: raw.partition(b"\n\n")[0] + b"\n\n"),
        ("tlog.",),
    ),
}


@contextmanager
def lying(url: str, bend: Bend) -> Iterator[str]:
    """A server between a follower and its node."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept = ("host", "signature", "signature-input")
            headers = {name: self.headers[name] for name in kept if name in self.headers}
            with httpx.Client(trust_env=False) as client:
                answer = client.get(url + self.path, headers=headers)
            raw = bend(self.path, answer.content)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_the_next_node_is_asked(
    house: House, platform: Path, tmp_path: Path, name: str
) -> None:
    bend, codes = LIES[name]
    (platform / "replica.sqlite").unlink(missing_ok=True)
    toml = platform / "home.toml"
    truth = toml.read_text()
    follow = ("follow", "--home", platform, "--trial", "--once", "--json")
    agency = open_home(house.home("nl-one"))
    del tmp_path
    with lying(house.url, bend) as url:
        try:
            toml.write_text(truth.replace(house.url, url))
            said = run(*follow, status=1)
            assert said.code.startswith(tuple(codes)), said
            toml.write_text(truth.replace(f'["{house.url}"]', f'["{url}", "{house.url}"]'))
            lines = [json.loads(line) for line in run(*follow).stdout.splitlines()]
            assert lines[0]["refused"] == url
            assert lines[0]["code"].startswith(tuple(codes))
            assert lines[-1]["size"] == size_of(house)
        finally:
            toml.write_text(truth)
        if "blob" not in name:  # Nobody without a key asks for blobs.
            digest = agency.founding.digest.hex()
            code = refused("log", "verify", url, "--trial", "--sha256", digest)
            assert code.startswith(tuple(codes))
