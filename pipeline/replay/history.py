"""`read_history`: a file and a mapping to events sorted by time. Holds them all, about 1 KB each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.client.message import Message, Rules
from pipeline.replay.files import open_table
from pipeline.replay.mapping import EventMap, Mapper, RowFault
from pipeline.replay.parse import MappingError
from pipeline.replay.values import Row

# Told how much is done and how much there is: bytes while reading, events while sending.
OnProgress = Callable[[int, int], None]
_ROWS_A_STEP = 1000


@dataclass(frozen=True, slots=True)
class History:
    """What a file holds.

    Attributes:
        messages: sorted by time; those of one moment in the order of the file.
        faults: what made no event, in the order of the file.
        rows: how many rows there are, faulty ones included.
    """

    messages: tuple[Message, ...]
    faults: tuple[RowFault, ...]
    rows: int


def read_history(
    path: Path, mapping: EventMap, rules: Rules, on_progress: OnProgress | None = None
) -> History:
    """Read and map a whole file.

    Raises:
        MappingError: the mapping reads a column that the file does not have.
        FeedbackError: the file cannot be read.
    """
    size = path.stat().st_size if path.exists() else 0
    mapper, made = Mapper(mapping, rules), _Made()
    with open_table(path, mapping) as (table, position):
        if table.columns is not None:
            _check_columns(mapping, table.columns, path)
        for row in table.rows:
            made.add(mapper, row)
            if on_progress and made.rows % _ROWS_A_STEP == 0:
                on_progress(position(), size)
    if table.columns is None and made.rows:
        _check_columns(mapping, made.columns, path)
    if on_progress:
        on_progress(size, size)
    made.messages.sort(key=lambda message: message.occurred_at)
    return History(tuple(made.messages), tuple(made.faults), made.rows)


class _Made:
    """What came out so far."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.faults: list[RowFault] = []
        self.rows = 0
        self.columns: set[str] = set()

    def add(self, mapper: Mapper, row: RowFault | tuple[int, Row]) -> None:
        self.rows += 1
        if isinstance(row, RowFault):
            self.faults.append(row)
            return
        self.columns.update(row[1])
        for event in mapper.events(*row):
            if isinstance(event, RowFault):
                self.faults.append(event)
            else:
                self.messages.append(event)


def _check_columns(mapping: EventMap, columns: Iterable[str], path: Path) -> None:
    there = list(columns)
    faults = tuple(
        f"{use}: {path.name} has no column {column}{_suggestion(column, there)}"
        for column, use in mapping.columns.items()
        if column not in there
    )
    if faults:
        origin = f"for {path.name}"
        raise MappingError(origin, faults)


def _suggestion(column: str, columns: list[str]) -> str:
    near = get_close_matches(column, columns, n=1)
    return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(columns)}"
