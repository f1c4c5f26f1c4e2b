"""Regenerate every file in vectors/: `make vectors`, then look at what changed."""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    for path in sorted(HERE.glob("*_vectors.py")):
        if not path.name.startswith("test_"):
            importlib.import_module(path.stem).write()


if __name__ == "__main__":
    main()
