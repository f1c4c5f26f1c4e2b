"""The demo's world, real to the last process, with a list in force and a drive to drop files on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clouddrive.store import State, Store
from playwright.sync_api import Browser, Page, sync_playwright

from accord.cli.demo.pictures import Photo
from accord.cli.demo.story import Story
from accord.cli.demo.world import NOORD, WEST, ZUID, World
from accord.statements.bodies import RefRange
from drive_kit import CHROMIUM_ARGS, DRIVE_FOLDER, find_chromium

ACCORD = (sys.executable, "-m", "accord.cli.main")
CERTIFIED_BY = {"coffee": (NOORD, WEST), "rocket": (WEST, NOORD)}


@dataclass
class Town:
    """A world that runs: two photographs and more certified, a gateway, a drive."""

    world: World
    story: Story

    @property
    def drive_url(self) -> str:
        return self.world.at.drive

    def certify(self, photo: Photo) -> None:
        """What three people at two agencies do, at their desks, while everything runs."""
        entry = self.story._publish(ZUID, photo)
        self.world.desk(ZUID).approve(entry)
        self.world.desk(WEST).endorse((RefRange(entry, 0, 1),), 1)

    def file_ids(self, *states: State) -> list[str]:
        """What only the drive's own database knows: ids of files that nobody may see."""
        with closing(Store(self.world.directory / "drive" / "drive.sqlite3")) as store:
            return [file.id for file in store.files_in(*states)]


@contextmanager
def running_town(directory: Path) -> Iterator[Town]:
    """The story's own steps up to a list in force, then the drive. Raises: StepFailed."""
    with World(directory, DRIVE_FOLDER) as world:
        story = Story(world)
        for step in (story.found, story.node, story.admit, story.rules):
            step()
        for step in (story.publish, story.approve, story.sync, story.endorse):
            step()
        world.start_drive()
        yield Town(world, story)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(CHROMIUM_ARGS), headless=True
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(page: Page) -> Iterator[Page]:
    """A page on which no script may fail and no resource may be missing or blocked."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    page.close()
    assert complaints == []


def run_accord(
    *words: str | Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    wait_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """One command as a person runs it; whatever happens, no traceback."""
    done = subprocess.run(
        [*ACCORD, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=wait_s,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refusal(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The `error` of a command that was told `--json` and refused."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert isinstance(error, dict)
    return error
