"""The recount of follow-ups says what the worker tells, though they share no code."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import follow_ups, measure, passed
from pipeline.verify.calls import Answers, Call, Expected, of_case
from pipeline.verify.lives import CaseEvent
from tests.unit.verify.test_clocks import BEGIN, DAY, DAYS, EVENTS, HOUR, RULES, TERMS, case_of

CALLS = {"sla_breach": 4 * HOUR, "reopened": DAY, "detractor": DAY}
TOLD_BY = replace(RULES, follow_up_ms=CALLS)
RECOUNTED_BY = replace(TERMS, calls=CALLS, alarms={"nps": ("detractor", 0, 6)})


@settings(max_examples=150)
@given(st.lists(EVENTS, max_size=14), st.sampled_from(DAYS))
def test_two_programs_tell_the_same_of_every_case_at_every_time(events: list[CaseEvent], day: int):
    case, now = case_of(events), BEGIN + day * DAY + HOUR
    for one, clock in ((case, 0), (passed(case, now), now)):
        told = {row["follow_up_id"]: row for row in follow_ups("c-1", None, measure(one, TOLD_BY))}
        found = {
            name: call for name, call, due in of_case(events, RECOUNTED_BY) if due is None or due <= clock
        }
        wanted = {name: Call(*(row[field] for field in Call._fields)) for name, row in told.items()}
        assert found == {
            name: call._replace(customer_id=call.customer_id or None) for name, call in wanted.items()
        }


def answer(offset, score, customer="anna", identity="r"):
    return (offset, identity, score <= 6, offset * HOUR, "nps", score, "pay", "web", "", customer, None, 0)


def test_an_answer_calls_while_its_newest_version_is_bad_and_somebody_is_known():
    answers = Answers(RECOUNTED_BY)
    answers.take([answer(1, 3), answer(2, 5, customer=None, identity="s")], {})
    assert dict(answers) == {
        "r/answer": Call("detractor", HOUR, HOUR + DAY, "pay", "web", None, "anna", None, "nps", 3, None)
    }
    answers.take([answer(3, 9)], {3: 1})
    assert dict(answers) == {}
    answers.take([answer(4, 0)], {4: 3})
    assert [call.score for _, call in answers] == [0]
    answers.take([answer(9, 9)], {})  # the id was forgotten, and is another one now
    assert (dict(answers), list(answers.not_judged())) == ({}, ["r/answer"])


def test_an_id_that_was_forgotten_and_used_for_a_good_answer_is_not_judged_when_that_is_edited():
    answers = Answers(RECOUNTED_BY)
    answers.take([answer(1, 3)], {})
    # Offset 5 is a first version that is good: it is not among the rows that verify reads.
    answers.take([answer(7, 9)], {7: 5})
    assert (dict(answers), list(answers.not_judged())) == ({}, ["r/answer"])


def test_each_way_to_differ_is_found_and_what_is_not_judged_is_left_alone():
    def call(kind, case=None, at=1000):
        return Call(kind, at, None, "x", "web", None, "anna", case, None, None, None)

    right, early = call("detractor"), call("sla_breach", "c1")
    must = dict.fromkeys(("same", "missing", "other", "ignored"), right) | {"old": call("reopened", "c2")}
    expected = Expected(must, {"perhaps": early, "not yet": early}, {"ignored"}, {"c2"}, 0)
    far = 10**12
    stored = {
        "same": right,
        "other": right._replace(due_at=5),
        "perhaps": early,
        "more": call("detractor", at=far),
        "earlier": call("reopened", "c2", at=far),
    }
    found = expected.differences(iter(stored.items()))
    assert {name: (mine is None, theirs is None) for (_, name), (mine, theirs) in found.items()} == {
        "missing": (False, True),
        "other": (False, False),
        "more": (True, False),
    }
