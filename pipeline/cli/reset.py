"""`feedback reset`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.common import ConfigOption, console, fail, load_settings, progress

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.reset.run import Intent


def run(
    config: ConfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Count everything anew: the way out when a source topic was made anew or resized, or a journal is lost.

    Raw rows stay. Topics of our own are deleted and made anew, and so is everything that was counted. Afterwards start
    the worker, which counts what Kafka still holds, then run `feedback rebuild`, which brings the rest back from the
    raw tables, by id, so that nothing counts twice. Broken off in the middle, run it again.
    """
    from pipeline.embedded.store import open_store
    from pipeline.reset.run import intend, reset
    from pipeline.stores.client import connect
    from pipeline.stores.definitions import refuse_other_scales
    from pipeline.stores.migrate import migrate

    settings = load_settings(config)
    with open_store(settings):
        with connect(settings, write=True, database="default") as client:
            migrate(client, settings.store.database)
        with connect(settings, write=True, timeout=3600.0) as client:
            refuse_other_scales(client, settings.catalogue().values())
            with progress("looking") as bar:
                intent = asyncio.run(intend(settings, client, bar.say))
            _tell(settings, intent)
            if not yes and not typer.confirm("Do it?"):
                fail("nothing was changed")
            with progress("resetting") as bar:
                reset(settings, client, intent, bar.say)
    console.print("done; start `feedback worker`, and when it has caught up run `feedback rebuild`")


def _tell(settings: Settings, intent: Intent) -> None:
    from pipeline.reset.topics import derived, sources

    anew = [name for name in intent.plan.aside if name in sources(settings)]
    if intent.again:
        console.print("an earlier reset was broken off; this goes on with it")
    console.print(f"{len(derived(settings))} topics of our own are deleted and made anew with "
                  f"{settings.kafka.partitions} partitions, among them all journals")  # fmt: skip
    console.print("all live and rebuilt cells, counts of outcomes and progress are deleted; raw rows stay")
    for name in anew:
        console.print(
            f"{name} is another topic than the one in the store: the rows of the old one are put aside"
        )
    console.print(f"{intent.records:,} records that Kafka still holds will then be counted anew")
