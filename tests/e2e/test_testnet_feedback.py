"""Feedback over four real validators: taken in by one node, opened at another agency's."""

from pathlib import Path

from cases_kit import Desk, case_of
from command_kit import run, told
from scan_kit import jpeg
from testnet_kit import Cluster, cluster, wait_for


def keep(net: Cluster) -> None:
    for name in net.names:
        run("keeper", "--home", net.homes[name].path, "--once")
        net.settle()  # The next one is to see what this one said.


def admit(net: Cluster, directory: Path) -> Path:
    """A platform that knows two nodes, admitted by all."""
    home, first = directory / "cloud", net.homes[net.names[0]]
    nodes = [word for name in net.names[:2] for word in ("--node", net.net.apis[name])]
    words = ("--member", "cloud", "--title", "Cloud", "--jurisdiction", "NL")
    pinned = ("--genesis", first.path / "genesis.json", "--sha256", first.founding.digest.hex())
    run("platform", "init", home, *words, *pinned, *nodes)
    application = home / "application.json"
    made = told("propose", "admit", application, "--home", first.path)
    for name in net.names[1:3]:
        net.settle()
        run("vote", str(made["proposal"]), "yes", "--home", net.homes[name].path)
    return home


def test_one_node_takes_it_and_another_agency_opens_it(tmp_path: Path) -> None:
    with cluster(tmp_path / "four") as net:
        keep(net)
        cloud = admit(net, tmp_path)
        keep(net)
        publisher = net.homes[net.names[0]].path
        (tmp_path / "1.jpg").write_bytes(jpeg(1))
        listed = told("publish", tmp_path / "1.jpg", "--class", "test/T1", "--home", publisher)
        run("approve", str(listed["entries"][0]), "--home", publisher)
        net.settle()
        ref = f"{listed['entries'][0]}/0"

        cases = Desk(cloud)
        cases.desk.take_in(case_of("c1", listings=[ref]), [ref], None)
        cases.store.close()
        at, me = ("--home", cloud), ("--as", "rev-1", "--home", cloud)
        told("cases", "claim", "c1", *me)
        told("cases", "dispose", "c1", "not-csam", "--reason", "chess", "--viewed", *me)
        net.kill(net.names[0])  # The platform's first node: the other one takes it.
        (entry,) = told("cases", "feedback", "--send", *at)["sent"]["entries"]
        net.restart(net.names[0])
        wait_for(lambda: net.status()[net.names[0]].log_size > entry, 60)
        net.settle()
        for name in net.names:
            said = told("feedback", "--home", net.homes[name].path, "--trial")
            assert [(row["listing"], row["false_positives"]) for row in said["rows"]] == [(ref, 1)]
            assert (said["unopened"], said["uncounted"]) == ([], [])
