from hypothesis import given
from hypothesis import strategies as st

from pipeline.page.trends import POINTS, QUESTION, STEP, lines

NOW = 1_790_164_900
LAST = NOW // STEP * STEP


def point(at: int, value: float | None, touchpoint: str = "checkout") -> dict[str, object]:
    return {"metric": "csat", "instrument": "csat_1_5", "touchpoint": touchpoint, "point": at, "value": value}


def test_hours_without_answers_are_gaps_not_zeros() -> None:
    (line,) = lines([point(LAST, 0.5), point(LAST - 2 * STEP, 0.75)], NOW)["lines"]
    assert line["values"] == [None] * (POINTS - 3) + [0.75, None, 0.5]


def test_the_last_point_is_the_running_hour() -> None:
    found = lines([point(LAST, 1)], NOW)
    assert found["start"] + (POINTS - 1) * found["step"] == LAST


def test_lines_are_kept_apart() -> None:
    found = lines([point(LAST, 0.5), point(LAST, 0.6, ""), point(LAST, 0.7, "cart")], NOW)
    assert [(line["touchpoint"], line["values"][-1]) for line in found["lines"]] == [
        ("", 0.6),
        ("cart", 0.7),
        ("checkout", 0.5),
    ]


@given(st.lists(st.tuples(st.integers(-2 * 86_400, 2 * 86_400), st.none() | st.floats(-100, 100))))
def test_what_lies_outside_the_day_is_left_out(points: list[tuple[int, float | None]]) -> None:
    found = lines([point(NOW + ago, value) for ago, value in points], NOW)["lines"]
    assert all(len(line["values"]) == POINTS for line in found)
    inside = [v for ago, v in points if v is not None and found_at(ago) is not None]
    assert bool(found) == bool(inside)


def found_at(ago: int) -> int | None:
    at = (NOW + ago - (LAST - (POINTS - 1) * STEP)) // STEP
    return at if 0 <= at < POINTS else None


def test_every_metric_is_asked_for() -> None:
    for view in ("FROM csat ", "FROM nps ", "FROM ces ", "FROM resolution_times "):
        assert view in QUESTION
