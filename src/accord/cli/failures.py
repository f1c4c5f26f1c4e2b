"""How a command says that it failed: one line, or one JSON object, and exit status 1.

Usage errors are the command line library's and exit with 2.
"""

import json
import sys

from accord.wire.errors import AccordError, Broken, Malformed, Rejected, Unavailable, Unproven

EXIT_FAILED = 1
FAMILIES: tuple[tuple[type[AccordError], str], ...] = (
    (Malformed, "not acceptable as given"),
    (Rejected, "the ledger's rules say no"),
    (Unproven, "could not be proved; do not go on, and keep the evidence"),
    (Unavailable, "not available now; try again"),
    (Broken, "a fault of this program or of its files; stop and look"),
)


def explain(err: AccordError) -> str:
    """What happened, in words: the family's, and what the error itself says."""
    family = next(words for kind, words in FAMILIES if isinstance(err, kind))
    return str(err.detail.get("message", family))


def render(err: AccordError, *, as_json: bool) -> str:
    """One line without its end: `accord: CODE: explanation (facts); mend`, or the like as JSON."""
    facts = {name: value for name, value in err.detail.items() if name not in ("message", "mend")}
    mend = err.detail.get("mend")
    if as_json:
        error = {"code": err.code, "message": explain(err), "detail": facts}
        return json.dumps({"error": error | ({"mend": mend} if mend else {})}, ensure_ascii=False)
    listed = ", ".join(f"{name}={value}" for name, value in facts.items() if value != "")
    line = f"accord: {err.code}: {explain(err)}"
    return line + (f" ({listed})" if listed else "") + (f"; mend: {mend}" if mend else "")


def fail(err: AccordError) -> int:
    """Say it on standard error; the exit status."""
    sys.stderr.write(render(err, as_json="--json" in sys.argv[1:]).replace("\n", " ") + "\n")
    return EXIT_FAILED
