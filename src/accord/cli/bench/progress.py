"""How far a measurement is."""

import time
from typing import Final

from rich.console import Console

PROGRESS_EVERY_S: Final = 0.2


class Progress:
    """One line on a terminal that says what is being measured; nothing elsewhere."""

    def __init__(self) -> None:
        self._status = Console(stderr=True, highlight=False).status("starting")
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "Progress":
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done and now - self._told < PROGRESS_EVERY_S:
            return
        self._told = now
        part = f" {done:,} of {total:,}" if total else ""
        self._status.update(f"{now - self._began:5.0f} s  {what}{part}")
