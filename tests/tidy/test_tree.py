"""The tree keeps its own rules: sizes, names, documented codes, no foreign words."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.ledger.codes import RejectCode

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "examples").rglob("*.py"))
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
RAISED = re.compile(
    r"\b(?:Malformed|Unproven|Unavailable|Rejected|Broken|Unhashable)\(\s*\"([a-z0-9_.]+)\""
)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_module_fits_a_reader(path: Path) -> None:
    assert path.stem not in BANNED_NAMES
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    tree = ast.parse(text)
    assert ast.get_docstring(tree) or path.name == "__main__.py", "a module opens with its job"
    for function in functions(tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= FUNCTION_LINES_MAX, f"{function.name}: {lines} lines"
    for number, line in enumerate(text.splitlines(), 1):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", line), f"line {number}: say `# GAP(#n): ..`"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_error_code_is_documented() -> None:
    documented = set(
        re.findall(r"^\| `([a-z0-9_.]+)`", (ROOT / "docs/errors.md").read_text(), re.M)
    )
    raised = {code for path in SOURCES for code in RAISED.findall(path.read_text())}
    raised |= {code.code for code in RejectCode}
    assert sorted(raised - documented) == []


def test_reject_codes_are_never_renumbered() -> None:
    numbers = [code.value for code in RejectCode]
    assert numbers == list(range(1, len(numbers) + 1))
    assert (RejectCode.MALFORMED, RejectCode.BAD_RULE_SET) == (1, 38)


def test_the_tree_speaks_only_of_itself() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    foreign = re.compile(r"/(?:work|farm|root)/|\.(?:internal|corp)\b")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".lock", ".png", ".jpg", ".heic"} or path == Path(__file__):
            continue
        if path.is_file():
            found = foreign.search(path.read_text(errors="ignore"))
            assert found is None, f"{name}: {found and found.group()}"
