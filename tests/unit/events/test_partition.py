"""Records land where Kafka's Java producer would put them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.partition import murmur2, partition_of
from pipeline.events.placement import partitions_of
from pipeline.events.words import LONG

# Apache Kafka, UtilsTest.testMurmur2.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_the_hash_is_javas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected
    assert partition_of(key, 7) == (expected & 0x7FFFFFFF) % 7


@given(st.lists(st.binary(max_size=30) | st.binary(min_size=LONG - 1, max_size=LONG + 5)), st.integers(1, 50))
def test_a_batch_is_placed_like_its_records(keys: list[bytes], partitions: int) -> None:
    size = np.array([len(key) for key in keys], np.int64)
    buffer = np.frombuffer(b"".join(keys), np.uint8)
    placed = partitions_of(buffer, np.cumsum(size) - size, size, partitions)
    assert placed.dtype == np.int32
    assert placed.tolist() == [partition_of(key, partitions) for key in keys]
