"""Writes down how this version writes its internal records: `python -m tests.unit.journal.formats.make`.

One file a version and source: a journal partition (effects, a snapshot with an outbox, effects behind it), its ids and
the deltas it sent, as bytes, and beside them what a reader made of them. Files of earlier versions are never made anew:
they stand for what lies in somebody's topics.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path
from typing import Any

from pipeline.journal.caserow import head_of, unpack_case
from pipeline.journal.decide import DecideResponses, DecideTouchpoints
from pipeline.journal.deltas import CellChanges, Delta, unpack_delta
from pipeline.journal.index import Ids
from pipeline.journal.journal import Journal
from pipeline.journal.outbox import DELTAS
from pipeline.journal.pack import VERSION
from pipeline.journal.partition import SourcePartition
from pipeline.journal.source import records_of
from pipeline.journal.state import Outgoing, State
from pipeline.journal.timers import Timers
from pipeline.measures.instruments import SHIPPED
from tests.simulation.disk import MARKER
from tests.simulation.load import HORIZON, RULES, history
from tests.support.memory_log import MemoryLog, MemoryOutputs

FOLDER = Path(__file__).parent
SOURCES = ("responses", "touchpoints")
PARTITIONS = 2
HISTORY = 2
BATCH = 3
SEAL_AFTER = (3, 9)  # records: two segments of ids, and the second snapshot is in the middle of the journal
PUBLISH_AFTER = (6, 12)


def file_of(version: int, source: str) -> Path:
    return FOLDER / f"v{version}-{source}.json"


def inputs_of(source: str) -> MemoryLog:
    """Records of every kind, with some gaps between their offsets."""
    told, log = history(source, HISTORY), MemoryLog()
    for value, time in zip(told.values, told.times, strict=True):
        log.put(None if value is MARKER else value or b"", time)
    return log


async def written(source: str, inputs: MemoryLog) -> dict[str, Any]:
    """What a source partition writes for these inputs, as bytes and as what they say."""
    journal, ids, outputs = MemoryLog(), MemoryLog(), MemoryOutputs()
    decide = {
        "responses": DecideResponses("feedback.responses", SHIPPED, HORIZON, PARTITIONS),
        "touchpoints": DecideTouchpoints("feedback.touchpoints", RULES, HORIZON, PARTITIONS),
    }[source]
    partition = SourcePartition(
        source,
        0,
        PARTITIONS,
        journal=Journal(journal, ids, "journal/0", "writer"),
        inputs=inputs,
        outputs=outputs,
        decide=decide,
        timers=Timers(RULES, PARTITIONS) if source == "touchpoints" else None,
    )
    end = len(inputs.values)
    for start in range(0, end, BATCH):
        stop = min(start + BATCH, end)
        entries, position = [], start
        while position < stop:
            some, position = await inputs.read(position, stop)
            entries += some
        await partition.apply(records_of(entries))
        await partition.pass_time(partition.state.watermark)
        if stop in PUBLISH_AFTER:
            await partition.publish()
        if stop in SEAL_AFTER:
            assert await partition.journal.snapshot(10 * HORIZON)  # so that no segment has gone
    deltas = {q: outputs.log(DELTAS, q) for q in range(PARTITIONS)}
    return {
        "inputs": [inputs.times, kept(inputs)],
        "journal": kept(journal),
        "ids": kept(ids),
        "deltas": {str(q): kept(log) for q, log in deltas.items()},
        "state": state_as_text(partition.state),
        "taken": {
            str(q): [delta_as_text(unpack_delta(v or b"")) for v in log.values] for q, log in deltas.items()
        },
    }


def kept(log: MemoryLog) -> dict[str, Any]:
    """What a log holds, from its first record on."""
    values = [None if v is None else base64.b64encode(v).decode() for v in log.values[log.start :]]
    return {"start": log.start, "values": values}


def again(told: dict[str, Any], times: list[int] | None = None) -> MemoryLog:
    """The inverse of `kept`."""
    log = MemoryLog(random.Random(0))
    values = [None if value is None else base64.b64decode(value) for value in told["values"]]
    log.values = [None] * told["start"] + values
    log.times = times or [0] * len(log.values)
    log.start = told["start"]
    return log


def state_as_text(state: State) -> dict[str, Any]:
    """All that a state holds, as JSON; ids in the order of their hashes."""
    ids = state.index.all()
    return plain(
        {
            "sequence": state.sequence,
            "applied": state.applied,
            "applied_time": state.applied_time,
            "watermark": state.watermark,
            "published": state.published,
            "outcomes": sorted([day, outcome.label, n] for (day, outcome), n in state.outcomes.items()),
            "leaves": state.leaves,
            "cases": {case_id: case_as_text(row) for case_id, row in state.cases.rows().items()},
            "numbers": sorted(state.numbers.items()),
            "outbox": {sequence: outgoing_as_text(out) for sequence, out in state.outbox.items()},
            "segments": len(state.segments),
            "ids": sorted(zip(*(getattr(ids, name).tolist() for name in Ids.__slots__), strict=True)),
        }
    )


def case_as_text(row: bytes) -> list[Any]:
    """What was heard, where it counts, and when time alone changes something."""
    held = unpack_case(row)
    return [held.case.openings, held.case.heard, held.counted, head_of(row).due]


def outgoing_as_text(out: Outgoing) -> dict[str, Any]:
    return {
        "watermark": out.watermark,
        "deltas": {q: [number, cells_as_text(cells)] for q, (number, cells) in out.deltas.items()},
        "messages": [[m.topic, m.key.decode(), base64.b64encode(m.value).decode()] for m in out.messages],
    }


def delta_as_text(delta: Delta) -> dict[str, Any]:
    return plain(
        {
            "source": delta.source,
            "partition": delta.partition,
            "number": delta.number,
            "watermark": delta.watermark,
            "cells": cells_as_text(delta.cells),
        }
    )


def cells_as_text(cells: CellChanges) -> list[Any]:
    columns = (cells.minute, cells.bin, cells.n, cells.total)
    rows = zip(cells.at.tolist(), *(column.tolist() for column in columns), strict=True)
    return [[*cells.series[k], *row] for k, *row in rows]


def plain(told: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of a file: keys are texts, tuples are lists."""
    return json.loads(json.dumps(told))


def main() -> None:
    for source in SOURCES:
        path = file_of(VERSION, source)
        if path.exists():
            print(f"{path.name} is there already")
            continue
        path.write_text(
            json.dumps(asyncio.run(written(source, inputs_of(source))), indent=1) + "\n", encoding="utf-8"
        )
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
