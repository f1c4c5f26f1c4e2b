"""Every command shows how it is used, speaks JSON, and the examples in help and pages are true."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from accord.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/operate.md")
ENDS = {"#", "&", ";", "|", ">", ">>"}  # What a shell takes from here on.
STAND_FOR = {"ENTRY": "17", "DIGEST": "00" * 32}


def commands(command: Any = None, name: str = "accord") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (the library's own commands)
    """Every command that does something, with its whole name."""
    command = command or get_command(app)
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for word, sub in below.items():
        if not sub.hidden:
            yield from commands(sub, f"{name} {word}")


COMMANDS = dict(commands())


def examples(text: str) -> list[str]:
    """The lines that begin with `accord`, with the lines they go on in."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in re.findall(r"^(?: {4}|\t)(accord .*)$", joined, re.MULTILINE)]


def words_of(line: str) -> list[str]:
    words: list[str] = []
    for word in shlex.split(line, comments=True):
        if word in ENDS:
            break
        words.append(STAND_FOR.get(word, word).rstrip(";"))
        if word.endswith(";"):
            break
    return words


def check(line: str) -> None:
    """It names a command and only options and arguments that the command takes."""
    words = words_of(line)
    command: Any = get_command(app)
    name = words.pop(0)
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{line!r}: no such command"
        command = command.commands[name]
    command.make_context(name, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_json_and_examples(name: str) -> None:
    command = COMMANDS[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options
    shown = examples(command.help or "")
    assert shown, "Examples: are missing"
    assert any(line.startswith(f"{name} ") or line == name for line in shown)
    assert "[default" not in (command.help or ""), "it is markup, and vanishes"
    for parameter in command.params:
        assert "[default" not in (getattr(parameter, "help", None) or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_true(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_HOME", "home")
    for line in examples(COMMANDS[name].help or ""):
        check(line)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_on_a_page_are_true(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_HOME", "home")
    shown = examples((ROOT / page).read_text())
    assert len(shown) > 5
    for line in shown:
        check(line)


def test_a_false_example_is_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        check("accord rules check nl.yaml --nonsense")
    with pytest.raises(AssertionError, match="no such command"):
        check("accord rules chek nl.yaml")
