"""Columns on their way to the store: the types they travel as."""

import io
from datetime import UTC, date, datetime

import polars as pl

from pipeline.stores.sink import encoded


def arrived(frame):
    return pl.read_ipc_stream(io.BytesIO(encoded(frame)))


def test_times_and_days_are_sent_as_such():
    frame = arrived(
        pl.DataFrame({"occurred_at": [-1, 1], "bucket": [60_000, 0], "day": [20_000, -1], "n": [1, 2]})
    )
    assert frame["occurred_at"].dtype == frame["bucket"].dtype == pl.Datetime("ms")
    assert frame["occurred_at"][0] == datetime(1969, 12, 31, 23, 59, 59, 999_000)  # noqa: DTZ001 - without a zone
    assert frame["day"].to_list() == [date(2024, 10, 4), date(1969, 12, 31)]
    assert frame["n"].dtype == pl.Int64


def test_times_that_are_times_already_stay():
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert arrived(pl.DataFrame({"time": [noon]}))["time"].to_list() == [noon]


def test_maps_travel_as_two_lists():
    pairs = [[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}], []]
    kind = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    found = arrived(pl.DataFrame({"attributes": pl.Series(pairs, dtype=kind)}))["attributes"].to_list()
    assert found == [{"keys": ["a", "b"], "values": ["1", "2"]}, {"keys": [], "values": []}]


def test_bytes_and_nulls_stay_what_they_are():
    frame = pl.DataFrame({"raw": [b"\x00\xff", b""], "segment": [None, "new"]})
    assert arrived(frame).rows() == frame.rows()
