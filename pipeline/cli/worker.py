"""`feedback worker`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from pipeline.cli.common import ConfigOption, fail, load_settings
from pipeline.cli.memory import keep_freed_memory

_PARTS = ("tally", "roll", "archive")


def run(
    config: ConfigOption = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Do a part of the work: tally, roll, archive, separated by commas.", show_default=False
        ),
    ] = None,
    drain: Annotated[
        bool,
        typer.Option(
            "--drain", help="End once everything that is in the topics now is processed and stored."
        ),
    ] = False,
) -> None:
    """Count events, keep the rolling scores, store the results.

    Run as many as there are partitions; they share the work and take over from each other. Exactly once needs nothing
    else: kill one at any time and start it again. /metrics, /healthz and /readyz are at metrics.listen.
    """
    settings = load_settings(config)
    parts = _PARTS if only is None else _parts(only)
    # before polars is imported: our own pool is the parallelism
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # it gives what it freed back to the kernel after half a second, and faults it in anew with the next batch
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")
    keep_freed_memory()
    import uvloop

    from pipeline.embedded.keeper import StoreKeeper
    from pipeline.streams.garbage import search_seldom
    from pipeline.streams.worker import work

    search_seldom()
    sys.exit(uvloop.run(work(settings, StoreKeeper(settings), parts, drain=drain)))


def _parts(only: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in only.split(",") if part.strip())
    unknown = sorted(set(parts) - set(_PARTS))
    if unknown or not parts:
        fail(f"--only does not know {', '.join(unknown) or 'an empty name'}: choose from {', '.join(_PARTS)}")
    return parts
