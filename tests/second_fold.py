"""A node of software that has a second version of the ledger's rules, the same as the first.

Run as a program, `--home HOME` last: what a release with other rules would be to its neighbours.
"""

import sys
from pathlib import Path

from accord.cli import failures
from accord.client.home import open_home
from accord.node.process import run_agency_node
from accord.wire.errors import AccordError

FOLDS = frozenset({1, 2})


def main() -> int:
    try:
        run_agency_node(open_home(Path(sys.argv[-1])), lambda _: None, folds=FOLDS)
    except AccordError as err:
        return failures.fail(err)
    return 0


if __name__ == "__main__":
    sys.exit(main())
