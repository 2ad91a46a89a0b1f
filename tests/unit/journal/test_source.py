"""The source partition of a journal: expired before it was read, made anew, too large for one record of a journal."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import Unseen, by_ids, schema
from pipeline.journal import journal as journals
from pipeline.journal.decide import DecideResponses
from pipeline.journal.journal import Journal, JournalBroken
from pipeline.journal.outcomes import Outcome
from pipeline.journal.partition import SourcePartition
from pipeline.journal.source import records_of
from pipeline.measures.instruments import SHIPPED
from tests.support.memory_log import MemoryLog, MemoryOutputs

NOW = 1_790_000_000_000
HOUR = 3_600_000


def response(number, **changes):
    record = {
        "response_id": f"r{number}",
        "occurred_at": NOW,
        "instrument": "csat_1_5",
        "score": 5,
        **dict.fromkeys(("source", "touchpoint", "channel"), "x"),
    }
    return wire.encode(schema("SurveyResponse"), record | changes)


class Stage:
    """A source, its journal, and a worker that can be replaced."""

    def __init__(self, responses=0, **options):
        self.inputs, self.journal, self.ids = MemoryLog(), MemoryLog(), MemoryLog()
        self.outputs, self.options = MemoryOutputs(), options
        self.arrive(responses)

    def arrive(self, n, time=NOW):
        for _ in range(n):
            self.inputs.put(response(len(self.inputs.values)), time)

    def worker(self, **options):
        decide = DecideResponses("feedback.responses", SHIPPED, HOUR, 2, options.pop("lookup", by_ids))
        journal = Journal(self.journal, self.ids, "journal/0", "writer")
        told = {"inputs": self.inputs, "outputs": self.outputs, "decide": decide, **self.options, **options}
        return SourcePartition("responses", 0, 2, journal=journal, **told)


async def read_on(worker):
    """As the watchdog does, until nothing is left."""
    while await worker.behind():
        records, position = await worker.read_on()
        await worker.apply(records)
        if not len(records):
            return position
    return worker.state.applied + 1


def settled(worker):
    return sum(worker.state.outcomes.values())


async def test_holes_that_transactions_leave_are_not_read_again():
    """Whoever fetched across them says so. What the delivery itself left out is read."""
    stage = Stage()
    for _ in range(4):
        stage.arrive(3)
        stage.inputs.put(None)
    kept = [(n, value) for n, value in enumerate(stage.inputs.values) if value is not None]
    records = Records.of([value for _, value in kept], [n for n, _ in kept], [NOW] * 12)
    (first, rest), read, worker = records.split(5), [], stage.worker()
    assert (first.start, rest.first, rest.start) == (0, 6, 6)
    await worker.recover()
    stage.inputs.read = partial(noted, read, stage.inputs.read)
    await worker.apply(first)
    await worker.apply(rest.split(1)[0])
    await worker.apply(replace(rest.split(2)[0].after(6), since=7))
    assert (read, settled(worker)) == ([], 7)
    await worker.apply(rest.after(11))
    assert (read[0], settled(worker)) == ((9, 12), 12)


async def noted(calls, read, start, stop):
    calls.append((start, stop))
    return await read(start, stop)


async def test_what_expired_is_counted_once_and_the_rest_goes_on():
    stage = Stage(10)
    worker = stage.worker()
    await worker.recover()
    await worker.apply(records_of((await stage.inputs.read(0, 3))[0]))
    before = worker.state.applied
    stage.inputs.start = 7
    await read_on(worker)
    assert worker.expired == 7 - (before + 1)
    assert settled(worker) == before + 1 + 3
    again = stage.worker()
    await again.recover()
    assert (again.expired, again.state.applied, await again.behind()) == (0, 9, 0)


async def test_a_delivery_beyond_what_expired_is_settled():
    stage = Stage(10)
    worker = stage.worker()
    await worker.recover()
    stage.inputs.start = 4
    await worker.apply(records_of((await stage.inputs.read(8, 10))[0]))
    await read_on(worker)
    assert (worker.expired, settled(worker)) == (4, 6)


async def test_when_everything_expired_there_is_nothing_to_wait_for():
    stage = Stage(10)
    worker = stage.worker()
    await worker.recover()
    stage.inputs.start = 10
    assert await read_on(worker) == 10
    assert (worker.expired, settled(worker)) == (10, 0)
    await read_on(worker)
    assert worker.expired == 10


async def test_a_source_that_ends_before_what_is_counted_is_refused():
    stage = Stage(5)
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    stage.inputs = MemoryLog()
    stage.arrive(4, NOW + 1)
    with pytest.raises(
        JournalBroken, match=r"responses/0 was made anew: it ends at offset 4.*feedback reset"
    ):
        await stage.worker().recover()


async def test_a_worker_that_runs_sees_it_too():
    stage = Stage(5)
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    del stage.inputs.values[2:]
    with pytest.raises(JournalBroken, match="made anew"):
        await worker.behind()


async def test_a_source_that_has_grown_beyond_it_is_known_by_its_time():
    stage = Stage(5)
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    stage.inputs = MemoryLog()
    stage.arrive(20, NOW + 1)
    with pytest.raises(JournalBroken, match="offset 4 is another record"):
        await stage.worker().recover()
    stage.inputs.start = 5  # nobody can tell any more; what expired is not in doubt
    await stage.worker().recover()


async def test_a_source_made_anew_that_was_read_on_unnoticed_is_known_by_its_id():
    """It has grown beyond what was counted before anybody looked: neither its end nor a time tells."""
    stage = Stage(5)
    stage.inputs.name = "old"
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    stage.inputs.name = "new"
    stage.arrive(20, NOW + 1)
    await worker.apply(records_of((await stage.inputs.read(5, 25))[0]))
    with pytest.raises(JournalBroken, match=r"made anew: its id is new, and that of .* is old"):
        await stage.worker().recover()


@pytest.mark.parametrize("told", [("", "new"), ("old", "")])
async def test_a_source_whose_id_nobody_tells_is_taken_as_it_is(told):
    """A journal from before ids were kept, a broker that has none to give."""
    stage = Stage(5)
    stage.inputs.name = told[0]
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    stage.inputs.name = told[1]
    stage.arrive(5)
    again = stage.worker()
    await again.recover()
    await read_on(again)
    assert (settled(again), again.state.topic_id) == (10, told[0] or told[1])


async def test_snapshots_keep_the_id_of_the_source():
    stage = Stage(5)
    stage.inputs.name = "old"
    worker = stage.worker()
    await worker.recover()
    await read_on(worker)
    assert await worker.journal.snapshot(HOUR)
    assert stage.journal.start > 0
    stage.inputs.name = "new"
    with pytest.raises(JournalBroken, match="its id is new"):
        await stage.worker().recover()


async def test_a_long_gap_is_read_a_piece_at_a_time():
    stage = Stage(50)
    worker = stage.worker()
    await worker.recover()
    await worker.apply(records_of((await stage.inputs.read(49, 50))[0]))
    assert (settled(worker), worker.filled) == (50, 49)
    assert worker.state.sequence > 10  # the log gives five records at most


async def test_an_effect_too_large_for_a_record_is_written_in_parts(monkeypatch):
    monkeypatch.setattr(journals, "MOST_BYTES", 9_000)
    stage = Stage()
    for k in range(40):
        stage.inputs.put(response(k, touchpoint=f"{k:02}" * 125), NOW)
    worker = stage.worker()
    await worker.recover()
    entries = [entry for start in range(0, 40) for entry in (await stage.inputs.read(start, start + 1))[0]]
    await worker.apply(records_of(entries))
    assert settled(worker) == 40
    assert max(len(value) for value in stage.journal.values) <= 9_000
    assert len(stage.journal.values) > 1
    recovered = stage.worker()
    await recovered.recover()
    assert recovered.state.outcomes == worker.state.outcomes


async def test_schemas_are_asked_for_before_anything_is_decided():
    stage = Stage(3)
    asked, known = [], {}

    def lookup(ids):
        unseen = [one for one in ids if one not in known]
        if unseen:
            raise Unseen(unseen)
        return {one: known[one] for one in ids if known[one]}

    async def learn(ids):
        asked.append(ids)
        known.update({one: by_ids([one]).get(one) for one in ids})

    stage.inputs.put(wire.header(4711) + b"x", NOW)
    worker = stage.worker(lookup=lookup, learn=learn)
    await worker.recover()
    entries = [entry for start in range(4) for entry in (await stage.inputs.read(start, start + 1))[0]]
    await worker.apply(records_of(entries))
    assert asked == [(schema("SurveyResponse").schema_id, 4711)]
    counts = {outcome: n for (_, outcome), n in worker.state.outcomes.items()}
    assert counts == {Outcome.COUNTED: 3, Outcome.DEAD_LETTER: 1}
    assert worker.state.sequence == 1
