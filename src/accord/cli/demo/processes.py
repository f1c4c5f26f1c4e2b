"""Child processes of the demo: started, waited for, and stopped, whatever happens."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from accord.wire.errors import Unavailable

START_WAIT_S: Final = 90.0
STOP_WAIT_S: Final = 20.0
ACCORD: Final = (sys.executable, "-m", "accord.cli.main")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Processes:
    """The running children, last started first stopped. Their output goes to files in `logs`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        ready_url: str,
        environment: Mapping[str, str] | None = None,
        wait_s: float = START_WAIT_S,
    ) -> None:
        """Start a child and wait until `ready_url` answers 200. Raises: Unavailable."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # Ctrl-C is for us to hand on, in the right order.
            )
        self._children.append((name, child))
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if child.poll() is not None:
                break
            if _answers(ready_url):
                return
            time.sleep(0.1)
        log_file = self._logs / f"{name}.log"
        raise Unavailable("demo.not_started", process=name, log=str(log_file))

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children}

    def stop(self) -> None:
        for _, child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()


def run_accord(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One command as a person would run it."""
    return subprocess.run(
        [*ACCORD, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
