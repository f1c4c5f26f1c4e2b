"""What the gateway counts, as Prometheus text.

Not a client library: a dozen numbers under one lock are all that is asked for.
"""

import threading
from bisect import bisect_left
from collections import Counter
from typing import Final

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meter:
    """Counts of one process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._screens: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def screened(self, decision: str, action: str, took_s: float) -> None:
        with self._lock:
            self._screens[decision, action] += 1
            self._buckets[bisect_left(BUCKETS_S, took_s)] += 1
            self._sum_s += took_s

    def refused(self, code: str) -> None:
        with self._lock:
            self._refusals[code] += 1

    def text(self, gauges: dict[str, tuple[str, float | int]]) -> str:
        """Shape: Prometheus text format 0.0.4. `gauges` are name to (help, value)."""
        with self._lock:
            screens, refusals = dict(self._screens), dict(self._refusals)
            buckets, sum_s = list(self._buckets), self._sum_s
        lines = [
            "# HELP accord_screens_total Files screened, by decision and action.",
            "# TYPE accord_screens_total counter",
        ]
        lines += [
            f'accord_screens_total{{decision="{decision}",action="{action}"}} {count}'
            for (decision, action), count in sorted(screens.items())
        ]
        lines += [
            "# HELP accord_refusals_total Requests that got no decision, by error code.",
            "# TYPE accord_refusals_total counter",
        ]
        lines += [
            f'accord_refusals_total{{code="{code}"}} {n}' for code, n in sorted(refusals.items())
        ]
        lines += [
            "# HELP accord_screen_seconds Time from the whole request to the durable receipt.",
            "# TYPE accord_screen_seconds histogram",
        ]
        total = 0
        for bound, count in zip((*BUCKETS_S, "+Inf"), buckets, strict=True):
            total += count
            lines.append(f'accord_screen_seconds_bucket{{le="{bound}"}} {total}')
        lines += [f"accord_screen_seconds_sum {sum_s:.6f}", f"accord_screen_seconds_count {total}"]
        for name, (about, value) in gauges.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"
