"""Internal records outlive the worker that wrote them: every version ever written is read, a newer one refused."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from pipeline.journal.caserow import PLACE, head_of, renewed, unpack_case
from pipeline.journal.deltas import DEFAULT_SPAN, SPAN, unpack_delta
from pipeline.journal.journal import Journal
from pipeline.journal.pack import VERSION, NewerFormat, unpack
from tests.support.memory_log import MemoryLog
from tests.support.single import bin_of
from tests.unit.journal.formats.make import (
    FOLDER,
    SOURCES,
    again,
    case_as_text,
    delta_as_text,
    file_of,
    plain,
    state_as_text,
    written,
)
from tests.unit.journal.formats.make_roll import roll_as_text, roll_of

FILES = sorted(path.stem for source in SOURCES for path in FOLDER.glob(f"v*-{source}.json"))
ROLLS = sorted(path.stem for path in FOLDER.glob("v*-roll.json"))


def golden(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


async def read(told: dict) -> Journal:
    journal = Journal(again(told["journal"]), again(told["ids"]), "journal/0", "reader")
    await journal.catch_up()
    return journal


@pytest.mark.parametrize("name", FILES)
async def test_a_journal_of_every_version_is_read(name):
    told = golden(name)
    ids = [[*row[:2], *row[-5:]] for row in told["state"]["ids"]]  # version 1 kept an offset in between
    state = (await read(told)).state
    cases = told["state"]["cases"]
    if name.startswith("v1"):
        cases = {case_id: case_as_text(renewed(row, state.number)) for case_id, row in cases.items()}
    assert state_as_text(state) == plain(told["state"] | {"ids": ids, "cases": cases})


async def test_cases_of_version_1_hold_what_they_count_and_are_due_at_once():
    told = golden("v1-touchpoints")
    state = (await read(told)).state
    counted = Counter()
    for row in state.cases.rows().values():
        held = unpack_case(row)
        assert head_of(row).due == 0
        places = np.array(held.counted, np.int64).reshape(-1, PLACE).tolist()
        counted.update((*state.leaves[leaf], minute, bin_of(took)) for leaf, minute, took in places)
    sent = Counter()
    changes = [delta["cells"] for deltas in told["taken"].values() for delta in deltas]
    owed = [out["deltas"].values() for out in told["state"]["outbox"].values()]
    changes += [cells for deltas in owed for _, cells in deltas]
    for cells in changes:
        sent.update({tuple(cell[:7]): cell[7] for cell in cells if cell[0] == "resolution"})
    assert counted == +sent


@pytest.mark.parametrize("name", FILES)
def test_deltas_of_every_version_are_read(name):
    told = golden(name)
    for q, log in told["deltas"].items():
        values = again(log).values
        assert [delta_as_text(unpack_delta(value)) for value in values] == told["taken"][q]


@pytest.mark.parametrize("source", SOURCES)
def test_the_files_hold_every_kind_of_record(source):
    """A golden file without a snapshot, an outbox or an unsealed id would prove little."""
    told = golden(f"v1-{source}")
    kinds = [unpack(value)[0]["kind"] for value in again(told["journal"]).values if value]
    assert kinds[0] == "snapshot"
    assert kinds[-1] == "effect"
    assert told["state"]["outbox"]
    assert told["state"]["segments"] == 2
    assert len(told["state"]["outcomes"]) >= 3
    assert any(told["taken"].values())
    of_cases = bool(told["state"]["cases"]), any(out["messages"] for out in told["state"]["outbox"].values())
    assert of_cases == ((True, True) if source == "touchpoints" else (False, False))


@pytest.mark.parametrize("name", FILES)
def test_a_delta_says_how_long_its_cells_stay_open_or_means_what_was_usual(name):
    spans = {unpack_delta(v).span for log in golden(name)["deltas"].values() for v in again(log).values}
    assert spans == {DEFAULT_SPAN if name.startswith("v1") else SPAN}


@pytest.mark.parametrize("name", ROLLS)
async def test_a_snapshot_of_the_roll_of_every_version_is_read(name):
    told = golden(name)
    assert told["state"]["cells"]
    assert 0 < len(told["state"]["waiting"]) < len(told["state"]["cells"])
    deltas = MemoryLog()
    deltas.values, deltas.times = ([None] * told["state"]["position"], [0] * told["state"]["position"])
    await deltas.truncate(told["state"]["position"])
    roll = roll_of(deltas, again(told["roll"]))
    await roll.recover()
    assert roll_as_text(roll) == told["state"]


async def test_a_snapshot_of_the_roll_of_a_newer_version_is_refused():
    log = again(golden(f"v{VERSION}-roll")["roll"])
    newest = log.values[-1]
    log.values[-1] = newest[:2] + bytes([VERSION + 1]) + newest[3:]
    with pytest.raises(NewerFormat, match="upgrade"):
        await roll_of(MemoryLog(), log).recover()


@pytest.mark.parametrize("source", SOURCES)
def test_what_this_version_writes_is_kept_in_a_file(source):
    """Whoever raises VERSION runs formats.make and formats.make_roll once, and commits what they wrote."""
    assert file_of(VERSION, source).exists()
    assert f"v{VERSION}-roll" in ROLLS


@pytest.mark.parametrize("source", SOURCES)
async def test_the_kept_files_are_what_this_version_writes(source):
    """A change of the bytes that are written needs a new VERSION, or the same version would mean two things."""
    kept = golden(f"v{VERSION}-{source}")
    times, inputs = kept["inputs"]
    now = plain(await written(source, again(inputs, times)))
    for topic in ("journal", "ids"):
        assert shape(now[topic]) == shape(kept[topic])
    assert {q: shape(log) for q, log in now["deltas"].items()} == {
        q: shape(log) for q, log in kept["deltas"].items()
    }


def shape(log: dict) -> list:
    """Which fields and columns the records have; not their values, which may follow what is decided."""
    return [keys_of(value) for value in again(log).values if value]


def keys_of(value: bytes) -> tuple:
    head, columns = unpack(value)
    inner = keys_of(columns["part"].tobytes()) if head.get("kind") == "snapshot" else ()
    names = {name.rpartition(".")[2] for name in columns}
    return head.get("kind", "state"), sorted(head), sorted(names), inner


@pytest.mark.parametrize("topic", ["journal", "ids"])
async def test_a_journal_of_a_newer_version_is_refused(topic):
    """Not skipped, not taken for a hole: its effects would be lost, or the way out would be the wrong one."""
    told = golden(f"v{VERSION}-responses")
    logs = {"journal": again(told["journal"]), "ids": again(told["ids"])}
    newest = logs[topic].values[-1]
    logs[topic].values[-1] = newest[:2] + bytes([VERSION + 1]) + newest[3:]
    journal = Journal(logs["journal"], logs["ids"], "journal/0", "reader")
    with pytest.raises(NewerFormat, match="upgrade"):
        await journal.catch_up()


async def test_a_reader_knows_what_stands_behind_the_last_snapshot_and_how_old_that_is():
    told = golden(f"v{VERSION}-responses")
    log = again(told["journal"])
    log.times = list(range(len(log.values)))
    journal = Journal(log, again(told["ids"]), "journal/0", "reader")
    await journal.catch_up()
    effects = log.values[log.start + 1 :]
    assert (journal.tail.records, journal.tail.size) == (len(effects), sum(map(len, effects)))
    assert journal.snapshot_time == log.start
