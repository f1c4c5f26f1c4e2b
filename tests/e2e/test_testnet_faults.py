"""Four real CometBFT validators, and what breaks beside a plain kill: the engine at each step of a
block, the application between two steps of one, a disk that was altered, a disk that is full.

One network for all tests here; each leaves it running and whole.
"""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from accord.cli.bench.machine import children_of
from accord.client.home import open_home
from accord.ledger.block import BlockResult
from accord.node import process
from accord.node.comet_process import BINARY_VARIABLE, find_cometbft
from accord.node.store import Misbehaviour, Store
from accord.wire.errors import Unavailable
from accord.wire.ids import MemberId
from disk_kit import mounted
from testnet_kit import Cluster, accord, cluster, require_cometbft, wait_for

CRASH_POINTS = range(9)  # CometBFT, internal/fail: between the steps of deciding and applying.
CRASH_FILE = "crash-at"
DISK_KB = 96_000
# In the engine's place: the engine, told once to end at a step where a file beside the node says.
WRAPPER = """#!/bin/sh
at="$3/../../{file}"
if [ "$1" = start ] && [ -f "$at" ]; then
    FAIL_TEST_INDEX=$(cat "$at")
    export FAIL_TEST_INDEX
    rm "$at"
fi
exec "{engine}" "$@"
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_cometbft()
    place = tmp_path_factory.mktemp("faults")
    wrapper = place / "cometbft"
    wrapper.write_text(WRAPPER.format(file=CRASH_FILE, engine=find_cometbft()))
    wrapper.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BINARY_VARIABLE, str(wrapper))
        with cluster(place / "net") as running:
            yield running


def node_pid(net: Cluster, name: MemberId) -> int:
    pid = net.net.pid(name)
    assert pid is not None
    return pid


def kill_engine(net: Cluster, name: MemberId) -> None:
    wait_for(lambda: children_of(node_pid(net, name)), 20)
    with suppress(ProcessLookupError):
        os.kill(children_of(node_pid(net, name))[0], signal.SIGKILL)


def node_file(net: Cluster, name: MemberId, file: str) -> Path:
    return net.homes[name].path / "node" / file


def said(net: Cluster, name: MemberId) -> str:
    """What the node said, all runs."""
    return (net.net.directory / "logs" / f"{name}.log").read_text()


def all_is_there(net: Cluster) -> None:
    net.settle(90)
    for name in net.names:
        net.check(name)


def test_the_engine_crashes_at_each_of_its_steps(net: Cluster) -> None:
    before = {name: node_pid(net, name) for name in net.names}
    with net.load():
        for point in CRASH_POINTS:
            name = net.names[point % len(net.names)]
            crash = net.homes[name].path / CRASH_FILE
            log = node_file(net, name, "engine.log")
            crash.write_text(str(point))
            kill_engine(net, name)
            died = f"*** fail-test {point} ***"
            wait_for(lambda d=died, f=log: f.exists() and d in f.read_text(), 30)  # type: ignore[misc]
            assert not crash.exists(), "it was told once"
            reached = max(node.log_size for node in net.net.status())
            wait_for(lambda n=name, r=reached: net.status()[n].cosigned_size >= r, 40)  # type: ignore[misc]
    assert before == {name: node_pid(net, name) for name in net.names}, "the nodes go on"
    assert len(net.acknowledged) > len(CRASH_POINTS)
    all_is_there(net)


class DyingStore(Store):
    """Ends its process at a commit with entries: before it, or once the block is on disk."""

    is_late = False

    def commit(
        self,
        result: BlockResult,
        policy_before: bytes | None = None,
        misbehaviour: Sequence[Misbehaviour] = (),
    ) -> None:
        if result.logged and not self.is_late:
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit(result, policy_before, misbehaviour)
        if result.logged:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_application_dies_between_finalize_and_commit(net: Cluster, when: str) -> None:
    name = net.names[3]
    net.net.stop([name])
    node_file(net, name, "node.json").unlink(missing_ok=True)
    command = [sys.executable, __file__, str(net.homes[name].path), when]
    with (net.net.directory / "logs" / f"{name}.log").open("ab") as log:
        path = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        dying = subprocess.Popen(command, stdout=log, stderr=log, env=path, start_new_session=True)
    with net.load():
        assert dying.wait(60) == -signal.SIGKILL
        net.restart(name)
        time.sleep(1)
    all_is_there(net)


ALTERATIONS = {
    "a row of the fold": "DELETE FROM state WHERE tbl = 'seen'",
    "the tree": "UPDATE nodes SET hash = zeroblob(32)",
    "what the fold is compared with": "UPDATE blocks SET app_hash = zeroblob(32)",
}
LEAF = "UPDATE entries SET leaf = CAST(substr(leaf, 1, length(leaf) - 1) || x'00' AS BLOB)"


def test_an_altered_disk_is_said_and_not_followed(net: Cluster) -> None:
    name, other = net.names[1], net.names[0]
    net.net.stop([name])
    file = node_file(net, name, "node.db")
    whole = file.read_bytes()
    assert not file.with_name("node.db-wal").exists(), "a clean stop leaves one file"
    for what, sql in ALTERATIONS.items():
        alter(file, sql)
        assert file.read_bytes() != whole, what
        before = len(said(net, name))
        with pytest.raises(Unavailable, match=r"testnet\.not_started"):
            net.net.start([name])
        assert "accord: store.app_hash: " in said(net, name)[before:], what
        for left in file.parent.glob("node.db*"):
            left.unlink()
        file.write_bytes(whole)
    net.submit(other, net.vote(other))
    # Nothing of the fold: a leaf. The node serves it, and nobody believes it.
    alter(file, LEAF)
    net.restart(name)
    net.settle()
    digest = net.homes[name].founding.digest.hex()
    done = accord("log", "verify", net.net.apis[name], "--sha256", digest)
    assert done.returncode == 1
    assert "accord: follow.root: " in done.stderr
    home = net.homes[name]
    assert home.nodes[0] == net.net.apis[name]
    (home.path / "replica.sqlite").unlink(missing_ok=True)
    done = accord("follow", "--home", str(home.path), "--once")
    assert done.returncode == 0, "there are others to follow"
    net.net.stop([name])
    for left in file.parent.glob("node.db*"):
        left.unlink()
    file.write_bytes(whole)
    net.restart(name)
    all_is_there(net)


def alter(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(sql)


def test_a_full_disk_halts_one_node_and_room_brings_it_back(net: Cluster) -> None:
    name = net.names[2]
    place = net.homes[name].path / "node"
    net.net.stop([name])
    old = place.rename(place.with_name("node.old"))
    with mounted(place, DISK_KB) as disk:
        shutil.copytree(old, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
        net.restart(name)
        net.settle()
        before = len(said(net, name))
        disk.fill()
        with net.load():
            wait_for(lambda: net.net.pid(name) is None, 120)
            told = re.findall(r"^accord: ([a-z_.]+): ", said(net, name)[before:], re.M)
            # Who writes first is chance: the node ends at once, its engine after some starts.
            assert told in (["store.commit"], ["comet.ends"], ["comet.consensus_failure"]), told
            size = max(node.log_size for node in net.net.status())
            wait_for(lambda: max(n.log_size for n in net.net.status()) > size + 4, 30)
            disk.free()
            net.restart(name)
        all_is_there(net)
        net.net.stop([name])
        shutil.copytree(place, old, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
    place.rmdir()
    old.rename(place)
    net.restart(name)
    all_is_there(net)


def die_in_commit(home: Path, when: str) -> None:
    """An agency's node whose store ends it."""
    DyingStore.is_late = when == "after"
    process.Store = DyingStore  # type: ignore[misc]
    process.run_agency_node(open_home(home), sys.stdout.write)


if __name__ == "__main__":
    die_in_commit(Path(sys.argv[1]), sys.argv[2])
