"""What the API asks of whatever orders statements: the solo sequencer, or CometBFT."""

from dataclasses import dataclass
from typing import Protocol

from accord.ledger.codes import RejectCode
from accord.ledger.state import Reader
from accord.wire.ids import ChainId

Verdict = int | RejectCode  # The entry's index, or why not.


@dataclass(frozen=True, slots=True)
class Head:
    """A published head: the note that a quorum signed, and the policy in force at its size."""

    size: int
    note: bytes
    policy: bytes
    cosigned_s: int


class Engine(Protocol):
    """An ordering engine, driven from one event loop."""

    @property
    def chain(self) -> ChainId: ...

    @property
    def state(self) -> Reader:
        """The fold as it stands; it may be a block ahead of the head."""
        ...

    @property
    def head(self) -> Head | None:
        """The newest published head; None until a quorum has signed one."""
        ...

    async def submit(self, raw: bytes) -> Verdict:
        """Order a transaction. An index means: durable, and under a head that a quorum signed.

        The very same statement again gives its index again, so a caller that lost the answer
        simply asks once more. Raises: Malformed; Unavailable, and then nobody knows yet whether
        the statement counts: ask again.
        """
        ...

    async def wait_beyond(self, size: int, wait_s: float) -> Head | None:
        """The head once it is larger than `size`, or whatever it is after `wait_s`."""
        ...

    def gauges(self) -> dict[str, float]:
        """Figures for operators, by metric name. `accord_node_halted` and `accord_node_quorum` (0
        or 1) are among them.
        """
        ...
