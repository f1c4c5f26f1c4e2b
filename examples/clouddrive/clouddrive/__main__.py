"""Starts one drive: `python -m clouddrive --gateway URL --data DIR --port N`."""

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import uvicorn

from clouddrive.views import Jurisdiction
from clouddrive.web import Settings, build_app


def _jurisdiction(text: str) -> Jurisdiction:
    code, _, name = text.partition(":")
    if not code.isalnum() or len(code) > 16:
        raise argparse.ArgumentTypeError("say CODE or CODE:Name, such as NL:Netherlands")
    return Jurisdiction(code, name or code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clouddrive", description="A cloud drive that screens.")
    parser.add_argument("--gateway", required=True, help="the gateway's address, http://host:port")
    parser.add_argument("--data", required=True, type=Path, help="folder for files and database")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", default=0, type=int, help="port to listen on; 0 takes a free one")
    parser.add_argument("--token-file", type=Path, help="file with the gateway's bearer token")
    parser.add_argument(
        "--jurisdiction",
        action="extend",
        nargs="+",
        default=[],
        type=_jurisdiction,
        metavar="CODE:Name",
        help="a place one may upload from; repeat it; the first is preselected",
    )
    return parser


class _Server(uvicorn.Server):
    """Says its address once it accepts connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            sys.stdout.write(f"The drive listens on http://{host}:{port}/\n")
            sys.stdout.flush()


def main() -> int:
    """The exit status: 0 after a stop by signal, 1 when it could not start."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.umask(0o077)
    options.data.mkdir(parents=True, exist_ok=True)
    # A form's files are spooled before they are taken: inside our own folder, never elsewhere.
    spool = options.data / "spool"
    spool.mkdir(exist_ok=True)
    tempfile.tempdir = str(spool)
    token = options.token_file.read_text().strip() if options.token_file else None
    settings = Settings(
        data=options.data,
        gateway=options.gateway,
        token=token,
        jurisdictions=options.jurisdiction,
        hosts=["*"] if options.host in ("0.0.0.0", "::") else [options.host, "localhost"],  # noqa: S104 - compared, not bound.
    )
    listener = socket.create_server((options.host, options.port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Inherited; else 40 ms each.
    # The server stops by itself on both signals and raises them again: let that be a clean end.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    config = uvicorn.Config(
        build_app(settings),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
