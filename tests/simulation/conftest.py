"""The seeds take the longest of all tests and wait for nothing: the others run beside them."""

from __future__ import annotations

import pytest

SEEDS = "test_every_seed_comes_to_the_recount"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """At the head of the last third: each of three processes begins with a third, and a free one takes from behind."""
    for item in [item for item in items if item.name == SEEDS]:
        items.remove(item)
        items.insert(len(items) * 2 // 3, item)
