"""The instruments in use: the shipped ones and those of the configuration, with every fault at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pipeline.measures.instruments import (
    DETRACTORS_TO,
    EASY_BOXES,
    NPS_SCALES,
    PROMOTERS_FROM,
    SHIPPED,
    TOP_BOXES,
    Direction,
    Instrument,
)

MOST_ANSWERS = 101  # 0..100; a series holds a count for each answer
THRESHOLDS = ("promoters_from", "detractors_to", "satisfied_from", "easy_from")
KEYS = ("metric", "min", "max", "direction", *THRESHOLDS)
_NEEDED = MappingProxyType(
    {"nps": THRESHOLDS[:2], "net": THRESHOLDS[:2], "csat": THRESHOLDS[2:3], "ces": THRESHOLDS[3:]}
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def catalogue(tables: Mapping[str, Mapping[str, object]]) -> tuple[Mapping[str, Instrument], tuple[str, ...]]:
    """The shipped instruments and the custom ones.

    Args:
        tables: `[instruments.NAME]` of the configuration, each with `KEYS`. The thresholds count on the scale
            turned to high = good, and may be missing where the scale has usual ones.

    Returns:
        Every instrument without a fault by name, and all faults as sentences for people.
    """
    found, faults = dict(SHIPPED), list[str]()
    for name, table in tables.items():
        wrong = list(_faults(name, table))
        faults += [f"instruments.{name}: {fault}" for fault in wrong]
        if not wrong:
            found[name] = _made(name, table)
    return MappingProxyType(found), tuple(faults)


def _faults(name: str, table: Mapping[str, object]) -> Iterator[str]:
    """Everything wrong with one table; of the later steps only what the earlier ones leave a meaning."""
    if not _NAME.fullmatch(name):
        yield "a name is lower case letters, digits and _, and begins with a letter"
    yield from (f'"{key}" is unknown; allowed are {", ".join(KEYS)}' for key in table if key not in KEYS)
    shape = [*_shape_faults(table)]
    yield from shape
    if shape:
        return
    thresholds = [*_threshold_faults(table)]
    yield from thresholds
    if not thresholds and name in SHIPPED and _made(name, table) != SHIPPED[name]:
        yield (
            f"is shipped as {_described(SHIPPED[name])} and cannot become {_described(_made(name, table))}: "
            "one name is one scale for good; choose another name"
        )


def _shape_faults(table: Mapping[str, object]) -> Iterator[str]:
    if table.get("metric") not in _NEEDED:
        yield f"metric must be one of {', '.join(_NEEDED)}, not {table.get('metric')!r}"
    if table.get("direction") not in ("high", "low"):
        yield (
            'direction must be "high" or "low": which end of the scale is good '
            '("high" if the largest answer means very satisfied or very easy)'
        )
    low, high = table.get("min"), table.get("max")
    if not _whole(low) or not _whole(high):
        yield "min and max must be whole numbers: the smallest and the largest answer"
    elif not 1 <= _int(high) - _int(low) < MOST_ANSWERS:
        yield f"min must be below max, and a scale has at most {MOST_ANSWERS} answers, not {low}..{high}"


def _threshold_faults(table: Mapping[str, object]) -> Iterator[str]:
    metric, low, high = str(table["metric"]), _int(table["min"]), _int(table["max"])
    needed, given = _NEEDED[metric], _thresholds(table)
    for key in THRESHOLDS:
        if key in table and key not in needed:
            yield f"{key} has no meaning for metric {metric}"
        elif key in needed and key not in given:
            yield _nps_refused(low, high) if metric == "nps" else f"{key} is missing: {_usual(metric)}"
            return
        elif key in needed and not (_whole(given[key]) and low <= _int(given[key]) <= high):
            yield f"{key} must be an answer on the scale, {low}..{high}, not {given[key]!r}"
            return
    if "promoters_from" in given and _int(given["detractors_to"]) >= _int(given["promoters_from"]):
        yield "detractors_to must be below promoters_from: nobody is both"


def _thresholds(table: Mapping[str, object]) -> dict[str, object]:
    """The thresholds given, and the usual ones of the scale where there are such."""
    given = {key: table[key] for key in THRESHOLDS if key in table}
    metric, scale = table["metric"], (_int(table["min"]), _int(table["max"]))
    if metric == "nps" and scale in NPS_SCALES:
        return {"promoters_from": PROMOTERS_FROM, "detractors_to": DETRACTORS_TO, **given}
    if metric == "csat" and scale in TOP_BOXES:
        return {"satisfied_from": TOP_BOXES[scale], **given}
    if metric == "ces" and scale in EASY_BOXES:
        return {"easy_from": EASY_BOXES[scale], **given}
    return given


def _made(name: str, table: Mapping[str, object]) -> Instrument:
    """The instrument of a table without faults. A net score that is not NPS does not carry its name."""
    low, high = _int(table["min"]), _int(table["max"])
    thresholds = {key: _int(value) for key, value in _thresholds(table).items()}
    direction: Direction = "high" if table["direction"] == "high" else "low"
    metric = str(table["metric"])
    if metric in ("nps", "net"):
        usual = thresholds == {"promoters_from": PROMOTERS_FROM, "detractors_to": DETRACTORS_TO}
        standard = metric == "nps" and usual and direction == "high" and (low, high) in NPS_SCALES
        metric = "nps" if standard else f"net_{low}_{high}"
    return Instrument(name, metric, low, high, direction, **thresholds)


def _nps_refused(low: int, high: int) -> str:
    return (
        f"NPS is asked on 0-10 or 1-10, not on {low}-{high}, and no mapping of another scale is agreed: the "
        "same answers on 1-5 gave +18.5 with 4 and 5 as promoters and -4.0 with 5 alone. For a net score of "
        f"this scale set promoters_from and detractors_to yourself; it will be called net_{low}_{high}, not NPS"
    )


def _usual(metric: str) -> str:
    if metric == "net":
        return "a net score needs promoters_from and detractors_to"
    scales = TOP_BOXES if metric == "csat" else EASY_BOXES
    known = ", ".join(f"{low}-{high}" for low, high in scales)
    return f"only the scales {known} have usual ones"


def _described(one: Instrument) -> str:
    given = ", ".join(f"{key} {value}" for key in THRESHOLDS if (value := getattr(one, key)) is not None)
    return f"{one.metric} {one.low}..{one.high} ({one.direction} is good, {given})"


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _int(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - checked before, for mypy
    return value
