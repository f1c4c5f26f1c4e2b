"""Figures as measured, and how they are shown: one JSON object, or tables to paste.

Units: the last part of a column's name, such as `publish_p50_ms`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = Mapping[str, str | int | float | None]
SIGNIFICANT: Final = 3  # Digits of a rate or a time: the machine is not more repeatable than that.


@dataclass(frozen=True, slots=True)
class Section:
    """One table. Every row has the same columns."""

    name: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What one run measured, on what, of what."""

    machine: Row
    parameters: Row
    sections: tuple[Section, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": dict(self.machine),
            "parameters": dict(self.parameters),
            "figures": {part.name: [dict(row) for row in part.rows] for part in self.sections},
        }

    def as_text(self) -> str:
        """Markdown that reads well in a terminal too."""
        facts = {**self.machine, **self.parameters}
        parts = ["\n".join(f"- {_words(name)}: {_cell(value)}" for name, value in facts.items())]
        parts += [f"### {part.title}\n\n{table(part.rows)}" for part in self.sections]
        return "\n\n".join(parts) + "\n"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def rounded(value: float) -> float:
    """To `SIGNIFICANT` digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return round(value, SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))


def per_second(count: int, seconds: float) -> float:
    return rounded(count / seconds) if seconds > 0 else 0.0


def table(rows: Sequence[Row]) -> str:
    """Aligned Markdown: words to the left, numbers to the right."""
    names = list(rows[0])
    cells = [[_words(name) for name in names]]
    cells += [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    is_text = [isinstance(rows[0][name], str) for name in names]
    rule = [
        "-" * width if text else "-" * (width - 1) + ":"
        for width, text in zip(widths, is_text, strict=True)
    ]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.ljust(width) if text else value.rjust(width)
            for value, width, text in zip(values, widths, is_text, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(cells[0]), line(rule), *(line(row) for row in cells[1:])])


def _words(name: str) -> str:
    return name.replace("_per_s", "/s").replace("_", " ")


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float) and value >= 10 ** (SIGNIFICANT - 1):
        value = round(value)
    return f"{value:,}" if isinstance(value, int | float) else value
