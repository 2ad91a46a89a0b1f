"""Skipping what this machine cannot do, except in CI, where nothing may skip."""

from __future__ import annotations

import os

import pytest


def need(missing: str | None) -> None:
    """Skips the test if `missing` says why it cannot run; FEEDBACK_REQUIRE_ALL=1 makes that a failure."""
    if missing and os.environ.get("FEEDBACK_REQUIRE_ALL") == "1":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
