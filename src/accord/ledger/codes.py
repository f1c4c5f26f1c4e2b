"""Reject codes: the ledger's verdicts. Append only: never renumber, never reuse.

CometBFT hashes a result's code into the next header, so a new code is a network upgrade.
The meaning of each stands in docs/errors.md.
"""

from enum import IntEnum


class RejectCode(IntEnum):
    MALFORMED = 1
    UNKNOWN_KEY = 2
    WRONG_MEMBER = 3
    BAD_SIGNATURE = 4
    EXPIRED = 5
    TOO_FAR_AHEAD = 6
    REPLAYED = 7
    WRONG_ROLE = 8
    BLOB_MISSING = 9
    BLOB_MISMATCH = 10
    BLOB_HEADER = 11
    MEMBER_SUSPENDED = 12
    OVER_QUOTA = 13
    UNKNOWN_GROUP = 14
    EPOCH_NOT_CURRENT = 15
    EPOCH_ROTATION_DUE = 16
    UNKNOWN_ENTRY = 17
    NOT_THE_PUBLISHER = 18
    SAME_OPERATOR = 19
    ALREADY_APPROVED = 20
    NOT_APPROVED = 21
    REF_OUT_OF_RANGE = 22
    OWN_LISTING = 23
    SUPERSEDED = 24
    BAD_KEYSET = 25
    KEY_REUSED = 26
    NOT_ACCREDITED = 27
    BELOW_FLOOR = 28
    INVALID_ACTION = 29
    UNKNOWN_PROPOSAL = 30
    PROPOSAL_CLOSED = 31
    WRONG_RECIPIENTS = 32
    EPOCH_PENDING = 33
    UNKNOWN_EPOCH = 34
    ALREADY_ACKNOWLEDGED = 35
    MISSING_AGENCIES_GROUP = 36
    ATTESTATION_AHEAD = 37
    BAD_RULE_SET = 38
    CLASS_NOT_ADMITTED = 39
    KEYSET_SUSPENDED = 40
    FEEDBACK_QUOTA = 41

    @property
    def code(self) -> str:
        """The dotted name that crosses the network, such as `reject.not_the_publisher`."""
        return f"reject.{self.name.lower()}"
