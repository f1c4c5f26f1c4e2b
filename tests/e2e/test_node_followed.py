"""A node followed: from the two commands that make one to replicas that believe nothing it says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.agency.founding import AGENCY_STAFF
from accord.ledger.genesis import found
from accord.ledger.views import policy_of
from accord.replica.replica import Replica
from accord.statements.bodies import Propose, RemoveAgency, Role, Vote
from accord.tlog.policy import Policy, verify_checkpoint
from accord.wire.errors import Unproven
from accord.wire.ids import MemberId, TimeMs
from consortium_kit import FOUR, founding, keys_for, listings, plan
from node_kit import Mirrored, NodeThread, add_home, make_homes
from source_kit import identity_of

ACCORD = (sys.executable, "-c", "from accord.cli.main import main; main()")


def accord(*arguments: str, status: int = 0) -> dict[str, object]:
    found = subprocess.run(
        [*ACCORD, *arguments, "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == status, found.stderr
    answer: dict[str, object] = json.loads(found.stdout or found.stderr)
    return answer


def test_two_commands_from_nothing_to_a_log_that_anybody_verifies(tmp_path: Path) -> None:
    trial = accord("init", "--trial", str(tmp_path))
    command = [*ACCORD, "node", "run", "--dir", str(trial["node"]), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["listening"]
        digest = str(trial["genesis_sha256"])
        report = accord("log", "verify", url, "--trial", "--sha256", digest)
        assert report["verified"] is True
        assert (report["size"], report["genesis_sha256"]) == (0, digest)
        assert report["genesis_pinned"] is True
        other = accord("log", "verify", url, "--trial", "--sha256", "00" * 32, status=1)
        assert "cli.genesis_differs" in str(other)
        assert "follow.trial" in str(accord("log", "verify", url, status=1))
        home = tmp_path / "nl-police"
        text = (home / "home.toml").read_text().replace("http://127.0.0.1:8700", url)
        (home / "home.toml").write_text(text)
        assert accord("members", "--home", str(home))["size"] == 0
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[tuple[Mirrored, NodeThread]]:
    made = Mirrored()
    make_homes(tmp_path, made)
    for member in ("fr-five", "be-six"):
        add_home(tmp_path, made, member)
    node = NodeThread(tmp_path, made)
    with node.client(made.key("nl-one", Role.KEEPER)) as client:
        made.node = client
        yield made, node
    node.close()


def decide(consortium: Mirrored, proposal: Propose, voters: tuple[str, ...]) -> None:
    entry = consortium.must(proposal, Role.GOVERNOR)
    for member in voters:
        consortium.say(Vote(consortium.header(member), entry, approve=True), Role.GOVERNOR)


def replace_most(consortium: Mirrored) -> None:
    """Two agencies come and three of the founders go, one vote after the other."""
    plans = (plan("fr-five", "FR"), plan("be-six", "BE"))
    for new in founding((*FOUR, *plans)).genesis.agencies:
        if new.agency in ("fr-five", "be-six"):
            proposal = Propose(consortium.header("nl-one"), new)
            decide(consortium, proposal, ("ie-two", "ca-three", "nl-four"))
            consortium.keys[new.agency] = keys_for(new.agency, AGENCY_STAFF)
    voters = ("ie-two", "ca-three", "nl-four", "fr-five", "be-six")
    for old in ("nl-four", "ca-three", "ie-two"):
        proposal = Propose(consortium.header("nl-one"), RemoveAgency(MemberId(old)))
        decide(consortium, proposal, tuple(v for v in voters if v != old))


def test_a_replica_goes_with_the_policy_through_every_transition(
    tmp_path: Path, consortium: tuple[Mirrored, NodeThread]
) -> None:
    made, node = consortium
    made.open_epochs()
    made.publish("nl-one", listings(2))
    replica = Replica(
        tmp_path / "replica", made.founding, identity_of(made, "nl-one"), allow_trial=True
    )
    with node.client(made.key("nl-one", Role.KEEPER)) as client:
        assert replica.sync(client, TimeMs(made.now + 1_000)) == len(made.leaves)
        assert sum(entry.batch is not None for entry in replica.folded()) == 1
        before = replica.size
        replace_most(made)
        assert len(client.fetch_transitions()) == 5
        head = client.fetch_checkpoint()
        with pytest.raises(Unproven, match=r"tlog\.quorum"):
            verify_checkpoint(head, policy_at_start(made), replica.chain)
        gained = replica.sync(client, TimeMs(made.now + 1_000))
        assert (before + gained, replica.size) == (len(made.leaves), len(made.leaves))
        assert replica.state.digest() == made.ledger.state.digest()
    replica.close()


def policy_at_start(consortium: Mirrored) -> Policy:
    return policy_of(found(consortium.founding.genesis), consortium.ledger.chain)
