"""The demo under a real Prometheus and Alertmanager: its drop pages once, every panel of the dashboard has data."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.embedded.process import free_port
from tests.e2e.running_demo import demo
from tests.support import monitoring
from tests.support.dashboard_queries import queries, run
from tests.support.monitoring import Monitoring
from tests.support.needs import need


def test_the_drop_pages_once_and_every_panel_has_data(
    variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    need(monitoring.missing())
    own = variables(kafka={"bootstrap": f"127.0.0.1:{free_port()}"})
    worker, store = own["FEEDBACK_METRICS__LISTEN"], f"http://{own['FEEDBACK_STORE__HTTP']}"
    with demo(tmp_path / "data", own, "--rate", "20") as running:
        running.until("Ctrl-C ends everything")
        with Monitoring([worker], folder=tmp_path / "monitoring", for_="5s", hold="5m") as watching:
            page = watching.webhook.next(timeout=60)
            assert [alert["labels"]["touchpoint"] for alert in page["alerts"]] == ["payment"]
            assert page["status"] == "firing"

            # What is counted live, and not with the history, shows in the rate of the latencies.
            watching.wait_for("rate(feedback_end_to_end_latency_seconds_count[30s]) > 0")
            assert without_data(watching, store) == []
            assert watching.webhook.waiting() == [], "one drop is one page"
        assert running.end() == 0


def without_data(watching: Monitoring, store: str, seconds: float = 60.0) -> list[str]:
    """Panels that have none for so long: a history is stored, and its cases counted, some time after the page."""
    end = time.monotonic() + seconds
    while True:
        now = datetime.now(UTC)
        asked = queries(start=now - timedelta(hours=24), end=now, window="24h")
        empty = [query.where for query in asked if not run(query, watching, store)]
        if not empty or time.monotonic() > end:
            return empty
        time.sleep(0.5)
