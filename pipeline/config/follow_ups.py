"""What `feedback.toml` says about follow-ups: whom somebody must call, and how soon."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.tables import Table
from pipeline.config.values import Due


class FollowUps(Table):
    """How soon somebody must have been in contact with a customer, by what happened; "off" for not at all."""

    detractor: Due = 86_400.0
    """After an answer that counts as a detractor."""
    hard_effort: Due = 86_400.0
    """After the hardest answer to an effort question."""
    sla_breach: Due = 4 * 3600.0
    """After a case was not resolved in time."""
    reopened: Due = 86_400.0
    """After a case was reopened."""

    def milliseconds(self) -> Mapping[str, int]:
        """By kind; without those that are off."""
        return {kind: round(due * 1000) for kind, due in self if due is not None}
