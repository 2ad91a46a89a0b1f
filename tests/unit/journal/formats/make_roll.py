"""The same for the roll: `python -m tests.unit.journal.formats.make_roll`. Version 1 had no snapshots of the roll."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pipeline.journal.deltas_partition import DeltasPartition
from pipeline.journal.pack import VERSION
from pipeline.journal.roll_snapshot import RollSnapshots
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.windows import parse
from tests.support.memory_log import MemoryLog
from tests.unit.journal.formats.make import FOLDER, again, file_of, kept, plain

PUBLISHED = 2  # cells, before the snapshot: the others wait in it


def roll_of(deltas: MemoryLog, snapshots: MemoryLog) -> DeltasPartition:
    async def send(*_: object) -> None:
        """Nobody listens."""

    def stranger(offset: int, error: Exception) -> None:
        raise AssertionError(offset) from error

    return DeltasPartition(
        "deltas/0",
        deltas=deltas,
        snapshots=RollSnapshots(snapshots, "writer"),
        new_board=lambda: Scoreboard([parse("1h")], SHIPPED),
        send=send,
        stranger=stranger,
    )


async def written() -> dict[str, Any]:
    """A snapshot of the roll over the deltas of the kept responses, and what a reader makes of it."""
    deltas, snapshots = MemoryLog(), MemoryLog()
    for value in again(json.loads(file_of(VERSION, "responses").read_text())["deltas"]["0"]).values:
        deltas.put(value)
    roll = roll_of(deltas, snapshots)
    await roll.recover()
    roll.rollup.published(roll.rollup.changed(PUBLISHED))
    assert await roll.snapshot()
    return {"roll": kept(snapshots), "state": roll_as_text(roll)}


def roll_as_text(roll: DeltasPartition) -> dict[str, Any]:
    rollup, held = roll.rollup, roll.board.held()
    cells, waiting = rollup.cells(), rollup.changed(1_000).cells
    columns = ("minute", "bin", "part", "n", "total", "version")

    def rows(part: Any) -> list[Any]:
        values = zip(part.leaf.tolist(), *(getattr(part, name).tolist() for name in columns), strict=True)
        return sorted([*rollup.leaves[k], *row] for k, *row in values)

    window = zip(
        *(getattr(held, name).tolist() for name in ("at", "minute", "bin", "n", "total")), strict=True
    )
    return plain(
        {
            "position": roll.position,
            "numbers": sorted([*source, number] for source, number in rollup.numbers.items()),
            "hours": rollup.hours.marks,
            "cells": rows(cells),
            "waiting": rows(waiting),
            "windows": sorted([*held.series[k], *row] for k, *row in window),
        }
    )


def main() -> None:
    path = FOLDER / f"v{VERSION}-roll.json"
    if path.exists():
        print(f"{path.name} is there already")
        return
    path.write_text(json.dumps(asyncio.run(written()), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
