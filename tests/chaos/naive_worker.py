"""`feedback worker` without the fold rule: every effect that stands in the journal counts, whoever wrote it, and twice.

The control of the rounds: they must find that it is wrong.
"""

from __future__ import annotations

import sys
from typing import Any

from pipeline.cli import main
from pipeline.journal.state import State

_fold = State.fold


def _fold_anything(state: State, effect: Any) -> bool:
    state.sequence = effect.sequence - 1
    return _fold(state, effect)


if __name__ == "__main__":
    State.fold = _fold_anything  # type: ignore[method-assign]  # that is the point
    sys.argv.insert(1, "worker")
    main()
