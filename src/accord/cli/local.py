"""`accord local`: a platform's own layer over decisions, at the command line."""

from typing import Annotated

import typer

from accord.cli.assemble import now_ms, open_replica
from accord.cli.cases import Reviewer, opened
from accord.cli.governance import tell
from accord.cli.options import HomeOption, Json, Trial
from accord.cli.platform import PANEL
from accord.client.home import open_home
from accord.wire.errors import Malformed
from accord.wire.ids import parse_ref_text

local_app = typer.Typer(no_args_is_help=True, help="A platform's own layer over decisions.")

_CHECK = """Whether local.toml fits the rules in force: refuses what would lessen a required one.

Examples:

    accord local check --home ./clouddrive --trial
"""
_HELD = """Listings that matched far too much: their matches go to review, where rules permit that.

Examples:

    accord local held --home ./clouddrive
"""
_RELEASE = """Let a held listing act again, after a person looked.

Examples:

    accord local release 17/3 --as rev-7 --home ./clouddrive
"""


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    local_app.command("check", help=_CHECK)(check)
    local_app.command("held", help=_HELD)(held)
    local_app.command("release", help=_RELEASE)(release)
    app.add_typer(local_app, name="local", rich_help_panel=PANEL)


def check(home: HomeOption, trial: Trial = False, as_json: Json = False) -> None:
    from accord.matching.local import check_layer  # noqa: PLC0415
    from accord.scan.platform import check_platform, open_platform  # noqa: PLC0415

    at = open_home(home)
    check_platform(at)
    with open_platform(at, open_replica(at, trial), 1) as platform:
        local = platform.screener.local
        if local is not None:
            check_layer(local.layer, platform.screener.running.obligations)
    said = {
        "local": local is not None,
        "allowed": 0 if local is None else len(local.layer.allowed),
        "dry_run": local is not None and local.layer.dry_run,
    }
    tell(as_json, said, "local.toml fits." if local is not None else "There is no local.toml.")


def held(home: HomeOption, as_json: Json = False) -> None:
    with opened(home) as (_, desk):
        found = desk.store.held()
    rows = [{"listing": name, "files": files} for name, files in sorted(found.items())]
    lines = [f"{name} matched {files} files in a day" for name, files in sorted(found.items())]
    tell(as_json, {"held": rows}, "\n".join(lines) or "None.")


def release(
    listing: Annotated[str, typer.Argument(help="As `accord local held` names it.")],
    reviewer: Reviewer,
    home: HomeOption,
    as_json: Json = False,
) -> None:
    from accord.scan.cases.model import check_name  # noqa: PLC0415

    name = str(parse_ref_text(listing))
    with opened(home) as (_, desk):
        was = desk.store.release_noisy(name, check_name(reviewer), now_ms())
    if not was:
        raise Malformed("local.not_held", listing=name, mend="accord local held")
    tell(as_json, {"listing": name, "released": True}, f"{name} acts again.")
