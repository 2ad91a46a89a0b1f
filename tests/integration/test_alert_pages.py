"""The committed rule in a real Prometheus and Alertmanager, `for` cut to seconds: one page, one all-clear."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import monitoring
from tests.support.monitoring import Exporter, Monitoring
from tests.support.needs import need


def exposition(upper: float, n: int = 60, target: float = 0.8) -> str:
    """What a worker shows of one touchpoint, in the text format."""
    labels = 'metric="csat",instrument="csat_1_5",window="1h",touchpoint="checkout",channel="",segment=""'
    return (
        "# HELP feedback_score_upper Upper bound.\n# TYPE feedback_score_upper gauge\n"
        f"feedback_score_upper{{{labels}}} {upper}\n"
        "# HELP feedback_score_responses Responses.\n# TYPE feedback_score_responses gauge\n"
        f"feedback_score_responses{{{labels}}} {n}\n"
        "# HELP feedback_score_target Target.\n# TYPE feedback_score_target gauge\n"
        f'feedback_score_target{{metric="csat",touchpoint="checkout"}} {target}\n'
    )


@pytest.fixture
def workers() -> Iterator[tuple[Exporter, Exporter]]:
    need(monitoring.missing())
    pair = (Exporter(exposition(upper=0.9)), Exporter(exposition(upper=0.9)))
    yield pair
    for exporter in pair:
        exporter.stop()


def show(workers: tuple[Exporter, Exporter], text: str) -> None:
    for exporter in workers:
        exporter.text = text


def test_a_drop_pages_once_and_resolves_once(workers: tuple[Exporter, Exporter], tmp_path: Path) -> None:
    # Both workers show the same series, as they may while a partition moves.
    with Monitoring([worker.address for worker in workers], folder=tmp_path / "m") as running:
        running.wait_for('count(up{job="feedback"} == 1) == 2')
        show(workers, exposition(upper=0.7, n=29))
        running.wait_for("min(feedback_score_responses) == 29")
        show(workers, exposition(upper=0.7, n=30))

        page = running.webhook.next(timeout=30)
        assert (page["status"], page["receiver"]) == ("firing", "pager")
        (alert,) = page["alerts"]
        assert alert["labels"] == {
            "alertname": "FeedbackCsatDrop",
            "severity": "page",
            "touchpoint": "checkout",
            "instrument": "csat_1_5",
        }
        assert "at most 70%" in alert["annotations"]["description"]

        show(workers, exposition(upper=0.8))
        resolved = running.webhook.next(timeout=30)
        assert [one["status"] for one in resolved["alerts"]] == ["resolved"]
        assert resolved["status"] == "resolved"
        assert running.webhook.waiting() == []


def test_few_responses_and_a_short_dip_do_not_page(
    workers: tuple[Exporter, Exporter], tmp_path: Path
) -> None:
    few, dip = workers
    with Monitoring([few.address, dip.address], folder=tmp_path / "m", for_="8s") as running:
        few.text = exposition(upper=0.5, n=29)
        dip.text = exposition(upper=0.5, n=99).replace("checkout", "support")
        pending = running.wait_for('ALERTS{alertname="FeedbackCsatDrop"}')
        assert [(one.labels["alertstate"], one.labels["touchpoint"]) for one in pending] == [
            ("pending", "support")
        ]
        dip.text = exposition(upper=0.9, n=99).replace("checkout", "support")
        running.wait_for('absent(ALERTS{alertname="FeedbackCsatDrop"})')
        assert running.webhook.waiting() == []
