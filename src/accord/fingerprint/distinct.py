"""The distinct frames of a film: few, each unlike all others, as many as the film has to show.

Frames come in order of time. One that is within `ALIKE_BITS` of a frame already kept says nothing
new: a shot that stands still is one frame, however long. Where a film moves, each of its frames is
that near to one that is kept, so that another copy of it, whose frames lie at other moments, still
meets them. When there are too many, the least time between two is doubled and the kept ones are
thinned to it: short films are seen densely, long ones in bounded memory, whatever they say of
their own length. A clock that runs backwards hides nothing: what comes after is looked at.
Not here: which frames are decoded (video).
Source: docs/spec/fingerprint.md, section 17.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

ALIKE_BITS: Final = 16  # With 10 bits for another encoder still below the threshold of 31.
GAP_MS: Final = 20  # Every frame at first: a hand that moves changes a third of one in 100 ms.

T = TypeVar("T")


@dataclass(slots=True)
class Distinct(Generic[T]):
    """Keeps at most `most` frames. `kept`: time in ms, bits, and what the caller adds."""

    most: int
    kept: list[tuple[int, int, T]] = field(default_factory=list[tuple[int, int, T]])
    gap_ms: int = GAP_MS
    _due_ms: int = 0
    _looked_ms: int = 0

    def is_due(self, time_ms: int) -> bool:
        """Whether a frame of this moment is looked at: else it costs nothing more."""
        return not self._looked_ms <= time_ms < self._due_ms or not self.kept

    def looked_at(self, time_ms: int) -> None:
        """A frame of this moment was hashed, whatever came of it."""
        self._looked_ms, self._due_ms = time_ms, time_ms + self.gap_ms

    def is_new(self, bits: bytes) -> bool:
        """Whether no kept frame is alike."""
        number = int.from_bytes(bits, "big")
        return all((number ^ known).bit_count() > ALIKE_BITS for _, known, _ in self.kept)

    def keep(self, time_ms: int, bits: bytes, more: T) -> None:
        """Keeps a frame that is new; thins all where they become too many."""
        self.kept.append((time_ms, int.from_bytes(bits, "big"), more))
        while len(self.kept) > self.most:
            self._thin()

    def _thin(self) -> None:
        self.gap_ms *= 2
        thinned: list[tuple[int, int, T]] = []
        for frame in self.kept:
            if not thinned or frame[0] >= thinned[-1][0] + self.gap_ms:
                thinned.append(frame)
        times = [frame[0] for frame in self.kept]
        if times[0] == times[-1] or times != sorted(times):  # No clock to go by.
            thinned = self.kept[::2]
        self.kept[:] = thinned
        self._due_ms = thinned[-1][0] + self.gap_ms
