"""Sending a platform's feedback: for `accord cases feedback --send` and after a disposition."""

import sys
from typing import TYPE_CHECKING

from accord.cli.assemble import connected, now_ms, open_replica
from accord.cli.governance import in_words
from accord.client.home import Home
from accord.statements.bodies import Role
from accord.wire.errors import Malformed, Rejected, Unavailable, Unproven
from accord.wire.ids import TRIAL_PREFIX

if TYPE_CHECKING:
    from accord.scan.cases.desk import CaseDesk
    from accord.scan.cases.telling import Told


def send(home: Home, desk: "CaseDesk") -> "Told":
    """Everything that is owed. Raises: Malformed, without a reporter key or a node; Rejected;
    Unavailable; Unproven."""
    from accord.scan.cases.telling import (  # noqa: PLC0415
        FeedbackQueue,
        ReplicaLedger,
        Speaker,
    )

    speaker = Speaker(home.chain, home.member, home.key(Role.REPORTER))
    replica = open_replica(home, home.chain.startswith(TRIAL_PREFIX))
    try:
        with connected(home) as nodes:
            if not nodes:
                raise Malformed("cli.no_node", mend="name a node in home.toml")
            ledger = ReplicaLedger(replica, nodes, now_ms)
            return FeedbackQueue(desk.store, home.path).tell(speaker, ledger, now_ms)
    finally:
        replica.close()


def send_by_itself(home: Home, desk: "CaseDesk") -> None:
    """After a disposition, where cases.toml says so. The disposition stands whatever comes of it;
    what is not sent now is sent by the gateway, or by `accord cases feedback --send`."""
    from accord.scan.cases.settings import load_settings  # noqa: PLC0415
    from accord.scan.cases.telling import FeedbackQueue  # noqa: PLC0415

    sending = load_settings(home.path).feedback
    queue = FeedbackQueue(desk.store, home.path)
    if not sending.by_itself or not queue.is_due(now_ms(), sending.every_ms):
        return
    try:
        send(home, desk)
    except (Malformed, Rejected, Unavailable, Unproven) as err:
        words = f"feedback waits ({err.code}{in_words(err.code)}): accord cases feedback --send"
        sys.stderr.write(f"accord: {words}\n")
