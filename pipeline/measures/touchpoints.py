"""Touchpoints that the configuration does not name. They count like all others; often they are typing errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

_SURELY_NEAR = 0.75  # of difflib's ratio: two letters of ten may differ
_NO_LETTER = re.compile(r"[\W_]+")


def unknown(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Those that are not known, sorted; none where nothing is known, since then nobody keeps a catalogue."""
    return sorted({name for name in names if name} - {*known}) if known else []


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant; None if none is near. Case, dashes, dots and blanks do not matter."""
    plain = {_plain(one): one for one in sorted(known, reverse=True)}
    found = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=_SURELY_NEAR)
    return plain[found[0]] if found else None


def doubted(name: str, known: Collection[str]) -> str:
    """For people: "chekout (did you mean checkout?)", or the name alone."""
    near = nearest(name, known)
    return f"{name} (did you mean {near}?)" if near else name


def _plain(name: str) -> str:
    return _NO_LETTER.sub("", name).casefold()
