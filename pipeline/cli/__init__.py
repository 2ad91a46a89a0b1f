"""The command `feedback`: one file a command."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point. With the light client alone there is no typer: say what to install."""
    try:
        from pipeline.cli.commands import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("pipeline"):
            raise
        sys.exit(
            f"the command needs more than the light client ({missing.name} is missing): "
            "pip install 'feedback-pipeline[worker]', or [embedded] to try everything on one machine"
        )
    run()
