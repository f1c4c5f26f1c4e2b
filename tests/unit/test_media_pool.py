"""The pool over real worker processes: well-behaved ones, and `worker_kit`'s that are not."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import worker_kit
from accord.fingerprint import (
    Decoding,
    Fingerprinted,
    Unhashable,
    UnhashableCode,
    digests_of,
    fingerprint_bytes,
)
from accord.fingerprint.ladder import Step
from accord.media import DecoderPool
from accord.media.process import WORKER_ARGV, WorkerProcess
from accord.media.worker import encode_answer, parse_answer
from accord.wire.errors import Malformed, Unavailable
from accord.wire.limits import DECODER_MEMORY_BYTES
from pictures_kit import FORMS, animation, encoded, picture

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real() -> Iterator[DecoderPool]:
    with DecoderPool(1) as pool:
        yield pool


@pytest.fixture
def open_files() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def odd(wait_ms: int = 5_000, workers: int = 1, **options: int) -> DecoderPool:
    return DecoderPool(workers, argv=worker_kit.ARGV, wait_ms=wait_ms, **options)


def code(answer: Fingerprinted | Unhashable) -> str:
    assert isinstance(answer, Unhashable)
    return answer.code.value


def refusal(pool: DecoderPool, data: bytes) -> str:
    with pytest.raises(Unavailable) as caught:
        pool.fingerprint(data)
    return caught.value.code


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_answers_as_the_pure_function_does(real: DecoderPool) -> None:
    files = [form(picture(4, (64, 48))) for form in FORMS.values()]
    files += [animation([1, 2], name) for name in ("GIF", "WEBP", "PNG", "AVIF")]
    files += [b"", b"noise", files[0][:200]]
    for data in files:
        assert real.fingerprint(data) == fingerprint_bytes(data)
    assert len(real.worker_pids()) == 1


def test_a_worker_decodes_as_it_is_asked_to(real: DecoderPool) -> None:
    data = encoded(picture(4, (640, 480)), "JPEG")
    for decoding in (Decoding.SCALED, Decoding.EXACT, Decoding.SCALED):
        answer = real.fingerprint(data, decoding)
        assert answer == fingerprint_bytes(data, decoding)
        assert isinstance(answer, Fingerprinted)
        assert answer.is_exact == (decoding is Decoding.EXACT)
    known = digests_of(b"another file")
    assert real.fingerprint(data, digests=known).digests == known


def test_files_larger_than_a_pipe_go_through(real: DecoderPool) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1100, 1500, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "PNG")
    assert len(data) > 4_000_000
    assert real.fingerprint(data) == fingerprint_bytes(data)


def test_a_large_picture_is_held_once(real: DecoderPool) -> None:
    """64 MB as the decoder has it; looking at it costs strips and filters, not a second copy."""
    ramp = Image.linear_gradient("L").resize((4000, 4000)).rotate(30)
    data = encoded(Image.merge("RGB", (ramp, ramp.rotate(90), ramp)), "PNG", compress_level=1)
    real.fingerprint(encoded(picture(4, (64, 48)), "PNG"))

    def peak_mb() -> int:
        (pid,) = real.worker_pids()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(file.read().split("VmHWM:")[1].split()[0]) // 1000

    before = peak_mb()
    assert isinstance(real.fingerprint(data), Fingerprinted)
    assert peak_mb() - before < 64 + len(data) // 1_000_000 + 16


def test_digests_are_there_whatever_becomes_of_the_worker() -> None:
    with odd() as pool:
        for behaviour in (b"a", b"k", b"x", b"b"):
            answer = pool.fingerprint(behaviour)
            assert isinstance(answer, Unhashable)
            assert answer.digests == digests_of(behaviour)


def test_a_worker_ends_at_a_question_it_does_not_know() -> None:
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    worker = subprocess.run(
        WORKER_ARGV, input=b"\0\0\0\2?x", capture_output=True, check=True, timeout=60, env=alone
    )
    size = int.from_bytes(worker.stdout[:4], "big")
    assert worker.stdout[4:].startswith(b"ready seccomp, ")
    assert len(worker.stdout) == 4 + size


def test_a_locked_worker_has_nothing_left_to_lose(real: DecoderPool) -> None:
    real.fingerprint(encoded(picture(4, (64, 48)), "PNG"))
    (pid,) = real.worker_pids()
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        limits = {line[:25].strip(): line.split()[-3:-1] for line in file}
    assert limits["Max core file size"][:1] == ["0"]
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        text = file.read()
    assert "Max open files            3 " in text
    assert f"Max address space         {DECODER_MEMORY_BYTES} " in text
    assert "Max file size             0 " in text
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        assert "NoNewPrivs:\t1" in file.read()


def test_a_worker_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_TEST_CREDENTIAL", "a secret")
    worker = WorkerProcess(worker_kit.ARGV)
    try:
        with open(f"/proc/{worker.pid}/environ", "rb") as file:
            assert b"a secret" not in file.read()
    finally:
        worker.kill()


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize("behaviour", ["k", "x", "j", "b", "2"])
def test_a_worker_that_dies_or_lies_costs_its_own_file_only(behaviour: str) -> None:
    with odd() as pool:
        assert code(pool.fingerprint(b"a")) == "image.too_flat"
        (first,) = pool.worker_pids()
        answer = pool.fingerprint(behaviour.encode())
        assert answer == Unhashable(UnhashableCode.CRASHED, digests_of(behaviour.encode()))
        assert is_gone(first)
        assert code(pool.fingerprint(b"a")) == "image.too_flat"
        (second,) = pool.worker_pids()
    assert is_gone(second)


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize("behaviour", ["h", "s"])
def test_a_worker_that_hangs_is_ended_in_time(behaviour: str) -> None:
    with odd(wait_ms=200) as pool:
        pool.fingerprint(b"a")
        (pid,) = pool.worker_pids()
        started = time.monotonic()
        assert code(pool.fingerprint(behaviour.encode())) == "image.timeout"
        assert time.monotonic() - started < 1.5
        assert is_gone(pid)
        assert code(pool.fingerprint(b"a")) == "image.too_flat"


def test_a_worker_that_used_up_its_cpu_is_told_from_one_that_crashed() -> None:
    with odd() as pool:
        assert code(pool.fingerprint(b"p")) == "image.timeout"
        assert code(pool.fingerprint(b"k")) == "image.crashed"


def test_a_large_file_to_a_hanging_worker_still_times_out() -> None:
    # The worker reads 4 bytes and the file, then sleeps; a stopped one does not even read.
    with odd(wait_ms=300) as pool:
        pool.fingerprint(b"a")
        (pid,) = pool.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        assert code(pool.fingerprint(b"a" * 5_000_000)) == "image.timeout"


def test_a_worker_killed_while_idle_is_replaced_without_blame() -> None:
    with odd() as pool:
        pool.fingerprint(b"a")
        (pid,) = pool.worker_pids()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert code(pool.fingerprint(b"a")) == "image.too_flat"


def test_a_real_worker_killed_in_the_middle_is_a_crash() -> None:
    heavy = animation(list(range(60)), "WEBP")
    with DecoderPool(1) as pool, ThreadPoolExecutor(1) as threads:
        pool.fingerprint(b"warm")
        (pid,) = pool.worker_pids()
        os.kill(pid, signal.SIGSTOP)  # It is in the middle of the file whenever it is killed.
        work = threads.submit(pool.fingerprint, heavy)
        while pool.worker_pids():
            time.sleep(0.001)
        time.sleep(0.1)  # It was alive when it was asked.
        os.kill(pid, signal.SIGKILL)
        assert code(work.result()) == "image.crashed"


def test_a_worker_is_recycled() -> None:
    with odd(files_max=2) as pool:
        seen: list[tuple[int, ...]] = []
        for _ in range(4):
            pool.fingerprint(b"a")
            seen.append(pool.worker_pids())
        assert [len(pids) for pids in seen] == [1, 0, 1, 0]
        assert is_gone(seen[0][0])
        assert seen[0] != seen[2]


@pytest.mark.parametrize("argument", ["dies at start", "is no worker"])
def test_a_worker_that_does_not_start_is_unavailable(argument: str) -> None:
    with DecoderPool(1, argv=(*worker_kit.ARGV, argument)) as pool:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                pool.fingerprint(b"a")
            assert caught.value.code == "media.start"
    with DecoderPool(1, argv=("no-such-interpreter",)) as pool, pytest.raises(Unavailable):
        pool.fingerprint(b"a")


def test_waiting_is_bounded_in_time() -> None:
    with odd(wait_ms=400, queue_wait_ms=50) as pool, ThreadPoolExecutor(1) as threads:
        pool.fingerprint(b"a")
        hanging = threads.submit(pool.fingerprint, b"h")
        while pool.worker_pids():
            time.sleep(0.001)
        started = time.monotonic()
        assert refusal(pool, b"a") == "media.busy"
        assert 0.04 < time.monotonic() - started < 0.3  # Far below the 30 s a place would give.
        assert code(hanging.result()) == "image.timeout"


def test_waiting_is_bounded_in_number() -> None:
    with odd(wait_ms=400, queue_max=0) as pool, ThreadPoolExecutor(1) as threads:
        pool.fingerprint(b"a")
        hanging = threads.submit(pool.fingerprint, b"h")
        while pool.worker_pids():
            time.sleep(0.001)
        started = time.monotonic()
        assert refusal(pool, b"a") == "media.busy"
        assert time.monotonic() - started < 0.3
        assert code(hanging.result()) == "image.timeout"


def test_threads_and_tasks_share_a_pool() -> None:
    files = [encoded(picture(seed, (64, 48)), "PNG") for seed in range(6)]
    expected = [fingerprint_bytes(data) for data in files]

    async def ask(pool: DecoderPool) -> list[Fingerprinted | Unhashable]:
        return list(await asyncio.gather(*(pool.fingerprint_async(data) for data in files)))

    with DecoderPool(2) as pool:
        assert asyncio.run(ask(pool)) == expected
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(pool.fingerprint, files)) == expected
        assert len(pool.worker_pids()) == 2


def test_a_closed_pool_says_so() -> None:
    pool = odd()
    pool.fingerprint(b"a")
    (pid,) = pool.worker_pids()
    pool.close()
    pool.close()
    assert is_gone(pid)
    with pytest.raises(Unavailable) as caught:
        pool.fingerprint(b"a")
    assert caught.value.code == "media.closed"
    with pytest.raises(Unavailable):
        asyncio.run(pool.fingerprint_async(b"a"))


def test_a_pool_never_started_closes() -> None:
    DecoderPool(3).close()
    with pytest.raises(ValueError, match="at least one"):
        DecoderPool(0)


def test_answers_survive_the_pipe() -> None:
    for data in (animation([1, 2], "GIF"), b""):
        answer = fingerprint_bytes(data)
        worker = WorkerProcess(WORKER_ARGV)
        try:
            raw = worker.ask(data, 10_000)
        finally:
            worker.stop()
        assert encode_answer(parse_answer(raw)) == raw
        told = parse_answer(raw)
        assert getattr(told, "pdq", told) == getattr(answer, "pdq", getattr(answer, "code", None))


@pytest.mark.parametrize("raw", [b"", b"\xa0", b"\xa1dcodebno", b"\xa1hexamined\xa0", b"\xf6"])
def test_a_worker_that_babbles_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_answer(raw)


def test_every_step_and_a_listing_are_carried_out_under_the_lock() -> None:
    photo = encoded(picture(3, (900, 700)), "PNG")
    with DecoderPool(1) as pool:
        listed = pool.fingerprint(photo, Decoding.LISTING)
        asked = pool.fingerprint(photo, steps=frozenset(Step))
    assert isinstance(listed, Fingerprinted)
    assert isinstance(asked, Fingerprinted)
    assert len(listed.pdq[0].look.patches) > 0
    look = asked.pdq[0].look
    assert (len(look.variants), len(look.patches)) == (7 * 32, len(look.mirrored))
    assert look.patches
