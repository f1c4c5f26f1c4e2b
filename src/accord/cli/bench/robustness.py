"""Measures how often an altered picture still meets its listing, and how often another one does.

The originals of a folder are listed, copies of them altered and asked for, step by step; pictures
of a second folder are listed as well and never asked for. What meets a listing of another picture
is a false positive, as long as the folders hold no picture twice.
Not here: the alterations (robustness_alterations), the steps themselves
(accord.fingerprint.ladder), the fit (robustness_fit).
Units: shares of queries, bits, CPU milliseconds of one thread beyond decoding.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from accord.cli.bench.figures import Row, rounded
from accord.cli.bench.machine import describe_machine
from accord.cli.bench.robustness_alterations import NAMES, altered
from accord.cli.bench.robustness_fit import (
    CORPUS,
    FALSE_BY,
    FIRST_VOTES,
    KINDS,
    VOTES,
    Result,
    Tally,
    histograms,
)
from accord.cli.bench.robustness_near import PAIRS
from accord.fingerprint.dihedral import Bits
from accord.fingerprint.ladder import STEPS, Asked, Listed, Step, asked_of, listed_of
from accord.fingerprint.patches_native import apart
from accord.fingerprint.rehearsal import EVERY, NO_BITS, common_in
from accord.fingerprint.votes import (
    FRAME_BITS_MAX,
    FULL_BITS_MAX,
    MATCH_RULES,
    REVIEW_RULES,
    Rule,
)
from accord.wire.errors import Malformed
from accord.wire.limits import (
    LISTING_PATCHES,
    PATCH_VOTES_MIN,
    PATCH_VOTES_MORE,
    PDQ_QUALITY_MIN,
)

SIDE_MIN: Final = 640  # Longest side of an original; smaller ones are left out, and counted.
SIDE_MAX: Final = 2048  # Larger ones are first made so small.
PDQ_BITS: Final = 31  # What lists are exchanged for: one fingerprint, one look-up.
FAR: Final = 256
# What distractors are asked as: whole, a part, written over, on a screen.
DRESSES: Final = ("jpeg-50", "crop-anywhere-50", "caption-12", "screenshot-chat")
_TIMED: Final = 6
_TIMED_SIZE: Final = (1632, 1224)  # 2 MP.
_TURNS: Final = 3
Progress = Callable[[str, int, int], None]
Ints = NDArray[np.int64]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Scale:
    """What to measure. `pictures` is the most originals that are altered,
    spread over the folder; all are listed. `is_derived`: the distractors are asked as well."""

    corpus: Path
    distractors: Path | None
    alterations: tuple[str, ...]
    pictures: int
    seed: int
    processes: int
    patches: int
    is_derived: bool = False
    common: Bits = field(default_factory=lambda: NO_BITS)


class Book(NamedTuple):
    """All listings. Shape: full (n, 32), patches (m, 32); where each listing's begin, and how
    many they are (n). The corpus' come first."""

    full: Bits
    patches: Bits
    first: Ints
    counts: Ints
    corpus: int


class Nearest(NamedTuple):
    """Of one query, by listing. Shape: pdq, full, frame (n); votes (VOTES, n), the bits within
    which there are so many; first (VOTES, n), among the first patches of each."""

    pdq: Ints
    full: Ints
    frame: Ints
    votes: Ints
    first: Ints

    def holds(self, rules: Sequence[Rule]) -> NDArray[np.bool_]:
        found = [
            (self.first[rule.votes - 1] <= rule.bits_max)
            | (self.votes[rule.votes + PATCH_VOTES_MORE - 1] <= rule.bits_max)
            for rule in rules
        ]
        return np.asarray(np.any(found, axis=0))

    def by_kind(self) -> Iterator[tuple[str, Ints]]:
        """As `KINDS`."""
        every = (self.full, self.frame, *self.first[:FIRST_VOTES], *self.votes)
        yield from zip(KINDS, every, strict=True)


def run(scale: Scale, progress: Progress) -> Result:
    """Raises: Malformed, without pictures or for an alteration that is not there."""
    for name in scale.alterations:
        if name not in NAMES:
            raise Malformed("bench.alteration", wanted=name)
    paths = _pictures_in(scale.corpus)
    every = [*paths, *(_pictures_in(scale.distractors) if scale.distractors else [])]
    with _mapped(scale.processes) as mapped:
        found = list(
            _told(mapped(partial(_list, scale.patches, scale.common), every), "listing", progress)
        )
    listings = [listing for listing in found if listing is not None]
    listed = [path for path, listing in zip(paths, found, strict=False) if listing is not None]
    if not listed:
        raise Malformed("bench.corpus")
    book = _book_of(listings, len(listed))
    tally = Tally.empty(scale.alterations)
    works = list(enumerate(listed))[:: -(-len(listed) // scale.pictures)]
    asked = [path for _, path in works]
    others = [path for path, one in zip(every, found, strict=True) if one is not None][
        len(listed) :
    ]
    dressed = list(enumerate(others, len(listed))) if scale.is_derived else []
    with _mapped(scale.processes) as mapped:
        screen = partial(_screen, book, scale.alterations, scale.seed)
        for part in _told(mapped(screen, works), "screening", progress):
            tally.add(part)
        screen = partial(_screen, book, DRESSES, scale.seed)
        for part in _told(mapped(screen, dressed), "screening others", progress):
            tally.add_others(part)
    near = near_duplicates(scale.patches, progress)
    parameters = {
        "originals": len(asked),
        "distractors_asked": len(dressed),
        "listings": len(listings),
        "left_out": len(every) - len(listings),
        "patches_max": scale.patches,
        "common_patches": len(scale.common),
        "patches_mean": rounded(len(book.patches) / len(listings)),
        "listings_without_3_patches": int((book.counts < PATCH_VOTES_MIN).sum()),
        "seed": scale.seed,
    }
    machine = describe_machine(scale.corpus)
    times = _times(asked, scale.patches, progress)
    return Result(machine, parameters, tally, near, times)


def common_of(folder: Path, processes: int, progress: Progress) -> Bits:
    """The patches that two or more pictures of a folder show. Raises: Malformed."""
    paths = _pictures_in(folder)
    with _mapped(processes) as mapped:
        work = mapped(partial(_list, EVERY, NO_BITS), paths)
        found = list(_told(work, "looking for common patches", progress))
    return common_in([one.patches for one in found if one is not None])


def _pictures_in(folder: Path) -> list[Path]:
    """Raises: Malformed."""
    if not folder.is_dir():
        raise Malformed("bench.corpus")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _opened(path: Path) -> Image.Image | None:
    """None for what is no picture, or too small a one."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    if max(upright.size) < SIDE_MIN:
        return None
    upright.thumbnail((SIDE_MAX, SIDE_MAX), Image.Resampling.LANCZOS)
    return upright


def _list(patches: int, common: Bits, path: Path) -> Listed | None:
    """None where an agency could not list the picture either."""
    picture = _opened(path)
    if picture is None:
        return None
    listing = listed_of(picture, patches, common)
    return listing if listing.full.quality >= PDQ_QUALITY_MIN else None


def _book_of(listings: list[Listed], corpus: int) -> Book:
    full = np.frombuffer(b"".join(one.full.bits for one in listings), dtype=np.uint8)
    count = np.array([len(one.patches) for one in listings], dtype=np.int64)
    patches = np.concatenate([one.patches for one in listings])
    return Book(full.reshape(-1, 32), patches, np.cumsum(count) - count, count, corpus)


def _screen(book: Book, names: tuple[str, ...], seed: int, work: tuple[int, Path]) -> Tally:
    """All altered copies of one original, asked of all listings."""
    own, path = work
    tally = Tally.empty(names)
    picture = _opened(path)
    if picture is None:
        return tally
    tally.samples.append(histograms())
    for name in names:
        with Image.open(io.BytesIO(altered(name, picture, seed + own))) as image:
            near = nearest_of(asked_of(image.convert("RGB")), book)
        tally.count(name, {step: bool(met[own]) for step, met in matches_of(near).items()})
        is_other = np.arange(len(book.full)) != own
        is_corpus = is_other & (np.arange(len(book.full)) < book.corpus)
        for kind, bits in near.by_kind():
            for name_of, counted in ((kind, is_other), (f"{kind}{CORPUS}", is_corpus)):
                tally.samples[0][name_of] += np.bincount(bits[counted], minlength=FAR + 1)
        for rule, found in matches_of(near).items():
            tally.false[rule] += int((found & is_other).sum())
    return tally


def matches_of(near: Nearest) -> dict[str, NDArray[np.bool_]]:
    """The listings that a query meets, by step."""
    full = near.full <= FULL_BITS_MAX
    frame = full | (near.frame <= FRAME_BITS_MAX)
    patches = near.holds(REVIEW_RULES)
    return {
        "pdq": near.pdq <= PDQ_BITS,
        "full": full,
        "frame": frame,
        "patches": patches,
        "all": frame | patches,
        "automatic": frame | near.holds(MATCH_RULES),
    }


def nearest_of(asked: Asked, book: Book) -> Nearest:
    """Every listing's distances from a query, compared one by one."""
    none = np.full(len(book.full), FAR, dtype=np.int64)
    full = apart(asked.full, book.full).astype(np.int64)
    frame = apart(asked.frames, book.full).astype(np.int64)
    hands = [_votes(bits, book) for bits in (asked.patches, asked.mirrored)]
    votes, first = (np.minimum(*pair) for pair in zip(*hands, strict=True))
    return Nearest(
        full[0] if len(full) else none,
        full.min(axis=0, initial=FAR),
        frame.min(axis=0, initial=FAR),
        votes,
        first,
    )


def _votes(asked: Bits, book: Book) -> tuple[Ints, Ints]:
    """Within how many bits each listing has 1, 2 … votes, as many patches met on either side; and
    among its first patches alone."""
    if not len(asked) or not len(book.patches):
        nothing = np.full((VOTES, len(book.full)), FAR, dtype=np.int64)
        return nothing, nothing
    bits = apart(asked, book.patches)
    place = np.arange(len(book.patches)) - np.repeat(book.first, book.counts)
    first = np.where(place < LISTING_PATCHES, bits, np.uint16(FAR))
    return _counted(bits, book), _counted(first, book)


def _counted(bits: NDArray[np.uint16], book: Book) -> Ints:
    votes = np.full((VOTES, len(book.full)), FAR, dtype=np.int64)
    has = np.nonzero(book.counts)[0]
    least = min(VOTES, len(bits)) - 1
    by_asked = np.minimum.reduceat(bits, book.first[has], axis=1)
    by_asked = np.sort(np.partition(by_asked, least, axis=0)[: least + 1], axis=0)
    by_listed = np.full((int(book.counts.max()), len(has)), FAR, dtype=np.int64)
    nearest = bits.min(axis=0)
    for place, listing in enumerate(has):
        of = nearest[book.first[listing] : book.first[listing] + book.counts[listing]]
        by_listed[: len(of), place] = np.sort(of)
    for vote in range(min(VOTES, len(by_asked), len(by_listed))):
        votes[vote, has] = np.maximum(by_asked[vote], by_listed[vote])
    return votes


def near_duplicates(patches: int, progress: Progress) -> tuple[Row, ...]:
    """What is said of distinct pictures that look alike: a row a pair, all of it to be 0."""
    rows: list[Row] = []
    for place, (name, pair) in enumerate(PAIRS.items()):
        progress("pictures that look alike", place, len(PAIRS))
        one, other, alike = pair()
        common = common_in([listed_of(like, EVERY).patches for like in alike])
        near = nearest_of(asked_of(other), _book_of([listed_of(one, patches, common)], 1))
        said = {FALSE_BY[step]: int(met[0]) for step, met in matches_of(near).items()}
        bits = {"full_bits": int(near.full[0]), "votes_2_bits": int(near.first[1, 0])}
        rows.append({"pair": name, **said, **bits})
    return tuple(rows)


def _times(paths: list[Path], patches: int, progress: Progress) -> dict[str, float]:
    """CPU ms a query of 2 MP once decoded, and a listing: the median over pictures."""
    ways = {
        "full": frozenset({Step.FULL}),
        "full_and_frame": frozenset({Step.FULL, Step.FRAME}),
        "all": STEPS,
    }
    took: dict[str, list[float]] = {name: [] for name in (*ways, "listing")}
    for place, path in enumerate(paths[:: max(1, len(paths) // _TIMED)][:_TIMED]):
        progress("timing", place, _TIMED)
        picture = _opened(path)
        if picture is None:
            continue
        picture = picture.resize(_TIMED_SIZE, Image.Resampling.BICUBIC)
        for name, steps in ways.items():
            work = partial(asked_of, picture, steps)
            took[name].append(min(_cpu_ms(work) for _ in range(_TURNS)))
        took["listing"].append(_cpu_ms(partial(listed_of, picture, patches)))
    return {name: rounded(median(times)) for name, times in took.items() if times}


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1000


def _told(found: Iterator[T], what: str, progress: Progress) -> Iterator[T]:
    for done, one in enumerate(found):
        progress(what, done + 1, 0)
        yield one


@contextmanager
def _mapped(processes: int) -> Iterator[Callable[[Callable[[T], R], Sequence[T]], Iterator[R]]]:
    """A map in order, here or in so many processes of their own."""
    if processes == 1:
        yield map
        return
    with get_context("spawn").Pool(processes) as pool:
        yield pool.imap
