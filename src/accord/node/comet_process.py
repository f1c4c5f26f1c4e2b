"""The engine's process: found, checked, started, watched, started again, stopped.

CometBFT ends with code 0 when the application behind it is gone, so how it ended says nothing; it
is started again unless we are stopping. It goes on running when its state differs from what the
others agreed on, and only says so: that line ends this node instead.
Source: docs/spec/consensus.md section 5.
"""

import asyncio
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx

from accord.node.comet_files import Sockets
from accord.tlog.note import encode_base64
from accord.wire.errors import Broken, Unavailable

VERSION: Final = "0.39.4"
BINARY_VARIABLE: Final = "ACCORD_COMETBFT"
CACHE_VARIABLE: Final = "ACCORD_CACHE"
STOP_WAIT_S: Final = 15.0
EARLY_S: Final = 10.0  # Ended so soon after its start, it did not get anywhere.
EARLY_MAX: Final = 8  # So often in a row, and a person has to look.
BACKOFF_S: Final = 0.5  # Doubles up to BACKOFF_S_MAX.
BACKOFF_S_MAX: Final = 10.0
RPC_WAIT_S: Final = 10.0
LOG_BYTES_MAX: Final = 10_000_000  # Then the file is turned over; one old one is kept.
_HALTED: Final = b"CONSENSUS FAILURE"
_SIGNED_BEFORE: Final = b"found signature from the same key"
_SYNC_FAILED: Final = b"State sync failed"  # And then it would only wait, for ever.
_IN_MEMPOOL: Final = "tx already exists in cache"

diagnostics = logging.getLogger(__name__)


def find_cometbft() -> Path:
    """The pinned engine's binary. Raises: Unavailable, with the mend."""
    named = os.environ.get(BINARY_VARIABLE)
    cache = os.environ.get(CACHE_VARIABLE) or str(Path.home() / ".cache" / "accord")
    path = Path(named) if named else Path(cache) / f"cometbft-v{VERSION}" / "cometbft"
    mend = f"make cometbft, or {BINARY_VARIABLE}=a CometBFT {VERSION}"
    try:
        said = subprocess.run(  # noqa: S603 - the operator's own binary, named by the operator.
            [str(path), "version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as err:
        raise Unavailable("comet.missing", path=str(path), mend=mend) from err
    found = said.stdout.strip().removeprefix("v").partition("+")[0]
    if found != VERSION:
        raise Unavailable("comet.version", got=found[:40], wanted=VERSION, mend=mend)
    return path


class EngineProcess:
    """One CometBFT over one directory. `renew` brings its files up to date, before each start."""

    def __init__(
        self,
        binary: Path,
        directory: Path,
        sockets: Sockets,
        log: Path,
        renew: Callable[[], object],
    ) -> None:
        self._command = (str(binary), "start", "--home", str(directory))
        self._sockets = sockets
        self._log = log
        self._renew = renew
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._last_lines: deque[str] = deque(maxlen=3)
        self.starts = 0

    async def run(self, before_start: Callable[[], Any]) -> None:
        """Keep the engine running until `stop`. `before_start` is awaited before each start.

        Raises: Broken, where the engine says that it disagrees with the others; Unavailable,
        where it ends as often as it is started.
        """
        loop = asyncio.get_running_loop()
        early, pause_s = 0, BACKOFF_S
        while not self._stopping:
            await before_start()
            # It has signed since: what a new key must look for, it would now find, and stop at.
            self._renew()
            self._sockets.rpc.unlink(missing_ok=True)
            began = loop.time()
            code = await self._once()
            if self._stopping:
                return
            is_early = loop.time() - began < EARLY_S
            early = early + 1 if is_early else 0
            pause_s = min(2 * pause_s, BACKOFF_S_MAX) if is_early else BACKOFF_S
            last = " | ".join(self._last_lines)
            diagnostics.warning("the engine ended with %s, starting it again: %s", code, last)
            if early >= EARLY_MAX:
                raise Unavailable("comet.ends", status=code, log=str(self._log), last=last[:400])
            await asyncio.sleep(pause_s)

    async def stop(self) -> None:
        """End the engine, kindly first."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_WAIT_S)
        except TimeoutError:
            diagnostics.warning("the engine does not stop: killing it")
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _once(self) -> int:
        self.starts += 1
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        if self._stopping:  # Said while it was being started.
            self._process.send_signal(signal.SIGTERM)
        await self._keep_log(self._process)
        return await self._process.wait()

    async def _keep_log(self, process: asyncio.subprocess.Process) -> None:
        """What the engine says goes to a file. Raises: Broken, for the one line that halts us."""
        if process.stdout is None:
            raise Broken("comet.output")
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # Longer than the reader's buffer; the rest comes next.
                continue
            if not line:
                return
            self._last_lines.append(line.decode(errors="replace").strip()[:300])
            self._append(line)
            if _HALTED in line:
                raise Broken("comet.consensus_failure", log=str(self._log))
            if _SIGNED_BEFORE in line:
                raise Broken("comet.signed_before", log=str(self._log))
            if _SYNC_FAILED in line:
                process.terminate()

    def _append(self, line: bytes) -> None:
        try:
            if self._log.exists() and self._log.stat().st_size > LOG_BYTES_MAX:
                self._log.replace(self._log.with_suffix(".old"))
            with self._log.open("ab") as file:
                file.write(line)
        except OSError as err:
            diagnostics.warning("the engine's log cannot be written: %s", type(err).__name__)


class EngineRpc:
    """The engine's RPC over its private socket."""

    def __init__(self, sockets: Sockets) -> None:
        # No TLS over a unix socket: reading the machine's certificates would take 80 ms a start.
        self._transport = httpx.AsyncHTTPTransport(uds=str(sockets.rpc), verify=False)
        self._http = httpx.AsyncClient(
            transport=self._transport,
            base_url="http://engine",
            timeout=RPC_WAIT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def broadcast(self, raw: bytes) -> int:
        """Hand a transaction to the mempool: 0, or the reject code. Raises: Unavailable."""
        try:
            result = await self._call("broadcast_tx_sync", {"tx": encode_base64(raw)})
        except Unavailable as err:
            if _IN_MEMPOOL in str(err.detail.get("why", "")):
                return 0
            raise
        code = result.get("code")
        if type(code) is not int:
            raise Unavailable("comet.answer", method="broadcast_tx_sync")
        return code

    async def is_catching_up(self) -> bool:
        """Whether the engine still fetches blocks that the others have. Raises: Unavailable."""
        match await self._call("status", {}):
            case {"sync_info": {"catching_up": bool(catching_up)}}:
                return catching_up
            case _:
                raise Unavailable("comet.answer", method="status")

    async def count_peers(self) -> int:
        """Raises: Unavailable."""
        match await self._call("net_info", {}):
            case {"n_peers": str(count)} if count.isdecimal():
                return int(count)
            case _:
                raise Unavailable("comet.answer", method="net_info")

    async def read(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The engine's answer as it is, `result` or `error`. Raises: Unavailable."""
        ask = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer: object = (await self._http.post("/", json=ask)).json()
        except (httpx.HTTPError, ValueError) as err:
            raise Unavailable("comet.no_answer", method=method, why=type(err).__name__) from err
        if not isinstance(answer, dict):
            raise Unavailable("comet.answer", method=method)
        return {str(name): item for name, item in answer.items()}

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match await self.read(method, params):
            case {"result": dict(result)}:
                return dict(result)
            case {"error": {**error}}:
                why = f"{error.get('message', '')} {error.get('data', '')}"[:200]
                raise Unavailable("comet.refused", method=method, why=why)
            case _:
                raise Unavailable("comet.answer", method=method)


def _environment() -> dict[str, str]:
    """Ours, without what would override the engine's configuration."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CMT", "TM", "TMHOME"))}
