"""Before the engine's first vote after a start: have others seen our key sign what it forgot?

The signer's memory (`consensus.state`) keeps its key from voting twice. One that was lost, or came
back from a copy, does not know what was signed since; other agencies' engines do, in their blocks.
A guard against accidents: who does not answer in time is not waited for, and a key that runs at two
places at once is not found out here.
Source: docs/spec/consensus.md section 5.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final

from accord.client.home import Home
from accord.client.http import NodeClient
from accord.node.abci_app import chain_for_engine
from accord.node.comet_files import remembered_height
from accord.node.light import signatures
from accord.node.settings import Peer
from accord.statements.bodies import Role
from accord.wire.errors import AccordError, Broken

RECALL_WAIT_S: Final = 5.0
NEWEST: Final = 5  # Blocks looked at from the newest back; a key that votes is in nearly each.
NEXT: Final = 3  # And after what the memory knows: where it would have gone on.

diagnostics = logging.getLogger(__name__)


def recall_votes(home: Home, peers: Sequence[Peer]) -> None:
    """Raises: Broken, where our consensus key signed a later block than its memory knows."""
    have = remembered_height(home)
    if have is None or not peers:
        return
    pool = ThreadPoolExecutor(len(peers), thread_name_prefix="recall")
    asked = [pool.submit(_seen, home, peer, have) for peer in peers]
    done, late = wait(asked, RECALL_WAIT_S)
    pool.shutdown(wait=False, cancel_futures=True)
    if late:
        diagnostics.warning("%s of %s nodes do not say what we signed", len(late), len(asked))
    seen = max((answer.result() for answer in done), default=0)
    if seen > have:
        mend = "the newest consensus.state, or a new consensus key by keyset"
        raise Broken("node.signer_state_older", have=have, signed=seen, mend=mend)


def _seen(home: Home, peer: Peer, have: int) -> int:
    """The highest block that our key is seen to have signed, 0 for none; silence is none."""
    key = frozenset({home.key(Role.CONSENSUS).public})
    chain, highest = chain_for_engine(home.chain), 0
    node = NodeClient(peer.api, home.chain, home.key(Role.COSIGNER), attempts=1)
    with node, suppress(AccordError):
        newest = signatures(node.read_engine("commit", {}).get("result"), chain, key)
        top = newest.block.height
        highest = top if newest.keys else 0
        back = range(top - 1, max(have, top - NEWEST), -1)
        for height in (*back, *range(have + 1, min(have + NEXT, top) + 1)):
            if highest > have:
                break
            with suppress(AccordError):  # Pruned there, or never seen.
                said = node.read_engine("commit", {"height": height}).get("result")
                highest = height if signatures(said, chain, key).keys else highest
    return highest
