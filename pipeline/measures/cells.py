"""`Series` and its marginals: the identity of everything that is counted.

A cell is (series, bucket, bin) -> count. The bucket is a minute of event time; the bin is the score given, the
log-spaced bin of a duration, or 1 and 0 for a share. Merging anything with anything is addition.
"""

from __future__ import annotations

from typing import NamedTuple

MINUTE_MS = 60_000
NO_SEGMENT = "none"
ANY = ""


class Series(NamedTuple):
    """One line of counts. A leaf names every dimension; an empty dimension is the marginal over it."""

    metric: str
    instrument: str
    touchpoint: str
    channel: str
    segment: str


def marginals(leaf: Series) -> tuple[Series, ...]:
    """The leaf and its seven marginals: every combination of touchpoint, channel and segment kept or summed."""
    return tuple(
        Series(leaf.metric, leaf.instrument, touchpoint, channel, segment)
        for touchpoint in (leaf.touchpoint, ANY)
        for channel in (leaf.channel, ANY)
        for segment in (leaf.segment, ANY)
    )
