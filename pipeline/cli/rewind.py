"""`feedback rewind`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipeline.cli.common import ConfigOption, console, fail, load_settings, progress

if TYPE_CHECKING:
    from pipeline.config import Settings


def run(config: ConfigOption = None) -> None:
    """After the store was restored from a backup: have the workers store again what Kafka still holds.

    Stop all workers first. Rows have their position as identity, so storing them again changes nothing that is there;
    what is older than the retention of the topics must come from the backup.
    """
    from pipeline.streams.rewind import rewind, stored

    settings = load_settings(config)
    _refuse_other_topics(settings)
    records = asyncio.run(rewind(settings, "archive", stored(settings)))
    console.print(f"{records:,} records will be stored again by the next worker that starts")


def _refuse_other_topics(settings: Settings) -> None:
    """Topics that the store is ahead of would give its positions to other records."""
    from pipeline.embedded.store import open_store
    from pipeline.reset.run import intend
    from pipeline.reset.topics import sources
    from pipeline.stores.client import connect
    from pipeline.stores.migrate import migrate

    with open_store(settings), progress("looking") as bar:
        with connect(settings, write=True, database="default") as client:
            migrate(client, settings.store.database)
        with connect(settings, write=True) as client:
            other = sorted(
                set(asyncio.run(intend(settings, client, bar.say)).plan.aside) & set(sources(settings))
            )
    if other:
        fail(f"the store is ahead of {other[0]}, which is older or another topic: run feedback reset instead")
