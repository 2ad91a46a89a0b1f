"""`feedback demo`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import logs
from pipeline.cli.common import ConfigOption, console, fail, load_settings

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.demo.content import Content
    from pipeline.demo.folder import Folder
    from pipeline.demo.say import Say

_NEEDED = ("chdb", "faust", "polars", "clickhouse_connect", "aiohttp")


def run(
    config: ConfigOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of all data; default: worker.data_dir.", show_default=False, file_okay=False
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Sample events a second; 0 for none.", min=0, max=10_000)] = 5.0,
    duration: Annotated[
        float | None,
        typer.Option(help="End so many seconds after everything works.", min=0, show_default=False),
    ] = None,
    kafka: Annotated[
        str | None,
        typer.Option(help="Use this broker, not the embedded one.", metavar="HOST:PORT", show_default=False),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            help="History instead of sample traffic, in a data folder of its own.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--map",
            help="How rows of --replay become events.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Everything on this machine, to look at: broker, store, worker, gateway, page and sample traffic.

    It needs nothing else installed. It prints the addresses, which are those of the configuration, and a token
    for the gateway. Ctrl-C ends everything cleanly, and the next start goes on with the same data. The sample
    traffic begins with a day of history, in which the CSAT of one touchpoint drops for real.
    """
    if (replay is None) != (mapping is None):
        fail("--replay FILE and --map MAP belong together: give both")
    _require_extras(embedded_broker=kafka is None)
    settings = _settings(config, data, kafka, replay, sample=rate > 0)
    _run(settings, rate, duration, kafka, (replay, mapping) if replay and mapping else None)


def _run(
    settings: Settings,
    rate: float,
    duration: float | None,
    kafka: str | None,
    replay: tuple[Path, Path] | None,
) -> None:
    import asyncio

    from pipeline.demo.folder import EMBEDDED, Folder
    from pipeline.demo.run import Demo
    from pipeline.demo.say import Say
    from pipeline.embedded.process import Lock

    folder = Folder(settings.worker.data_dir)
    say = Say(console)
    say.line(f"feedback demo, data in {folder.path}")
    lock = Lock(folder.path, "the demo's data")
    try:
        logs.setup(
            "INFO", folder.log("demo").open("a", encoding="utf-8")
        )  # the terminal tells what people need
        content = _content(settings, folder, kafka or EMBEDDED, rate, replay, say)
        asyncio.run(Demo(settings, content, say, embedded=kafka is None, duration=duration).run())
    finally:
        lock.release()
    say.line("Stopped; the data stays.")


def _settings(
    config: Path | None, data: Path | None, kafka: str | None, replay: Path | None, *, sample: bool
) -> Settings:
    """Of the configuration, the command line and what a demo needs; also in the environment, for the children."""
    from pipeline.demo import environment
    from pipeline.demo.folder import Folder

    os.environ.update(environment.asked_for(config, data, kafka))
    settings = load_settings(config)
    if replay and not data:
        own = settings.worker.data_dir.with_name(
            f"{settings.worker.data_dir.name}-{replay.name.split('.')[0]}"
        )
        os.environ.update(environment.asked_for(None, own, None))
        settings = load_settings(config)
    sampled = Folder(settings.worker.data_dir).sample.exists()
    os.environ.update(environment.missing(settings, sample=not replay and (sample or sampled)))
    return load_settings(config)


def _content(
    settings: Settings,
    folder: Folder,
    kafka: str,
    rate: float,
    replay: tuple[Path, Path] | None,
    say: Say,
) -> Content:
    """What is sent; the folder is claimed for it."""
    from pipeline.demo.content import Nothing, Replay, Sample
    from pipeline.demo.folder import SAMPLE

    if replay:
        owner = folder.claim(kafka, replay[0].name)
        return Replay(folder, owner, *replay, say)
    known = folder.owner()
    folder.claim(kafka, known.source if known else SAMPLE)
    if rate == 0 or (known and known.source != SAMPLE):
        return Nothing()
    return Sample(settings, rate, say)


def _require_extras(*, embedded_broker: bool) -> None:
    """Before anything starts, rather than in the log of a child."""
    wanted = (*_NEEDED, *(["noida_db"] if embedded_broker else []))
    lacking = [name for name in wanted if find_spec(name) is None]
    if lacking:
        fail(f"the demo needs {', '.join(lacking)}: pip install 'feedback-pipeline[embedded]'")
