"""`feedback rewind`."""

from __future__ import annotations

import asyncio

from pipeline.cli.common import ConfigOption, console, load_settings


def run(config: ConfigOption = None) -> None:
    """After the store was restored from a backup: have the workers store again what Kafka still holds.

    Stop all workers first. Rows have their position as identity, so storing them again changes nothing that is there;
    what is older than the retention of the topics must come from the backup.
    """
    from pipeline.streams.rewind import rewind

    records = asyncio.run(rewind(load_settings(config)))
    console.print(f"{records:,} records will be stored again by the next worker that starts")
