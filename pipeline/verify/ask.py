"""Questions to the store whose answers are columns."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipeline.errors import FeedbackError

# A row of a raw table is written again into the month that it was in before: FINAL need not look across months.
_SETTINGS = {
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "output_format_arrow_string_as_string": 1,
    "wait_end_of_query": 1,
}
_MONTHLY = {"do_not_merge_across_partitions_select_final": 1}


def frame(client: Client, sql: str, *, monthly: bool = False, **parameters: Any) -> pl.DataFrame:
    """The answer to one question.

    Args:
        client: of the store.
        sql: a statement that reads.
        monthly: the table is partitioned by something that is the same in every version of a row.
        parameters: values for {name:Type} in the statement.

    Raises:
        FeedbackError: the store does not answer it.
    """
    settings = _SETTINGS | (_MONTHLY if monthly else {})
    try:
        raw = client.raw_query(sql, parameters=parameters, fmt="ArrowStream", settings=settings)
    except ClickHouseError as fault:
        msg = f"the store cannot tell: {fault}; was `feedback setup` run?"
        raise FeedbackError(msg) from fault
    return pl.read_ipc_stream(io.BytesIO(raw))
