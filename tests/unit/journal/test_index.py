"""The id index against a dict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.journal.index import NAMES, NEVER, Ids, Index


def wide(rows: dict[tuple[int, int], int]) -> Ids:
    """Ids that were last seen at these times."""
    ids = ids_of(dict.fromkeys(rows, 0))
    return replace(ids, until=np.array(list(rows.values()), np.int64))


def ids_of(rows: dict[tuple[int, int], int]) -> Ids:
    a, b = (np.array([key[k] for key in rows], np.uint64) for k in (0, 1))
    value = np.array(list(rows.values()), np.int64)
    small = value.astype(np.int32)
    return Ids(a, b, value, value, small, small, small)


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
    assert known.version.tolist() == [model.get(key, -1) for key in asked]
    assert [u > NEVER for u in known.until.tolist()] == [key in model for key in asked]
    assert len(index) == len(model)


def test_places_of_an_index_that_has_changed_are_looked_up_again() -> None:
    index, batch = Index(), ids_of({(7, 0): 1, (8, 0): 2})
    places = index.find(batch.a, batch.b)
    index.put(batch, places=places)
    index.put(ids_of({(7, 0): 3, (8, 0): 4}), places=places)  # they say that nothing is known
    index.put(ids_of({(7, 0): 5}), places=index.find(batch.a, batch.b).take(np.array([0])))
    assert len(index) == 2
    assert index.get(batch.a, batch.b).version.tolist() == [5, 4]


def test_it_grows_through_many_ids_of_one_slot() -> None:
    index = Index()
    a = np.arange(3_000, dtype=np.uint64)  # the high bits, which choose the slot, are all alike
    b = np.arange(3_000, dtype=np.uint64)
    value = np.arange(3_000)
    small = value.astype(np.int32)
    for part in np.array_split(value, 40):
        index.put(Ids(a, b, value, value, small, small, small).take(part))
    assert index.get(a[::17], b[::17]).version.tolist() == value[::17].tolist()
    assert index.all().version.tolist() == value.tolist()


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 40), st.integers(0, 10**12), min_size=1, max_size=30),
            st.booleans(),
        )
    )
)
def test_what_was_put_since_the_last_seal_has_changed(batches: list[tuple[dict[int, int], bool]]) -> None:
    index, model = Index(), dict[tuple[int, int], int]()
    for batch, seal in batches:
        rows = {(ident, 0): value for ident, value in batch.items()}
        index.put(wide(rows))
        model |= rows
        changed = index.changed()
        assert dict(zip(changed.a.tolist(), changed.until.tolist(), strict=True)) == {
            a: value for (a, _), value in model.items()
        }
        if seal:
            index.sealed()
            model.clear()


@given(
    st.lists(st.dictionaries(st.tuples(st.integers(0, 40), st.just(0)), st.integers(0, 300), min_size=1)),
    st.integers(0, 300),
)
def test_it_forgets_only_what_was_last_seen_before(
    batches: list[dict[tuple[int, int], int]], limit: int
) -> None:
    index, model = Index(), dict[tuple[int, int], int]()
    for batch in batches:
        index.put(wide(batch))
        model |= batch
    gone = index.forget(limit)
    alive = {key: value for key, value in model.items() if value >= limit}
    assert len(index) == len(model) - gone
    assert gone in (0, len(model) - len(alive))
    assert gone or len(model) - len(alive) <= len(model) / 8
    index.put(wide({(99, 0): 7}))
    a = np.array([*(key[0] for key in alive), 99], np.uint64)
    known = index.get(a, np.zeros(len(a), np.uint64))
    assert known.until.tolist() == [*alive.values(), 7]


def test_it_holds_whatever_values_ids_have() -> None:
    """Columns begin narrow; each of these values makes one of them wider."""
    index, rng = Index(), np.random.default_rng(1)
    a = np.arange(1, 300_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    columns = {
        "until": rng.integers(-(2**50), 2**50, len(a)),
        "version": np.append(np.zeros(len(a) - 1, np.int64), 2**40),
        "series": rng.integers(-1, 2**31, len(a)).astype(np.int32),
        "minute": rng.integers(-(2**31), 2**31, len(a)).astype(np.int32),
        "bin": np.append(np.zeros(len(a) - 1, np.int32), np.int32(-1000)),
    }
    ids = Ids(a, a[::-1].copy(), **columns)
    for rows in np.array_split(np.arange(len(a)), 7):
        index.put(ids.take(rows))
    known = index.get(ids.a, ids.b)
    for name in NAMES:
        assert np.array_equal(getattr(known, name), getattr(ids, name)), name
    taken = index.nbytes
    assert index.forget(0) > 0
    assert index.nbytes < 0.6 * taken
    alive = ids.take(ids.until >= 0)
    assert np.array_equal(index.get(alive.a, alive.b).until, alive.until)


def test_an_id_takes_about_thirty_five_bytes() -> None:
    """What `feedback check-config` multiplies the rate with; a million of usual ids."""
    index, n = Index(), 1_000_000
    rng = np.random.default_rng(1)
    time = 1_800_000_000_000 + np.arange(n) * 7
    ids = Ids(
        rng.integers(1, 2**63, n, dtype=np.uint64) * np.uint64(2),
        rng.integers(1, 2**63, n, dtype=np.uint64),
        until=time,
        version=np.zeros(n, np.int64),
        series=rng.integers(0, 40_000, n).astype(np.int32),
        minute=(time // 60_000).astype(np.int32),
        bin=rng.integers(0, 11, n).astype(np.int32),
    )
    for rows in np.array_split(np.arange(n), 50):
        index.put(ids.take(rows))
    assert 30 < index.nbytes / n < 40
