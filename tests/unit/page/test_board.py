from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.page.board import Board, key


def row(touchpoint: str = "checkout", value: float | None = 0.9, n: int = 10, **other: Any) -> dict[str, Any]:
    return {
        "metric": "csat",
        "instrument": "csat_1_5",
        "window": "1h",
        "touchpoint": touchpoint,
        "channel": "",
        "segment": "",
        "value": value,
        "lower": 0.5,
        "upper": 0.95,
        "n": n,
        **other,
    }


def test_only_what_changed_is_told() -> None:
    board = Board()
    assert board.take([row("a"), row("b")]) == [row("a"), row("b")]
    assert board.take([row("a"), row("b")]) == []
    assert board.take([row("a"), row("b", n=11)]) == [row("b", n=11)]


def test_what_went_away_has_no_value_and_is_never_zero() -> None:
    board = Board()
    board.take([row("a"), row("b")])
    assert board.take([row("a")]) == [row("b", value=None, n=0, lower=None, upper=None)]
    assert board.take([row("a")]) == []


def test_leaves_and_other_metrics_are_not_shown() -> None:
    board = Board()
    others = [row(channel="web"), row(segment="new"), row(metric="ces_easy"), row(metric="fcr")]
    assert board.take([*others, row("b", window="24h")]) == [row("b", window="24h")]


rows = st.lists(
    st.builds(row, st.sampled_from("abcd"), st.floats(0, 1), st.integers(1, 9)), unique_by=key, max_size=4
)


@given(st.lists(rows, max_size=6))
def test_what_is_told_adds_up_to_what_is_known(steps: list[list[dict[str, Any]]]) -> None:
    board, page = Board(), {}
    for step in steps:
        page |= {key(changed): changed for changed in board.take(step)}
        assert {at: shown for at, shown in page.items() if shown["n"]} == {key(each): each for each in step}
