"""The instruments in use: the shipped ones and those of the configuration, with all faults of these."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from pipeline.measures.instruments import (
    DETRACTORS_TO,
    EASY_BOXES,
    NPS_SCALES,
    PROMOTERS_FROM,
    SHIPPED,
    TOP_BOXES,
    Instrument,
)

MOST_ANSWERS = 101  # 0..100: a series holds a count for each answer
_NET = ("promoters_from", "detractors_to")
_SATISFIED = ("satisfied_from",)
_EASY = ("easy_from",)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def catalogue(custom: Iterable[Instrument]) -> tuple[Mapping[str, Instrument], tuple[str, ...]]:
    """The shipped instruments and the custom ones.

    Args:
        custom: as the configuration has them: metric "nps", "csat", "ces" or "net_<low>_<high>", and the
            thresholds that are given there, on the scale turned to high = good.

    Returns:
        Every instrument without a fault, completed, by name; and all faults as sentences for people.
    """
    found, faults = dict(SHIPPED), list[str]()
    for given in custom:
        one = completed(given)
        wrong = [f"instruments.{one.name}: {fault}" for fault in _faults(one)]
        faults += wrong
        if not wrong:
            found[one.name] = one
    return MappingProxyType(found), tuple(faults)


def completed(given: Instrument) -> Instrument:
    """With the usual thresholds of its scale where none are given.

    An NPS with a mapping of its own is no NPS and gets another metric: its numbers compare with nobody's.
    """
    scale = (given.low, given.high)
    if given.metric == "csat":
        return replace(given, satisfied_from=_given_or(given.satisfied_from, TOP_BOXES.get(scale)))
    if given.metric == "ces":
        return replace(given, easy_from=_given_or(given.easy_from, EASY_BOXES.get(scale)))
    if given.metric == "nps":
        return _completed_nps(given, on_its_scale=scale in NPS_SCALES and given.direction == "high")
    return given


def _completed_nps(given: Instrument, *, on_its_scale: bool) -> Instrument:
    usual = (PROMOTERS_FROM, DETRACTORS_TO) if on_its_scale else (None, None)
    promoters, detractors = map(_given_or, (given.promoters_from, given.detractors_to), usual)
    mapped = None not in (promoters, detractors)
    metric = _net_metric(given) if mapped and (promoters, detractors) != usual else given.metric
    return replace(given, metric=metric, promoters_from=promoters, detractors_to=detractors)


def _given_or(given: int | None, usual: int | None) -> int | None:
    return usual if given is None else given


def _net_metric(one: Instrument) -> str:
    return f"net_{one.low}_{one.high}"


def _faults(one: Instrument) -> Iterator[str]:
    """Everything wrong with one instrument; of the thresholds only if they can have a meaning."""
    shape = [*_shape_faults(one)]
    thresholds = [] if shape else [*_threshold_faults(one)]
    yield from (*shape, *thresholds)
    if not shape and not thresholds and one != SHIPPED.get(one.name, one):
        yield (
            f"is shipped as {SHIPPED[one.name].described} and cannot become {one.described}: "
            "a name stands for one scale for good, so choose another name"
        )


def _shape_faults(one: Instrument) -> Iterator[str]:
    if not _NAME.fullmatch(one.name):
        yield "a name is up to 64 lower case letters, digits and _, and begins with a letter"
    if one.metric not in ("nps", "csat", "ces", _net_metric(one)):
        yield f'metric must be nps, csat, ces or {_net_metric(one)}, not "{one.metric}"'
    if not 1 <= one.high - one.low < MOST_ANSWERS:
        yield f"min must be below max, with at most {MOST_ANSWERS} answers, not {one.low}..{one.high}"


def _threshold_faults(one: Instrument) -> Iterator[str]:
    needed = {"csat": _SATISFIED, "ces": _EASY}.get(one.metric, _NET)
    for key in (*_NET, *_SATISFIED, *_EASY):
        value = getattr(one, key)
        if key not in needed and value is not None:
            yield f"{key} has no meaning for {one.metric}"
        elif key in needed and value is not None and not _splits(one, key, value):
            yield f"{key} = {value} must leave answers of {one.low}..{one.high} on both of its sides"
    missing = [key for key in needed if getattr(one, key) is None]
    if missing:
        yield _nps_refused(one) if one.metric == "nps" else _missing(one, missing)
    elif needed == _NET and _int(one.detractors_to) >= _int(one.promoters_from):
        yield "detractors_to must be below promoters_from: nobody is both"


def _splits(one: Instrument, key: str, value: int) -> bool:
    return one.low <= value < one.high if key == "detractors_to" else one.low < value <= one.high


def _nps_refused(one: Instrument) -> str:
    asked = f"{one.low}-{one.high}" + ("" if one.direction == "high" else " with the low end as good")
    return (
        f"NPS is asked on 0-10 or 1-10, where 10 is best, and not on {asked}. No mapping of another scale is "
        "agreed: the same answers on 1-5 came to +18.5 with 4 and 5 as promoters, and to -4.0 with 5 alone. "
        "For a net score of this scale set promoters_from and detractors_to; it is then called "
        f"{_net_metric(one)}, not NPS"
    )


def _missing(one: Instrument, missing: list[str]) -> str:
    usual = TOP_BOXES if one.metric == "csat" else EASY_BOXES if one.metric == "ces" else ()
    scales = ", ".join(f"{low}-{high}" for low, high in usual)
    return f"set {' and '.join(missing)}" + (f": only the scales {scales} have a usual one" if scales else "")


def _int(value: int | None) -> int:
    assert value is not None  # noqa: S101 - none is missing where this is asked, for mypy
    return value
