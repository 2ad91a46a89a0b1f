"""The page's questions to the store, answered by the real engine through its real door."""

import time
from collections.abc import Callable, Iterator

import aiohttp
import pytest

from pipeline.config import Settings
from pipeline.demo.parts import make_tables
from pipeline.embedded.store import ensure_store
from pipeline.page import server
from pipeline.page.hub import Hub
from pipeline.page.trends import POINTS
from pipeline.page.watch import Watch
from pipeline.stores.client import connect
from tests.support.single import bin_of

COLUMNS = ("metric", "instrument", "touchpoint", "channel", "segment", "bucket", "bin", "n", "total")


@pytest.fixture
def stored(settings: Callable[..., Settings]) -> Iterator[Settings]:
    built = settings()
    store = ensure_store(built)
    assert store
    make_tables(built)
    yield built
    store.stop()


def insert(settings: Settings, rows: list[tuple[object, ...]]) -> None:
    client = connect(settings, write=True)
    fixed = [(*row, "live", number, 1) for number, row in enumerate(rows)]
    client.insert("cells", fixed, [*COLUMNS, "origin", "part", "version"])
    client.close()


async def lines(settings: Settings) -> dict:
    async with aiohttp.ClientSession() as session:
        return await Watch(server.sources_of(settings), Hub())._lines(session)


async def test_lines_of_the_last_day_from_cells(stored: Settings) -> None:
    hour = int(time.time()) // 3600 * 3600
    csat = ("csat", "csat_1_5", "payment")
    insert(
        stored,
        [
            (*csat, "web", "new", hour, 5, 3, 15.0),
            (*csat, "app", "none", hour, 1, 1, 1.0),
            (*csat, "web", "new", hour - 3600, 4, 2, 8.0),
            ("csat", "csat_1_5", "search", "web", "new", hour, 2, 4, 8.0),
            ("nps", "nps_0_10", "search", "web", "new", hour, 10, 3, 30.0),
            ("nps", "nps_0_10", "search", "web", "new", hour, 3, 1, 3.0),
            ("ces", "ces_1_7_hard", "cart", "web", "new", hour, 2, 1, 2.0),  # 2 of 7 hard is 6 of 7 easy
            ("resolution", "first_resolution", "payment", "web", "new", hour, bin_of(600_000), 1, 600.0),
            (*csat, "web", "new", hour - 30 * 3600, 1, 9, 9.0),
        ],
    )
    found = {(line["metric"], line["touchpoint"]): line["values"] for line in (await lines(stored))["lines"]}
    assert found["csat", "payment"] == [*[None] * (POINTS - 2), 1.0, 0.75]
    assert found["csat", ""] == [*[None] * (POINTS - 2), 1.0, 0.375]
    assert found["nps", "search"][-1] == 50.0
    assert found["ces", "cart"][-1] == 6.0
    assert found["resolution", "payment"][-1] == 600.0


async def test_where_the_day_is_empty_from_when_to_when_there_is_data(stored: Settings) -> None:
    empty = await lines(stored)
    assert (empty["lines"], empty["span"]) == ([], None)
    csat = ("csat", "csat_1_5", "payment", "web", "new")
    insert(stored, [(*csat, 1_487_408_400, 5, 3, 15.0), (*csat, 1_480_000_020, 5, 3, 15.0)])
    assert (await lines(stored))["span"] == {"oldest": 1_480_000_020, "newest": 1_487_408_400}
