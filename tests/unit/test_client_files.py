"""A file is whole or not there, and is written into nothing that somebody else laid ready."""

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from accord.client.files import write_durably, written_durably


def test_what_lies_ready_at_the_temporary_name_is_not_written_into(tmp_path: Path) -> None:
    """In a shared directory: a link elsewhere, and a file that is open to another."""
    path, elsewhere = tmp_path / "film", tmp_path / "elsewhere"
    ready = tmp_path / f".film.{os.getpid()}.new"
    ready.symlink_to(elsewhere)
    write_durably(path, b"plain", mode=0o600)
    assert not elsewhere.exists()
    assert not path.is_symlink()
    ready.write_bytes(b"")
    ready.chmod(0o666)
    with ready.open("rb") as held:
        write_durably(path, b"plain", mode=0o600)
        assert held.read() == b""
    assert path.stat().st_mode & 0o777 == 0o600


def half_written(file: BinaryIO) -> None:
    file.write(b"half")
    raise RuntimeError


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "film"
    write_durably(path, b"old")
    with pytest.raises(RuntimeError), written_durably(path) as file:
        half_written(file)
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]
