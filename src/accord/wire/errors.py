"""Error families, by who must act.

`code` is dotted and stable and listed in docs/errors.md; `detail` holds scalars safe to log:
never image bytes, file names, an uploader's identity or a whole fingerprint.
"""

from typing import Final


class AccordError(Exception):
    """The root of the families. Never raised itself."""

    def __init__(self, code: str, **detail: int | str) -> None:
        super().__init__(code)
        self.code: Final = code
        self.detail: Final = detail

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.detail.items())
        return f"{self.code} ({facts})" if facts else self.code


class Malformed(AccordError):
    """Outside bytes do not parse, or break a limit. The sender mends them; never retry."""


class Unproven(AccordError):
    """A signature, proof or consistency check fails. Stop trusting; keep the evidence."""


class Unavailable(AccordError):
    """A port did not answer in time. Back off; answer Undetermined meanwhile."""


class Rejected(AccordError):
    """The ledger's rules said no: a RejectCode that crossed a network. Read the rule."""


class Broken(AccordError):
    """Our own invariant failed. Halt; nobody catches it."""
