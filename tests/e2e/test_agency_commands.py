"""An agency's working day on the command line, against a real node: only commands, only files."""

import json
import subprocess
from pathlib import Path

from accord.client.home import open_home
from house_kit import ACCORD, entry_of, keep, run, told, trial
from pictures_kit import encoded, picture

__all__ = ["trial"]  # The fixture.


def test_a_keeper_runs_until_it_is_told_to_stop(trial: Path) -> None:
    command = [*ACCORD, "keeper", "--home", str(trial / "nl-one"), "--json"]
    keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    with keeper.stdout as lines:
        assert json.loads(lines.readline())["task"] == "open agencies 1"
        keeper.terminate()
        assert keeper.wait(30) == 0


def test_a_day(trial: Path, tmp_path: Path) -> None:
    one, two = trial / "nl-one", trial / "ie-two"
    done = keep(trial)
    assert sum("acknowledge" in str(line["task"]) for line in done) >= 4
    assert all(line["code"] is None for line in done)

    cases = tmp_path / "cases"
    cases.mkdir()
    for seed in (1, 2):
        (cases / f"{seed}.png").write_bytes(encoded(picture(seed), "PNG"))
    (cases / "again.png").write_bytes((cases / "1.png").read_bytes())
    (cases / "notes.txt").write_text("no picture")
    publish: list[str | Path] = ["publish", cases, "--class", "test/T1", "--home", one]
    refused = run(*publish, ok=False)
    assert "notes.txt: image.unknown_format" in refused.stderr
    assert "cli.refused_files" in refused.stderr
    dry = told(*publish, "--skip-refused", "--dry-run")
    assert (dry["count"], dry["statements"]) == (2, 1)
    published = told(*publish, "--skip-refused")
    entries = published["entries"]
    assert isinstance(entries, list)
    entry = str(entries[0])
    assert told(*publish, "--skip-refused")["entries"] == entries  # Nothing is published twice.

    same = run("approve", entry, "--home", two, ok=False)
    assert "reject.not_the_publisher" in same.stderr
    run("approve", entry, "--home", one)
    run("endorse", entry, "--level", "one-person", "--home", two)
    run("dispute", f"{entry}/1", "--reason", "wrong-class", "--home", two)
    run("withdraw", f"{entry}/1", "--reason", "wrong-class", "--home", one)

    home = trial / "cloud"
    genesis = trial / "node" / "genesis.json"
    digest = open_home(one).founding.digest.hex()
    url = open_home(one).nodes[0]
    words: list[str | Path] = [
        "--title",
        "Cloud",
        "--jurisdiction",
        "NL",
        "--node",
        url,
        "--genesis",
        genesis,
    ]
    made = told("platform", "init", home, "--member", "cloud", "--sha256", digest, *words)
    application = Path(str(made["application"]))
    assert open_home(home).kind == "platform"
    secrets = [key.read_text().strip() for key in (home / "keys").glob("*.key")]
    assert secrets
    assert not any(secret in application.read_text() for secret in secrets)
    wrong: list[str | Path] = ["--sha256", "00" * 32, *words]
    assert (
        "cli.genesis_differs"
        in run("platform", "init", trial / "x", "--member", "x1", *wrong, ok=False).stderr
    )

    proposal = entry_of(told("propose", "admit-platform", application, "--home", one), "proposal")
    for agency in ("ie-two", "ca-three"):
        run("vote", proposal, "yes", "--home", trial / agency)
    assert any("wrap platforms" in str(line["task"]) for line in keep(trial))
    view = json.loads(run("members", "--home", one, "--json").stdout)
    assert [row["id"] for row in view["platforms"]] == ["cloud"]

    rules = tmp_path / "nl.yaml"
    rules.write_text(run("rules", "template", "eu-member-state").stdout)
    run("rules", "check", rules)
    run("rules", "set", rules, "--jurisdiction", "NL", "--home", one)
    shown = run("rules", "show", "NL", "--home", two).stdout
    rules.write_text(shown)
    run("rules", "check", rules)
    rules.write_text(shown.replace("action: block", "action: blok").replace("title:", "titel:"))
    faulty = run("rules", "set", rules, "--jurisdiction", "NL", "--home", one, ok=False)
    assert faulty.stderr.count("did you mean") == 2
    assert f"{rules}:" in faulty.stderr
    not_ours = run(
        "rules", "set", tmp_path / "none", "--jurisdiction", "NL", "--home", one, ok=False
    )
    assert "cli.file" in not_ours.stderr

    change: list[str | Path] = [
        "propose",
        "parameters",
        "--set",
        "time_lock_ms=1000",
        "--home",
        one,
    ]
    assert entry_of(told(*change), "proposal")
    odd = run("propose", "parameters", "--set", "nothing=1", "--home", one, ok=False)
    assert "cli.parameter" in odd.stderr
    run("keys", "rotate", "analyst", "analyst-c", "--home", one)
    several = run("endorse", entry, "--level", "digest", "--home", one, ok=False)
    assert "home.several_keys" in several.stderr
