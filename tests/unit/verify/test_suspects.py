"""When a difference is one."""

from __future__ import annotations

from pipeline.verify.suspects import Suspects
from pipeline.verify.told import Deltas

CELL, OUTCOME = ("cell", 1, 2, 3), ("outcome", "t", 0, 20_000, "counted")
PART = ("t", 0, "1")


def at(owed, done):
    return Deltas({PART: owed}, {PART: done})


def test_what_stands_still_for_long_enough_is_a_difference():
    suspects = Suspects(still=10)
    suspects.look(0, {CELL: (1, 2), OUTCOME: (3, 4)}, at(5, 5))
    suspects.look(9, {CELL: (1, 2), OUTCOME: (3, 4)}, at(9, 9))
    assert suspects.settled(9) == {}
    suspects.look(10, {CELL: (1, 2), OUTCOME: (3, 5)}, at(9, 9))
    assert suspects.settled(10).keys() == {CELL}


def test_what_agreed_once_is_no_difference():
    suspects = Suspects(still=10)
    suspects.look(0, {CELL: (1, 2)}, at(5, 5))
    suspects.look(5, {OUTCOME: (1, 2)}, at(5, 5))
    suspects.look(50, {CELL: (1, 2), OUTCOME: (1, 2)}, at(5, 5))
    assert suspects.found == {}


def test_a_cell_waits_for_what_the_roll_owed_when_it_came_to_rest():
    suspects = Suspects(still=10)
    both = {CELL: (1, 2), OUTCOME: (3, 4)}
    suspects.look(0, both, at(5, 4))
    suspects.look(20, both, at(9, 4))
    assert suspects.settled(20).keys() == {OUTCOME}
    assert suspects.waits_for_the_roll(20) == [("t", 0)]
    suspects.look(30, both, at(12, 5))
    assert suspects.settled(30).keys() == {OUTCOME, CELL}
    assert suspects.waits_for_the_roll(30) == []
