"""What `feedback report` writes of a change: an arrow only where it is significant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.cli.report import _change
from pipeline.measures.scores import Score
from pipeline.stores.report import Line

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def line(metric, change, significant):
    score = Score(0.5, 0.4, 0.6, 100)
    return Line(metric, "csat_1_5", "1h", "pay", "", "", score, NOON, change, significant)


@pytest.mark.parametrize(
    ("metric", "change", "significant", "written"),
    [
        ("csat", 0.031, True, "[bold]↑ +3.1 points[/]"),
        ("csat", -0.031, True, "[bold]↓ -3.1 points[/]"),
        ("response_rate", -0.031, False, "[dim]-3.1 points[/]"),
        ("nps", 4.04, False, "[dim]+4.0[/]"),
        ("ces", 0.0, False, "[dim]+0.00[/]"),
        ("resolution", -7200.0, None, "[dim]-2.0 h?[/]"),
        ("csat", None, None, "[dim]new[/]"),
    ],
)
def test_a_change_as_people_read_it(metric, change, significant, written):
    assert _change(line(metric, change, significant)) == written


def test_the_fixed_keys_of_json_come_first():
    told = line("csat", 0.1, True).as_json()
    fixed = "metric instrument window touchpoint channel segment value lower upper n at".split()  # noqa: SIM905 - as in the contract
    assert list(told) == [*fixed, "change", "significant"]
    assert (told["at"], told["change"], told["significant"]) == ("2026-05-01T12:00:00+00:00", 0.1, True)
