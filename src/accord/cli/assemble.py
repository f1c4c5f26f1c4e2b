"""From a home directory to the objects that commands use: its replica, its nodes.

Not here: any logic. A home's replica is `replica.sqlite` beside its `home.toml`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from accord.agency import book
from accord.agency.desk import Desk
from accord.agency.keeper import Keeper
from accord.agency.keydesk import retired_decryptors
from accord.agency.voice import Voice
from accord.client.home import Home, PrivateKey
from accord.client.http import NodeClient
from accord.replica.replica import Identity, Replica
from accord.statements.bodies import Role
from accord.statements.confidential import load_decrypt_private
from accord.wire.errors import Malformed, Unavailable
from accord.wire.ids import TRIAL_PREFIX, KeyId, TimeMs

REPLICA_FILE = "replica.sqlite"

# Whose key signs requests to a node: the machine's, where the home has one. The root is the last:
# a home that holds nothing else is about to make everything else.
_CALLERS = (
    Role.SCANNER,
    Role.KEEPER,
    Role.ANALYST,
    Role.AUDITOR,
    Role.GOVERNOR,
    Role.APPROVER,
    Role.ROOT,
)


def replica_file(home: Home) -> Path:
    return home.path / REPLICA_FILE


def identity_of(home: Home) -> Identity | None:
    """The member and its decryptor key; None for a home that holds none and so opens nothing."""
    keys = [key for key in home.keys if key.role is Role.DECRYPTOR]
    if not keys:
        return None
    key_id, private = load_decrypt_private(keys[0].seed)
    others = [load_decrypt_private(key.seed) for key in (*keys[1:], *retired_decryptors(home.path))]
    former = tuple((KeyId(other), opened) for other, opened in others)
    return Identity(home.member, key_id, private, former)


def open_replica(home: Home, allow_trial: bool) -> Replica:
    """The home's replica, proved as it is read. Raises: Unproven, Unavailable."""
    return Replica(replica_file(home), home.founding, identity_of(home), allow_trial=allow_trial)


def request_key(home: Home) -> PrivateKey:
    """The key that signs requests to nodes. Raises: Malformed, for a home without any."""
    for role in _CALLERS:
        for key in home.keys:
            if key.role is role:
                return key
    raise Malformed("home.no_such_key", role="scanner or keeper", have=str(len(home.keys)))


def node_clients(home: Home) -> Sequence[NodeClient]:
    """A client for each node in home.toml, the own one first."""
    key = request_key(home)
    return [NodeClient(url, home.chain, key) for url in home.nodes]


def now_ms() -> TimeMs:
    """This machine's clock: what statements' lives and freshness are judged by."""
    return TimeMs(time.time_ns() // 1_000_000)


class AgencyBook(book.AgencyBook):
    """An agency's own view of the ledger, from its home. Raises: Malformed, Unproven, Unavailable.

    A home of a trial's agency was founded as one, so it need not be told `--trial` again.
    """

    def __init__(self, home: Home, allow_trial: bool | None = None) -> None:
        if home.kind != "agency":
            raise Malformed("cli.not_an_agency", member=home.member, mend="--home of an agency")
        if not home.nodes:
            raise Malformed("cli.no_node", mend="name a node in home.toml")
        trial = home.chain.startswith(TRIAL_PREFIX) if allow_trial is None else allow_trial
        self.nodes = node_clients(home)
        super().__init__(open_replica(home, trial), self.nodes, now_ms)

    def close(self) -> None:
        super().close()
        for node in self.nodes:
            node.close()


def open_desk(home: Home, its_book: AgencyBook, operator: str | None = None) -> Desk:
    """A person's desk; `operator` where the home holds several keys of a role."""
    return Desk(Voice(home, AnyNode(its_book.nodes), now_ms, operator), its_book)


def open_keeper(home: Home, its_book: AgencyBook) -> Keeper:
    """The agency's keeper."""
    return Keeper(Voice(home, AnyNode(its_book.nodes), now_ms), its_book)


class AnyNode:
    """Hands a statement to the first node that answers: the own one may be what is being mended.
    The same bytes through two nodes become one entry.
    """

    def __init__(self, nodes: Sequence[NodeClient]) -> None:
        self._nodes = nodes

    def submit(self, transaction: bytes) -> int:
        """As `voice.Client.submit`."""
        for node in self._nodes[:-1]:
            with suppress(Unavailable):
                return node.submit(transaction)
        return self._nodes[-1].submit(transaction)


@contextmanager
def connected(home: Home) -> Iterator[Sequence[NodeClient]]:
    """`node_clients`, closed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(client) for client in node_clients(home)]
