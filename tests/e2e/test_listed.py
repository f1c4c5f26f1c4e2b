"""Is this on the list? Two agencies answer a third party, who checks them with no key at all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from command_kit import House, founded, refused, run
from pictures_kit import encoded, picture

LISTED = 3
SALT = bytes(range(32)).hex()


@dataclass
class Answers:
    house: House
    directory: Path
    picture: Path
    other: Path

    def ask(
        self, agency: str, what: Path | str, *words: str | Path, status: int
    ) -> dict[str, object]:
        home = ("--home", self.house.home(agency))
        said = run("log", "not-listed", what, *home, *words, "--json", status=status)
        return said.last

    @property
    def genesis(self) -> Path:
        return self.house.node_directory / "genesis.json"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    directory = tmp_path_factory.mktemp("listed")
    files = [directory / "one.jpg", directory / "two.jpg"]
    for seed, file in enumerate(files):
        file.write_bytes(encoded(picture(seed), "JPEG"))
    with founded(directory / "house") as house:
        house.certify(files[0])
        yield Answers(house, directory, *files)


def test_two_agencies_answer_a_third_party(answers: Answers) -> None:
    house, files = answers.house, [answers.directory / f"{name}.json" for name in ("nl", "ie")]
    first = answers.ask("nl-one", answers.other, "--out", files[0], status=0)
    assert [value["listed"] for value in first["values"]] == ["not-listed"] * 4  # type: ignore[attr-defined]
    question = ("--salt", str(first["salt"]), "--at", str(first["size"]))
    second = answers.ask("ie-two", answers.other, *question, "--out", files[1], status=0)
    assert (first["root"], first["values"]) == (second["root"], second["values"])
    one, two = (json.loads(file.read_text()) for file in files)
    assert one["answer"] == two["answer"]
    assert one["signature"] != two["signature"]
    anybody = ("--log", house.url, "--genesis", answers.genesis, "--trial")
    seen = run("log", "verify-answer", *files, *anybody, "--json").last
    assert (seen["agencies"], seen["opened"]) == (["ie-two", "nl-one"], False)
    opened = ("--asked", answers.other, "--salt", str(first["salt"]))
    own = ("--home", house.home("ca-three"), "--trial")
    seen = run("log", "verify-answer", files[0], *own, *opened, "--refold", "--json").last
    assert (seen["opened"], seen["refolded"]) == (True, True)
    other = ("--asked", answers.picture, "--salt", str(first["salt"]))
    assert refused("log", "verify-answer", files[0], *own, *other) == "answer.other_question"


def test_a_listed_picture_is_named_to_the_agency_alone(answers: Answers) -> None:
    file = answers.directory / "listed.json"
    said = answers.ask("nl-one", answers.picture, "--salt", SALT, "--out", file, status=LISTED)
    values = said["values"]
    assert isinstance(values, list)
    assert {value["listed"] for value in values} == {"listed"}
    (ref,) = {ref for value in values for ref in value["refs"]}
    assert str(ref).endswith("/0")
    raw = file.read_text()
    assert ref not in raw
    assert not any(value["value"] in raw for value in values)
    seen = run(
        "log",
        "verify-answer",
        file,
        "--home",
        answers.house.home("ie-two"),
        "--trial",
        status=LISTED,
    )
    assert "pdq within 31 (hamming): listed" in seen.stdout


def test_bad_questions_and_files_are_refused(answers: Answers) -> None:
    home = ("--home", answers.house.home("nl-one"))
    ask = ("log", "not-listed")
    assert refused(*ask, "md5:zz", *home) == "cli.value"
    assert refused(*ask, "md5:00", *home) == "registry.value"
    assert refused(*ask, f"pdq:{'00' * 32}", *home, "--distance", "65") == "registry.distance"
    assert refused(*ask, f"md5:{'00' * 16}", *home, "--salt", "00") == "answer.salt"
    assert refused(*ask, f"md5:{'00' * 16}", *home, "--at", "100000") == "answer.size"
    many = [f"md5:{number:032x}" for number in range(514)]
    assert refused(*ask, *many, *home) == "answer.too_many"
    torn = answers.directory / "torn.jpg"
    torn.write_bytes(answers.picture.read_bytes()[:200])
    assert refused(*ask, torn, *home) == "listing.unhashable"  # Nobody says "no" unseen.
    file = answers.directory / "answer.json"
    run(*ask, f"md5:{'00' * 16}", *home, "--out", file)
    check = ("log", "verify-answer", file, *home, "--trial")
    run(*check)
    file.write_text(file.read_text().replace("not-listed", "listed"))
    assert refused(*check) == "key.signature"
    file.write_text("{}")
    assert refused(*check) == "answer.form"
    file.write_bytes(b" " * 300_000)
    assert refused(*check) == "cli.answer"
    assert refused("log", "verify-answer", file) == "cli.answer"
