"""deploy/compose.yaml without a container engine: valid, closed to other machines, its names fit together."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from pipeline import config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SPEC = ROOT / "tests" / "support" / "compose_spec" / "schema.json"
SECRET = re.compile(r"PASSWORD|TOKEN|DSN")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Json:
    loaded: Json = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def read(path: Path) -> Json:
    loaded: Json = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def faults(document: Json) -> list[str]:
    schema = json.loads(SPEC.read_text(encoding="utf-8"))
    return [error.message for error in jsonschema.Draft201909Validator(schema).iter_errors(document)]


def environment(service: Json) -> dict[str, str]:
    """As compose hands it to the container, with a password of letters in place of every ${...}."""
    values = service.get("environment", {})
    return {name: re.sub(r"\$\{[^}]+\}", "letters", str(value)) for name, value in values.items()}


def test_it_is_what_the_compose_specification_allows(compose: Json) -> None:
    assert faults(compose) == []
    assert faults({**compose, "services": {"kafka": {"imge": "apache/kafka"}}}) != []


def test_everything_is_there(compose: Json) -> None:
    parts = {"kafka", "clickhouse", "setup", "worker", "gateway", "page"} | {
        "prometheus",
        "alertmanager",
        "grafana",
    }
    assert compose["services"].keys() == parts


def test_images_are_pinned(compose: Json) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.fullmatch(r"v?\d+\.\d+\.\d+(\.\d+)?", tag) or "build" in service, name
    for base in re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(r":\d+\.\d+\.\d+", base), base


def test_nothing_listens_for_other_machines(compose: Json) -> None:
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
    assert "ports" not in compose["services"]["worker"], "a published port would keep a second worker out"


def test_no_secret_is_written_down(compose: Json) -> None:
    asked = set()
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert re.search(r"\$\{\w+:\?", str(value)), f"{name}: {key} must come from deploy/.env"
                asked |= set(re.findall(r"\$\{(\w+)", str(value)))
    example = (DEPLOY / "env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == asked
    ignored = (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()
    assert {".env", "secrets/"} <= set(ignored)


def test_what_is_mounted_exists(compose: Json) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {target}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_everything_that_stays_says_whether_it_is_well(compose: Json) -> None:
    for name, service in compose["services"].items():
        assert ("healthcheck" in service) == (name != "setup")
        for other, how in service.get("depends_on", {}).items():
            once = other == "setup"
            assert how["condition"] == ("service_completed_successfully" if once else "service_healthy"), name


@pytest.mark.parametrize("name", ["setup", "worker", "gateway", "page"])
def test_our_own_settings_are_valid(name: str, compose: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    values = environment(compose["services"][name])
    for key, value in values.items():
        monkeypatch.setenv(key, value)
    settings = config.load(DEPLOY / "feedback.toml")
    broker, store = settings.kafka.bootstrap, urlsplit(settings.store.dsn)
    assert f"INTERNAL://{broker}" in compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert store.hostname in compose["services"]
    clickhouse = environment(compose["services"]["clickhouse"])
    login = (clickhouse["CLICKHOUSE_USER"], clickhouse["CLICKHOUSE_PASSWORD"], clickhouse["CLICKHOUSE_DB"])
    assert (store.username, store.password, settings.store.database) == login
    assert any(touchpoint.csat_target for touchpoint in settings.touchpoints.values())


def test_prometheus_finds_the_workers_and_its_alertmanager(compose: Json) -> None:
    prometheus = read(DEPLOY / "prometheus" / "prometheus.yml")
    (job,) = prometheus["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["worker"]
    listen = environment(compose["services"]["worker"])["FEEDBACK_METRICS__LISTEN"]
    assert listen == f"0.0.0.0:{found['port']}"
    ((target,),) = [one["targets"] for one in prometheus["alerting"]["alertmanagers"][0]["static_configs"]]
    assert target.partition(":")[0] in compose["services"]


def test_the_page_finds_the_workers(compose: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment(compose["services"]["page"]).items():
        monkeypatch.setenv(key, value)
    (workers,) = config.load(DEPLOY / "feedback.toml").page.workers
    listen = environment(compose["services"]["worker"])["FEEDBACK_METRICS__LISTEN"]
    assert (workers.host, f"0.0.0.0:{workers.port}") == ("worker", listen)


def test_alertmanager_reads_its_pager_from_the_secret(compose: Json) -> None:
    routes = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    (secret,) = compose["services"]["alertmanager"]["secrets"]
    assert f"url_file: /run/secrets/{secret}" in routes
    assert compose["secrets"][secret]["file"].startswith("./secrets/")


def test_grafana_gets_what_its_provisioning_asks_for(compose: Json) -> None:
    grafana = compose["services"]["grafana"]
    asked = set()
    for path in (ROOT / "grafana" / "provisioning").rglob("*.yaml"):
        asked |= set(re.findall(r": \$(\w+)", path.read_text(encoding="utf-8")))
    values = environment(grafana)
    assert asked <= values.keys()
    assert urlsplit(values["PROMETHEUS_URL"]).hostname in compose["services"]
    assert values["CLICKHOUSE_HOST"] in compose["services"]
    (provider,) = read(ROOT / "grafana" / "provisioning" / "dashboards" / "feedback.yaml")["providers"]
    assert any(volume.split(":")[1] == provider["options"]["path"] for volume in grafana["volumes"])
    reader = (DEPLOY / "clickhouse" / "reader.xml").read_text(encoding="utf-8")
    assert f"<{values['CLICKHOUSE_READER']}>" in reader


def test_the_plugin_is_the_one_the_dashboards_are_written_for(compose: Json) -> None:
    from grafana import clickhouse

    asked = compose["services"]["grafana"]["environment"]["GF_PLUGINS_PREINSTALL_SYNC"]
    assert asked == f"{clickhouse.PLUGIN}@{clickhouse.PLUGIN_VERSION}"


def test_the_broker_is_the_one_the_tests_run_against(compose: Json) -> None:
    pom = (DEPLOY / "kafka" / "pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<kafka.version>(.+?)<", pom)
    assert version
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version[1]}"
