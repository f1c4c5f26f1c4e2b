"""The consortium's parameters as people write and read them: `NAME=VALUE`.

Numbers as they are; `ceilings` as pdq/hamming/31,photodna/l2/300; `classes` as ncmec/A1,uk/A.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Final

from accord.statements.bodies import Parameters, is_possible
from accord.statements.classes import parse_class
from accord.wire import cbor
from accord.wire.errors import Malformed
from accord.wire.record import dump_record, load_record

NAMES: Final = tuple(field.name for field in fields(Parameters))


def changed(parameters: Parameters, changes: Iterable[str]) -> Parameters:
    """The parameters with some replaced. Raises: Malformed."""
    value = dump_record(parameters)
    if isinstance(value, dict):
        value |= dict(_change(text) for text in changes)
    wanted = load_record(Parameters, value)
    if not is_possible(wanted):
        raise Malformed("cli.parameter", wanted="ceilings of metrics that there are, each once")
    return wanted


def lines_of(parameters: Parameters) -> Iterator[str]:
    """`NAME = VALUE`, a line each."""
    for name in NAMES:
        value = getattr(parameters, name)
        if name == "classes":
            value = ",".join(str(code) for code in parameters.classes)
        elif name == "ceilings":
            value = ",".join(
                f"{limit.algorithm}/{limit.metric}/{limit.threshold_max}"
                for limit in parameters.ceilings
            )
        yield f"{name} = {value}"


def _change(text: str) -> tuple[str, cbor.Value]:
    name, _, value = text.partition("=")
    if name == "classes":
        codes = sorted(parse_class(part) for part in value.split(",") if part)
        return name, [dump_record(code) for code in codes]
    if name == "ceilings":
        return name, [_ceiling(part) for part in sorted(value.split(",")) if part]
    if name not in NAMES or not _is_number(value):
        raise Malformed("cli.parameter", got=text[:60], wanted=f"{'|'.join(NAMES)}=VALUE")
    return name, int(value)


def _ceiling(text: str) -> cbor.Value:
    algorithm, metric, number = [*text.split("/"), "", ""][:3]
    if not _is_number(number):
        raise Malformed("cli.parameter", got=text[:60], wanted="pdq/hamming/31,photodna/l2/300")
    return [algorithm, metric, int(number)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16
