import os
from pathlib import Path

from accord.fingerprint import Unhashable, UnhashableCode
from accord.media import read_file, walk


def tree(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())


def names(root: Path, *starts: Path) -> list[str]:
    found = list(walk(starts))
    assert all(isinstance(path, Path) for path in found)
    return [str(path.relative_to(root)) for path in found if isinstance(path, Path)]


def code_of(path: Path, bytes_max: int = 100) -> str:
    answer = read_file(path, bytes_max)
    assert isinstance(answer, Unhashable)
    assert answer.digests is None
    return answer.code.value


def test_order_is_that_of_names_and_depth_first(tmp_path: Path) -> None:
    tree(tmp_path, "b/2", "b/10", "a/z/1", "a/y", "c", "B")
    assert names(tmp_path, tmp_path) == ["B", "a/y", "a/z/1", "b/10", "b/2", "c"]
    assert names(tmp_path, tmp_path / "c", tmp_path / "a") == ["c", "a/y", "a/z/1"]


def test_a_loop_of_links_ends_and_a_linked_file_is_read(tmp_path: Path) -> None:
    tree(tmp_path, "real/file")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "real" / "self").symlink_to("self")
    (tmp_path / "real" / "link").symlink_to("file")
    assert names(tmp_path, tmp_path) == ["real/file", "real/link", "real/self"]
    assert read_file(tmp_path / "real" / "link") == b"real/file"
    assert code_of(tmp_path / "real" / "self") == "file.unreadable"


def test_a_link_the_caller_names_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, "real/file")
    (tmp_path / "link").symlink_to("real")
    assert names(tmp_path, tmp_path / "link") == ["link/file"]


def test_what_cannot_be_read_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")  # Opening one for reading would wait for a writer.
    assert names(tmp_path, tmp_path) == ["dangling", "fifo"]
    for path in (tmp_path / "dangling", tmp_path / "fifo", tmp_path / "absent", tmp_path):
        assert code_of(path) == "file.unreadable"
    assert code_of(Path("/dev/zero")) == "file.unreadable"
    assert code_of(Path("zero\x00byte")) == "file.unreadable"


def test_a_directory_that_vanishes_is_a_result(tmp_path: Path) -> None:
    tree(tmp_path, "a", "b/file")
    found = walk([tmp_path])
    assert next(found) == tmp_path / "a"
    (tmp_path / "b" / "file").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "b").symlink_to("nowhere")
    assert [code_of(path) for path in found if isinstance(path, Path)] == ["file.unreadable"]


def test_the_limit_holds_before_and_while_reading(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(101))
    assert code_of(file) == UnhashableCode.TOO_LARGE
    assert read_file(file, 101) == bytes(101)
    assert code_of(Path("/proc/self/status"), 10) == "image.too_large"  # It tells a size of 0.
