"""Business hours and promises, as people write them and as cases are measured by them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from pipeline.cases.rules import Rules
from pipeline.config import ConfigError
from pipeline.config.load import build, load

TEXT = """
[cases]
fcr_window = "3d"
forget_after = "30d"
[horizons]
touchpoints = "1d"
[sla.high]
target = "4h"
schedule = "office"
[sla.low]
target = "2d"
[touchpoints.refund]
schedule = "shop"
[schedules.office]
time_zone = "Europe/Berlin"
hours = { mon = ["09:00-12:00", "13:00-17:30"], tue = "09:00-17:30" }
holidays = [2026-05-04]
holidays_of = "DE-BY"
[[schedules.office.changes]]
from = 2026-06-01
hours = { mon = "10:00-18:00" }
[[schedules.office.changes]]
from = 2026-03-01
time_zone = "Europe/Lisbon"
holidays_of = "PT"
[schedules.shop]
hours = { sat = "00:00-24:00" }
"""
HOUR = 3_600_000


def ms(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # whole numbers


def test_cases_are_measured_alike_where_nothing_is_configured():
    rules, plain = build({}, {}, "nothing").rules(), Rules()
    for name in ("fcr_ms", "forget_ms", "horizon_ms"):
        assert getattr(rules, name) == getattr(plain, name), name
    assert rules.follow_up_ms.items() >= plain.follow_up_ms.items()


def test_rules_of_a_configuration(tmp_path):
    file = tmp_path / "feedback.toml"
    file.write_text(TEXT)
    rules = load(file).rules()
    day = 86_400_000
    assert (rules.fcr_ms, rules.forget_ms, rules.horizon_ms) == (3 * day, 30 * day, day)
    assert (rules.sla["high"], rules.sla["low"]) == ((14_400.0, "office"), (172_800.0, None))
    office, shop = rules.schedules["office"], rules.schedules["shop"]
    assert (rules.schedule_of("refund"), rules.schedule_of("help")) == (
        shop,
        None,
    )  # two, and none is the default
    first, second, third = office.versions
    assert [version.since for version in office.versions] == [None, date(2026, 3, 1), date(2026, 6, 1)]
    assert first.hours[0] == ((9 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR + HOUR // 2)) == second.hours[0]
    assert (second.time_zone, third.time_zone) == ("Europe/Lisbon", "Europe/Lisbon")
    assert third.hours == (((10 * HOUR, 18 * HOUR),), (), (), (), (), (), ())
    # Epiphany is one in Bavaria and none in Portugal, where the tenth of June is; the fourth of May is our own
    assert date(2026, 1, 6) in first.holidays and date(2026, 1, 6) not in second.holidays
    assert {date(2026, 5, 4), date(2026, 6, 10)} <= third.holidays
    # a Monday in winter in Berlin: from 08:00 to 11:00 and 12:00 to 16:30 UTC
    assert office.between(ms(2026, 1, 12), ms(2026, 1, 13)) == 7 * HOUR + HOUR // 2
    assert rules.due_at(ms(2026, 1, 12, 10), "high") == ms(2026, 1, 12, 15)
    assert rules.due_at(ms(2026, 1, 12, 10), "low") == ms(2026, 1, 14, 10)
    assert rules.due_at(0, "unknown") is rules.due_at(0, None) is None


def test_hours_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEEDBACK_SCHEDULES__DEFAULT__HOURS__MON", "09:00-12:00,13:00-17:00")
    (version,) = load().rules().schedules["default"].versions
    assert version.hours[0] == ((9 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR))


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("hours", {"mon": ["9-17"]}, "schedules.x.hours.mon = '9-17': should be a span like"),
        ("hours", {"mon": ["22:00-06:00"]}, "schedules.x.hours.mon = '22:00-06:00': should be a span like"),
        ("hours", {"mon": ["20:00-24:30"]}, "schedules.x.hours.mon = '20:00-24:30': should be a span like"),
        (
            "hours",
            {"mon": ["08:00-12:00", "11:00-13:00"]},
            "schedules.x.hours.mon = ['08:00-12:00', '11:00-1",
        ),
        ("hours", {"monday": []}, "schedules.x.hours.monday"),
        ("holidays_of", "XX", "schedules.x.holidays_of = 'XX': should be a country or a part of one"),
        ("holidays_of", "DE-XX", "schedules.x.holidays_of = 'DE-XX': should be a country or a part"),
        ("changes", [{"from": date(2026, 1, 1)}] * 2, "schedules.x = "),
        ("changes", [{"time_zone": "UTC"}], "schedules.x.changes.from: is required"),
    ],
)
def test_wrong_hours_are_named(key, value, fault):
    with pytest.raises(ConfigError) as caught:
        build({"schedules": {"x": {key: value}}}, {}, "a test")
    (only,) = caught.value.faults
    assert only.startswith(fault)


def test_a_schedule_that_is_not_there_is_named():
    values = {"touchpoints": {"help": {"schedule": "x"}}, "schedules": {"y": {}}}
    with pytest.raises(ConfigError) as caught:
        build(values, {}, "a test")
    assert caught.value.faults == ('touchpoints.help.schedule = "x": no such schedule; there are: y',)
