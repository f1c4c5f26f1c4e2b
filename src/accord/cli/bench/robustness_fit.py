"""What a run counted, how sure it is, and how far the false positives fall off.

Distances of unrelated pictures thin out by a factor of ten every few bits. A straight line through
the logarithms of what was seen says where one in 10^12 pairs would lie, which is one false match
in a million queries against a million listings. Below what was seen it is an extrapolation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.cli.bench.figures import Row, rounded, table

STEPS: Final = ("pdq", "full", "frame", "patches", "all", "review")
KINDS: Final = ("full", "frame", "votes_1", "votes_2", "votes_3")
BOUND: Final = 1e-12  # Of picture pairs: 1e-6 a query against a million listings.
_SURE: Final = 1.96  # Deviations of 95 %.
_SEEN_MIN: Final = 3  # Fewer pairs say too little for the line.
_SHARE_MAX: Final = 1e-3  # More are the bulk, not the tail.
_BITS: Final = 257

Counts = NDArray[np.int64]
Histograms = dict[str, Counts]


@dataclass(slots=True)
class Tally:
    """Counts of one run. `others` are histograms of bits between queries and others' listings;
    `false` counts pairs that match by full, by any step, by patches."""

    asked: dict[str, int]
    met: dict[str, dict[str, int]]
    others: Histograms = field(
        default_factory=lambda: {kind: np.zeros(_BITS, dtype=np.int64) for kind in KINDS}
    )
    false: Counts = field(default_factory=lambda: np.zeros(3, dtype=np.int64))

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> "Tally":
        return cls(dict.fromkeys(names, 0), {name: dict.fromkeys(STEPS, 0) for name in names})

    def count(self, name: str, by: Mapping[str, bool]) -> None:
        self.asked[name] += 1
        for step, is_met in by.items():
            self.met[name][step] += is_met

    def add(self, other: "Tally") -> None:
        for name, asked in other.asked.items():
            self.asked[name] += asked
            for step, met in other.met[name].items():
                self.met[name][step] += met
        for kind in KINDS:
            self.others[kind] += other.others[kind]
        self.false += other.false


@dataclass(frozen=True, slots=True)
class Line:
    """The tail of a kind of distance: log10 of the share of pairs within `bits` is
    `level + bits / per_decade`."""

    pairs: int
    nearest: int
    level: float
    per_decade: float

    def share_within(self, bits: int) -> float:
        return float(10 ** (self.level + bits / self.per_decade))

    @property
    def bits_at_bound(self) -> int:
        return math.floor((math.log10(BOUND) - self.level) * self.per_decade)


def line_of(histogram: Counts) -> Line | None:
    """Least squares over the tail; None where too little was seen of it."""
    pairs = int(histogram.sum())
    within = np.cumsum(histogram)
    bits = np.nonzero((within >= _SEEN_MIN) & (within <= pairs * _SHARE_MAX))[0]
    if len(bits) < 4:
        return None
    slope, level = np.polyfit(bits, np.log10(within[bits] / pairs), 1)
    if slope <= 0:
        return None
    return Line(pairs, int(np.nonzero(histogram)[0][0]), float(level), float(1 / slope))


def wilson(met: int, asked: int) -> tuple[float, float]:
    """Between which shares the true one lies, at 95 %."""
    if not asked:
        return 0.0, 1.0
    share, square = met / asked, _SURE**2
    middle = (share + square / (2 * asked)) / (1 + square / asked)
    spread = math.sqrt(share * (1 - share) / asked + square / (4 * asked**2))
    reach = _SURE / (1 + square / asked) * spread
    return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(frozen=True, slots=True)
class Result:
    machine: Row
    parameters: Row
    tally: Tally
    ms: dict[str, float]

    def as_json(self, is_derived: bool) -> dict[str, Any]:
        return {
            "machine": dict(self.machine),
            "parameters": dict(self.parameters),
            "alterations": {name: self._shares(name) for name in self.tally.asked},
            "false_positive": self._false(is_derived),
            "ms": dict(self.ms),
        }

    def as_text(self, is_derived: bool) -> str:
        """Markdown."""
        facts = {**self.machine, **self.parameters}
        parts = ["\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())]
        rows: list[Row] = []
        for name in self.tally.asked:
            shares = self._shares(name)
            low, high = shares.pop("all_interval")
            shown = {step: f"{shares[step]:.3f}" for step in STEPS}
            rows.append({"alteration": name, **shown, "all, 95 %": f"{low:.3f} to {high:.3f}"})
        parts.append(f"### Recall by step\n\n{table(rows)}")
        found = self._false(is_derived)
        fits = found.pop("fit", {})
        parts.append(f"### False positives\n\n{table([found])}")
        if fits:
            parts.append(table([{"distance": kind, **row} for kind, row in fits.items()]))
        parts.append(f"### CPU ms, 2 MP, beyond decoding\n\n{table([self.ms])}")
        return "\n\n".join(parts) + "\n"

    def _shares(self, name: str) -> dict[str, Any]:
        asked = max(1, self.tally.asked[name])
        met = self.tally.met[name]
        low, high = wilson(met["all"], self.tally.asked[name])
        shares: dict[str, Any] = {step: round(met[step] / asked, 4) for step in STEPS}
        shares["asked"] = self.tally.asked[name]
        shares["all_interval"] = [round(low, 4), round(high, 4)]
        return shares

    def _false(self, is_derived: bool) -> dict[str, Any]:
        pairs = int(self.tally.others["full"].sum())
        found: dict[str, Any] = {
            "pairs": pairs,
            "by_full": int(self.tally.false[0]),
            "by_any_step": int(self.tally.false[1]),
            "by_patches": int(self.tally.false[2]),
        }
        if is_derived:
            lines = {kind: line_of(self.tally.others[kind]) for kind in KINDS}
            found["fit"] = {
                kind: {
                    "pairs": line.pairs,
                    "nearest_bits": line.nearest,
                    "bits_a_tenfold": rounded(line.per_decade),
                    "bits_at_1e-12": line.bits_at_bound,
                    "share_within_36": f"{line.share_within(36):.0e}",
                    "share_within_44": f"{line.share_within(44):.0e}",
                }
                for kind, line in lines.items()
                if line is not None
            }
        return found
