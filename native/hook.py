"""Compiles the kernel when the package is installed or packed, and leaves it beside its loader.

Without a compiler the package is whole all the same: the product then computes in NumPy and says
so in one line.
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = Path("src/accord/native/kernel.so")
FLAGS = (
    "-std=c11",
    "-O3",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-fno-math-errno",  # A root is one instruction, and the library needs no other.
)


class KernelHook(BuildHookInterface):
    """Paths of the library are chosen when it runs, so it is compiled for the plain processor."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":  # An editable install is a wheel too.
            return
        if not self._compile(Path(self.root)):
            return
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(
            ".", "_"
        )
        build_data["artifacts"].append(str(TARGET))

    def _compile(self, root: Path) -> bool:
        compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
        sources = sorted(str(path) for path in (root / "native").glob("*.c"))
        if compiler is None:
            self.app.display_warning("no C compiler: the kernel will run in NumPy, slowly")
            return False
        # Beside it, then renamed: a process that has the old one mapped must not see it change.
        fresh = root / f"{TARGET}.{os.getpid()}.new"
        done = subprocess.run(  # noqa: S603  (the compiler that this machine names)
            [compiler, *FLAGS, "-o", str(fresh), *sources], check=False
        )
        if done.returncode:
            fresh.unlink(missing_ok=True)
            self.app.display_warning("the kernel does not compile: it will run in NumPy, slowly")
            return False
        os.replace(fresh, root / TARGET)
        return True
