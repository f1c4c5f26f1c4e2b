"""A backup is one state of a home, read back exactly or not at all; no key that must not sign."""

import io
import json
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from accord.agency.backup import (
    Backup,
    load_backup,
    make_backup,
    parse_backup,
    restore,
    store_backup,
)
from accord.agency.founding import AgencyPlan, found_trial
from accord.cli.main import app
from accord.client.home import Home, create_home, new_key, open_home, store_key
from accord.node.process import run_agency_node
from accord.node.settings import Settings, write_settings
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.ids import ChainId, JurisdictionId, MemberId, OperatorId, TimeMs

NOW = TimeMs(1_790_000_000_000)
WHERE = JurisdictionId("NL")
MEMORIES = ("consensus.state", "cosigner.state")
JOB = "outbox/" + "ab" * 16


def found(directory: Path, chain: str = "trial-backup") -> Home:
    plan = AgencyPlan(MemberId("nl-one"), "One", WHERE, (WHERE,))
    homes = found_trial(directory, ChainId(chain), [plan], NOW, ["http://127.0.0.1:1"])
    return homes[MemberId("nl-one")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An agency's home with everything that ever stands in one."""
    made = found(tmp_path / "homes")
    more = {
        **dict.fromkeys(MEMORIES, b"what was signed"),
        "application.json": b"{}",
        "replica.sqlite": b"the log",
        "node/node.toml": b"# settings\n",
        "node/peer.key": b"00\n",
        "node/node.db": b"the log",
        "node/engine/data/state.db": b"blocks",
        "keys/retired/0000.decryptor.keeper.key": b"01\n",
        "keys/retired/0001.cosigner.node.key": b"02\n",
        "keys/next/keys/analyst.analyst-a.key": b"03\n",
        f"{JOB}/0000.tx": b"sealed",
        f"{JOB}/0001.entry": b"17\n",
        "notes.txt": b"not ours",
    }
    for path, data in more.items():
        (made.path / path).parent.mkdir(parents=True, exist_ok=True)
        (made.path / path).write_bytes(data)
    return made


def backed_up(home: Home) -> Backup:
    return make_backup(home, NOW, with_keys=True)


def test_what_goes_in_and_what_stays_out(home: Home) -> None:
    made = backed_up(home)
    in_force = {path for path in made.files if path.count("/") == 1 and path.startswith("keys/")}
    staff = {f"keys/{key.role}.{key.operator}.key" for key in home.keys}
    assert in_force == staff - {"keys/consensus.node.key", "keys/cosigner.node.key"}
    assert set(made.files) - in_force == {
        "home.toml",
        "genesis.json",
        "application.json",
        "node/node.toml",
        "node/peer.key",
        "keys/retired/0000.decryptor.keeper.key",
        "keys/next/keys/analyst.analyst-a.key",
        f"{JOB}/0000.tx",
        f"{JOB}/0001.entry",
    }
    assert made.must_rotate() == (("consensus", "node"), ("cosigner", "node"))
    raw = made.encode()
    for role in (Role.CONSENSUS, Role.COSIGNER):
        assert home.key(role).seed.hex().encode() not in raw
    assert b"what was signed" not in raw


def test_without_keys_nothing_secret_is_in_it(home: Home, tmp_path: Path) -> None:
    made = make_backup(home, NOW, with_keys=False)
    assert not [path for path in made.files if path.endswith(".key")]
    assert all(key.seed.hex().encode() not in made.encode() for key in home.keys)
    again = restore(made, tmp_path / "again")
    assert (again.keys, again.founding) == ((), home.founding)
    assert made.must_rotate() == backed_up(home).must_rotate()


def test_a_restored_home_is_the_home_but_for_two_keys(home: Home, tmp_path: Path) -> None:
    file, target = tmp_path / "one.backup", tmp_path / "deep" / "again"
    store_backup(backed_up(home), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = restore(load_backup(file), target)
    gone = {Role.CONSENSUS, Role.COSIGNER}
    assert again.keys == tuple(key for key in home.keys if key.role not in gone)
    assert (again.founding, again.nodes) == (home.founding, home.nodes)
    assert not [name for name in MEMORIES if (target / name).exists()]
    for path in target.rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(backed_up(again).files) == sorted(backed_up(home).files)
    assert [path.name for path in target.parent.iterdir()] == ["again"], "no half-made one"


def test_only_a_new_place_is_restored_into(home: Home, tmp_path: Path) -> None:
    made = backed_up(home)
    taken, file, empty = tmp_path / "taken", tmp_path / "file", tmp_path / "empty"
    empty.mkdir()
    (taken / "keys").mkdir(parents=True)
    file.write_bytes(b"")
    link = tmp_path / "link"
    link.symlink_to(empty)
    for target in (taken, file, link, home.path):
        with pytest.raises(Malformed, match=r"backup\.target"):
            restore(made, target)
    assert restore(made, empty).member == home.member
    with pytest.raises(Malformed, match=r"backup\.exists"):
        store_backup(made, file)
    assert file.read_bytes() == b""


def test_parts_of_two_consortia_make_no_home(home: Home, tmp_path: Path) -> None:
    other = backed_up(found(tmp_path / "others", "trial-other"))
    made = backed_up(home)
    for name, code in (("genesis.json", "home.genesis"), ("home.toml", "home.genesis")):
        mixed = replace(made, files={**made.files, name: other.files[name]})
        with pytest.raises(Unproven, match=code):
            restore(parse_backup(mixed.encode()), tmp_path / "mixed")
    both = {name: other.files[name] for name in ("genesis.json", "home.toml")}
    with pytest.raises(Unproven, match=r"backup\.home"):
        restore(replace(made, files={**made.files, **both}), tmp_path / "mixed")
    assert not [path for path in tmp_path.iterdir() if "mixed" in path.name]


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for entry, data in entries:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "path",
    [
        "../home.toml",
        "/etc/passwd",
        "keys/../../x.key",
        "keys/retired/../root.safe.key",
        "cosigner.state",
        "consensus.state",
        "node/node.db",
        "keys/root.safe.key/x",
        "home.toml\n",
        ".",
        "",
    ],
)
def test_a_path_that_no_home_has_is_refused(home: Home, tmp_path: Path, path: str) -> None:
    made = backed_up(home)
    foreign = replace(made, files={**made.files, path: b"x"})
    with pytest.raises(Malformed, match=r"backup\.(path|syntax|altered)"):
        parse_backup(foreign.encode())


def test_links_and_doubles_are_refused(home: Home) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(Malformed, match=r"backup\.path"):
            parse_backup(tar((entry("keys/root.safe.key", kind, "/etc/passwd"), b"")))
    with pytest.raises(Malformed, match=r"backup\.path"):
        parse_backup(tar((entry("home.toml"), b"1"), (entry("home.toml"), b"2")))


@pytest.mark.parametrize("name", ["consensus.node", "cosigner.node"])
def test_a_key_that_needs_a_memory_is_refused(home: Home, name: str) -> None:
    made = backed_up(home)
    for path in (f"keys/{name}.key", f"keys/retired/0007.{name}.key", f"keys/next/keys/{name}.key"):
        with pytest.raises(Malformed, match=r"backup\.memory_key"):
            parse_backup(replace(made, files={**made.files, path: b"00\n"}).encode())


def test_a_backup_that_is_cut_anywhere_is_none(home: Home) -> None:
    raw = backed_up(home).encode()
    for size in {*range(0, len(raw), 97), *range(0, len(raw), 512), len(raw) - 1}:
        with pytest.raises(Malformed):
            parse_backup(raw[:size])
    with pytest.raises(Malformed):
        parse_backup(raw + bytes(512))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 1_000_000), value=st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_what_is_said(
    home: Home, place: int, value: int
) -> None:
    made = backed_up(home)
    raw = bytearray(made.encode())
    raw[place % len(raw)] ^= value
    try:
        read = parse_backup(bytes(raw))
    except Malformed:
        return
    assert read.files == made.files, "only a word of the manifest may differ"
    assert read.encode() == bytes(raw)


@given(st.binary(max_size=2_000))
def test_noise_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_backup(raw)


def test_a_manifest_that_is_no_manifest(home: Home) -> None:
    for text in (b"", b"[]", b"{}", b"[" * 5_000, b'{"format": "accord-backup/1"}'):
        with pytest.raises(Malformed, match=r"backup\.syntax"):
            parse_backup(tar((entry("backup.json"), text)))


def test_a_home_that_changes_all_the_time_is_not_backed_up(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, number = Path.read_bytes, iter(range(1_000_000))

    def busy(path: Path) -> bytes:
        return str(next(number)).encode() if path.suffix == ".entry" else real(path)

    monkeypatch.setattr(Path, "read_bytes", busy)
    with pytest.raises(Unavailable, match=r"backup\.changing"):
        backed_up(home)


def test_a_platform_has_receipts_and_is_not_backed_up_so(home: Home, tmp_path: Path) -> None:
    genesis = (home.path / "genesis.json").read_bytes()
    platform = create_home(tmp_path / "p", "platform", MemberId("drive"), genesis, [], [])
    with pytest.raises(Malformed, match=r"cli\.not_an_agency"):
        make_backup(platform, NOW, with_keys=True)


def test_a_disk_that_refuses_leaves_nothing(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_bytes(b"a file, and no directory")
    with pytest.raises(Unavailable, match=r"backup\.store"):
        store_backup(backed_up(home), place / "b")
    with pytest.raises(Unavailable, match=r"backup\.store"):
        restore(backed_up(home), place / "home")
    with pytest.raises(Unavailable, match=r"backup\.store"):
        load_backup(tmp_path)


def run(*words: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [*words, "--json"])
    if done.exception is not None:
        raise done.exception
    value: dict[str, object] = json.loads(done.output)
    return value


def test_the_commands_lead_to_new_keys(home: Home, tmp_path: Path) -> None:
    file, target = str(tmp_path / "b"), str(tmp_path / "new")
    made = run("backup", "--home", str(home.path), "--out", file)
    digest = str(made["genesis_sha256"])
    with pytest.raises(Unproven, match=r"cli\.genesis_differs"):
        run("restore", file, target, "--sha256", "00" * 32)
    said = run("restore", file, target, "--sha256", digest.upper())
    assert said["next"] == [
        f"accord keys rotate consensus node --home {target}",
        f"accord keys rotate cosigner node --home {target}",
    ]
    assert open_home(Path(target)).member == "nl-one"
    for failing, code in (
        (lambda: run("restore", file, target), "backup.target"),
        (lambda: run("restore", str(tmp_path / "none"), str(tmp_path / "x")), "backup.store"),
    ):
        expect(failing, code)


@pytest.mark.parametrize("missing", [Role.CONSENSUS, Role.COSIGNER])
def test_a_restored_node_starts_with_new_keys_only(
    home: Home, tmp_path: Path, missing: Role
) -> None:
    (home.path / "node" / "node.toml").unlink()
    write_settings(home.path / "node", Settings("127.0.0.1:0", "127.0.0.1:0", ()))
    new = restore(backed_up(home), tmp_path / "new")
    for role in {Role.CONSENSUS, Role.COSIGNER} - {missing}:
        store_key(new.path, new_key(role, OperatorId("node")))
    with pytest.raises(Malformed, match=r"node\.no_signer") as caught:
        run_agency_node(open_home(new.path), lambda _: None)
    assert f"accord keys rotate {missing} node" in str(caught.value.detail["mend"])
    assert not (new.path / "consensus.state").exists(), "nothing was begun"


def expect(failing: Callable[[], object], code: str) -> None:
    with pytest.raises((Malformed, Unavailable)) as caught:
        failing()
    assert caught.value.code == code
