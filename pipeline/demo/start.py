"""From what was asked for to a running demo: its settings, its folder, its content."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipeline import logs
from pipeline.config import Settings, load
from pipeline.demo import environment
from pipeline.demo.content import Content, Nothing, Replay, Sample
from pipeline.demo.folder import EMBEDDED, SAMPLE, Folder, Owner
from pipeline.demo.run import Demo
from pipeline.demo.say import Say
from pipeline.embedded.process import Lock


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line.

    Attributes:
        config: configuration file, None for the usual one.
        data: folder of all data, None for worker.data_dir.
        rate: sample events a second; 0 for none.
        duration: seconds to run once everything works; None until it is told to stop.
        kafka: address of a broker to use; None for the embedded one.
        replay: history instead of sample traffic: the file and its mapping.
    """

    config: Path | None
    data: Path | None
    rate: float
    duration: float | None
    kafka: str | None
    replay: tuple[Path, Path] | None


def start(asked: Asked, console: Console) -> None:
    """Run the demo until it ends.

    Raises:
        FeedbackError: it cannot start, or a part ended by itself. Nothing is left running.
    """
    settings = settings_of(asked)
    folder = Folder(settings.worker.data_dir)
    say = Say(console)
    say.line(f"feedback demo, data in {folder.path}")
    lock = Lock(folder.path, "the demo's data")
    try:
        source = asked.replay[0].name if asked.replay else _known_source(folder)
        owner = folder.owner_for(asked.kafka or EMBEDDED, source)
        content = content_of(asked, settings, owner, say)
        with folder.log("demo").open("a", encoding="utf-8") as log:
            logs.setup("INFO", log)  # the terminal is for what people need
            asyncio.run(Demo(settings, owner, content, say, asked.kafka is None, asked.duration).run())
    finally:
        lock.release()
    say.line("Stopped; the data stays.")


def settings_of(asked: Asked) -> Settings:
    """The configuration with what was asked for and what a demo needs; in the environment too, for the children."""
    os.environ.update(environment.asked_for(asked.config, asked.data, asked.kafka))
    settings = load(asked.config)
    folder = settings.worker.data_dir
    if asked.replay and not asked.data:
        folder = folder.with_name(f"{folder.name}-{asked.replay[0].name.split('.')[0]}")
    sample = not asked.replay and (asked.rate > 0 or Folder(folder).sample.exists())
    os.environ.update(environment.missing(settings, folder, sample=sample))
    return load(asked.config)


def content_of(asked: Asked, settings: Settings, owner: Owner, say: Say) -> Content:
    """What is sent. A folder of history gets no sample traffic, also when it is started without its file."""
    if asked.replay:
        return Replay(Folder(settings.worker.data_dir), owner, *asked.replay, say)
    if asked.rate == 0 or owner.source != SAMPLE:
        return Nothing()
    return Sample(settings, asked.rate, say)


def _known_source(folder: Folder) -> str:
    owner = folder.owner()
    return owner.source if owner else SAMPLE
