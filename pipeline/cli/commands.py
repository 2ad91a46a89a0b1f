"""`app`: all commands, and what the user sees when one fails."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Literal

import typer

from pipeline import logs
from pipeline.cli.common import complain
from pipeline.errors import FeedbackError

# Groups of the help page and their commands; "check-config" is the function `run` of check_config.py.
COMMANDS = {
    "Start": ("demo", "setup", "worker", "gateway", "page", "store"),
    "Mend": ("rebuild", "reset", "rewind"),
    "Send": ("emit", "replay"),
    "Look": ("report", "follow-ups", "query", "verify", "trace"),
    "About": ("check-config", "schema", "version"),
}
# Modules that another extra than [worker] brings.
EMBEDDED = {"backports", "chdb", "lz4", "noida_db"}
Level = Literal["debug", "info", "warning", "error"]

app = typer.Typer(
    name="feedback",
    help="Rolling NPS, CSAT, CES and resolution times from your apps' events.\n\nStart with: feedback demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # our errors are sentences; what else comes is a bug
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _everywhere(
    log_level: Annotated[Level, typer.Option(help="Least important lines to log.")] = "info",
    log_json: Annotated[
        bool | None,
        typer.Option("--log-json/--log-text", help="Default: text on a terminal, else JSON lines."),
    ] = None,
) -> None:
    logs.setup(log_level.upper(), as_json=log_json)


def _register() -> None:
    for panel, names in COMMANDS.items():
        for name in names:
            command = import_module(f"pipeline.cli.{name.replace('-', '_')}").run
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(command)


_register()


def run() -> None:
    """The command line. Exit code 0 only on success; what a user can mend is a sentence, no traceback."""
    try:
        app()
    except FeedbackError as error:
        sys.exit(complain(str(error)))
    except ModuleNotFoundError as missing:
        module = (missing.name or "").partition(".")[0]
        if module in ("", "pipeline"):
            raise
        extra = "embedded" if module in EMBEDDED else "worker"
        sys.exit(complain(f"{module} is not installed: pip install 'feedback-pipeline[{extra}]'"))
    except BrokenPipeError:
        # `feedback query ... | head`: the reader has enough. Python would complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
