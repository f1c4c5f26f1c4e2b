"""A taken-over decoder: nothing it asks for is given, and its parent does not notice but by a code.

Escapes are code run inside a worker after the real lock (`probe_kit`).
"""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import probe_kit
from accord.cli.main import app
from accord.fingerprint import Unhashable, UnhashableCode
from accord.media import DecoderPool, landlock
from accord.media.process import INSECURE_ARGV, WORKER_ARGV, WorkerProcess
from accord.wire.errors import Unavailable
from pictures_kit import encoded, picture

ALONE = os.environ | {"OPENBLAS_NUM_THREADS": "1"}


def fates(walls: str) -> dict[str, str]:
    done = subprocess.run(
        (*probe_kit.TABLE_ARGV, walls), capture_output=True, check=True, timeout=120, env=ALONE
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("walls", ["all", "seccomp"])
def test_every_escape_ends_the_worker(walls: str) -> None:
    """Under all walls, and where a kernel has no Landlock and the process is root's."""
    told = fates(walls)
    assert {name for name in probe_kit.ALLOWED if told.pop(name) != "through"} == set()
    # Its flags cannot be seen, so it is declined: the C library then asks in a way that can be.
    assert told.pop("clone3") == errno.errorcode[errno.ENOSYS]
    assert {name: fate for name, fate in told.items() if fate != "killed"} == {}
    assert len(told) > 70


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel's Landlock is older")
def test_landlock_holds_where_a_call_gets_through() -> None:
    told = fates("landlock")
    assert told.pop("signal") == "EPERM"
    assert set(told.values()) == {"EACCES"}


def test_the_parent_lives_and_answers_undetermined() -> None:
    with DecoderPool(1, argv=probe_kit.SERVE_ARGV) as pool:
        for probe in ("open to read", "send by UDP", "fork", "kill the parent"):
            answer = pool.fingerprint(probe.encode())
            assert isinstance(answer, Unhashable)
            assert answer.code is UnhashableCode.CRASHED
        for probe, expected in (("clone3", probe_kit.ANSWERED), ("memory", probe_kit.THROUGH)):
            answer = pool.fingerprint(probe.encode())
            assert isinstance(answer, Unhashable)
            assert answer.code is expected


def test_a_worker_is_nobody_and_has_nothing() -> None:
    worker = WorkerProcess(WORKER_ARGV)
    try:
        status = _status(worker.pid)
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert status["Threads"] == "1"
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
        if os.getuid() == 0:
            assert status["CapBnd"] == "0" * 16
            assert not {"0"} & {*status["Uid"].split(), *status["Gid"].split()}
            assert not status["Groups"]
        assert os.readlink(f"/proc/{worker.pid}/cwd") == "/"
        assert set(os.listdir(f"/proc/{worker.pid}/fd")) == {"0", "1", "2"}
        assert worker.report.startswith("seccomp, ")
    finally:
        worker.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can have groups and descriptors to lose")
def test_what_a_worker_inherits_it_loses() -> None:
    with (
        open("/etc/hostname", encoding="utf-8") as secret,
        subprocess.Popen(
            WORKER_ARGV,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ALONE,
            pass_fds=(secret.fileno(),),
            extra_groups=[4, 27],
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(9)[4:] == b"ready"
        assert not _status(process.pid)["Groups"]
        assert len(os.listdir(f"/proc/{process.pid}/fd")) == 3
        process.stdin.close()
        process.stdout.read()


@pytest.mark.skipif(os.getuid() != 0, reason="only root has capabilities to begin with")
def test_capabilities_without_root_are_lost_too() -> None:
    done = subprocess.run(
        probe_kit.CAPABILITIES_ARGV, capture_output=True, check=True, timeout=60, env=ALONE
    )
    told = json.loads(done.stdout)
    assert {told[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_DECODER_USER", "daemon")
    worker = WorkerProcess(WORKER_ARGV)
    worker.stop()
    assert "user 1, " in worker.report


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("user", ["root", "0", "nobody-at-all", "-1"])
def test_a_worker_that_cannot_be_locked_does_not_start(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORD_DECODER_USER", user)
    with DecoderPool(1) as pool:
        for ask in (pool.check, lambda: pool.fingerprint(b"x")):
            with pytest.raises(Unavailable) as caught:
                ask()
            assert caught.value.code == "media.sandbox"
            assert str(caught.value.detail["why"]).startswith("user: ")
    with DecoderPool(1, insecure=True) as pool:
        assert pool.check() == "no sandbox, memory and file limits only"


def test_a_pool_tells_how_it_is_locked_and_keeps_the_worker() -> None:
    data = encoded(picture(4, (64, 48)), "PNG")
    with DecoderPool(1) as pool, DecoderPool(1, insecure=True) as open_pool:
        assert pool.check().startswith("seccomp, ")
        pids = pool.worker_pids()
        assert pool.fingerprint(data) == open_pool.fingerprint(data)
        assert pool.worker_pids() == pids
        (pid,) = open_pool.worker_pids()
        assert _status(pid)["Seccomp"] == "0"
        assert INSECURE_ARGV[:-1] == WORKER_ARGV


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be refused its user")
def test_a_command_refuses_to_decode_unlocked_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(encoded(picture(4, (64, 48)), "PNG"))
    monkeypatch.setenv("ACCORD_DECODER_USER", "root")
    command = ["fingerprint", str(file)]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, Unavailable)
    assert refused.exception.code == "media.sandbox"
    assert not refused.stdout
    told = CliRunner().invoke(app, [*command, "--insecure-decoder"])
    assert told.exit_code == 0
    assert json.loads(told.stdout)["ok"]
