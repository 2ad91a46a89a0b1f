"""The seeds take the longest of all tests and wait for nothing: they start first, and the others run beside them."""

from __future__ import annotations

import pytest

SEEDS = "test_every_seed_comes_to_the_recount"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name != SEEDS)
