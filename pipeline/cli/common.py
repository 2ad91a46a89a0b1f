"""What every command shares: the --config option, messages, progress.

def run(config: ConfigOption = None) -> None:
    settings = load_settings(config)
    with progress("reading", total=1000) as bar:
        bar.advance(10)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from pipeline.cli.progress import Progress, show
from pipeline.errors import FeedbackError
from pipeline.logs import printable

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.verify.result import Result

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="FEEDBACK_CONFIG",
        help="Configuration file; default: feedback.toml in this folder, if there is one.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_DATE = len("20260501")  # ISO 8601 knows dates of digits alone, too

# People's messages go to stderr, so that stdout holds nothing but results.
console = Console(stderr=True, highlight=False, soft_wrap=True)


def plain(text: object) -> str:
    """Something that others wrote, for rich: no markup in it, and nothing that a terminal would obey."""
    return escape(printable(str(text)))


def load_settings(config: Path | None) -> Settings:
    """The checked configuration; a wrong one ends the command with every fault."""
    from pipeline.config import load

    return load(config)


def complain(text: str) -> int:
    """Print an error; the exit code that goes with it."""
    console.print(Text.assemble(("error: ", "bold red"), printable(text)))
    return 1


def fail(text: str) -> NoReturn:
    """End the command with exit code 1 and one sentence that says what to do next."""
    raise FeedbackError(text)


def moment(option: str, text: str) -> datetime:
    """A time that somebody gave: ISO 8601 (UTC if it says no zone), or milliseconds since 1970."""
    try:
        if text.isdecimal() and len(text) > _LONGEST_DATE:
            return _EPOCH + timedelta(milliseconds=int(text))
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        fail(f'{option} {text}: write it like "2026-05-01T12:00:00Z"')


def tell(result: Result, show_it: Callable[[Result], None], *, as_json: bool) -> None:
    """Print what a recount came to, for programs or by `show_it` for people; differences end with exit code 1."""
    if as_json:
        json.dump(result.as_json(), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        show_it(result)
    if result.differences:
        raise typer.Exit(1)


def progress(text: str, total: float | None = None) -> AbstractContextManager[Progress]:
    """For anything that takes over two seconds: a bar on a terminal, a line every five seconds elsewhere.

    Args:
        text: what is being done.
        total: how much there is to do; None shows that it goes on, not how far.
    """
    return show(console, text, total)
