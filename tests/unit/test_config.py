"""The configuration: what is allowed, what is said when it is wrong, where a value comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import ConfigError, Listen, Settings, load
from tests.support.tables import environment


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(path: Path | None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.faults


def test_without_a_file_everything_has_a_default(folder):
    settings = load()
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.kafka.partitions == 4
    assert settings.kafka.session_timeout == 10.0
    assert settings.metrics.listen == Listen("127.0.0.1", 9108)
    assert settings.horizon == 7 * 86_400
    assert [window.name for window in settings.windows] == ["15m", "1h", "24h", "7d", "30d"]
    assert settings.store.dsn == f"chdb://{folder}/feedback-data/store"
    assert settings.store.folder == folder / "feedback-data/store"
    assert settings.store.database == "feedback"


def test_the_file_of_the_folder_is_found(folder):
    (folder / "feedback.toml").write_text('horizon = "1h"')
    assert load().horizon == 3600


def test_a_named_file_comes_before_it(folder, monkeypatch):
    (folder / "feedback.toml").write_text('horizon = "1h"')
    path = written(folder, 'horizon = "2h"')
    assert load(path).horizon == 7200
    monkeypatch.setenv("FEEDBACK_CONFIG", str(path))
    assert load().horizon == 7200


def test_a_file_that_is_not_there(folder):
    assert "there is no such file" in faults_of(folder / "none.toml")[0]


def test_a_file_that_is_no_toml(folder):
    (fault,) = faults_of(written(folder, "kafka = ["))
    assert fault.startswith("cannot be read as TOML: ")


def test_every_fault_is_named_at_once(folder, monkeypatch):
    monkeypatch.setenv("FEEDBACK_METRICS__MAX_SERIES", "many")
    monkeypatch.setenv("FEEDBACK_HORIZN", "1h")
    text = """
    horizon = 5
    windows = ["1h", "soon"]
    [kafka]
    partitions = 0
    bootstrp = "x"
    [kafka.security]
    protocol = "TLS"
    [gateway]
    listen = "127.0.0.1:99999"
    [store]
    dsn = "mysql://u:geheim@h/db"
    [instruments.mood]
    metric = "csat"
    min = 1
    [sla.high]
    target = "4h"
    schedule = "vienna"
    [sla.low]
    [schedules.office]
    time_zone = "Mars/Crater"
    """
    faults = faults_of(written(folder, text))
    expected = [
        "FEEDBACK_HORIZN: no such variable; did you mean FEEDBACK_HORIZON?",
        "kafka.partitions = 0: should be greater than or equal to 1",
        "kafka.bootstrp: no such key; did you mean kafka.bootstrap?",
        "kafka.security.protocol = 'TLS': should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
        "gateway.listen = '127.0.0.1:99999': should be an address like",
        'store.dsn = (hidden): should be "chdb:///absolute/folder"',
        "FEEDBACK_METRICS__MAX_SERIES = 'many': should be a valid integer",
        "horizon = 5: should be a duration above zero with its unit",
        "windows = 'soon': window \"soon\" is no",
        "instruments.mood.max: is required",
        "instruments.mood.direction: is required",
        "sla.low.target: is required",
        "schedules.office.time_zone = 'Mars/Crater': should be a time zone",
    ]
    missing = [start for start in expected if not any(fault.startswith(start) for fault in faults)]
    assert not missing
    assert len(faults) == len(expected)


def test_a_token_that_would_let_everybody_in_is_refused(folder):
    """A template whose variable was not set."""
    faults = faults_of(written(folder, '[gateway]\ntokens = ["one", ""]\n[store]\ntoken = " "'))
    assert sorted(fault.partition(" = ")[0] for fault in faults) == ["gateway.tokens", "store.token"]
    assert all("should be a secret, not empty" in fault for fault in faults)


def test_no_secret_is_shown(folder, monkeypatch):
    monkeypatch.setenv("FEEDBACK_KAFKA__SECURITY__PROTOCOL", "SASL")
    monkeypatch.setenv("FEEDBACK_STORE__DSN", "clickhouse://u:geheim@h/db")
    text = '[gateway]\ntokens = ["geheim", 5]\n[store]\ntoken = 7\n[kafka.security]\npassword = ["geheim"]'
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    assert len(caught.value.faults) == 5
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(Settings(gateway={"tokens": ["geheim"]}, store={"token": "geheim"}))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("windows = []", "windows: at least one is needed"),
        ('windows = ["1h", "1h"]', "windows = ['1h', '1h']: each only once"),
        ('retention = "7d"', 'retention: is shorter than the window "30d"'),
        ('[kafka.security]\nprotocol = "SASL_SSL"', "kafka.security: SASL_SSL needs username and password"),
        ('[kafka.security]\nca_file = "a.pem"', "kafka.security.ca_file: there is no file a.pem"),
        (
            '[sla.high]\ntarget = "4h"\nschedule = "x"',
            'sla.high.schedule = "x": no such schedule; there are: none',
        ),
        ("kafka = 5", "kafka = 5: should be a table"),
        ("[page]\nport = 5", "page.port: no such key; allowed here: listen"),
        (
            '[instruments.mood]\nmetric = "nps"\nmin = 1\nmax = 5\ndirection = "high"',
            "instruments.mood: NPS is asked on 0-10 or 1-10",
        ),
    ],
)
def test_contradictions_and_wrong_shapes(folder, text, fault):
    (only,) = faults_of(written(folder, text))
    assert only.startswith(fault)


def test_a_certificate_without_its_key(folder):
    (folder / "a.pem").touch()
    (fault,) = faults_of(written(folder, '[kafka.security]\ncert_file = "a.pem"'))
    assert fault.startswith("kafka.security: cert_file and key_file belong together")


def test_contradictions_are_named_beside_faults_elsewhere(folder):
    text = 'retention = "7d"\n[kafka]\npartitions = 0\n[kafka.security]\nprotocol = "SASL_SSL"\n[sla.low]'
    starts = [fault.split(":")[0] for fault in faults_of(written(folder, text))]
    assert starts == ["kafka.partitions = 0", "sla.low.target", "retention", "kafka.security"]


def test_a_table_with_any_name_is_named(folder):
    text = """
        windows = ["15m", "15m"]
        [touchpoints."checkout page"]
        stage = "nowhere"
        [touchpoints."a.b"]
        ownr = "x"
        [sla."[high]"]
        schedule = "s"
        [instruments."A B"]
        metric = "ces"
        """
    faults = faults_of(written(folder, text))
    names = ["windows", 'touchpoints."checkout page".stage', 'touchpoints."a.b".ownr', 'sla."[high]".target']
    names += [f'instruments."A B".{key}' for key in ("min", "max", "direction")]
    assert {fault.split(" = ")[0].split(": ")[0] for fault in faults} == set(names)
    assert any('did you mean touchpoints."a.b".owner?' in fault for fault in faults)


def test_the_environment_wins_and_reaches_everything(folder, monkeypatch):
    path = written(
        folder, '[kafka]\nbootstrap = "a:1"\nprefix = "staging"\n[touchpoints.checkout]\nowner = "x"'
    )
    for name, value in {
        "FEEDBACK_KAFKA__BOOTSTRAP": "b:1, c:2",
        "FEEDBACK_KAFKA__SECURITY__USERNAME": "ada",
        "FEEDBACK_HORIZON": "90m",
        "FEEDBACK_HORIZONS__TOUCHPOINTS": "1h",
        "FEEDBACK_WINDOWS": "1h, 24h",
        "FEEDBACK_GATEWAY__TOKENS": "one,two",
        "FEEDBACK_EXPECTED_RATE": "70",
        "FEEDBACK_TOUCHPOINTS__CHECKOUT__CSAT_TARGET": "0.8",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(path)
    assert settings.kafka.bootstrap == "b:1,c:2"
    assert settings.kafka.prefix == "staging"
    assert settings.kafka.security.username == "ada"
    assert settings.horizon_of("responses") == 5400
    assert settings.horizon_of("touchpoints") == 3600
    assert [(window.name, window.seconds) for window in settings.windows] == [("1h", 3600), ("24h", 86_400)]
    assert [token.get_secret_value() for token in settings.gateway.tokens] == ["one", "two"]
    assert settings.expected_rate == 70
    assert settings.touchpoints["checkout"].csat_target == 0.8
    assert settings.touchpoints["checkout"].owner == "x"


def test_variables_of_other_programs_are_left_alone(folder, monkeypatch):
    monkeypatch.setenv("FEEDBACK_PORT", "tcp://10.0.0.1:80")  # Kubernetes, for a service named feedback
    monkeypatch.setenv("FEEDBACK_SERVICE_HOST", "10.0.0.1")
    assert load() == Settings()


def test_a_variable_of_no_table(folder, monkeypatch):
    monkeypatch.setenv("FEEDBACK_KAFKAA__BOOTSTRAP", "a:1")
    assert faults_of(None) == ("FEEDBACK_KAFKAA__BOOTSTRAP: no such variable; did you mean FEEDBACK_KAFKA?",)


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("10s", 10), ("1.5h", 5400), ("15m", 900), ("7d", 604_800)]
)
def test_durations(text, seconds):
    assert Settings(horizon=text).horizon == seconds


@pytest.mark.parametrize("text", ["0s", "10", "-1h", "1w", "", "1h30m", "٣h", 60, True, None])
def test_no_durations(folder, monkeypatch, text):
    with pytest.raises(ValueError, match="should be a duration above zero with its unit"):
        Settings(horizon=text)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:0", Listen("127.0.0.1", 0)),
        ("[::1]:8080", Listen("::1", 8080)),
        ("box:80", Listen("box", 80)),
    ],
)
def test_addresses(text, listen):
    address = Settings(page={"listen": text}).page.listen
    assert address == listen
    assert str(address) == text


@pytest.mark.parametrize("text", ["8080", ":80", "a b:1", "a:b", "a:70000", "a:1,b:2", 80])
def test_no_addresses(text):
    with pytest.raises(ValueError, match="should be an address like"):
        Settings(page={"listen": text})


def test_the_store_of_a_server(folder):
    store = Settings(store={"dsn": "https://u:p%40@clickhouse:8443/cx"}).store
    assert (store.folder, store.database) == (None, "cx")
    assert Settings(store={"dsn": "http://clickhouse:8123"}).store.database == "feedback"


def test_own_instruments_join_the_shipped_ones():
    mood = {"metric": "csat", "min": 1, "max": 6, "direction": "low", "satisfied_from": 5}
    catalogue = Settings(instruments={"mood": mood}).catalogue()
    assert catalogue["mood"].satisfied_from == 5
    assert "nps_0_10" in catalogue


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Settings().kafka.partitions = 5


def test_tables_survive_the_way_through_the_environment(folder, monkeypatch):
    tables = {
        "kafka": {"partitions": 3, "security": {"username": "ada"}},
        "windows": ["1h", "7d"],
        "horizon": "1h",
    }
    for name, value in environment(tables).items():
        monkeypatch.setenv(name, value)
    assert load() == Settings(**tables)
