"""Where in the text of a mapping file something stands. TOML parsers do not tell; this reads the lines. Pure."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[\[?\s*([\w.-]+)\s*\]\]?\s*(?:#.*)?$")
_EVENT = re.compile(r"event (\d+)(?:, (.*))?$")


def placed(fault: str, text: str) -> str:
    """A fault, "PLACE: what is wrong", with the line of its place before it where one is found."""
    line = line_of(fault.partition(": ")[0], text)
    return fault if line is None else f"line {line}, {fault}"


def line_of(place: str, text: str) -> int | None:
    """The line, from 1, where a place stands; None if it is written in a way that this does not see.

    Args:
        place: "event 2, occurred_at.zone", "fields.channel", "csv.delimiter".
        text: of the mapping file.
    """
    lines = text.splitlines()
    event = _EVENT.match(place)
    if event is None:
        head, _, name = place.partition(".")
        return _find(name, lines, _sections(lines, head)) or _find(place, lines, [(0, len(lines))])
    starts = [start for start, _ in _sections(lines, "event", whole=True)]
    number, name = int(event[1]), event[2]
    if number > len(starts):
        return None
    start = starts[number - 1]
    own = [(start, [*starts, len(lines)][number])]
    found = name and (_find(name, lines, own) or _find(name, lines, _sections(lines, "fields")))
    return found or start + 1


def _sections(lines: list[str], name: str, *, whole: bool = False) -> list[tuple[int, int]]:
    """From the header [name], or each [[name]] if `whole`, to the next header."""
    heads = [(at, found[1]) for at, line in enumerate(lines) if (found := _HEADER.match(line))]
    ends = [*(at for at, _ in heads), len(lines)][1:]
    return [
        (at, end)
        for (at, head), end in zip(heads, ends, strict=True)
        if head == name and (not whole or lines[at].lstrip().startswith("[["))
    ]


def _find(name: str, lines: list[str], spans: list[tuple[int, int]]) -> int | None:
    """The first line that sets `name`, or else what `name` is a part of."""
    first, dot, rest = name.partition(".")
    quoted = [rf"[\"']?{re.escape(part)}[\"']?" for part in (first, rest)]
    for key in ([rf"{quoted[0]}\s*\.\s*{quoted[1]}"] if dot else []) + [quoted[0]]:
        pattern = re.compile(rf"\s*(?:\[event\.)?{key}\s*[.=\]]")
        for start, end in spans:
            for at in range(start, end):
                if pattern.match(lines[at]):
                    return at + 1
    return None
