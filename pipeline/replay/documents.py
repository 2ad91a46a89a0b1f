"""Rows of JSON text: lines, one list, or the pages of an API; each with the line that it begins at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import IO

from pipeline.errors import FeedbackError
from pipeline.replay.mapping import JsonShape, Place, RowFault
from pipeline.replay.values import Row

Rows = Iterator[tuple[Place, Row] | RowFault]
_FAULTS = (ValueError, RecursionError)
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def json_rows(text: IO[str], *, by_line: bool, shape: JsonShape) -> Rows:
    """The rows of a JSON file.

    Args:
        text: of the file; only lines are read one after the other, all else is held whole.
        by_line: the name of the file says that each line is a row.
        shape: where the rows are.

    Raises:
        FeedbackError: it is not JSON, and not lines of JSON either.
    """
    if shape.rows:
        rows = _pages(text.read(), shape.rows)
    elif by_line or not _begins_with_a_list(text):
        rows = _lines(text)
    else:
        rows = _list(text.read())
    return _spread(rows, shape.each) if shape.each else rows


def is_text(text: str) -> bool:
    """Whether no byte of it was beyond the file's encoding."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _begins_with_a_list(text: IO[str]) -> bool:
    first = text.read(1)
    while first.isspace():
        first = text.read(1)
    text.seek(0)
    return first == "["


def _lines(text: IO[str]) -> Rows:
    for line, one in enumerate(text, 1):
        if not one.strip():
            continue
        if not is_text(one):
            yield RowFault(Place(line), "is not text in the file's encoding")
            continue
        try:
            yield _row(Place(line), json.loads(one))
        except _FAULTS as fault:
            yield RowFault(Place(line), f"is not JSON: {fault}")


def _row(place: Place, value: object) -> tuple[Place, Row] | RowFault:
    return (place, value) if isinstance(value, Mapping) else RowFault(place, "is not a JSON object")


class _Reader:
    """JSON text, read value by value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self.items = 0

    def next_is(self, wanted: str) -> bool:
        """Whether the next sign is this one; it is then behind us."""
        found = self.peek() == wanted
        self._at += found
        return found

    def peek(self) -> str:
        """The next sign that is no space; "" at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def expect(self, *wanted: str) -> str:
        """Whichever of the signs comes next."""
        for sign in wanted:
            if self.next_is(sign):
                return sign
        msg = f"the file is not JSON: line {self.line()}: {' or '.join(wanted)} was expected"
        raise FeedbackError(msg)

    def line(self) -> int:
        """The line of the next sign."""
        self.peek()
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def value(self) -> object:
        """The next value."""
        self.peek()
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except _FAULTS as fault:
            msg = f"the file is not JSON: {fault}"
            raise FeedbackError(msg) from fault
        return value


def _items(reader: _Reader) -> Rows:
    """The elements of the list that comes next."""
    reader.expect("[")
    if reader.next_is("]"):
        return
    sign = ","
    while sign == ",":
        reader.items += 1
        place = Place(reader.line(), f"row {reader.items}")
        yield _row(place, reader.value())
        sign = reader.expect(",", "]")


def _list(text: str) -> Rows:
    reader = _Reader(text)
    yield from _items(reader)
    if reader.peek():
        reader.expect("the end")


def _pages(text: str, rows: str) -> Rows:
    """The rows of one page, or of several behind each other."""
    reader = _Reader(text)
    while reader.peek():
        yield from _page(reader, rows)


def _page(reader: _Reader, rows: str) -> Rows:
    line, found = reader.line(), False
    sign = reader.expect("{")
    while sign != "}" and not reader.next_is("}"):
        name = reader.value()
        reader.expect(":")
        if name == rows and reader.peek() == "[":
            found = True
            yield from _items(reader)
        else:
            reader.value()
        sign = reader.expect(",", "}")
    if not found:
        msg = f'the JSON at line {line} has no list "{rows}", which json.rows of the mapping names'
        raise FeedbackError(msg)


def _spread(rows: Rows, each: str) -> Rows:
    """A row for each element of a list in each row; the whole list stays under its name with [] behind."""
    for one in rows:
        if isinstance(one, RowFault):
            yield one
            continue
        place, row = one
        elements = row.get(each)
        if not isinstance(elements, list):
            yield RowFault(place, f"has no list {each}, which json.each of the mapping names")
            continue
        for number, element in enumerate(elements, 1):
            within = Place(place.line, f"{place.within}, {each} {number}".removeprefix(", "))
            if isinstance(element, Mapping):
                yield within, {**row, each: element, f"{each}[]": elements}
            else:
                yield RowFault(within, "is not a JSON object")
