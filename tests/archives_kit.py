"""Archives in memory, of what members are given."""

import io
import tarfile
import zipfile
from collections.abc import Sequence


def zipped(files: Sequence[bytes], names: Sequence[str] = (), method: int = 8) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for number, data in enumerate(files):
            archive.writestr(names[number] if names else f"{number}.jpg", data)
    return out.getvalue()


def tarred(files: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, data in enumerate(files):
            about = tarfile.TarInfo(f"{number}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()
