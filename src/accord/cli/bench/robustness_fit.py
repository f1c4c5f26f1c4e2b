"""What a run counted, how sure it is, and how far the false positives fall off.

Distances of unrelated pictures thin out by a factor of ten every few bits. A straight line through
the logarithms of what was seen says where one in 10^12 pairs would lie, which is one false match
in a million queries against a million listings. Below what was seen it is an extrapolation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.cli.bench.figures import Row, rounded, table
from accord.fingerprint.votes import FRAME_BITS_MAX, FULL_BITS_MAX, MATCH_RULES, REVIEW_RULES
from accord.wire.limits import PATCH_VOTES_MORE

STEPS: Final = ("pdq", "full", "frame", "patches", "all", "automatic")
FALSE_BY: Final = {step: f"by_{'any_step' if step == 'all' else step}" for step in STEPS}
VOTES: Final = 6  # The most that are looked at, of all patches of a listing;
FIRST_VOTES: Final = 4  # and of the first, which all that listings of 24 have are.
KINDS: Final = (
    "full",
    "frame",
    *(f"votes_{votes}" for votes in range(1, FIRST_VOTES + 1)),
    *(f"votes_{votes}_of_all" for votes in range(1, VOTES + 1)),
)
# The same against the corpus' listings alone: anything is asked, its like are listed.
CORPUS: Final = "_of_corpus"
FITTED: Final = (*KINDS, *(f"{kind}{CORPUS}" for kind in KINDS))
BOUND: Final = 1e-12  # Of picture pairs: 1e-6 a query against a million listings.
_DRAWS: Final = 200  # Of pictures, to see how much the line depends on which there were.
_RULES: Final = (*REVIEW_RULES, *MATCH_RULES)
# What the product decides by, by kind. Units: bits.
USED: Final = {
    "full": FULL_BITS_MAX,
    "frame": FRAME_BITS_MAX,
    **{f"votes_{rule.votes}": rule.bits_max for rule in _RULES},
    **{f"votes_{rule.votes + PATCH_VOTES_MORE}_of_all": rule.bits_max for rule in _RULES},
}
EXTRAPOLATED: Final = (
    "A line through the logarithms of the tail, over shares of 1e-3 and less that three pairs or"
    " more make up: whatever lies below one in so many pairs as were seen is extrapolated. The"
    " interval is that of other pictures of the same kind, 95 %; it says nothing of other kinds."
)
TOO_FEW: Final = "Too few pairs came near for a line: a fit takes hundreds of pictures."
_SURE: Final = 1.96  # Deviations of 95 %.
_SEEN_MIN: Final = 3  # Fewer pairs say too little for the line.
_SHARE_MAX: Final = 1e-3  # More are the bulk, not the tail.
_BITS: Final = 257

Counts = NDArray[np.int64]
Histograms = dict[str, Counts]


def histograms() -> Histograms:
    return {kind: np.zeros(_BITS, dtype=np.int64) for kind in FITTED}


@dataclass(slots=True)
class Tally:
    """Counts of one run. `samples` are histograms of bits between the queries of one picture and
    others' listings; `false` counts pairs of those that match, by step."""

    asked: dict[str, int]
    met: dict[str, dict[str, int]]
    samples: list[Histograms] = field(default_factory=list)
    false: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))

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
        self.add_others(other)

    def add_others(self, other: "Tally") -> None:
        """Only what it says of other pictures' listings."""
        self.samples += other.samples
        for step, count in other.false.items():
            self.false[step] += count

    def others(self, kind: str) -> Counts:
        total = np.zeros(_BITS, dtype=np.int64)
        for sample in self.samples:
            total += sample[kind]
        return total


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


def interval_of(samples: Sequence[Counts], seed: int = 1) -> tuple[int, int] | None:
    """Where the bound lies at 95 % if other pictures of the kind had been drawn: lines through
    as many of them, drawn anew with replacement. None where most draws say too little."""
    every = np.stack(samples)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(_DRAWS):
        line = line_of(every[random.integers(len(every), size=len(every))].sum(axis=0))
        if line is not None:
            found.append(line.bits_at_bound)
    if 2 * len(found) < _DRAWS:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return math.floor(low), math.floor(high)


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
    near: tuple[Row, ...]
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
        fits, near = found.pop("fit", None), found.pop("near_duplicates")
        found.pop("derived_bits", None)
        parts.append(f"### False positives\n\n{table([found])}")
        if fits:
            parts.append(table([{"distance": kind, **row} for kind, row in fits.items()]))
        if fits is not None:
            parts.append(EXTRAPOLATED if fits else TOO_FEW)
        parts.append(f"### Distinct pictures that look alike\n\n{table(near)}")
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
        found: dict[str, Any] = {
            "pairs": int(self.tally.others("full").sum()),
            **{FALSE_BY[step]: self.tally.false[step] for step in STEPS},
            "near_duplicates": [dict(row) for row in self.near],
        }
        if is_derived:
            fits = {kind: self._fit(kind) for kind in FITTED}
            found["fit"] = {kind: fit for kind, fit in fits.items() if fit is not None}
            found["derived_bits"] = {
                kind: None if fit is None or fit["bits_at_1e-12"] < 0 else fit["bits_at_1e-12"]
                for kind, fit in fits.items()
            }
        return found

    def _fit(self, kind: str) -> dict[str, Any] | None:
        histogram = self.tally.others(kind)
        line = line_of(histogram)
        if line is None:
            return None
        interval = interval_of([sample[kind] for sample in self.tally.samples])
        used = USED.get(kind.removesuffix(CORPUS))
        within = np.cumsum(histogram)
        return {
            "pairs": line.pairs,
            "nearest_bits": line.nearest,
            "within_60_bits": int(within[60]),
            "within_72_bits": int(within[72]),
            "bits_a_tenfold": rounded(line.per_decade),
            "bits_at_1e-12": line.bits_at_bound,
            "interval": "none" if interval is None else f"{interval[0]} to {interval[1]}",
            "used_bits": "none" if used is None else str(used),
            "share_at_used": "none" if used is None else f"{line.share_within(used):.0e}",
        }
