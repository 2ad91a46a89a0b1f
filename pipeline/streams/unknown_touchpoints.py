"""`UnknownTouchpoints`: says in the log that a touchpoint is not in the configuration."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from pipeline.measures.touchpoints import nearest, unknown

log = logging.getLogger(__name__)
MOST = 100  # names that are told; an app that makes up names would fill the log


class UnknownTouchpoints:
    """Tells of each name once.

    Args:
        known: names that the configuration has; none: nobody keeps a catalogue, and nothing is told.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._told: set[str] = set()

    def look(self, names: Iterable[str]) -> None:
        """Names of touchpoints that were scored just now, in any order and often."""
        for name in unknown(names, self._known):
            if name in self._told or len(self._told) >= MOST:
                continue
            self._told.add(name)
            extra = {"touchpoint": name, "did_you_mean": nearest(name, self._known)}
            log.warning("a touchpoint is not in the configuration", extra=extra)
            if len(self._told) == MOST:
                log.warning("further touchpoints are not in the configuration", extra={"told": MOST})
