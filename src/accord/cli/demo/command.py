"""`accord demo`."""

import json
import shutil
import signal
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from accord.cli.node import EngineName
from accord.wire.errors import AccordError

if TYPE_CHECKING:
    from accord.cli.demo.story import Story

_HELP: Final = """The whole story on benign photographs without people; then a drive in the browser.

Founds a trial consortium of four agencies in three jurisdictions and one platform, with real keys;
they publish, approve, endorse, make rules; the platform follows, screens, scans; an auditor runs
the verdict. Everything is real but for the single process that orders statements (the solo engine);
with `--engine cometbft` each agency runs its own validator and nothing is left out.

Examples:

    accord demo

    accord demo --once --json

    accord demo --engine cometbft

    accord demo --directory ./demo --no-browser
"""
_TRY: Final = """
The drive      {drive}/
  staff page   {drive}/platform
The gateway    {gateway}/openapi.json
The node       {node}/checkpoint

Try these pictures: {pictures}
  Drop one of `allowed` into the drive, then one of `blocked-in-NL-tagged-in-CA`, or an altered copy
  of it. Change the country at the top of the page and try again. The staff page shows what the
  platform sees: the rule, the agencies that certified, the report that is due.
  `disputed-goes-to-review-in-NL` was certified and then disputed: a person must look.

An agency's desk, from another terminal:
  {accord} members --home {consortium}/nl-noord
  {accord} endorse {grass} --level one-person --home {consortium}/ie-west
The last one certifies the lawn: within two seconds `listed-by-one-agency-only` is blocked too.

Ctrl-C ends everything.
"""


def register(app: typer.Typer) -> None:
    app.command("demo", help=_HELP)(demo)


def _say_credits() -> None:
    from accord.cli.demo.pictures import credits_text  # noqa: PLC0415  (as in `demo`)

    sys.stdout.write(credits_text() + "\n")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Run the story headless and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON report.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="An empty directory to keep; a temporary one if left out.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="One trial node, or a CometBFT validator for each agency.")
    ] = EngineName.SOLO,
    browser: Annotated[bool, typer.Option(help="Open the drive in a browser.")] = True,
    show_credits: Annotated[
        bool, typer.Option("--credits", help="Say where the photographs come from, and exit.")
    ] = False,
) -> None:
    # Here and not above: these load the whole product, and `--help` is to be quick.
    from accord.cli.demo.story import Step, Story, lay_out, summary  # noqa: PLC0415
    from accord.cli.demo.world import World  # noqa: PLC0415

    if show_credits:
        _say_credits()
        return
    console = Console(stderr=as_json, highlight=False)
    place = directory or Path(tempfile.mkdtemp(prefix="accord-demo-"))

    def tell(step: Step) -> None:
        mark = "[green]ok[/]" if step.ok else "[red]failed[/]"
        console.print(f"{mark:>14} {step.seconds:7.2f} s  [bold]{step.name}[/]: {step.detail}")

    failed = False
    world = World(place, _drive_source(), is_network=engine is EngineName.COMETBFT)
    # The story's processes end with it, whoever ends it. A shell's background job ignores SIGINT.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        with world:
            story = Story(world)
            report = summary(story.play(tell))
            failed = not report["ok"]
            if as_json:
                sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            if not once and not failed:
                console.print(_what_to_try(story, lay_out(place)), soft_wrap=True)
                _wait_for_stop(world.at.drive if browser else None)
    except AccordError:
        failed = True
        raise
    finally:
        if directory is None and not failed:
            shutil.rmtree(place, ignore_errors=True)
        elif failed:
            console.print(f"The demo's files, with the logs of its processes: {place}")
    if failed:
        raise typer.Exit(1)


def _what_to_try(story: "Story", pictures: Path) -> str:
    at = story.world.at
    return _TRY.format(
        drive=at.drive,
        gateway=at.gateway,
        node=at.node,
        pictures=pictures,
        accord=Path(sys.executable).parent / "accord",
        consortium=story.world.directory / "consortium",
        grass=story.entries["grass"],
    )


def _drive_source() -> Path | None:
    """The example platform beside this package's source, if it runs from the tree."""
    for parent in Path(__file__).resolve().parents:
        source = parent / "examples" / "clouddrive"
        if (source / "clouddrive").is_dir():
            return source
    return None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_for_stop(open_url: str | None) -> None:
    if open_url is not None and sys.stdout.isatty():
        webbrowser.open(open_url)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
