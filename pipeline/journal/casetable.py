"""`CaseTable`: the cases of one source partition as bytes, when time alone changes them, and how many are open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.journal.caserow import HEAD, NO_HEAD, NOT_OPEN, Head, Number, head_of, renewed
from pipeline.journal.dues import Dues
from pipeline.journal.pack import Columns

_GONE = -1  # in the place of a row's length: the case was forgotten
# a list is a row of version 1
CaseRows = Mapping[str, bytes | list[Any] | None]


class CaseTable:
    """Case id -> row. Everything else in it follows from the rows.

    Attributes:
        timers: cases by the instant at which time alone changes something.
        silences: cases by the watermark from which they may be forgotten.
    """

    def __init__(self) -> None:
        self.timers = Dues()
        self.silences = Dues()
        self._rows: dict[str, bytes] = {}
        self._open: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CaseTable) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # it changes

    def get(self, case_id: str) -> bytes | None:
        """The row of a case."""
        return self._rows.get(case_id)

    def rows(self) -> Mapping[str, bytes]:
        """All of them; not to be changed."""
        return self._rows

    def update(self, rows: CaseRows, number: Number) -> None:
        """New and changed cases; None is a case that is forgotten.

        Args:
            rows: by case id.
            number: the number of a leaf, for rows of version 1.
        """
        for case_id, told in rows.items():
            row = renewed(told, number) if isinstance(told, list) else told
            before = self._rows.get(case_id)
            if row is not None:
                self._rows[case_id] = row
            elif before is not None:
                del self._rows[case_id]
            self._move(
                case_id, NO_HEAD if before is None else HEAD(before), NO_HEAD if row is None else HEAD(row)
            )

    def due(self, clock: int, watermark: int, most: int) -> list[str]:
        """Up to `most` cases that something has become due for: by the clock, or by the watermark to be forgotten."""
        return list(islice(self._due(clock, watermark), most))

    def open_cases(self) -> Mapping[int, tuple[int, int]]:
        """Leaf in which openings count -> open cases, and the sum of the instants at which they were opened, ms."""
        return {leaf: (n, total) for leaf, (n, total) in self._open.copy().items() if n}

    def _due(self, clock: int, watermark: int) -> Iterator[str]:
        for case_id in self.timers.until(clock):
            if head_of(self._rows[case_id]).due <= clock:
                yield case_id
        for case_id in self.silences.until(watermark):
            head = head_of(self._rows[case_id])
            if head.forget <= watermark and head.due > clock:
                yield case_id

    def _move(self, case_id: str, before: Head, after: Head) -> None:
        was_due, was_over, *stood = before
        due, over, *stands = after
        self.timers.move(case_id, was_due, due)
        self.silences.move(case_id, was_over, over)
        if stood != stands:
            self._count(-1, *stood)
            self._count(1, *stands)

    def _count(self, n: int, opened: int, home: int) -> None:
        if home != NOT_OPEN:
            sums = self._open[home]
            sums[0] += n
            sums[1] += n * opened


def columns_of_cases(rows: CaseRows) -> Columns:
    """Rows as columns of a record. Those of version 1 are only ever read."""
    values = list(rows.values())
    return {
        "case.id": _joined(case_id.encode() for case_id in rows),
        "case.id_size": _sizes(len(case_id.encode()) for case_id in rows),
        "case.row": _joined(row for row in values if isinstance(row, bytes)),
        "case.size": _sizes(_GONE if row is None else len(row) for row in values),
    }


def cases_of(head: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> CaseRows:
    """The inverse of `columns_of_cases`; version 1 had its rows in the head."""
    if "cases" in head:
        old: CaseRows = head["cases"]
        return old
    names, rows = columns["case.id"].tobytes(), columns["case.row"].tobytes()
    found: dict[str, bytes | None] = {}
    name = row = 0
    for name_size, size in zip(columns["case.id_size"].tolist(), columns["case.size"].tolist(), strict=True):
        case_id = names[name : name + name_size].decode()
        name += name_size
        found[case_id] = None if size == _GONE else rows[row : row + size]
        row += max(size, 0)
    return found


def _joined(parts: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), np.uint8)


def _sizes(sizes: Iterable[int]) -> npt.NDArray[np.int32]:
    return np.fromiter(sizes, np.int32)
