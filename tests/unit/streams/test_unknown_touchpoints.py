"""A touchpoint that nobody configured is said once, and a flood of them does not fill the log."""

from __future__ import annotations

import pytest

from pipeline.streams.unknown_touchpoints import MOST, UnknownTouchpoints


def test_each_name_is_told_once_with_what_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    names = UnknownTouchpoints({"checkout", "payment"})
    names.look(["", "checkout", "chekout"])
    names.look(["chekout", "refund"])
    told = [(record.__dict__["touchpoint"], record.__dict__["did_you_mean"]) for record in caplog.records]
    assert told == [("chekout", "checkout"), ("refund", None)]


def test_nothing_is_told_where_nobody_keeps_a_catalogue(caplog: pytest.LogCaptureFixture) -> None:
    UnknownTouchpoints(()).look(["anything"])
    assert not caplog.records


def test_an_app_that_makes_up_names_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    names = UnknownTouchpoints({"checkout"})
    for k in range(3 * MOST):
        names.look([f"page-{k}"])
    assert [record.getMessage() for record in caplog.records[MOST:]] == [
        "further touchpoints are not in the configuration"
    ]
