"""`read_history`: a file and a mapping to events sorted by time. Holds them all, about 1 KB each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.client.message import Message, Rules
from pipeline.replay.files import open_table
from pipeline.replay.mapping import EventMap, Mapper, Place, RowFault
from pipeline.replay.parse import MappingError
from pipeline.replay.places import placed
from pipeline.replay.values import MISSING, Row, names_in, reach

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
        idle: the [[event]]s of the mapping, from 1, whose conditions no row has met.
    """

    messages: tuple[Message, ...]
    faults: tuple[RowFault, ...]
    rows: int
    idle: tuple[int, ...] = ()


def read_history(
    path: Path, mapping: EventMap, rules: Rules, on_progress: OnProgress | None = None
) -> History:
    """Read and map a whole file.

    Raises:
        MappingError: the mapping reads a column that the file does not have.
        FeedbackError: the file cannot be read.
    """
    size = path.stat().st_size if path.exists() else 0
    mapper, made = Mapper(mapping, rules), _Made(mapping)
    with open_table(path, mapping) as (table, position):
        if table.columns is not None:
            made.read(table.columns)
            made.check(path)
        for row in table.rows:
            made.add(mapper, row)
            if on_progress and made.rows % _ROWS_A_STEP == 0:
                on_progress(position(), size)
    if made.looked:
        made.check(path)
    if on_progress:
        on_progress(size, size)
    made.messages.sort(key=lambda message: message.occurred_at)
    return History(tuple(made.messages), tuple(made.faults), made.rows, mapper.idle)


class _Made:
    """What came out so far."""

    def __init__(self, mapping: EventMap) -> None:
        self.messages: list[Message] = []
        self.faults: list[RowFault] = []
        self.rows = 0
        self.looked = False
        self._mapping = mapping
        self._unseen = set(mapping.columns) - mapping.optional
        self._names: dict[str, None] = {}

    def read(self, columns: Iterable[str]) -> None:
        """The file says which columns it has; a path is there if its first part is."""
        self._names.update(dict.fromkeys(columns))
        there = {column for column in self._unseen if re.split(r"\[\]\.|\.", column)[0] in self._names}
        self._unseen -= self._names.keys() | there

    def add(self, mapper: Mapper, row: RowFault | tuple[Place, Row]) -> None:
        self.rows += 1
        if isinstance(row, RowFault):
            self.faults.append(row)
            return
        self._look(row[1])
        for event in mapper.events(*row):
            if isinstance(event, RowFault):
                self.faults.append(event)
            else:
                self.messages.append(event)

    def _look(self, row: Row) -> None:
        self.looked = True
        if self._unseen:
            self._unseen -= {column for column in self._unseen if reach(row, column) is not MISSING}
            if self.rows <= _ROWS_A_STEP:
                self._names.update(dict.fromkeys(names_in(row)))

    def check(self, path: Path) -> None:
        """Refuse a mapping that reads what no row has."""
        there = list(self._names)
        faults = tuple(
            placed(
                f"{use}: {path.name} has no column {column}{_suggestion(column, there)}", self._mapping.text
            )
            for column, use in self._mapping.columns.items()
            if column in self._unseen
        )
        if faults:
            origin = f"for {path.name}"
            raise MappingError(origin, faults)


def _suggestion(column: str, columns: list[str]) -> str:
    near = get_close_matches(column, columns, n=1)
    return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(columns)}"
