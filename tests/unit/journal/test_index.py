"""The id index against a dict."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal.index import NEVER, Ids, Index


def ids_of(rows: dict[tuple[int, int], int]) -> Ids:
    a, b = (np.array([key[k] for key in rows], np.uint64) for k in (0, 1))
    value = np.array(list(rows.values()), np.int64)
    small = value.astype(np.int32)
    return Ids(a, b, value, value, value, small, small, small)


@given(
    st.lists(
        st.dictionaries(st.tuples(st.integers(0, 40), st.integers(0, 3)), st.integers(0, 99), max_size=30)
    )
)
def test_an_index_is_a_dict(batches: list[dict[tuple[int, int], int]]) -> None:
    index, model = Index(), dict[tuple[int, int], int]()
    for batch in batches:
        if batch:
            index.put(ids_of(batch))
            model |= batch
    asked = [(a, b) for a in range(41) for b in range(4)]
    a, b = (np.array([key[k] for key in asked], np.uint64) for k in (0, 1))
    known = index.get(a, b)
    assert known.offset.tolist() == [model.get(key, -1) for key in asked]
    assert [u > NEVER for u in known.until.tolist()] == [key in model for key in asked]
    assert len(index) == len(model)


def test_it_grows_through_many_ids_of_one_slot() -> None:
    index = Index()
    a = np.arange(3_000, dtype=np.uint64) << np.uint64(
        40
    )  # the low bits, which choose the slot, are all alike
    b = np.arange(3_000, dtype=np.uint64)
    value = np.arange(3_000)
    small = value.astype(np.int32)
    for part in np.array_split(value, 40):
        index.put(Ids(a, b, value, value, value, small, small, small).take(part))
    assert index.get(a[::17], b[::17]).offset.tolist() == value[::17].tolist()
    assert index.all().offset.tolist() == value.tolist()
