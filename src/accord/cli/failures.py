"""How a command says that it failed: one line, or one JSON object, and exit status 1.

Usage errors are the command line library's and exit with 2.
"""

import json
import os
import sys

from accord.cli.meanings import meaning_of
from accord.cli.text import encodable, printable
from accord.wire.errors import AccordError, Broken, Malformed, Rejected, Unavailable, Unproven

EXIT_FAILED = 1
# What the family says where the code is not on the page, and what to do where nobody says it.
FAMILIES: tuple[tuple[type[AccordError], str, str], ...] = (
    (Malformed, "not acceptable as given", ""),
    (Rejected, "the ledger's rules say no", ""),
    (Unproven, "could not be proved", "do not go on, and keep the evidence"),
    (Unavailable, "not available now", "try again"),
    (Broken, "a fault of this program or of its files", "stop and look; delete nothing"),
)
# Where it is the caller that could not prove itself, to a node.
CALLER = ("http.signature", "http.body_", "http.replayed", "http.not_released")


def explain(err: AccordError) -> tuple[str, str]:
    """What happened and what to do: as the error itself says, or docs/errors.md, or the family."""
    family, words, mend = next(row for row in FAMILIES if isinstance(err, row[0]))
    known = meaning_of(err.code)
    if family is Unproven and err.code.startswith(CALLER):
        mend = "see to your keys, your standing (accord members) and your clock"
    if known is not None:
        words = f"{words}: {known.words}" if family is Rejected else known.words
        mend = known.mend or mend
    return str(err.detail.get("message", words)), str(err.detail.get("mend", mend))


def render(err: AccordError, *, as_json: bool) -> str:
    """One line without its end: `accord: CODE: explanation (facts); mend: ..`, or as JSON."""
    facts = {name: value for name, value in err.detail.items() if name not in ("message", "mend")}
    words, mend = explain(err)
    if as_json:
        error = {"code": err.code, "message": words, "detail": facts}
        return json.dumps({"error": error | ({"mend": mend} if mend else {})}, ensure_ascii=False)
    listed = ", ".join(f"{name}={value}" for name, value in facts.items() if value != "")
    line = f"accord: {err.code}: {words}"
    return line + (f" ({listed})" if listed else "") + (f"; mend: {mend}" if mend else "")


def fail(err: AccordError) -> int:
    """Say it on standard error; the exit status."""
    as_json = "--json" in sys.argv[1:]
    line = render(err, as_json=as_json)
    sys.stderr.write((encodable(line) if as_json else printable(line)).replace("\n", " ") + "\n")
    return EXIT_FAILED


def of_system(err: OSError) -> AccordError:
    """What the system refused, where nobody nearer to it knew better: most often a full disk."""
    path = "" if err.filename is None else str(err.filename)
    return Unavailable("cli.io", path=path, why=err.strerror or type(err).__name__)


def flush_output(status: int) -> int:
    """Whatever was printed is out, or the exit status says that it is not."""
    try:
        sys.stdout.flush()
    except OSError as err:
        # What is still buffered goes nowhere: the interpreter would trip over it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or fail(of_system(err))
    return status
