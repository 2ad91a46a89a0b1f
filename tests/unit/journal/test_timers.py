"""Timers anticipate, are taken back, and leave nothing behind: over the deciders and a state, without a log."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import UNHEARD, Rules, Target
from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal import journal as journal_module
from pipeline.journal.caserow import CaseHead, HeldCase, head_of, pack_case
from pipeline.journal.casetable import CaseTable, cases_of, columns_of_cases
from pipeline.journal.decide import DecideTouchpoints
from pipeline.journal.dues import NEVER_DUE, Dues
from pipeline.journal.effect import Effect, pack_effect
from pipeline.journal.journal import Journal
from pipeline.journal.partition import SourcePartition
from pipeline.journal.state import State
from pipeline.journal.timers import Timers, timer_clock
from tests.support.memory_log import MemoryLog, MemoryOutputs
from tests.support.single import bin_of, unpack_effect

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_800_000_000_000 // DAY * DAY
PARTITIONS = 2
RULES = Rules(sla={"high": Target(3600)}, fcr_ms=2 * HOUR, forget_ms=DAY, horizon_ms=HOUR)


def event(action: str, at: int, case_id: str = "c-1", **more: Any) -> bytes:
    record = {
        "event_id": f"{case_id} {action} {at}",
        "occurred_at": T0 + at,
        "source": "desk",
        "touchpoint": "support",
        "action": f"case_{action}",
        "channel": "phone",
        "case_id": case_id,
        "priority": "high",
        **more,
    }
    return wire.encode(schema("TouchpointEvent"), record)


class Story:
    """A source partition that is told events and times; what its effects come to."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.state = State()
        self.cells: Counter[Any] = Counter()
        self.told: list[dict[str, Any]] = []
        self.rules = rules

    def hears(self, *values: bytes) -> None:
        decide = DecideTouchpoints("feedback.touchpoints", self.rules, 30 * DAY, PARTITIONS)
        first = self.state.applied + 1
        records = Records.of(values, range(first, first + len(values)), [T0 + 99 * DAY] * len(values))
        self.take(decide(self.state, 0, records).effect)

    def passes(self, clock: int) -> Effect | None:
        """Time comes to so many milliseconds after T0."""
        effect = Timers(self.rules, PARTITIONS)(self.state, T0 + clock)
        if effect is not None:
            self.take(effect)
        return effect

    def take(self, effect: Effect) -> None:
        effect = unpack_effect(pack_effect(effect))
        for _, cells in effect.deltas.values():
            rows = zip(
                cells.at.tolist(), cells.minute.tolist(), cells.bin.tolist(), cells.n.tolist(), strict=True
            )
            for at, minute, bin_, n in rows:
                leaf = cells.series[at]
                self.cells[leaf.metric, leaf.instrument, minute - T0 // MINUTE, bin_] += n
        self.told += [wire.decode(m.value)[1] for m in effect.messages]
        assert self.state.fold(effect)

    def shares(self) -> dict[Any, int]:
        return {(m, minute, b): n for (m, _, minute, b), n in self.cells.items() if n and m in SHARES}


SHARES = ("sla_breach", "fcr", "reopen")


@pytest.mark.parametrize(
    ("watermark", "wall", "idle", "clock"),
    [(5, 9, False, 5), (9, 5, False, 5), (5, 9, True, 9), (9, 5, True, 5)],
)
def test_the_clock_of_timers(watermark, wall, idle, clock):
    assert timer_clock(watermark, wall, idle=idle) == clock


def test_a_breach_counts_while_the_case_is_open_and_an_earlier_resolve_takes_it_back():
    story = Story()
    story.hears(event("opened", 0))
    assert story.passes(HOUR - 1) is None
    effect = story.passes(3 * HOUR)
    assert (effect.last, effect.time, effect.outcomes) == (story.state.applied, story.state.applied_time, {})
    assert story.shares() == {("sla_breach", 60, 1): 1}
    assert [one["kind"] for one in story.told] == ["sla_breach"]
    assert story.passes(3 * HOUR) is None
    story.hears(event("resolved", 30 * MINUTE))
    # one contact was enough: two hours after the resolve are over, too
    assert story.shares() == {("sla_breach", 30, 0): 1, ("reopen", 30, 0): 1, ("fcr", 150, 1): 1}
    assert [one["retracted"] for one in story.told if "kind" in one] == [False, True]
    story.hears(event("contacted", 100 * MINUTE))
    assert story.shares() == {("sla_breach", 30, 0): 1, ("reopen", 30, 0): 1, ("fcr", 100, 0): 1}


def test_what_was_counted_by_other_rules_is_taken_out_exactly():
    story = Story()
    story.hears(event("opened", 0), event("resolved", 2 * HOUR))
    story.passes(9 * HOUR)
    assert story.shares() == {("sla_breach", 60, 1): 1, ("reopen", 120, 0): 1, ("fcr", 240, 1): 1}
    story.rules = Rules(sla={"high": Target(4 * 3600)}, fcr_ms=HOUR, forget_ms=DAY, horizon_ms=HOUR)
    story.hears(event("replied", 3 * HOUR))
    assert story.shares() == {("sla_breach", 120, 0): 1, ("reopen", 120, 0): 1, ("fcr", 180, 1): 1}


def test_a_silent_case_is_settled_and_forgotten_by_the_watermark_and_no_clock():
    story = Story()
    story.hears(event("opened", 0), event("resolved", HOUR // 2))
    story.passes(90 * DAY)
    assert len(story.state.cases) == 1  # a wall clock alone does not prove that nothing earlier comes
    story.hears(event("opened", 26 * HOUR, "c-2"))
    story.passes(0)
    assert len(story.state.cases) == 1
    assert story.shares()["fcr", 150, 1] == 1
    assert story.state.cases.open_cases() == {
        story.state.number(leaf): (1, T0 + 26 * HOUR)
        for leaf in story.state.leaves
        if leaf.instrument == "case_opened"
    }
    story.hears(event("opened", 27 * HOUR), event("resolved", 27 * HOUR + MINUTE))
    assert story.cells["resolution", "full_resolution", 30, bin_of(30 * MINUTE)] == 1
    assert story.cells["resolution", "full_resolution", 27 * 60 + 1, bin_of(MINUTE)] == 1


async def test_many_due_cases_are_cut_into_effects_that_fit(monkeypatch):
    inputs, outputs = MemoryLog(), MemoryOutputs()
    partition = SourcePartition(
        "touchpoints",
        0,
        PARTITIONS,
        journal=Journal(MemoryLog(), MemoryLog(), "journal/0", "writer"),
        inputs=inputs,
        outputs=outputs,
        decide=DecideTouchpoints("feedback.touchpoints", RULES, 30 * DAY, PARTITIONS),
        timers=Timers(RULES, PARTITIONS),
    )
    values = [event("opened", k, f"c-{k}") for k in range(100)]
    await partition.apply(Records.of(values, range(100), [T0 + DAY] * 100))
    monkeypatch.setattr(journal_module, "MOST_BYTES", 4_000)
    effects = 0
    while partition.overdue(T0 + 5 * HOUR):
        assert await partition.pass_time(T0 + 5 * HOUR) > 0
        effects += 1
    assert effects > 4
    assert await partition.pass_time(T0 + 5 * HOUR) == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10 * MINUTE) | st.just(NEVER_DUE)), max_size=60))
def test_dues_are_a_dictionary(moves):
    dues, known = Dues(), {}
    for name, at in moves:
        if name in known:
            dues.drop(str(name), known[name])
        known[name] = at
        dues.put(str(name), at)
        minute = 5 * MINUTE
        sure = {str(k) for k, due in known.items() if due <= minute}
        some = list(dues.until(minute))
        assert sure <= set(some) <= {str(k) for k, due in known.items() if due < minute + MINUTE}
        assert len(some) == len(set(some))


heads = st.builds(
    CaseHead,
    due=st.integers(0, 9 * MINUTE) | st.just(NEVER_DUE),
    forget=st.integers(0, 9 * MINUTE),
    opened=st.integers(0, 99),
    home=st.integers(-1, 2),
)
changes = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c", "ü"]), st.none() | heads, max_size=3), max_size=8
)


@settings(max_examples=60)
@given(changes)
def test_a_table_follows_from_its_rows(told):
    table, known = CaseTable(), {}
    for step in told:
        rows = {
            name: None if head is None else pack_case(head, HeldCase(b"", False, [], UNHEARD))
            for name, head in step.items()
        }
        table.update(cases_of({}, columns_of_cases(rows)), lambda _: None)
        known = {name: head for name, head in {**known, **step}.items() if head is not None}
        assert {name: head_of(row) for name, row in table.rows().items()} == known
        due = {name for name, head in known.items() if head.due <= 5 * MINUTE or head.forget <= 4 * MINUTE}
        assert sorted(table.due(5 * MINUTE, 4 * MINUTE, 99)) == sorted(due)
        assert len(table.due(5 * MINUTE, 4 * MINUTE, 1)) == min(1, len(due))
        for home, (n, opened) in table.open_cases().items():
            mine = [head.opened for head in known.values() if head.home == home]
            assert (n, opened) == (len(mine), sum(mine))
