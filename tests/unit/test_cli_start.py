"""A command starts before a person notices: what is slow to load is loaded by who needs it."""

import subprocess
import sys

import pytest

SLOW = (
    "PIL",
    "accord.fingerprint.decode",
    "fastapi",
    "google.protobuf",
    "numpy",
    "uvicorn",
)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["members", "--home", "nowhere"]])
def test_nothing_slow_is_loaded_to_begin_with(words: list[str]) -> None:
    script = (
        "import sys; from accord.cli.main import main;\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded:', *(name for name in {SLOW!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "loaded:"
