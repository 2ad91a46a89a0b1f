"""The hash of an id is stored, so it may never change, nor hang on the ids beside it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.ids import EMPTY, id128
from pipeline.events.words import LONG

# Written down from the first version: another figure here means that every stored index is lost.
STORED = {
    b"": (0xE8ACC4B4C091FBB1, 0x55B56317E1E2CB6E),
    b"a": (0xACCD0F1D111F7CAD, 0x7744F9EDA4AC7B6D),
    b"response": (0x85224E046DB47A66, 0xA37E903210ECE355),
    b"r-123456789": (0x13F0A348BF938612, 0xFFD04DFFD2F2D020),
    b"00000010000000000000000000000007": (0x227A4B073E0AADA7, 0x60C16720CDB3B863),
    b"\xc3\xa9\xe6\xbc\xa2\xe5\xad\x97": (0x35BF49787EC20729, 0xB5ED1E4B3459D1EB),
    b"x" * 256: (0xB08D6A94BC1DF76E, 0xE0A090E1F299F8DA),
    b"x" * 257: (0x4A7B584B9E361161, 0x6869D8F46E4DF84B),
}


def hashes(ids: list[bytes]) -> list[tuple[int, int]]:
    size = np.array([len(one) for one in ids], np.int64)
    buffer = np.frombuffer(b"".join(ids) + bytes(8), np.uint8)
    a, b = id128(buffer, np.cumsum(size) - size, size)
    return list(zip(a.tolist(), b.tolist(), strict=True))


def test_hashes_never_change() -> None:
    assert dict(zip(STORED, hashes(list(STORED)), strict=True)) == STORED


ids = st.binary(max_size=40) | st.binary(min_size=LONG - 9, max_size=LONG + 9)


@given(st.lists(ids, max_size=10))
def test_a_hash_depends_on_its_id_alone(some: list[bytes]) -> None:
    assert hashes(some) == [hashes([one])[0] for one in some]


@given(st.lists(ids, unique=True, max_size=30))
def test_different_ids_have_different_hashes(some: list[bytes]) -> None:
    found = hashes(some)
    assert len(set(found)) == len(some)
    assert all(a for a, _ in found)


def test_ids_that_differ_little_differ_in_both_halves() -> None:
    some = [b"%032x" % i for i in range(50_000)] + [bytes(n) for n in range(200)]
    found = hashes(some)
    assert len({a for a, _ in found}) == len({b for _, b in found}) == len(some)
    low = np.bincount([a % 64 for a, _ in found], minlength=64)
    assert low.min() > 0.8 * len(some) / 64


def test_the_empty_id_is_known() -> None:
    assert hashes([b""]) == [(int(EMPTY[0]), int(EMPTY[1]))]
