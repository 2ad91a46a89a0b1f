"""Awkward traffic through decode, check, decide and fold, in any batches: the same as the independent recount."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from pipeline.cases.lifecycle import Rules
from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal.decide import DecideResponses, DecideTouchpoints, outcome_records
from pipeline.journal.deltas import Delta
from pipeline.journal.effect import pack_effect
from pipeline.journal.partition import Decider
from pipeline.journal.rollup import Rollup
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED
from tests.support.recount import Recount, recount_partition
from tests.support.single import unpack_effect
from tests.support.traffic import Traffic

DAY_MS = 86_400_000
HORIZON = 7 * DAY_MS
PARTITIONS = 3


def fold_all(decide: Decider, records: Records, rng: random.Random) -> tuple[State, dict[int, Rollup]]:
    """Everything in batches of random size; each effect through its bytes, as a reader would get it."""
    state, rollups = State(), {q: Rollup() for q in range(PARTITIONS)}
    while len(records):
        batch, records = records.split(rng.choice([1, 7, 60, 400]))
        effect = unpack_effect(pack_effect(decide(state, 0, batch).effect))
        assert state.fold(effect)
        assert not state.fold(effect)
        for q, (number, cells) in effect.deltas.items():
            rollups[q].fold(state.sequence, Delta("responses", 0, number, effect.watermark, cells))
    return state, rollups


def cells_of(rollups: dict[int, Rollup]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for rollup in rollups.values():
        cells = rollup.cells()
        for row in range(len(cells)):
            leaf = rollup.leaves[int(cells.leaf[row])]
            total[(*leaf, int(cells.minute[row]), int(cells.bin[row]))] += int(cells.n[row])
    return Counter({cell: n for cell, n in total.items() if n})


@pytest.mark.parametrize("seed", range(8))
def test_responses_equal_an_independent_recount(seed: int) -> None:
    traffic, now = Traffic(seed), int(time.time() * 1000)
    values = [traffic.next()[1] for _ in range(2_500)]
    offsets = [3 * k for k in range(len(values))]
    times = [now + k for k in range(len(values))]
    expected = Recount()
    recount_partition(expected, 0, zip(offsets, times, values, strict=True), HORIZON)
    decide = DecideResponses("feedback.responses", SHIPPED, HORIZON, PARTITIONS)
    state, rollups = fold_all(decide, Records.of(values, offsets, times), random.Random(seed))
    assert {(0, day, o.label): n for (day, o), n in state.outcomes.items()} == dict(expected.outcomes)
    assert cells_of(rollups) == Counter({cell: n for cell, n in expected.cells.items() if n})
    assert state.applied == offsets[-1]


def test_dead_letters_carry_position_reason_and_the_bytes() -> None:
    decide = DecideResponses("feedback.responses", SHIPPED, HORIZON, PARTITIONS)
    decision = decide(State(), 2, Records.of([None, b"", b"garbage"], [5, 6, 9], [1_000, 2_000, 3_000]))
    letters = [wire.decode(value)[1] for send in decision.dead_letters for _, value in send.pairs]
    assert [(x["offset"], x["reason"], x["raw"]) for x in letters] == [
        (5, "null_value", b""),
        (6, "empty_value", b""),
        (9, "not_wire_format", b"garbage"),
    ]
    assert {(x["topic"], x["partition"]) for x in letters} == {("feedback.responses", 2)}
    assert [bad.offset for bad in decision.rejected] == [5, 6, 9]


def touchpoint(action: str, at: int, **more: Any) -> bytes:
    record = {
        "event_id": f"{action}-{at}",
        "occurred_at": at,
        "source": "desk",
        "touchpoint": "support_case",
        "action": action,
        "channel": "phone",
        "attributes": {},
        **more,
    }
    return wire.encode(schema("TouchpointEvent"), record)


@pytest.mark.parametrize("seed", range(5))
def test_a_case_moves_its_observations_and_tells_others(seed: int) -> None:
    opened, rng = 1_700_000_000_000, random.Random(seed)
    values = [
        touchpoint("case_opened", opened, case_id="c-1", segment="loyal", priority="high"),
        touchpoint("case_resolved", opened + 7_200_000, case_id="c-1"),
        touchpoint("case_reopened", opened + 8_000_000, case_id="c-1"),
        touchpoint("case_resolved", opened + 3_600_000, case_id="c-1"),
        touchpoint("order_paid", opened + 9_000_000),
    ]
    rng.shuffle(values)
    decide = DecideTouchpoints("feedback.touchpoints", Rules(), HORIZON, PARTITIONS)
    records = Records.of(values, list(range(len(values))), [opened + DAY_MS] * len(values))
    state, rollups = fold_all(decide, records, rng)
    cells = {key: n for key, n in cells_of(rollups).items() if key[0] != "touchpoints"}
    leaf = ("support_case", "phone", "loyal")
    first, full = (opened + 3_600_000) // 60_000, (opened + 7_200_000) // 60_000
    assert cells == {
        ("resolution", "first_resolution", *leaf, first, 95): 1,
        ("resolution", "full_resolution", *leaf, full, 103): 1,
        ("resolution", "agent", *leaf, full, 103): 1,
        ("reopen", "", *leaf, first, 1): 1,
        ("fcr", "", *leaf, (opened + 8_000_000) // 60_000, 0): 1,
    }
    counts: Counter[str] = Counter()
    for (metric, action, *_), n in cells_of(rollups).items():
        counts[action] += n if metric == "touchpoints" else 0
    assert +counts == {"case_opened": 1, "case_resolved": 2, "case_reopened": 1, "order_paid": 1}
    messages = [m for out in state.outbox.values() for m in out.messages]
    told = [wire.decode(m.value)[1] for m in messages if m.topic == "resolutions"]
    called = [wire.decode(m.value)[1] for m in messages if m.topic == "follow-ups"]
    assert {(one["kind"], one["case_id"]) for one in called} == {("reopened", "c-1")}
    last = max(told, key=lambda r: r["revision"])
    assert (last["case_id"], last["first_resolution_seconds"], last["full_resolution_seconds"]) == (
        "c-1",
        3600,
        7200,
    )
    assert (last["reopens"], last["priority"]) == (1, "high")


def test_outcome_records_are_absolute_counts_of_the_days_asked_for() -> None:
    decide = DecideResponses("feedback.responses", SHIPPED, HORIZON, PARTITIONS)
    state = State()
    state.fold(decide(state, 0, Records.of([b"", b"", b"x"], [0, 1, 2], [5, DAY_MS, DAY_MS + 1])).effect)
    values = outcome_records("feedback.responses", 0, state.applied, state.outcomes, [1])
    assert [wire.decode(v)[1]["n"] for v in values] == [2]
