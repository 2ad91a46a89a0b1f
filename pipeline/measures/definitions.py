"""What a name of an instrument stands for, from the first day on.

Answers are kept as they were given, under the name of their instrument. Did the name get another scale, a 4 of before
and a 4 of now would be added up, and nobody could take them apart again. So the first definition of a name fixes its
scale for good. Its mapping (which answers count as satisfied, say) may change, since every score can be computed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pipeline.measures.instruments import SHIPPED, Instrument


class Change(NamedTuple):
    """The same scale, mapped otherwise."""

    before: Instrument
    after: Instrument


class Comparison(NamedTuple):
    """What a configuration does to the definitions that are in use.

    Attributes:
        refused: a sentence for each name that got another scale.
        changed: names that got another mapping.
        new: names that nobody has used before.
    """

    refused: tuple[str, ...]
    changed: tuple[Change, ...]
    new: tuple[Instrument, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """A line for each that is new or changed."""
        changed = (
            f"{one.after.name}: {one.before.described} -> {one.after.described}" for one in self.changed
        )
        return *(f"{one.name}: {one.described}" for one in self.new), *changed


def in_use(log: Iterable[Instrument]) -> dict[str, Instrument]:
    """What each name stands for: its first definition, or the last one that has the same scale.

    Args:
        log: definitions in the order in which they were written, by whomever.
    """
    found: dict[str, Instrument] = {}
    for one in log:
        if found.setdefault(one.name, one).scale == one.scale:
            found[one.name] = one
    return found


def compare(known: Mapping[str, Instrument], wanted: Iterable[Instrument]) -> Comparison:
    """What the instruments of a configuration mean for those in use. One that is configured no more keeps its name.

    Args:
        known: what `in_use` gives.
        wanted: the whole catalogue of the configuration. Shipped ones need no record: their name is taken everywhere.
    """
    every = tuple(wanted)
    met = [(known[one.name], one) for one in every if one.name in known]
    return Comparison(
        tuple(_refusal(before, after) for before, after in met if before.scale != after.scale),
        tuple(Change(*both) for both in met if both[0] != both[1] and both[0].scale == both[1].scale),
        tuple(one for one in every if one.name not in known and one.name not in SHIPPED),
    )


def _refusal(before: Instrument, after: Instrument) -> str:
    return (
        f"instruments.{after.name}: is in use as {before.described} and cannot become {after.described}: "
        "a name stands for one scale for good, so choose another name"
    )
