"""The alert rule and the routes to the pager, by the tools of Prometheus and Alertmanager: no server runs."""

import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from grafana import generate
from tests.support import monitoring
from tests.support.dashboard_queries import load
from tests.support.metric_names import unknown
from tests.support.needs import need

ROOT = Path(__file__).parents[2]
FOLDER = monitoring.RULES.parent
RULES = ("feedback", "pipeline")
BOARDS = {f"/d/{board['uid']}": board for board in map(load, sorted(generate.FOLDER.iterdir()))}


@pytest.fixture(autouse=True)
def tools() -> None:
    need(monitoring.missing())


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[dict]:
    groups = [
        group
        for name in RULES
        for group in yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("name", RULES)
def test_when_they_fire_and_when_not(name: str) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", FOLDER / f"{name}_test.yml")


@pytest.mark.parametrize("name", RULES)
def test_every_alert_is_tested_to_fire_and_not_to_fire(name: str) -> None:
    tests = yaml.safe_load((FOLDER / f"{name}_test.yml").read_text(encoding="utf-8"))["tests"]
    asked = [case for one in tests for case in one.get("alert_rule_test", ())]
    rules = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    for alert in (rule["alert"] for rule in rules):
        assert {bool(case["exp_alerts"]) for case in asked if case["alertname"] == alert} == {True, False}


def test_no_rules_are_forgotten() -> None:
    config = yaml.safe_load((FOLDER.parent / "prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == [f"rules/{name}.yml" for name in RULES]
    assert {path.stem for path in FOLDER.glob("*.yml")} == {
        *RULES,
        *(f"{name}_test" for name in RULES),
    }


def test_prometheus_takes_configuration_and_rules() -> None:
    out = run("promtool", "check", "config", monitoring.DEPLOY / "prometheus" / "prometheus.yml")
    assert out.count("rules found") == len(RULES)


def test_alertmanager_takes_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(monitoring.alertmanager_config("http://127.0.0.1:9/page"))
    run("amtool", "check-config", config)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pager"), ("info", "nobody")])
def test_only_pages_reach_the_pager(severity: str, receiver: str, tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(monitoring.alertmanager_config("http://127.0.0.1:9/page"))
    labels = (f"severity={severity}", "alertname=FeedbackCsatDrop", "touchpoint=checkout")
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={config}",
        f"--verify.receivers={receiver}",
        *labels,
    )


def test_the_pagers_address_stands_in_no_file_of_the_repository() -> None:
    text = (monitoring.DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    hooks = [hook for one in yaml.safe_load(text)["receivers"] for hook in one.get("webhook_configs", ())]
    assert [set(hook) for hook in hooks] == [{"url_file", "send_resolved"}]


def test_rendered_for_a_test_only_the_times_differ() -> None:
    committed = yaml.safe_load(monitoring.RULES.read_text(encoding="utf-8"))
    rendered = yaml.safe_load(monitoring.rules("3s", "4s"))
    times = [(rule.pop("for"), rule.pop("keep_firing_for")) for rule in rendered["groups"][0]["rules"]]
    assert times == [("3s", "4s")] * len(times)
    for rule in committed["groups"][0]["rules"]:
        del rule["for"], rule["keep_firing_for"]
    assert rendered == committed


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for alert in alerts():
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url", "dashboard_url"}
        runbook = (ROOT / alert["annotations"]["runbook_url"]).read_text(encoding="utf-8")
        assert alert["alert"] in runbook


def test_the_dashboard_it_points_to_has_the_variables_it_sets() -> None:
    for alert in alerts():
        url = urlsplit(re.sub(r"\{\{.*?\}\}", "x", alert["annotations"]["dashboard_url"]))
        variables = {f"var-{one['name']}" for one in BOARDS[url.path]["templating"]["list"]}
        assert parse_qs(url.query).keys() <= variables


def test_alerts_go_by_what_the_worker_shows() -> None:
    for alert in alerts():
        assert unknown(alert["expr"]) == set()
    assert unknown('max by (plase) (feedback_scores{windw="1h"})') == {"plase", "feedback_scores", "windw"}


def test_no_alert_depends_on_which_worker_shows_a_series() -> None:
    # Without an aggregation around it a selector carries `instance`, and every worker would page for itself.
    # Counters are summed over workers; of a gauge, which two can show while a partition moves, the maximum is taken.
    counted = r"sum by \([^)]*\) \(increase\(feedback_\w+_total"
    aggregated = rf"max (?:by \([^)]*\) )?\(\s*last_over_time\(feedback_\w+|{counted}"
    for alert in alerts():
        selectors = re.findall(r"(?<!\w)feedback_\w+", alert["expr"])
        assert selectors
        assert len(re.findall(aggregated, alert["expr"])) == len(selectors)
