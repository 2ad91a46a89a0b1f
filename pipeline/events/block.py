"""`Block`: values of one batch behind each other in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.events.found import Int64s, Mask
from pipeline.events.joined import Joined
from pipeline.events.skim import PADDING
from pipeline.events.wire import HEADER_SIZE, MAGIC

NO_HEADER = -1


@dataclass(frozen=True, slots=True)
class Block:
    """Values of one batch.

    Attributes:
        values: as they came.
        raw: all values joined, with padding behind them; perhaps others between them.
        buffer: uint8, the same bytes.
        start: where in the buffer each value begins.
        end: where it ends.
        others: ranges (start, size) of the buffer that are no values of this block.
    """

    values: Sequence[bytes]
    raw: bytes
    buffer: npt.NDArray[np.uint8]
    start: Int64s
    end: Int64s
    others: tuple[tuple[Int64s, Int64s], ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def of(values: Sequence[bytes]) -> Block:
        """Join values; TypeError if there is a None among them."""
        joined = values if isinstance(values, Joined) else Joined.of(values)
        raw, edges = b"".join((joined.bytes, bytes(PADDING))), joined.edges - joined.edges[0]
        return Block(values, raw, np.frombuffer(raw, np.uint8), edges[:-1], edges[1:])

    def some(self, mask: Mask) -> Block:
        """Only the values of the mask; the buffer stays as it is."""
        rows, rest = np.flatnonzero(mask), np.flatnonzero(~mask)
        others = (*self.others, (self.start[rest], self.end[rest] - self.start[rest]))
        values = [self.values[row] for row in rows.tolist()]
        return Block(values, self.raw, self.buffer, self.start[rows], self.end[rows], others)

    def schema_ids(self) -> Int64s:
        """The schema id in each value's header; NO_HEADER where there is no header."""
        window = np.ndarray((len(self.buffer) - 7,), "V8", self.buffer, strides=(1,))
        words = window[self.start].view(np.uint64)
        headed = (self.end - self.start >= HEADER_SIZE) & (words & np.uint64(0xFF) == MAGIC)
        ids = (words >> np.uint64(8)).astype(np.uint32).byteswap().astype(np.int64)
        return ids if headed.all() else np.where(headed, ids, NO_HEADER)

    def tops(self) -> int:
        """How many bytes are beyond ASCII."""
        return int(np.count_nonzero(self.buffer.view(np.int8) < 0))

    def not_utf8(self, opaque: Sequence[tuple[Int64s, Int64s | int]], skip: Mask) -> Int64s:
        """The records with text that is not UTF-8.

        Args:
            opaque: ranges (start, size) of the buffer that are not text.
            skip: records that need not be looked at.
        """
        text = self.buffer.copy()
        skipped = (self.start[skip], (self.end - self.start)[skip])
        for start, size in (*opaque, *self.others, skipped):
            if isinstance(size, int):
                _blank(text, start, size)
            else:
                text[_ranges(start, size)] = 0
        # All at once: what stands between two texts, a header or the last byte of a size, is ASCII or was
        # blanked, so no character reaches from one into the other.
        if _is_utf8(text.data):
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(np.add.reduceat(text >= 128, self.start, dtype=np.int64))
        bad = [row for row in rows.tolist() if not _is_utf8(text[self.start[row] : self.end[row]].data)]
        return np.asarray(bad, np.int64)


def _blank(text: npt.NDArray[np.uint8], start: Int64s, size: int) -> None:
    """Zeros in up to eight bytes from each of these places on; words are quicker than bytes."""
    window = np.ndarray((len(text) - 7,), "V8", text, strides=(1,))
    words = window[start].view(np.uint64)
    words &= np.uint64((1 << 64) - (1 << 8 * size))
    window[start] = words.view("V8")


def _is_utf8(text: memoryview) -> bool:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _ranges(start: Int64s, size: Int64s) -> Int64s:
    """All places in the ranges."""
    before = np.cumsum(size) - size
    return np.repeat(start - before, size) + np.arange(int(size.sum()))
