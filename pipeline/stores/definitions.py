"""What the store knows of instruments: the scale under which it holds their answers."""

from __future__ import annotations

from collections.abc import Iterable

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.errors import FeedbackError
from pipeline.measures.definitions import compare
from pipeline.measures.instruments import Instrument

COLUMNS = (
    "name",
    "metric",
    "low",
    "high",
    "direction",
    "promoters_from",
    "detractors_to",
    "satisfied_from",
    "easy_from",
)
_UNKNOWN_TABLE = 60


def known(client: Client) -> dict[str, Instrument]:
    """Every instrument that the store was ever told of, by name; none where there is no table of them yet."""
    try:
        rows = client.query(f"SELECT {', '.join(COLUMNS)} FROM instruments FINAL").result_rows  # noqa: S608 - ours
    except DatabaseError as fault:
        if fault.code == _UNKNOWN_TABLE:
            return {}
        raise
    return {str(row[0]): Instrument(*row) for row in rows}


def refuse_other_scales(client: Client, wanted: Iterable[Instrument]) -> None:
    """Let a configuration pass only if its instruments mean what the store's answers mean.

    Raises:
        FeedbackError: a name has another scale there.
    """
    refused = compare(known(client), wanted).refused
    if refused:
        raise FeedbackError("\n".join(refused))
