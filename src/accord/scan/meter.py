"""What the gateway counts, as Prometheus text.

Not a client library: a dozen numbers under one lock are all that is asked for.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Counts:
    """Of one process, or of several added up. Shape: `buckets` one for each of BUCKETS_S and one
    for what took longer."""

    screens: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    refusals: Counter[str] = field(default_factory=Counter[str])
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, other: Self) -> None:
        self.screens.update(other.screens)
        self.refusals.update(other.refusals)
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.sum_s += other.sum_s

    def as_json(self) -> dict[str, Any]:
        return {
            "screens": [[*names, count] for names, count in self.screens.items()],
            "refusals": dict(self.refusals),
            "buckets": self.buckets,
            "sum_s": self.sum_s,
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        """What `as_json` gave, or nothing. It is read from our own processes only."""
        if not said:
            return cls()
        screens = Counter({(decision, action): n for decision, action, n in said["screens"]})
        return cls(screens, Counter(said["refusals"]), list(said["buckets"]), said["sum_s"])


class Meter:
    """Counts of one process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()

    def screened(self, decision: str, action: str, took_s: float) -> None:
        with self._lock:
            self._counts.screens[decision, action] += 1
            self._counts.buckets[bisect_left(BUCKETS_S, took_s)] += 1
            self._counts.sum_s += took_s

    def refused(self, code: str) -> None:
        with self._lock:
            self._counts.refusals[code] += 1

    def counts(self) -> Counts:
        """As of now."""
        counts = Counts()
        with self._lock:
            counts.add(self._counts)
        return counts

    def text(
        self, gauges: dict[str, tuple[str, float | int]], others: Iterable[Counts] = ()
    ) -> str:
        """Ours and the others' counts, added up. `gauges` are name to (help, value).

        Shape: Prometheus text format 0.0.4.
        """
        counts = self.counts()
        for other in others:
            counts.add(other)
        lines = [
            "# HELP accord_screens_total Files screened, by decision and action.",
            "# TYPE accord_screens_total counter",
        ]
        lines += [
            f'accord_screens_total{{decision="{decision}",action="{action}"}} {count}'
            for (decision, action), count in sorted(counts.screens.items())
        ]
        lines += [
            "# HELP accord_refusals_total Requests that got no decision, by error code.",
            "# TYPE accord_refusals_total counter",
        ]
        lines += [
            f'accord_refusals_total{{code="{code}"}} {count}'
            for code, count in sorted(counts.refusals.items())
        ]
        lines += [
            "# HELP accord_screen_seconds Time from the whole request to the durable receipt.",
            "# TYPE accord_screen_seconds histogram",
        ]
        total = 0
        for bound, count in zip((*BUCKETS_S, "+Inf"), counts.buckets, strict=True):
            total += count
            lines.append(f'accord_screen_seconds_bucket{{le="{bound}"}} {total}')
        lines += [
            f"accord_screen_seconds_sum {counts.sum_s:.6f}",
            f"accord_screen_seconds_count {total}",
        ]
        for name, (about, value) in gauges.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"
