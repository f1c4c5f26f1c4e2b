"""Parts of a listed picture, from an agency's command to a platform's: real node, real files."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from accord.cli.demo.pictures import CAT, COFFEE, GRASS, GRAVEL
from accord.client.home import open_home
from house_kit import entry_of, keep, run, told, trial

__all__ = ["trial"]  # The fixture: a trial of four agencies and their node.

RULES = """
title: Parts
modality: required
legal_basis: {text: An act}
valid_from: 2026-01-01
services: [hosting]
scope: [uploads, stored]
screen: [full, frame, patches]
clauses:
  - name: known
    classes: [test/T1]
    certified_by: {agencies: 2, sovereigns: 2, review: one-person}
    exact: {action: block}
    near:
      - {within: 31, action: quarantine, alone: true}
      - {algorithm: patches, action: review}
"""


@pytest.fixture
def copies(tmp_path: Path) -> dict[str, Path]:
    """Of the photograph that is listed, and of one that is not."""
    made: dict[str, Path] = {}
    for photo in (COFFEE, CAT):
        with Image.open(io.BytesIO(photo.read())) as opened:
            whole = opened.convert("RGB")
        width, height = whole.size
        half = whole.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))
        for what, image in (
            ("mirrored", ImageOps.mirror(whole)),
            ("bordered", ImageOps.expand(whole, 80, "black")),
            ("half", half),
            ("half-mirrored", ImageOps.mirror(half)),
        ):
            made[f"{photo.name}-{what}"] = path = tmp_path / f"{photo.name}-{what}.jpg"
            image.save(path, "JPEG", quality=85)
    return made


def platform_of(trial: Path, name: str) -> Path:
    """Admitted, with the group's key."""
    one, home = trial / "nl-one", trial / name
    made = told(
        *("platform", "init", home, "--member", name, "--title", name.title()),
        *("--jurisdiction", "NL", "--node", open_home(one).nodes[0]),
        *("--genesis", trial / "node" / "genesis.json"),
        *("--sha256", open_home(one).founding.digest.hex()),
    )
    asked = ("propose", "admit-platform", Path(str(made["application"])), "--home", one)
    proposal = entry_of(told(*asked), "proposal")
    for agency in ("ie-two", "ca-three"):
        run("vote", proposal, "yes", "--home", trial / agency)
    keep(trial)
    return home


def certified(listed: dict[str, object], trial: Path) -> str:
    """What a second person and another agency say of a batch that was published: its entry."""
    entry = str(listed["entries"][0])  # type: ignore[index]
    run("approve", entry, "--home", trial / "nl-one")
    run("endorse", entry, "--level", "one-person", "--home", trial / "ie-two")
    return entry


def actions(home: Path, copies: dict[str, Path]) -> dict[str, str]:
    """What is to be done with each file, by a list that is up to date."""
    found: dict[str, str] = {}
    told("follow", "--home", home, "--trial", "--once")
    for name, path in copies.items():
        said = run("screen", path, "--home", home, "--trial", "--json", status=3)
        found[name] = str(json.loads(said.stdout.splitlines()[-1])["action"])
    return found


def test_parts_are_found_once_others_vouched_for_what_was_added(
    trial: Path, copies: dict[str, Path], tmp_path: Path
) -> None:
    one, two = trial / "nl-one", trial / "ie-two"
    keep(trial)
    home = platform_of(trial, "parts")
    rules = tmp_path / "nl.yaml"
    rules.write_text(RULES)
    run("rules", "set", rules, "--jurisdiction", "NL", "--home", one)

    photo = tmp_path / "coffee.png"
    photo.write_bytes(COFFEE.read())
    listed = told("publish", photo, "--class", "test/T1", "--patches", "0", "--home", one)
    entry = certified(listed, trial)
    whole = {"coffee-mirrored": "quarantine", "coffee-bordered": "quarantine"}
    nothing = dict.fromkeys(copies, "allow")
    assert actions(home, copies) == nothing | whole

    added = told("patches", photo, "--home", one)
    assert (added["added"], added["have"], added["unlisted"]) == (1, 0, 0)
    more = str(added["entries"][0])  # type: ignore[index]
    run("approve", more, "--home", one)
    # The other agency vouched for the listing before: not for what one agency added to it.
    assert actions(home, copies) == nothing | whole
    run("endorse", more, "--level", "one-person", "--home", two)
    parts = {"coffee-half": "review", "coffee-half-mirrored": "review"}
    assert actions(home, copies) == nothing | whole | parts

    again = told("patches", photo, tmp_path / "coffee-half.jpg", "--home", one)
    assert (again["added"], again["have"], again["unlisted"]) == (0, 1, 1)
    run("withdraw", entry, "--reason", "wrong-class", "--home", one)
    assert actions(home, copies) == nothing


def test_a_quarter_of_each_side_is_found_by_a_listing_of_many_patches(
    trial: Path, tmp_path: Path
) -> None:
    one = trial / "nl-one"
    keep(trial)
    home = platform_of(trial, "quarters")
    rules = tmp_path / "nl.yaml"
    rules.write_text(RULES.replace("algorithm: patches,", "algorithm: patches, alone: true,"))
    run("rules", "set", rules, "--jurisdiction", "NL", "--home", one)
    parts: dict[str, Path] = {}
    for photo in (COFFEE, GRAVEL, GRASS, CAT):
        with Image.open(io.BytesIO(photo.read())) as opened:
            width, height = opened.size
            left, top = width * 3 // 8, height * 13 // 20
            part = opened.convert("RGB").crop((left, top, left + width // 4, top + height // 4))
        parts[photo.name] = path = tmp_path / f"{photo.name}-quarter.jpg"
        part.save(path, "JPEG", quality=85)

    for photo, patches in ((COFFEE, "240"), (GRAVEL, "24"), (GRASS, "24")):
        whole = tmp_path / f"{photo.name}.png"
        whole.write_bytes(photo.read())
        listed = told("publish", whole, "--class", "test/T1", "--patches", patches, "--home", one)
        certified(listed, trial)
    found = {"coffee": "review", "gravel": "review", "grass": "allow", "cat": "allow"}
    assert actions(home, parts) == found

    # What has the first ones alone gets all of them; what has them is passed over.
    wholes = [tmp_path / f"{photo.name}.png" for photo in (COFFEE, GRASS)]
    first = told("patches", *wholes, "--home", one)
    assert (first["added"], first["have"]) == (0, 2)
    more = told("patches", *wholes, "--patches", "240", "--home", one)
    assert (more["added"], more["have"]) == (1, 1)
    again = told("patches", *wholes, "--patches", "240", "--home", one)
    assert (again["added"], again["have"]) == (0, 2)
    entry = certified(more, trial)
    assert actions(home, parts) == found | {"grass": "review"}

    # One that was a mistake can be made again.
    run("withdraw", entry, "--reason", "wrong-class", "--home", one)
    assert actions(home, parts) == found
    more = told("patches", *wholes, "--patches", "240", "--home", one)
    assert (more["added"], more["have"]) == (1, 1)
    assert certified(more, trial) != entry
    assert actions(home, parts) == found | {"grass": "review"}
