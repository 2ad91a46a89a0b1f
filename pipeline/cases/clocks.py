"""The clocks of a case: what each measures, as observations that become cells."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.cases.case import Case, Times

FIRST_REPLY = "first_reply"
FIRST_RESOLUTION = "first_resolution"
FULL_RESOLUTION = "full_resolution"


class Observation(NamedTuple):
    """One duration, measured from the opening; it lies at the instant that ends it.

    Attributes:
        clock: which clock; the instrument of metric "resolution".
        at_ms: when it ended, milliseconds since 1970.
        milliseconds: how long it took, never negative.
    """

    clock: str
    at_ms: int
    milliseconds: int


def observations(case: Case) -> tuple[Observation, ...]:
    """What the clocks of a case show, at most one a clock; the dimensions are those of `case.opening`.

    First reply ends with the first reply, first resolution with the earliest resolve, full resolution with
    the latest resolve so far. A closed case is not a resolved one, and a reopened one keeps its latest
    resolve until the next.
    """
    replied, resolved = case.since_opening(case.replied), case.since_opening(case.resolved)
    ends = ((FIRST_REPLY, replied[:1]), (FIRST_RESOLUTION, resolved[:1]), (FULL_RESOLUTION, resolved[-1:]))
    return tuple(_observed(case, clock, end) for clock, end in ends if end)


def _observed(case: Case, clock: str, end: Times) -> Observation:
    assert case.opening is not None  # noqa: S101 - nothing lies after an unknown opening, for mypy
    return Observation(clock, end[0], end[0] - case.opening.at_ms)
