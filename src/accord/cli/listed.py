"""`accord log not-listed`, `accord log verify-answer`: is this on the list? Signed, and checked.

Not here: what an answer is (accord.audit.listed), folding and signing (accord.agency.answering).
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from accord.cli.assemble import AgencyBook, connected, now_ms, open_replica
from accord.cli.continuing import complete
from accord.cli.founding import read_genesis
from accord.cli.governance import tell
from accord.cli.options import HomeOption, InsecureDecoder, Json, Trial
from accord.client.files import write_durably
from accord.client.home import open_home
from accord.client.http import NodeClient
from accord.ledger.membership import agency, parameters
from accord.ledger.state import KEYS
from accord.replica.replica import Replica, sync_any
from accord.statements.rules import METRICS, Algorithm, Metric
from accord.wire.errors import Malformed, Unavailable, Unproven
from accord.wire.limits import (
    ANSWER_FILE_BYTES_MAX,
    ANSWER_ITEMS_MAX,
    LOG_SIZE_MAX,
    PDQ_THRESHOLD_MAX,
    PHOTODNA_THRESHOLD_MAX,
)

if TYPE_CHECKING:
    from accord.audit.listed import AskedValue, ListAnswer, SignedAnswer

EXIT_LISTED: Final = 3
REFS_SHOWN_MAX: Final = 100  # Of each value.
REACH: Final = {Algorithm.PDQ: PDQ_THRESHOLD_MAX, Algorithm.PHOTODNA: PHOTODNA_THRESHOLD_MAX}
What = Annotated[
    list[str],
    typer.Argument(metavar="VALUE|FILE", help="sha256:HEX, md5:, sha1:, pdq:, photodna:; a file."),
]
Distance = Annotated[
    int | None,
    typer.Option(min=0, help="Reach of pdq (31 bits) and photodna (300), if left out; 0 is equal."),
]

_NOT_LISTED = """Say, signed, whether values or files are listed: as of now, or of an earlier size.

A digest must be equal; a PDQ or a PhotoDNA is answered for all listings within --distance. The
answer holds neither the values nor refs, so it may be published: whoever asked keeps the salt,
which opens it. Ask every agency with the same --salt and --at, and all give the same answer.
The refs, if any, are printed here and nowhere else.

Exit status: 0 nothing listed, 3 something is, was or is proposed.

Examples:

    accord log not-listed photo.jpg --home ./nl-police --out answer.json

    accord log not-listed pdq:HEX sha256:HEX --home ./ie-garda --salt HEX --at 41 --json
"""
_VERIFY = """Check signed answers about the list, offline: whose they are and what they say.

Several agencies' answers to one question must say the same. With the salt and what was asked it
also proves that the answer is to that question; --refold answers again from this agency's own
copy of the list, and compares. Keys and roots come from the home's copy of the log, or from any
node or mirror with --log.

Exit status: 0 as it should be and nothing listed, 3 as it should be and something is listed.

Examples:

    accord log verify-answer answer.json --home ./ie-garda

    accord log verify-answer nl.json ie.json --log https://log.example --genesis genesis.json

    accord log verify-answer nl.json --home ./ie-garda --asked photo.jpg --salt HEX --refold
"""


def register(log_app: typer.Typer) -> None:
    """Adds the commands to `accord log`."""
    log_app.command("not-listed", help=_NOT_LISTED)(not_listed)
    log_app.command("verify-answer", help=_VERIFY)(verify_answer)


def not_listed(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    what: What,
    home: HomeOption,
    distance: Distance = None,
    salt: Annotated[
        str, typer.Option(metavar="HEX", help="32 bytes of the asker's; fresh, if left out.")
    ] = "",
    at: Annotated[
        int | None, typer.Option(min=1, max=LOG_SIZE_MAX, help="Log size; the newest if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write the answer.")
    ] = None,
    operator: Annotated[
        str | None, typer.Option(help="Who signs, where the home holds several keys.")
    ] = None,
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Answer from the log as it is here.")
    ] = False,
    insecure_decoder: InsecureDecoder = False,
    as_json: Json = False,
) -> None:
    from accord.agency.answering import answer_at, sign_answer  # noqa: PLC0415  (numpy: slow)
    from accord.audit.listed import SALT_BYTES  # noqa: PLC0415

    secret = parse_salt(salt) if salt else os.urandom(SALT_BYTES)
    asked = asked_by(what, distance, insecure_decoder)
    opened = open_home(home)
    with closing(AgencyBook(opened)) as book:
        if not no_sync:
            book.sync()
        found = answer_at(book.replica, at, secret, asked)
    signed = sign_answer(opened, found.answer, operator)
    raw = signed.encode()
    if out is not None:
        write_durably(out, raw)
    values = _views(found.answer)
    shown = [[str(ref) for ref in refs[:REFS_SHOWN_MAX]] for refs in found.refs]
    for view, one, named, refs in zip(values, asked, shown, found.refs, strict=True):
        view |= {"value": one.value.hex(), "refs": named, "listings": len(refs)}
    said = _facts(found.answer) | {
        "agency": opened.member,
        "salt": secret.hex(),
        "values": values,
        "answer": raw.decode(),
    }
    lines = [_headline(found.answer, [opened.member])]
    lines += [
        f"  {_line(view)} {' '.join(named)}" for view, named in zip(values, shown, strict=True)
    ]
    lines.append(f"Salt, for whoever asked: {secret.hex()}")
    lines.append("The answer itself: --out FILE" if out is None else f"The answer: {out}")
    tell(as_json, said, "\n".join(lines))
    if not found.answer.is_clean:
        raise typer.Exit(EXIT_LISTED)


def verify_answer(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Answers to one question.")],
    home: Annotated[
        Path | None, typer.Option("--home", envvar="ACCORD_HOME", help="Any member's home.")
    ] = None,
    log: Annotated[
        str | None, typer.Option(metavar="URL", help="Instead of a home: a node or a mirror.")
    ] = None,
    genesis: Annotated[
        Path | None, typer.Option(help="With --log: the genesis file you trust.")
    ] = None,
    asked: Annotated[
        list[str] | None, typer.Option(metavar="VALUE|FILE", help="What was asked, in its order.")
    ] = None,
    salt: Annotated[str, typer.Option(metavar="HEX", help="The asker's salt.")] = "",
    distance: Distance = None,
    refold: Annotated[
        bool, typer.Option("--refold", help="Answer again from this agency's list, and compare.")
    ] = False,
    no_sync: Annotated[
        bool, typer.Option("--no-sync", help="Check by the log as it is here.")
    ] = False,
    insecure_decoder: InsecureDecoder = False,
    trial: Trial = False,
    as_json: Json = False,
) -> None:
    from accord.agency.answering import answer_at  # noqa: PLC0415  (numpy: slow to load)
    from accord.audit.listed import agreed, check_asked  # noqa: PLC0415

    if bool(asked) != bool(salt) or (refold and not asked):
        raise Malformed("cli.answer", mend="--asked and --salt go together; --refold needs them")
    if refold and log is not None:  # A log alone opens no batch: all would look unlisted.
        raise Malformed("cli.answer", mend="--refold with --home of an agency, not with --log")
    question = asked_by(asked or [], distance, insecure_decoder)
    signed = [_read(file) for file in files]
    with _a_log(home, log, genesis, trial, no_sync) as replica:
        answer = agreed([_proven(one, replica) for one in signed])
        if question:
            check_asked(answer, parse_salt(salt), question)
        if refold:
            again = answer_at(replica, answer.size, parse_salt(salt), question).answer
            if again != answer:
                raise Unproven("answer.not_ours", size=answer.size)
    agencies = sorted({one.agency for one in signed})
    said = _facts(answer) | {
        "verified": True,
        "agencies": agencies,
        "values": _views(answer),
        "opened": bool(question),
        "refolded": refold,
    }
    lines = [_headline(answer, agencies), *(f"  {_line(view)}" for view in _views(answer))]
    tell(as_json, said, "\n".join(lines))
    if not answer.is_clean:
        raise typer.Exit(EXIT_LISTED)


def _proven(signed: "SignedAnswer", replica: Replica) -> "ListAnswer":
    """What it says, held against a verified log. Raises: Unproven, Unavailable."""
    from accord.agency.answering import place_at  # noqa: PLC0415  (numpy: slow to load)
    from accord.audit.listed import check_place, check_root  # noqa: PLC0415

    is_admitted = agency(replica.state, signed.agency) is not None
    answer = signed.verify(replica.state.get(KEYS, signed.key_id), is_admitted=is_admitted)
    check_root(answer, replica.size, replica.root_at)
    check_place(answer, place_at(replica, answer.size), parameters(replica.state).fold_version)
    return answer


def parse_salt(text: str) -> bytes:
    """Raises: Malformed."""
    from accord.audit.listed import SALT_BYTES  # noqa: PLC0415  (numpy: slow to load)

    try:
        salt = bytes.fromhex(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise Malformed("answer.salt", wanted=f"{2 * SALT_BYTES} hex digits")
    return salt


def asked_by(what: Sequence[str], distance: int | None, insecure: bool) -> "list[AskedValue]":
    """Values as written, and of each file its digests and fingerprints. Raises: Malformed."""
    asked: list[AskedValue] = []
    for word in what:
        scheme, colon, text = word.partition(":")
        if colon and scheme in set(Algorithm):
            asked.append(_value(Algorithm(scheme), text, distance))
        else:
            asked += _values_of(Path(word), distance, insecure)
    asked = list(dict.fromkeys(asked))
    if len(asked) > ANSWER_ITEMS_MAX:
        raise Malformed("answer.too_many", got=len(asked), limit=ANSWER_ITEMS_MAX)
    return asked


def _value(scheme: Algorithm, text: str, distance: int | None) -> "AskedValue":
    from accord.audit.listed import AskedValue  # noqa: PLC0415  (numpy: slow to load)

    try:
        value = bytes.fromhex(text)
    except ValueError as err:
        raise Malformed("cli.value", scheme=scheme.value, wanted="hex digits") from err
    return AskedValue(scheme, value, *_reach(scheme, distance))


def _reach(scheme: Algorithm, distance: int | None) -> tuple[Metric | None, int]:
    reach = REACH.get(scheme, 0) if distance is None else distance
    if scheme not in METRICS or not reach:
        return None, 0
    return next(iter(METRICS[scheme])), reach


def _values_of(file: Path, distance: int | None, insecure: bool) -> "list[AskedValue]":
    from accord.audit.listed import AskedValue  # noqa: PLC0415  (numpy: slow to load)
    from accord.fingerprint import Decoding, Unhashable  # noqa: PLC0415
    from accord.matching import query_of  # noqa: PLC0415
    from accord.media import DecoderPool, read_file  # noqa: PLC0415

    data = read_file(file)
    if isinstance(data, Unhashable):
        raise Malformed("listing.unhashable", path=str(file), why=data.code.value)
    with DecoderPool(1, insecure=insecure) as pool:
        query = query_of(pool.fingerprint(data, Decoding.EXACT))
    if query.undetermined is not None:  # "Not listed" would be said of what nobody looked at.
        raise Malformed("listing.unhashable", path=str(file), why=query.undetermined)
    asked = [AskedValue(scheme, digest) for scheme, digest in query.digests]
    reach = _reach(Algorithm.PDQ, distance)
    return asked + [AskedValue(Algorithm.PDQ, frame.bits, *reach) for frame in query.frames]


def _read(file: Path) -> "SignedAnswer":
    from accord.audit.listed import parse_signed_answer  # noqa: PLC0415  (numpy: slow to load)

    try:
        with file.open("rb") as opened:
            raw = opened.read(ANSWER_FILE_BYTES_MAX + 1)
    except OSError as err:
        raise Malformed("cli.answer", path=str(file), why=err.strerror or "") from err
    if len(raw) > ANSWER_FILE_BYTES_MAX:
        raise Malformed("cli.answer", path=str(file), limit=ANSWER_FILE_BYTES_MAX)
    return parse_signed_answer(raw)


@contextmanager
def _a_log(
    home: Path | None, log: str | None, genesis: Path | None, trial: bool, no_sync: bool
) -> Iterator[Replica]:
    """A verified log: a home's copy, or one made now from any node or mirror."""
    with ExitStack() as stack:
        if home is not None and log is None:
            opened = open_home(home)
            replica = stack.enter_context(closing(open_replica(opened, trial)))
            if not no_sync:
                try:
                    sync_any(replica, stack.enter_context(connected(opened)), now_ms())
                except Unavailable as err:
                    sys.stderr.write(f"accord: no node answered ({err.code}); the log as it is\n")
        elif log is not None and home is None:
            client = stack.enter_context(NodeClient(log))
            if genesis is None:
                raise Malformed("cli.answer", mend="--genesis FILE, which you have from elsewhere")
            founding = complete(read_genesis(genesis, "")[0], client.fetch_earlier)
            where = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "replica"
            replica = Replica(where, founding, None, allow_trial=trial)
            stack.enter_context(closing(replica))
            replica.sync(client, now_ms())
        else:
            raise Malformed("cli.answer", mend="either --home or --log")
        yield replica


def _facts(answer: "ListAnswer") -> dict[str, object]:
    return {
        "chain": answer.chain,
        "size": answer.size,
        "root": answer.root.hex(),
        "time_ms": answer.time_ms,
        "fold_version": answer.fold_version,
        "groups": list(answer.groups),
    }


def _views(answer: "ListAnswer") -> list[dict[str, object]]:
    return [
        {
            "scheme": item.scheme.value,
            "metric": item.metric and item.metric.value,
            "distance": item.distance,
            "listed": item.listed.value,
            "commitment": item.commitment.hex(),
        }
        for item in answer.values
    ]


def _headline(answer: "ListAnswer", agencies: Sequence[str]) -> str:
    whose = ", ".join(agencies)
    return (
        f"{answer.chain}, after {answer.size} entries (root {answer.root.hex()[:16]}..), {whose}:"
    )


def _line(view: dict[str, object]) -> str:
    reach = f" within {view['distance']} ({view['metric']})" if view["metric"] else ""
    return f"{view['scheme']}{reach}: {view['listed']}"
