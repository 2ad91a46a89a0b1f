import json
import stat
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.demo import environment
from pipeline.demo.folder import EMBEDDED, SAMPLE, Folder, Owner
from pipeline.errors import FeedbackError
from pipeline.sample import world


def test_the_token_is_made_once_and_for_nobody_else(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new")
    token = folder.token()
    assert len(token) >= 32
    assert folder.token() == token
    assert stat.S_IMODE((tmp_path / "new" / "gateway.token").stat().st_mode) == 0o600


def test_a_folder_keeps_to_its_broker_and_its_content(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "data")
    assert folder.owner() is None
    owner = folder.owner_for(EMBEDDED, SAMPLE)
    assert owner == Owner(EMBEDDED, SAMPLE)
    assert folder.owner() is None  # a start that fails claims nothing
    folder.write(owner)
    assert folder.owner() == folder.owner_for(EMBEDDED, SAMPLE) == owner
    with pytest.raises(FeedbackError, match="embedded broker, not of the broker at elsewhere:9092"):
        folder.owner_for("elsewhere:9092", SAMPLE)
    with pytest.raises(FeedbackError, match=r"from sample traffic, not from log\.csv: use another folder"):
        folder.owner_for(EMBEDDED, "log.csv")


def test_a_spoiled_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(json.dumps({"what": 1}))
    with pytest.raises(FeedbackError, match="to start over"):
        Folder(tmp_path).owner()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_what_the_configuration_does_not_say_is_added(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "feedback.toml").write_text(
        'gateway.tokens = ["my-own"]\ntouchpoints.payment.csat_target = 0.5'
    )
    for name, value in environment.missing(load(), Path("here"), sample=True).items():
        no_settings.setenv(name, value)
    settings = load()
    assert [token.get_secret_value() for token in settings.gateway.tokens] == ["my-own"]
    assert settings.worker.data_dir == tmp_path / "here"
    assert settings.touchpoints["payment"].csat_target == 0.5
    assert settings.touchpoints["product_page"].csat_target == world.TARGET
    assert {name: each.stage for name, each in settings.touchpoints.items()} == {
        place.name: None if place.name == "payment" else place.stage for place in world.PLACES
    }


def test_without_sample_traffic_there_are_no_touchpoints_to_show(no_settings: pytest.MonkeyPatch) -> None:
    for name, value in environment.missing(load(), Path("here"), sample=False).items():
        no_settings.setenv(name, value)
    assert not load().touchpoints
    assert len(load().gateway.tokens) == 1


def test_the_command_line_wins(no_settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('kafka.bootstrap = "a:1"\nkafka.prefix = "mine"')
    for name, value in environment.asked_for(config, Path("data"), "b:2").items():
        no_settings.setenv(name, value)
    settings = load()
    assert settings.kafka.bootstrap == "b:2"
    assert settings.kafka.prefix == "mine"
    assert settings.worker.data_dir == tmp_path / "data"


def test_a_port_of_zero_is_chosen_for_all_parts_alike(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("FEEDBACK_KAFKA__BOOTSTRAP", "127.0.0.1:0")
    no_settings.setenv("FEEDBACK_STORE__HTTP", "127.0.0.1:0")
    for name, value in environment.missing(load(), Path("here"), sample=False).items():
        no_settings.setenv(name, value)
    settings = load()
    assert settings.store.http.port > 0
    assert not settings.kafka.bootstrap.endswith(":0")
    assert settings.page.listen.port == 8080
