"""Request bodies of any size, honest or not: what is held of them, and that nothing stays."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from accord.fingerprint import Digests, digests_of
from accord.scan.bodies import Bodies, Budget
from accord.scan.spool import UNIT_BYTES, Spool, SpoolSettings
from accord.wire.errors import AccordError, Unavailable
from accord.wire.limits import IMAGE_BYTES_MAX
from cases_kit import full_disk

pytestmark = pytest.mark.slow

FILM = b"\0\0\0\x18ftypisom" + bytes(2_000)  # As far as anybody tells who receives it.
MEGABYTE = 1_000_000
FILM_MAX = 80 * MEGABYTE
LARGE = IMAGE_BYTES_MAX + 3 * MEGABYTE + 1
BUDGET = 2 * IMAGE_BYTES_MAX


class Sender:
    """Somebody who sends a body: so many bytes, in chunks, and then what `last` says."""

    def __init__(
        self,
        size: int,
        head: bytes = FILM,
        declared: int | None = None,
        last: str = "end",
        chunk: int = MEGABYTE,
        pause_s: float = 0,
    ) -> None:
        self.left = size
        self.sent = 0
        self.head = head
        self.last = last
        self.chunk = chunk
        self.pause_s = pause_s
        length = [] if declared is None else [(b"content-length", str(declared).encode())]
        self.scope = {"type": "http", "method": "POST", "headers": length}

    async def __call__(self) -> dict[str, object]:
        await asyncio.sleep(self.pause_s)
        if not self.left and self.last == "end":
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self.left and self.last == "gone":
            return {"type": "http.disconnect"}
        if not self.left:
            await asyncio.Event().wait()
        part, self.head = self.head[: self.chunk], self.head[self.chunk :]
        part += bytes(self.chunk - len(part))
        part = part[: self.left]
        self.left -= len(part)
        self.sent += len(part)
        return {"type": "http.request", "body": part, "more_body": True}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    total = 2 * FILM_MAX // UNIT_BYTES * UNIT_BYTES
    made = Spool(SpoolSettings(tmp_path / "spool", FILM_MAX, total), lambda _: 10**12)
    yield made
    made.close()


Seen = tuple[str, Digests]


async def received(bodies: Bodies, sender: Sender) -> Seen:
    async with bodies.file(Request(sender.scope, sender)) as body:
        if isinstance(body, bytes):
            return "bytes", digests_of(body)
        return "film", body.digests


def run(spool: Spool | None, sender: Sender, **more: float) -> Seen:
    """What a body was seen as; nothing of it stays, whatever became of it."""
    bodies = Bodies(Budget(BUDGET), spool, **more)
    try:
        return asyncio.run(received(bodies, sender))
    finally:
        bodies.budget.take(BUDGET)
        assert spool is None or spool.held_bytes == 0


def refused(spool: Spool | None, sender: Sender, **more: float) -> str:
    with pytest.raises(AccordError) as caught:
        run(spool, sender, **more)
    return caught.value.code


def whole(size: int) -> Digests:
    return digests_of(FILM + bytes(size - len(FILM)))


def test_a_film_larger_than_other_files_goes_to_the_disk(spool: Spool) -> None:
    assert run(spool, Sender(LARGE, declared=LARGE)) == ("film", whole(LARGE))
    assert run(spool, Sender(LARGE)) == ("film", whole(LARGE)), "no size was said"
    assert run(spool, Sender(LARGE, declared=LARGE, chunk=65_536))[1] == whole(LARGE)
    small = IMAGE_BYTES_MAX - 1
    assert run(spool, Sender(small, declared=small)) == ("bytes", whole(small))
    assert run(spool, Sender(small)) == ("bytes", whole(small))


def test_a_film_that_comes_is_in_memory_in_parts_alone(spool: Spool) -> None:
    tracemalloc.start()
    try:
        run(spool, Sender(LARGE, declared=LARGE, chunk=65_536))
        assert tracemalloc.get_traced_memory()[1] < 5 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_everything_else_keeps_its_limit(spool: Spool) -> None:
    for sender in (
        Sender(LARGE, head=b"\x89PNG\r\n\x1a\n", declared=LARGE),
        Sender(LARGE, head=b"", declared=LARGE),
        Sender(LARGE, head=b"PK\x03\x04", declared=LARGE, chunk=100),
    ):
        assert refused(spool, sender) == "image.too_large"
        assert sender.sent <= MEGABYTE, "no more is read than tells that it is no film"
    assert refused(spool, Sender(LARGE, head=b"")) == "image.too_large"
    assert refused(None, Sender(LARGE, declared=LARGE)) == "image.too_large"
    assert refused(None, Sender(LARGE)) == "image.too_large"


def test_a_film_has_a_limit_too(spool: Spool) -> None:
    sender = Sender(FILM_MAX + 1, declared=FILM_MAX + 1)
    assert refused(spool, sender) == "image.too_large"
    assert sender.sent == 0, "it is told before anything is read"
    assert refused(spool, Sender(FILM_MAX + 1)) == "video.too_large"


def test_a_length_that_lies_gains_nothing(spool: Spool) -> None:
    for declared in (LARGE, 10):
        assert refused(spool, Sender(declared + 1, declared=declared)) == "image.too_large"
    assert run(spool, Sender(500, declared=LARGE))[0] == "bytes", "it ended before a film did"
    assert run(spool, Sender(5_000, declared=LARGE)) == ("film", whole(5_000))
    for text in ("-1", "1e3", "٣", "9" * 19):
        sender = Sender(5)
        sender.scope["headers"] = [(b"content-length", text.encode())]
        assert refused(spool, sender) in ("gateway.length", "image.too_large")


def test_whoever_stops_or_takes_for_ever_is_turned_away(spool: Spool) -> None:
    for size in (0, 100, LARGE - 10):
        silent = Sender(size, declared=LARGE, last="silence")
        assert refused(spool, silent, silence_s=0.3) == "gateway.slow"
    slow = Sender(LARGE, declared=LARGE, chunk=2_000, pause_s=0.01)
    assert refused(spool, slow, silence_s=10, wait_s=0.2) == "gateway.slow"
    for size in (0, 100, LARGE - 10):
        with pytest.raises(ClientDisconnect):
            run(spool, Sender(size, declared=LARGE, last="gone"))


def test_a_disk_that_is_full_is_told_and_nothing_stays(spool: Spool, tmp_path: Path) -> None:
    with full_disk(10 * MEGABYTE):
        assert refused(spool, Sender(LARGE, declared=LARGE)) == "gateway.spool"
        assert refused(spool, Sender(LARGE)) == "gateway.spool"
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["shares.lock"]
    assert run(spool, Sender(LARGE, declared=LARGE))[0] == "film"


def test_several_at_once_are_within_the_budgets_or_turned_away(spool: Spool) -> None:
    bodies = Bodies(Budget(BUDGET), spool)

    async def one() -> str:
        try:
            return (await received(bodies, Sender(LARGE, declared=LARGE, pause_s=0.001)))[0]
        except Unavailable as err:
            return err.code

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(4)))

    found = asyncio.run(all_of_them())
    assert sorted(found) == ["film", "film", "gateway.spool_busy", "gateway.spool_busy"]
    assert spool.held_bytes == 0
    few = Bodies(Budget(3 * MEGABYTE), spool)
    with pytest.raises(Unavailable, match=r"gateway\.busy"):
        asyncio.run(received(few, Sender(LARGE, declared=LARGE)))


def test_a_request_that_is_called_off_leaves_nothing(spool: Spool) -> None:
    bodies = Bodies(Budget(BUDGET), spool)

    async def called_off() -> None:
        for step in range(20):
            task = asyncio.create_task(received(bodies, Sender(LARGE, declared=LARGE)))
            await asyncio.sleep(0.005 * step)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.sleep(0)

    asyncio.run(called_off())  # It waits for the threads.
    assert spool.held_bytes == 0
    bodies.budget.take(BUDGET)
