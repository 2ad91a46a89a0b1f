"""A name of an instrument has one scale for good, whoever wrote what in which order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.definitions import Change, compare, in_use
from pipeline.measures.instruments import SHIPPED, Instrument

STARS = Instrument("stars", "csat", 1, 5, "high", satisfied_from=4)
STRICT = replace(STARS, satisfied_from=5)
SEVEN = Instrument("stars", "csat", 1, 7, "high", satisfied_from=6)
TURNED = replace(STARS, direction="low")


def test_the_first_definition_fixes_the_scale_and_the_last_of_that_scale_the_mapping() -> None:
    assert in_use([]) == {}
    assert in_use([STARS, SEVEN]) == {"stars": STARS}
    assert in_use([STARS, SEVEN, STRICT, TURNED]) == {"stars": STRICT}
    assert in_use([SEVEN, STARS, STRICT]) == {"stars": SEVEN}


@given(st.lists(st.sampled_from([STARS, STRICT, SEVEN, TURNED])))
def test_what_the_log_gains_never_changes_a_scale(log: list[Instrument]) -> None:
    scales = [in_use(log[: end + 1])["stars"].scale for end in range(len(log))]
    assert len(set(scales)) <= 1


def test_another_scale_is_refused_with_both_definitions() -> None:
    for other in (SEVEN, TURNED, replace(STARS, low=0)):
        found = compare({"stars": STARS}, [other])
        assert found.refused == (
            f"instruments.stars: is in use as {STARS.described} and cannot become {other.described}: "
            "a name stands for one scale for good, so choose another name",
        )
        assert not found.told
    assert STARS.described == "csat 1..5 (high is good, satisfied_from 4)"


def test_another_mapping_is_told_and_what_is_known_is_not() -> None:
    found = compare({"stars": STARS}, [STRICT, *SHIPPED.values()])
    assert found == ((), (Change(STARS, STRICT),), ())
    assert found.told == (f"stars: {STARS.described} -> {STRICT.described}",)
    assert compare({"stars": STARS}, [STARS, *SHIPPED.values()]) == ((), (), ())


def test_a_new_name_is_recorded_and_a_shipped_one_needs_no_record() -> None:
    found = compare({}, [*SHIPPED.values(), STARS])
    assert found.new == (STARS,)
    assert found.told == (f"stars: {STARS.described}",)


def test_a_name_that_is_shipped_later_is_not_the_customers_old_one() -> None:
    own = replace(SHIPPED["csat_1_4"], high=5)
    assert len(compare({"csat_1_4": own}, SHIPPED.values()).refused) == 1
    assert compare({"stars": STARS}, SHIPPED.values()) == ((), (), ())  # not configured any more: kept
