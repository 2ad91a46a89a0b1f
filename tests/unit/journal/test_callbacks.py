"""Follow-ups of answers: whatever the batches, the last one of each answer says what its newest version calls for."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from pipeline.events import wire
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal.callbacks import Callbacks
from pipeline.journal.decide import DecideResponses
from pipeline.journal.effect import pack_effect
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED
from tests.support.recount import Recount, recount_partition, waiting
from tests.support.single import unpack_effect
from tests.support.traffic import Traffic

HOUR = 3_600_000
HORIZON = 168 * HOUR
DUE = {"detractor": 24 * HOUR, "hard_effort": HOUR}
NOW = int(time.time() * 1000)


def told(values: list[bytes | None], times: list[int], seed: int, due: Any = DUE) -> list[dict[str, Any]]:
    """FollowUps of these records in batches of random size, through the bytes of the journal."""
    decide = DecideResponses("r", SHIPPED, HORIZON, 3, callbacks=Callbacks(SHIPPED, due))
    rng, state, found = random.Random(seed), State(), []
    records = Records.of(values, list(range(len(values))), times)
    while len(records):
        batch, records = records.split(rng.choice([1, 7, 60, 400]))
        effect = unpack_effect(pack_effect(decide(state, 0, batch).effect))
        state.fold(effect)
        assert {message.topic for message in effect.messages} <= {"follow-ups"}
        for message in effect.messages:
            record = wire.decode(message.value)[1]
            assert message.key.decode() == (
                record["customer_id"] or record["case_id"] or record["response_id"]
            )
            found.append(record)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_last_one_says_what_the_newest_version_calls_for(seed: int) -> None:
    traffic = Traffic(seed)
    values = [traffic.next()[1] for _ in range(2_500)]
    times = [NOW + k for k in range(len(values))]
    expected = Recount()
    recount_partition(expected, 0, zip(range(len(values)), times, values, strict=True), HORIZON)
    found = told(values, times, seed)
    assert found == told(values, times, seed + 100)
    last = {one["follow_up_id"]: one for one in sorted(found, key=lambda one: one["revision"])}
    assert len({(one["follow_up_id"], one["revision"]) for one in found}) == len(found)
    assert sum(one["retracted"] for one in found) > 5
    open_ones = {one["response_id"] for one in last.values() if not one["retracted"]}
    assert not expected.forgotten
    assert open_ones == waiting(expected).keys()


def answer(score: int, revision: int = 0, *, retracted: bool = False, **more: Any) -> bytes:
    record = {
        "response_id": "r-1",
        "occurred_at": NOW,
        "source": "test",
        "instrument": "nps_0_10",
        "score": score,
        "touchpoint": "checkout",
        "channel": "web",
        "customer_id": "c-1",
        "revision": revision,
        "retracted": retracted,
    }
    return wire.encode(schema("SurveyResponse"), record | more)


def test_what_it_says() -> None:
    (one,) = told([answer(3)], [NOW], 0)
    assert (one["follow_up_id"], one["kind"], one["score"], one["instrument"]) == (
        "r-1/answer",
        "detractor",
        3,
        "nps_0_10",
    )
    assert (one["due_at"] - one["occurred_at"]).total_seconds() == 24 * 3600
    assert (one["case_id"], one["segment"], one["priority"], one["revision"]) == (None, None, None, 0)


def test_an_edit_takes_it_back_and_another_revives_it() -> None:
    versions = [answer(3), answer(9, 1), answer(0, 2), answer(0, 2, retracted=True), answer(9, 3)]
    found = told(versions, [NOW] * 5, 0)
    assert [(one["revision"], one["retracted"]) for one in found] == [
        (0, False),
        (2, True),
        (4, False),
        (5, True),
    ]


def test_an_edit_that_names_nobody_takes_it_back() -> None:
    for newer in (
        answer(9, 1, customer_id=None),
        answer(3, retracted=True, customer_id=None),
        answer(2, 1, customer_id=""),
    ):
        assert [one["retracted"] for one in told([answer(3), newer], [NOW] * 2, 0)] == [False, True]


def test_effort_turned_round_and_answers_of_strangers() -> None:
    hard = {"instrument": "ces_1_7_hard", "response_id": "r-2"}
    assert [
        one["kind"]
        for one in told([answer(7, **hard), answer(1, **hard | {"response_id": "r-3"})], [NOW] * 2, 0)
    ] == ["hard_effort"]
    assert (
        told([answer(3, customer_id=None), answer(3, customer_id="", response_id="r-4")], [NOW] * 2, 0) == []
    )
    assert len(told([answer(3, customer_id=None, case_id="k-1")], [NOW], 0)) == 1


def test_kinds_that_are_off_are_not_told() -> None:
    assert told([answer(3)], [NOW], 0, due={"hard_effort": HOUR}) == []
    assert told([answer(3)], [NOW], 0, due={}) == []
