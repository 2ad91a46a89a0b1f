"""Where the value of a field comes from: a constant, a column, or a template over columns. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeGuard

Row = Mapping[str, object]

# Formats that are not strptime's.
ISO, MILLISECONDS, SECONDS = "iso", "ms", "s"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[+-]?\d+")


class _Missing:
    """No such column, which is not the same as an empty cell."""


MISSING = _Missing()


def reach(row: Row, column: str) -> object:
    """The cell of a column; MISSING if the row has none.

    Args:
        row: of a file.
        column: a name; or a path, "via.channel" into an object, "changes[].status" to the first element of
            a list that has one.
    """
    if column in row:
        return row[column]
    head, dot, rest = column.partition(".")
    if not dot:
        return MISSING
    if not head.endswith("[]"):
        inner = row.get(head)
        return reach(inner, rest) if isinstance(inner, Mapping) else MISSING
    elements = row.get(head, row.get(head.removesuffix("[]")))
    cells = [reach(one, rest) for one in elements if isinstance(one, Mapping)] if _is_list(elements) else []
    there = [cell for cell in cells if cell is not MISSING]
    return next((cell for cell in there if cell is not None), None if there else MISSING)


def _is_list(value: Any) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def names_in(row: Row) -> Iterator[str]:
    """The columns of a row as a mapping would write them, those one level down included."""
    for name, cell in row.items():
        yield name
        if isinstance(cell, Mapping):
            yield from (f"{name}.{inner}" for inner in cell)
        elif _is_list(cell):
            start = f"{name.removesuffix('[]')}[]"
            yield from (f"{start}.{inner}" for one in cell if isinstance(one, Mapping) for inner in one)


def as_text(cell: object) -> str:
    """A cell as a mapping writes it: true and false as in JSON."""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


@dataclass(frozen=True, slots=True)
class Times:
    """How times are written.

    Attributes:
        formats: tried in this order: strptime's, or "iso", "ms", "s" (since 1970).
        zone: of times that do not say theirs. In the hour that a clock change repeats, the first is meant.
    """

    formats: tuple[str, ...]
    zone: tzinfo

    def read(self, cell: object) -> datetime:
        """The time in a cell; ValueError if no format fits."""
        if isinstance(cell, datetime):
            return self._placed(cell)
        text = str(cell).strip()
        for known in self.formats:
            try:
                return self._placed(_parse(text, known))
            except (ValueError, OverflowError):
                continue
        msg = f"{shown(cell)} fits none of the formats {', '.join(self.formats)}"
        raise ValueError(msg)

    def _placed(self, time: datetime) -> datetime:
        return time if time.tzinfo else time.replace(tzinfo=self.zone)


def _parse(text: str, known: str) -> datetime:
    if known == ISO:
        return datetime.fromisoformat(text)
    if known == MILLISECONDS:
        return _EPOCH + timedelta(milliseconds=int(text))
    if known == SECONDS:
        return _EPOCH + timedelta(seconds=float(text))
    return datetime.strptime(text, known)  # noqa: DTZ007 - the zone is added by who calls


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every row."""

    value: object

    @property
    def columns(self) -> frozenset[str]:
        """The columns it reads."""
        return frozenset()

    def read(self, row: Row) -> object:
        """The value; None if there is none."""
        return self.value


@dataclass(frozen=True, slots=True)
class Column:
    """A cell, or what stands for it in `values`.

    Attributes:
        name: of the column.
        values: what a cell becomes; None takes it as it is.
        otherwise: what cells become that `values` does not have; None makes such a row a fault.
    """

    name: str
    values: Mapping[str, object] | None = None
    otherwise: object = None

    @property
    def columns(self) -> frozenset[str]:
        """The columns it reads."""
        return frozenset((self.name,))

    def read(self, row: Row) -> object:
        """The value; None if the cell is empty.

        Raises:
            ValueError: `values` does not have the cell.
        """
        cell = row.get(self.name)
        if cell is None or self.values is None:
            return cell
        found = self.values.get(as_text(cell), self.otherwise)
        if found is None:
            msg = f"{shown(cell)} is not among values, and there is no otherwise"
            raise ValueError(msg)
        return found


@dataclass(frozen=True, slots=True)
class Template:
    """Text with columns in it, "{number}:opened"."""

    parts: Sequence[tuple[str, str]]  # a text and the column after it; "" where none follows

    @property
    def columns(self) -> frozenset[str]:
        """The columns it reads."""
        return frozenset(column for _, column in self.parts if column)

    def read(self, row: Row) -> object:
        """The text; None if one of its cells is empty."""
        text = ""
        for before, column in self.parts:
            cell = row.get(column) if column else ""
            if cell is None:
                return None
            text += f"{before}{cell}"
        return text


Source = Constant | Column | Template


def as_type(value: object, kind: str, times: Times | None) -> object:
    """A cell as the type that the schema wants; what cannot be turned is left for the field itself to refuse.

    Args:
        value: of the cell.
        kind: as `Field.type`.
        times: for a time field, how its times are written.

    Raises:
        ValueError: it is no number, or no time, as text.
    """
    if times is not None:
        return times.read(value)
    if kind == "string":
        return value if isinstance(value, str) else _as_text(value)
    if kind == "int" and isinstance(value, str):
        return _as_whole(value)
    if kind == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value


def _as_text(value: object) -> object:
    """Numbers are often ids; a list is none."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_whole(text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        msg = f"{shown(text)} is not a whole number"
        raise ValueError(msg)
    return int(text)


def shown(cell: Any) -> str:
    """A cell in a message: short."""
    text = str(cell)
    return repr(text if len(text) <= 40 else text[:37] + "...")
