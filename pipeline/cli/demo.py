"""`feedback demo`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.common import ConfigOption, fail

_NEEDED = ("chdb", "faust", "polars", "clickhouse_connect", "aiohttp")


DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder of all data; default: worker.data_dir.", show_default=False, file_okay=False),
]
RateOption = Annotated[float, typer.Option(help="Sample events a second; 0 for none.", min=0, max=2_000)]
DurationOption = Annotated[
    float | None,
    typer.Option(help="End so many seconds after everything works.", min=0, show_default=False),
]
KafkaOption = Annotated[
    str | None,
    typer.Option(help="Use this broker, not the embedded one.", metavar="HOST:PORT", show_default=False),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(
        help="History instead of sample traffic, in a data folder of its own.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
MapOption = Annotated[
    Path | None,
    typer.Option(
        "--map", help="How rows of --replay become events.", exists=True, dir_okay=False, show_default=False
    ),
]


def run(
    config: ConfigOption = None,
    data: DataOption = None,
    rate: RateOption = 5.0,
    duration: DurationOption = None,
    kafka: KafkaOption = None,
    replay: ReplayOption = None,
    mapping: MapOption = None,
) -> None:
    """Everything on this machine, to look at: broker, store, worker, gateway, page and sample traffic.

    It needs nothing else installed. It prints the addresses, which are those of the configuration, and a token
    for the gateway. Ctrl-C ends everything cleanly, and the next start goes on with the same data. The sample
    traffic begins with a day of history, in which the CSAT of one touchpoint drops for real.
    """
    if (replay is None) != (mapping is None):
        fail("--replay FILE and --map MAP belong together: give both")
    _require_extras(embedded_broker=kafka is None)
    from pipeline.demo.start import Asked, start

    history = (replay, mapping) if replay and mapping else None
    # What it prints is what it is for: the addresses and the token go to stdout.
    start(Asked(config, data, rate, duration, kafka, history), Console(highlight=False, soft_wrap=True))


def _require_extras(*, embedded_broker: bool) -> None:
    """Before anything starts, rather than in the log of a child."""
    wanted = (*_NEEDED, *(["noida_db"] if embedded_broker else []))
    lacking = [name for name in wanted if find_spec(name) is None]
    if lacking:
        fail(f"the demo needs {', '.join(lacking)}: pip install 'feedback-pipeline[embedded]'")
