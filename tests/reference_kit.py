"""Where the public reference data is, for tests that run against other implementations' cases."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def find_reference() -> Path | None:
    """The folder ACCORD_REFERENCE names, or `shared/reference` beside the project."""
    named = os.environ.get("ACCORD_REFERENCE")
    folder = Path(named) if named else ROOT.parent / "shared" / "reference"
    return folder if folder.is_dir() else None


def reference_dir(*parts: str) -> Path:
    """A folder of the reference data; the test that asks is skipped by name where it is absent."""
    folder = find_reference()
    wanted = "/".join(("reference", *parts))
    if folder is None or not (folder / Path(*parts)).exists():
        pytest.skip(f"{wanted} is not here; set ACCORD_REFERENCE to its folder")
    return folder.joinpath(*parts)
