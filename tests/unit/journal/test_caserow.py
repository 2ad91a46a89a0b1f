"""A case survives being put away as bytes, as this version and as version 1 wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.cases.case import NEVER, UNHEARD, Case, Opening, mark_of, order_of
from pipeline.journal.caserow import CaseHead, HeldCase, case_of, head_of, pack_case, unpack_case
from pipeline.journal.dues import NEVER_DUE
from tests.support.single import CaseEvent, step

TIMES = st.integers(-(10**15), 10**15)
NAMES = st.text(max_size=5)
OPENINGS = st.builds(Opening, TIMES, NAMES, NAMES, st.none() | NAMES, st.none() | NAMES, st.none() | NAMES)
CASES = st.builds(
    Case,
    st.lists(OPENINGS, max_size=3, unique=True).map(lambda some: tuple(sorted(some, key=order_of))),
    st.lists(st.builds(mark_of, TIMES, st.integers(0, 6)), max_size=8, unique=True).map(
        lambda m: tuple(sorted(m))
    ),
    TIMES | st.just(NEVER),
    st.integers(0, 2**31 - 1),
)
HEADS = st.builds(CaseHead, TIMES | st.just(NEVER_DUE), TIMES, TIMES, st.integers(-1, 2**31 - 1))
PLACES = st.lists(st.tuples(st.integers(0, 2**31 - 1), TIMES, TIMES), max_size=6)


@given(
    HEADS,
    st.binary(max_size=8),
    st.booleans(),
    PLACES.map(lambda some: [n for row in some for n in row]),
    CASES,
)
def test_a_case_survives_being_put_away(head, told, called, places, case):
    held = HeldCase(told, called, places, case)
    row = pack_case(head, held)
    assert unpack_case(row) == held
    assert head_of(row) == head


def happened(action: str, at: int) -> CaseEvent:
    return CaseEvent(f"case_{action}", at, "help", "chat", None, "P2", "c-7")


def after(*events: CaseEvent) -> Case:
    case = UNHEARD
    for event in events:
        case = step(case, event)
    return case


def test_a_row_of_a_usual_case_is_small():
    story = ("opened", "replied", "contacted", "replied", "resolved", "closed")
    begins = 1_800_000_000_000
    case = after(*(happened(action, begins + 10 * k) for k, action in enumerate(story)))
    row = pack_case(CaseHead(), HeldCase(b"digested", False, [], case))
    assert len(row) <= 150


def test_a_row_of_version_1_is_read():
    row = [3, [10, "help", "chat", None, "P2"], [15, 20], [25], [40], [50], [60]]
    events = [happened("opened", 10)._replace(customer_id=None)]
    for action, ats in (
        ("replied", (15, 20)),
        ("contacted", (25,)),
        ("resolved", (40,)),
        ("reopened", (50,)),
    ):
        events += [happened(action, at) for at in ats]
    assert case_of(row) == replace(after(*events, happened("closed", 60)), revision=3)
    assert case_of([0, None, [], [], [], [], []]) == UNHEARD


def test_a_row_of_another_form_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        case_of([0, None])
