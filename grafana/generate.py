"""Renders the dashboards and docs/metrics.md: `python -m grafana.generate` after every change here or in the metrics.

A test compares the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from grafana import cases, health, metrics_page, overview

FOLDER: Final = Path(__file__).parent / "dashboards"
METRICS_PAGE: Final = Path(__file__).parent.parent / "docs" / "metrics.md"


def rendered() -> dict[str, str]:
    """File name -> the JSON that stands in it."""
    boards = {
        "overview.json": overview.dashboard(),
        "cases.json": cases.dashboard(),
        "pipeline.json": health.dashboard(),
    }
    return {name: encode(finish(board)) for name, board in boards.items()}


def encode(board: models.Dashboard) -> str:
    """Stable text, so that a change in the sources is a small difference in the file."""
    return JSONEncoder(sort_keys=True, indent=2).encode(board) + "\n"


def finish(board: models.Dashboard) -> models.Dashboard:
    """What the SDK 0.0.21 leaves undone: it numbers no panel and puts annotations and links into a drop-down menu."""
    for number, panel in enumerate(board.panels or [], start=1):
        if isinstance(panel, models.Panel):
            panel.id_val = number  # links to a panel, and Grafana's own state, go by it
    for annotation in board.annotations.list_val or []:
        annotation.placement = None  # type: ignore[assignment]  # None is how the encoder omits a key
    for link in board.links or []:
        link.placement = None  # type: ignore[assignment]  # the same
    return board


def write() -> None:
    """Writes every dashboard and the page of metrics to their files."""
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    METRICS_PAGE.write_text(metrics_page.text(), encoding="utf-8")


if __name__ == "__main__":
    write()
