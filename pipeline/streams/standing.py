"""What stands in the windows of a worker now, for the page: a part for each deltas partition that it owns.

Every score belongs to one deltas partition, and while a partition moves two workers may tell of it. By `position`
whoever asks them all knows which of the two is further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.measures.drilldown import Selection, answers
from pipeline.measures.scoreboard import Scoreboard

if TYPE_CHECKING:
    from pipeline.streams.roll import Roll


def parts(roll: Roll, chosen: Selection | None) -> list[dict[str, Any]]:
    """The recovered partitions: number, how far their deltas are taken, and what stands in their windows.

    Args:
        roll: of the worker.
        chosen: what is looked at closely; None for the scores of touchpoints and overall.
    """
    return [
        {"partition": number, "position": position, **_told(board, chosen)}
        for number, position, board in roll.boards()
    ]


def _told(board: Scoreboard, chosen: Selection | None) -> dict[str, list[dict[str, Any]]]:
    if chosen is None:
        return {"scores": [row for one in board.standings() for row in one.rows()]}
    found = list(board.around(chosen))
    standings = (one for sums in found for one in board.standings_of(sums))
    return {
        "scores": [row for one in standings for row in one.rows()],
        "answers": answers(chosen, found),
    }
