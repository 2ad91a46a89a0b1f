"""Distinct combinations of texts: the same as a dictionary of the texts themselves."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import labels as labels_module
from pipeline.events.found import Texts
from pipeline.events.labels import Label, Labels, labels_of
from pipeline.events.skim import PADDING
from pipeline.events.words import LONG

TEXTS = st.sampled_from(["", "a", "a\0", "b", "checkout", "checkout2", "\u6f22" * 9]) | st.text(max_size=20)
ROWS = st.lists(st.tuples(TEXTS, st.none() | TEXTS), max_size=30)


def columns_of(rows: list[Label]) -> tuple[np.ndarray, list[Texts]]:
    """The rows as a batch has them: bytes, and for each column where its texts stand."""
    flat = [(text or "").encode() for row in rows for text in row]
    size = np.array(list(map(len, flat)), np.int64)
    start = np.cumsum(size) - size
    known = np.array([text is not None for row in rows for text in row], bool)
    buffer = np.frombuffer(b"".join([*flat, bytes(PADDING)]), np.uint8)
    return buffer, [
        Texts(start[k::2], size[k::2], None if known[k::2].all() else known[k::2]) for k in (0, 1)
    ]


def as_a_dictionary_says(rows: list[Label]) -> Labels:
    place: dict[Label, int] = {}
    code = [place.setdefault(row, len(place)) for row in rows]
    return Labels(tuple(place), np.array(code, np.int64))


def assert_same(got: Labels, expected: Labels) -> None:
    assert got.texts == expected.texts
    assert got.code.tolist() == expected.code.tolist()


@given(ROWS)
def test_labels_are_numbered_as_they_occur_first(rows: list[Label]) -> None:
    assert_same(labels_of(*columns_of(rows)), as_a_dictionary_says(rows))


@given(ROWS)
def test_two_combinations_that_share_a_hash_are_two_all_the_same(rows: list[Label]) -> None:
    with patch.object(labels_module, "_mixed", lambda words: np.zeros(len(words[0]), np.uint64)):
        assert_same(labels_of(*columns_of(rows)), as_a_dictionary_says(rows))


@pytest.mark.parametrize("size", [LONG, LONG + 1, 3 * LONG])
def test_long_texts(size: int) -> None:
    rows: list[Label] = [
        ("x" * size, "a"),
        ("x" * (size - 1) + "y", "a"),
        ("x" * size, "a"),
        ("x" * size, None),
    ]
    assert_same(labels_of(*columns_of(rows)), as_a_dictionary_says(rows))


@given(ROWS, st.data())
def test_what_is_left_when_some_go(rows: list[Label], data: st.DataObject) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    left = [row for row, k in zip(rows, kept.tolist(), strict=True) if k]
    assert_same(labels_of(*columns_of(rows)).take(kept), as_a_dictionary_says(left))


@given(ROWS, ROWS, st.randoms())
def test_parts_joined_in_another_order(one: list[Label], two: list[Label], rng: object) -> None:
    both = one + two
    order = list(range(len(both)))
    rng.shuffle(order)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    parts = [labels_of(*columns_of(one)), labels_of(*columns_of(two))]
    joined = Labels.concat(parts, np.array(order, np.int64))
    assert_same(joined, as_a_dictionary_says([both[k] for k in order]))
