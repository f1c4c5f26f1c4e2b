"""Starts the cloud drive as the process it is, and a browser to look at it with."""

import io
import math
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from PIL import Image, ImageDraw

DRIVE_FOLDER = Path(__file__).parent.parent / "examples" / "clouddrive"
sys.path.append(str(DRIVE_FOLDER))  # Whoever imports this kit can import `clouddrive`.
PLACES = ("NL:Netherlands", "IE:Ireland")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class RunningDrive:
    """One drive process that accepts connections."""

    url: str
    data: Path
    process: subprocess.Popen[str]

    def platform(self) -> dict[str, Any]:
        """What the staff page shows, as data."""
        answer = httpx.get(f"{self.url}/platform.json", trust_env=False, timeout=10)
        return cast("dict[str, Any]", answer.json())

    def upload(
        self, content: bytes, name: str = "picture.png", place: str = "NL"
    ) -> dict[str, Any]:
        """The drive's answer to one upload, as its own page would send it."""
        answer = httpx.post(
            f"{self.url}/upload",
            files={"file": (name, content)},
            data={"jurisdiction": place},
            headers={"accept": "application/json"},
            trust_env=False,
            timeout=40,
        )
        return cast("dict[str, Any]", answer.json())

    def stop(self, wait_s: float = 15.0) -> int:
        """Asks it to stop; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)


def start_drive(
    gateway: str,
    data: Path,
    *,
    port: int = 0,
    places: Sequence[str] = PLACES,
    token_file: Path | None = None,
    wait_s: float = 60.0,
) -> RunningDrive:
    """A drive that listens. Raises: RuntimeError with its output when it did not come up."""
    command = [sys.executable, "-m", "clouddrive", "--gateway", gateway, "--data", str(data)]
    command += ["--port", str(port), "--jurisdiction", *places]
    if token_file is not None:
        command += ["--token-file", str(token_file)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(DRIVE_FOLDER), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    said = []
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        try:
            line = lines.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            break
        said.append(line)
        if "listens on http://" in line:
            return RunningDrive(
                "http" + line.split("http", 1)[1].strip().rstrip("/"), data, process
            )
        if not line:
            break
    process.kill()
    process.wait(5)
    raise RuntimeError(f"the drive did not start: {''.join(said)}")


@contextmanager
def running_drive(
    gateway: str, data: Path, *, port: int = 0, token_file: Path | None = None
) -> Iterator[RunningDrive]:
    """A drive until the block ends."""
    drive = start_drive(gateway, data, port=port, token_file=token_file)
    try:
        yield drive
    finally:
        if drive.process.poll() is None:
            drive.stop()


def wait_until(what: Callable[[], bool], wait_s: float = 15.0) -> None:
    """Raises: AssertionError when it does not come true in time."""
    end = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def png_bytes(seed: int) -> bytes:
    """One landscape as a file; equal seeds, equal bytes."""
    content = io.BytesIO()
    landscape(seed, (320, 240)).save(content, "PNG")
    return content.getvalue()


def find_chromium() -> str | None:
    """A Chromium to drive, or None: then browser tests are skipped with the reason."""
    names = (os.environ.get("ACCORD_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def landscape(seed: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture of hills under a sky, drawn by code; another seed, another place."""
    width, height = size
    skies = ((250, 196, 140), (150, 196, 240), (196, 178, 226), (240, 216, 150), (140, 206, 214))
    lands = ((52, 84, 74), (44, 70, 104), (92, 64, 84), (70, 92, 48), (36, 84, 92))
    sky, land = skies[seed % 5], lands[(seed // 2 + seed) % 5]
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        part = y / height
        draw.line([(0, y), (width, y)], fill=_mix(sky, (255, 250, 244), part))
    sun = (
        width * (20 + seed * 37 % 60) / 100,
        height * (22 + seed * 13 % 20) / 100,
        26 + seed % 4 * 8,
    )
    draw.ellipse(
        (sun[0] - sun[2], sun[1] - sun[2], sun[0] + sun[2], sun[1] + sun[2]), fill="#fffdf2"
    )
    for layer in range(5):
        base = height * (44 + layer * 12) / 100
        points = [(0.0, float(height))]
        for x in range(0, width + 8, 8):
            long = math.sin(x / (150 - layer * 12) + seed * 2.3 + layer * 1.9)
            short = math.sin(x / (47 + seed % 3 * 9) + seed + layer * 4.1)
            points.append((float(x), base - height * (0.075 * long + 0.025 * short)))
        points.append((float(width), float(height)))
        draw.polygon(points, fill=_mix(_mix(sky, land, 0.35), land, layer / 4))
    return picture


def _mix(
    one: tuple[int, int, int], other: tuple[int, int, int], part: float
) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
