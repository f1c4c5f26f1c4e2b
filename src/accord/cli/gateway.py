"""What `accord gateway` assembles: one process, or several behind one address.

`python -m accord.cli.gateway` is one of several; it reads what it is to do from its standard input,
where it hears of news later on, and ends when that closes.
Not here: options and their words (accord.cli.scan), what processes do (accord.scan).
"""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Final, Self

from accord.cli import failures
from accord.cli.assemble import connected, now_ms, open_replica
from accord.client.home import open_home
from accord.client.http import NodeClient
from accord.fingerprint import Decoding
from accord.scan.bodies import Bodies, Budget
from accord.scan.cases.intake import TakeIn, taking_in
from accord.scan.cases.settings import has_desk, load_settings, open_desk
from accord.scan.cases.store import CASES_FILE, CaseStore
from accord.scan.cases.telling import FeedbackQueue, ReplicaLedger, Speaker, TellingChore
from accord.scan.clients import CLIENTS_FILE, Clients
from accord.scan.crew import EXIT_BROKEN, Crew, serve_crew
from accord.scan.following import Following
from accord.scan.gateway import Gateway
from accord.scan.lookups import Lookups
from accord.scan.platform import Platform, check_platform, open_platform
from accord.scan.receipt_relay import Relay
from accord.scan.screener import system_clock
from accord.scan.serve import check_exposure, forget_salts, listen, serve, serve_beside, url_of
from accord.scan.siblings import Siblings, Table
from accord.scan.spool import Spool, SpoolSettings
from accord.statements.bodies import Role
from accord.wire.errors import AccordError, Broken, Malformed
from accord.wire.limits import DECODER_FILES_MAX, IMAGE_BYTES_MAX, SCREEN_BYTES_IN_FLIGHT_MAX

_ARGV: Final = (sys.executable, "-m", __spec__.name)
_PROCESSES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a gateway, whatever processes it has. `workers` are decoders, among all of them."""

    home: Path
    token: str | None
    workers: int
    processes: int
    follows: bool
    attests: bool
    decoding: Decoding
    trial: bool
    insecure_decoder: bool = False
    decoder_files: int = DECODER_FILES_MAX
    clients: bool = False  # Whether clients that do not hold the list may look up.
    spool: SpoolSettings | None = None  # For films that are larger than other files.


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(wanted: int | None) -> int:
    return min(wanted or core_count(), _PROCESSES_MAX)


def run(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Until a signal. Raises: AccordError, as `serve` and `open_platform`."""
    check_exposure(host, settings.token)
    if settings.clients and settings.token is None:  # Else who signs nothing would be the platform.
        raise Malformed("gateway.clients_token", mend="--token-file, for the platform's own calls")
    if settings.spool is not None:
        settings.spool.check()
    if settings.processes == 1:
        _run_alone(settings, host, port, announce)
    else:
        _run_several(settings, host, port, announce)


def _run_alone(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        spool = _spool(stack, settings)
        platform = stack.enter_context(_opened(settings, settings.workers))
        platform.pool.check()  # Refuses here and not at the first upload.
        following = _following(stack, settings, platform)
        cases = _cases(stack, settings, platform)
        lookups = _lookups(stack, settings)
        gateway = Gateway(
            platform.screener,
            following,
            settings.token,
            bodies=Bodies(spool=spool),
            cases=cases,
            lookups=lookups,
        )
        serve(gateway, host, port, announce)


def _run_several(settings: Settings, host: str, port: int, announce: Callable[[str], None]) -> None:
    """This process follows; the others answer, and fold the list at the same time as it does."""
    with ExitStack() as stack:
        _spool(stack, settings)  # Refuses here; the others would be started again and again.
        listener = stack.enter_context(listen(host, port))
        directory = Path(tempfile.mkdtemp(prefix="accord-gateway-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        table = Table(directory, settings.processes)
        brief = _Brief.of(settings, listener, directory)
        check_platform(open_home(settings.home))
        crew = Crew(_ARGV, settings.processes, listener, table, brief.as_json())
        stack.callback(crew.stop)
        crew.start()
        platform = stack.enter_context(_opened(settings, 1))
        platform.pool.check()
        platform.pool.close()  # The others decode.
        relay = Relay(directory, platform.receipts.append)
        stack.callback(relay.close)
        following = _following(stack, settings, platform, crew.tell_news)
        serve_crew(
            crew,
            table,
            following,
            announce=partial(announce, url_of(listener)),
            hourly=partial(forget_salts, platform.screener),
        )


def _opened(settings: Settings, workers: int, among: Path | None = None) -> Platform:
    home = open_home(settings.home)
    check_platform(home)
    replica = open_replica(home, settings.trial)
    return open_platform(
        home,
        replica,
        workers,
        decoding=settings.decoding,
        among=among,
        insecure=settings.insecure_decoder,
        files_max=settings.decoder_files,
    )


def _spool(stack: ExitStack, settings: Settings) -> Spool | None:
    """Where large films lie. Entered before what reads them, so that it is closed after that."""
    if settings.spool is None:
        return None
    spool = Spool(settings.spool)
    stack.callback(spool.close)
    return spool


def _cases(stack: ExitStack, settings: Settings, platform: Platform) -> TakeIn | None:
    """What opens cases; None, where the home has no cases.toml."""
    if not has_desk(settings.home):
        return None
    local = platform.screener.local
    desk = open_desk(settings.home, now_ms, None if local is None else local.files_per_day)
    stack.callback(desk.store.close)
    if local is not None and local.files_per_day is not None:
        platform.screener.local = replace(local, held=desk.store.held)
    return taking_in(desk)


def _lookups(stack: ExitStack, settings: Settings) -> Lookups | None:
    """What admits clients, of every process over one file."""
    if not settings.clients:
        return None
    clients = Clients(settings.home / CLIENTS_FILE)
    stack.callback(clients.close)
    return Lookups(clients, system_clock)


def _following(
    stack: ExitStack,
    settings: Settings,
    platform: Platform,
    on_news: Callable[[], None] | None = None,
) -> Following:
    nodes = stack.enter_context(connected(platform.home))
    if not nodes and settings.follows:
        raise Malformed("cli.no_node", mend="name a node in home.toml, or --no-follow")
    return Following(
        platform.replica,
        platform.screener,
        platform.attester() if settings.attests else None,
        nodes,
        reads_only=not settings.follows,
        on_news=on_news,
        chore=_telling(stack, settings, platform, nodes),
    )


def _telling(
    stack: ExitStack, settings: Settings, platform: Platform, nodes: Sequence[NodeClient]
) -> TellingChore | None:
    """What tells the agencies by itself; None where that is not wanted, or not from here."""
    home = platform.home
    keys = [key for key in home.keys if key.role is Role.REPORTER]
    if not settings.follows or not keys or not has_desk(home.path):
        return None
    sending = load_settings(home.path).feedback
    if not sending.by_itself:
        return None
    store = CaseStore(home.path / CASES_FILE)
    stack.callback(store.close)
    ledger = ReplicaLedger(platform.replica, nodes, now_ms)
    speaker = Speaker(home.chain, home.member, keys[0])
    queue = FeedbackQueue(store, home.path)
    return TellingChore(queue, speaker, ledger, now_ms, sending.every_ms)


@dataclass(frozen=True, slots=True)
class _Brief:
    """What one of several is told: by JSON, since arguments of a process are for all to read."""

    home: str
    token: str | None
    workers: int
    processes: int
    decoding: str
    trial: bool
    listener: int
    directory: str
    insecure_decoder: bool
    decoder_files: int
    clients: bool
    spool: tuple[str, int, int] | None
    place: int = 0

    @classmethod
    def of(cls, settings: Settings, listener: socket.socket, directory: Path) -> Self:
        spool = settings.spool
        return cls(
            str(settings.home.absolute()),
            settings.token,
            -(-settings.workers // settings.processes),
            settings.processes,
            settings.decoding.value,
            settings.trial,
            listener.fileno(),
            str(directory),
            settings.insecure_decoder,
            settings.decoder_files,
            settings.clients,
            None if spool is None else (str(spool.directory.absolute()), *spool.limits),
        )

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def settings(self) -> Settings:
        return Settings(
            Path(self.home),
            self.token,
            self.workers,
            self.processes,
            False,
            False,
            Decoding(self.decoding),
            self.trial,
            self.insecure_decoder,
            self.decoder_files,
            self.clients,
            None if self.spool is None else SpoolSettings(Path(self.spool[0]), *self.spool[1:]),
        )


def _run_one(brief: _Brief, words: IO[bytes]) -> None:
    """One of several: it reads what another one follows and writes."""
    listener = socket.socket(fileno=brief.listener)
    listener.setblocking(False)
    settings = brief.settings()
    siblings = Siblings(Path(brief.directory), brief.place, brief.processes)
    share = max(2 * IMAGE_BYTES_MAX, SCREEN_BYTES_IN_FLIGHT_MAX // brief.processes)
    with ExitStack() as stack:
        spool = _spool(stack, settings)
        platform = stack.enter_context(_opened(settings, settings.workers, siblings.directory))
        following = Following(platform.replica, platform.screener, None, (), reads_only=True)
        gateway = Gateway(
            platform.screener,
            following,
            settings.token,
            bodies=Bodies(Budget(share), spool),
            siblings=siblings,
            cases=_cases(stack, settings, platform),
            lookups=_lookups(stack, settings),
        )
        serve_beside(gateway, listener, siblings, words)


def main() -> None:
    status = 0
    try:
        with open(0, "rb", buffering=0, closefd=False) as words:  # Nothing is read ahead.
            _run_one(_Brief(**json.loads(words.readline())), words)
    except Broken as err:
        failures.fail(err)
        status = EXIT_BROKEN
    except AccordError as err:
        status = failures.fail(err)
    sys.exit(status)


if __name__ == "__main__":
    main()
