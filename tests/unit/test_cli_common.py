"""The command line around every command: errors as sentences, progress, logs, and what check-config says."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from pipeline import logs
from pipeline.cli import check_config, commands
from pipeline.cli.common import fail, moment
from pipeline.cli.progress import show
from pipeline.config import Settings
from pipeline.errors import FeedbackError


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *args], capture_output=True, text=True, check=False
    )


@pytest.fixture
def failing(monkeypatch):
    """The exit of the command line when a command raises; what it said is in capsys."""

    def call(error: BaseException) -> object:
        def app() -> None:
            raise error

        monkeypatch.setattr(commands, "app", app)
        with pytest.raises(SystemExit) as ended:
            commands.run()
        return ended.value.code

    return call


@pytest.fixture
def lines():
    """A stream that logging goes to, and everything put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_help_names_every_command_with_its_purpose():
    done = run("--help")
    assert done.returncode == 0
    for names in commands.COMMANDS.values():
        assert all(f" {name} " in done.stdout for name in names)


def test_every_command_explains_itself():
    for names in commands.COMMANDS.values():
        for command in commands.app.registered_commands:
            assert command.callback is not None
            assert len((command.callback.__doc__ or "").strip()) > 30, command.name
        groups = {group.name for group in commands.app.registered_groups}
        assert set(names) <= groups | {command.name for command in commands.app.registered_commands}


def test_an_unknown_command_is_no_success():
    assert run("nonsense").returncode == 2


def test_what_a_user_can_mend_is_a_sentence(failing, capsys):
    assert failing(FeedbackError("the [store] is away: start it")) == 1
    assert capsys.readouterr().err == "error: the [store] is away: start it\n"
    with pytest.raises(FeedbackError, match="so it is"):
        fail("so it is")


@pytest.mark.parametrize(
    ("module", "extra"), [("faust.app", "worker"), ("chdb", "embedded"), ("lz4", "embedded")]
)
def test_a_missing_extra_is_a_sentence(failing, capsys, module, extra):
    assert failing(ModuleNotFoundError(name=module)) == 1
    said = capsys.readouterr().err
    assert (
        said == f"error: {module.split('.')[0]} is not installed: pip install 'feedback-pipeline[{extra}]'\n"
    )


def test_a_bug_keeps_its_traceback(monkeypatch):
    def app() -> None:
        raise ModuleNotFoundError(name="pipeline.misspelt")

    monkeypatch.setattr(commands, "app", app)
    with pytest.raises(ModuleNotFoundError):
        commands.run()


def test_without_typer_the_light_client_says_what_to_install():
    program = "import sys; sys.modules['typer'] = None; from pipeline.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'feedback-pipeline[worker]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error():
    program = f"{sys.executable} -c 'import sys; from pipeline.cli.commands import run; sys.exit(run())' version | true"
    done = subprocess.run(["/bin/sh", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_progress_in_a_log_is_lines():
    out = io.StringIO()
    with show(Console(file=out), "reading", total=1_000) as bar:
        bar.advance(400)
        bar.say("sorting")
        bar.advance(600)
    first, middle, last = out.getvalue().splitlines()
    assert (first, middle) == ("reading ...", "sorting: 400 of 1,000")
    assert last.startswith("sorting: 1,000 of 1,000, done in ")


def test_progress_on_a_terminal_is_a_bar():
    out = io.StringIO()
    with show(Console(file=out, force_terminal=True, width=120), "reading", total=10) as bar:
        bar.advance(10)
    assert "10/10" in out.getvalue()


def test_logs_for_machines_are_json_with_the_extra_fields(lines):
    logs.setup("INFO", lines)
    logging.getLogger("pipeline.x").info("store is back", extra={"rows": 3})
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("pipeline.x").exception("store is away")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert (first["message"], first["rows"], first["level"], first["logger"]) == (
        "store is back",
        3,
        "info",
        "pipeline.x",
    )
    assert first["time"].endswith("+00:00")
    assert "OSError: gone" in second["error"]


def test_logs_for_people_are_one_line(lines):
    logs.setup("INFO", lines, as_json=False)
    logging.getLogger("pipeline.x").warning("store is away", extra={"retry_in": 2.0})
    assert lines.getvalue().rstrip()[9:] == "warning store is away  retry_in=2.0"


def test_libraries_are_quiet_and_do_not_repeat_themselves(lines):
    logs.setup("INFO", lines)
    library = logging.getLogger("aiokafka.client")
    library.info("joined")
    for port in range(5):
        library.error("no connection to %s", port)
    logging.getLogger("pipeline.x").info("again")
    logging.getLogger("pipeline.x").info("again")
    said = [json.loads(line)["message"] for line in lines.getvalue().splitlines()]
    assert said == ["no connection to 0", "again", "again"]


def test_memory_of_the_ids():
    settings = Settings(
        expected_rate=10_000, horizon="7d", horizons={"touchpoints": "1h", "responses": "10m"}
    )
    assert check_config.memory_of_ids(settings) == 10_000 * 3600 * check_config.BYTES_AN_ID
    assert check_config.memory_warning(settings) == ""
    assert "shorten horizon" in check_config.memory_warning(Settings(expected_rate=1e9))


def test_check_config_shows_what_differs_and_no_secret(monkeypatch):
    monkeypatch.setenv("FEEDBACK_GATEWAY__TOKENS", "geheim")
    monkeypatch.setenv("FEEDBACK_KAFKA__PREFIX", "staging")
    monkeypatch.setenv("FEEDBACK_TOUCHPOINTS__CHECKOUT__OWNER", "ada")
    done = run("check-config")
    assert done.returncode == 0
    assert "kafka.prefix = staging\n" in done.stdout
    assert "touchpoints.checkout.owner = ada\n" in done.stdout
    assert "bootstrap" not in done.stdout
    assert "geheim" not in done.stdout + done.stderr
    assert "the configuration is valid" in done.stderr


def test_check_config_fails_with_every_fault(monkeypatch):
    monkeypatch.setenv("FEEDBACK_KAFKA__PARTITIONS", "0")
    monkeypatch.setenv("FEEDBACK_HORIZON", "1 week")
    done = run("check-config")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 2 faults in the configuration")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("20260501", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T12:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01 12:00:30", datetime(2026, 5, 1, 12, 0, 30, tzinfo=UTC)),
        ("2026-05-01T12:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01T12:00:00.250+02:00", datetime(2026, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)),
        ("1777636800250", datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_time_is_given_as_in_events(text: str, expected: datetime):
    assert moment("--at", text) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-05-01T25:00", "9" * 40, "-1"])
def test_a_wrong_time_is_refused_with_its_option(text: str):
    with pytest.raises(FeedbackError, match=f"--from {text}: write it like"):
        moment("--from", text)


@pytest.mark.parametrize("only", ["", " , ", "tally,rol"])
def test_a_worker_of_no_part_is_refused(only):
    """The same typo in a unit file would otherwise start a worker that does everything."""
    done = run("worker", "--only", only)
    assert done.returncode == 1
    assert "choose from tally, roll, archive" in done.stderr.replace("\n", " ")
