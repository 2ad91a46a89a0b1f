from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.windows import DEFAULT, Window, parse

HOUR = Window("1h", 3600)
WEEK = Window("7d", 7 * 86_400)
NOON = 20_000 * 86_400 + 12 * 3600  # a whole hour
TIMES = st.floats(0, 4e9)


def minute(seconds: int) -> int:
    return seconds // 60


def test_the_windows_of_the_contract():
    assert [(one.name, one.seconds) for one in DEFAULT] == [
        ("15m", 900),
        ("1h", 3600),
        ("24h", 86_400),
        ("7d", 604_800),
        ("30d", 2_592_000),
    ]


def test_at_a_whole_minute_the_window_ends_before_it():
    assert HOUR.span(NOON) == (minute(NOON) - 60, minute(NOON))


@pytest.mark.parametrize("late", [0.001, 1, 59, 59.999])
def test_any_other_time_is_floored_to_its_minute(late: float):
    assert HOUR.span(NOON + late) == HOUR.span(NOON)
    assert HOUR.span(NOON + 60) != HOUR.span(NOON)


@pytest.mark.parametrize("late", [0, 30, 59.999])
def test_now_also_counts_the_running_minute(late: float):
    assert HOUR.span_now(NOON + late) == (minute(NOON) - 60, minute(NOON) + 1)


@pytest.mark.parametrize("late", [0, 60, 59 * 60 + 59])
def test_above_24_hours_the_start_moves_by_whole_hours(late: int):
    first, end = WEEK.span(NOON + late)
    assert first == minute(NOON) - 7 * 24 * 60
    assert end == minute(NOON + late)


def test_24_hours_itself_moves_by_minutes():
    day = Window("24h", 86_400)
    assert day.span(NOON + 60) == (minute(NOON) - 24 * 60 + 1, minute(NOON) + 1)


def test_a_day_and_a_minute_moves_by_hours():
    assert parse("1441m").span(NOON)[0] == minute(NOON) - 25 * 60


@given(TIMES, st.sampled_from(DEFAULT))
def test_a_window_is_never_shorter_than_its_name_and_less_than_an_hour_longer(at: float, window: Window):
    first, end = window.span(at)
    extra = end - first - window.seconds // 60
    assert end == int(at // 60)
    assert (0 <= extra < 60 and first % 60 == 0) if window.seconds > 86_400 else extra == 0


@given(TIMES, TIMES, st.sampled_from(DEFAULT))
def test_windows_never_move_back(one: float, other: float, window: Window):
    early, late = sorted((one, other))
    assert window.span(early) <= window.span(late)
    assert window.span(early)[0] <= window.span(late)[0]


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("90m", 5400), ("2h", 7200), ("35d", 3_024_000)])
def test_parse(text: str, seconds: int):
    assert parse(text) == Window(text, seconds)


@pytest.mark.parametrize(
    "text", ["", "h", "0m", "-1h", "1.5h", "1 h", "30s", "1w", "1h30m", "1H", "01h", "1h\n"]
)
def test_what_is_no_window_is_refused_with_an_example(text: str):
    with pytest.raises(ValueError, match='write it like "15m"'):
        parse(text)
