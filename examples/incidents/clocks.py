"""How long the incidents took, by every clock: recounted from the log, and beside it what the pipeline tells.

    python clocks.py                        # recounted with nothing but the standard library
    python clocks.py http://127.0.0.1:8123  # beside what the store of a demo tells; exit code 1 if they differ

The demo must know the business hours that are used here: they stand in feedback.toml.
    feedback demo --config feedback.toml --replay incident_event_log.csv.gz --map incidents.toml

Counts and means are equal; percentiles of the pipeline are read from bins that are 9 % wide, so they may be 4.5 % off.
"""

import json
import sys
import urllib.parse
import urllib.request
from datetime import timedelta

from recount import LOG, moment, percentile, rows

CLOCKS = ("first_resolution", "full_resolution", "agent", "business")
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95}
RELATIVE_ERROR = 0.045
OPENS, CLOSES = timedelta(hours=9), timedelta(hours=17)  # Monday to Friday
DAY = timedelta(days=1)
HOUR = 3600
SQL = """
    SELECT clock, n, mean, p50, p90, p95
    FROM resolution_times_at(at = toDateTime('2018-01-01 00:00:00', 'UTC'), seconds = 94608000)
    WHERE touchpoint = '' AND channel = '' AND segment = ''
"""


def seconds(path=LOG):
    """Clock -> the seconds of every incident that it measures."""
    found = {clock: [] for clock in CLOCKS}
    for story in stories(path):
        opened, resolved = story["opened"], story["resolved"]
        if resolved:
            first, last = min(resolved), max(resolved)
            found["first_resolution"].append((first - opened).total_seconds())
            found["full_resolution"].append((last - opened).total_seconds())
            found["agent"].append((last - opened - waited(story, last)).total_seconds())
            found["business"].append(worked(opened, last).total_seconds())
    return found


def stories(path=LOG):
    """Of each incident when it was opened, resolved, and when waiting on the customer began and ended."""
    known, before = {}, {}
    for row in rows(path):
        number, state, at = row["number"], row["incident_state"], moment(row["sys_updated_at"])
        opened = moment(row["opened_at"])
        story = known.setdefault(number, {"opened": opened, "resolved": [], "waits": [], "resumes": []})
        waits = before.get(number) == "Awaiting User Info"
        if state == "Resolved":
            story["resolved"].append(at)
        elif state == "Awaiting User Info" and not waits:
            story["waits"].append(at)
        elif waits and state not in ("Awaiting User Info", "Closed"):
            story["resumes"].append(at)
        before[number] = state
    for story in known.values():
        for what in ("resolved", "waits", "resumes"):
            story[what] = [at for at in story[what] if at >= story["opened"]]
    return known.values()


def waited(story, last):
    """From each beginning of a wait to what ends it: work goes on, or it is resolved."""
    ends, total, until = sorted(story["resumes"] + story["resolved"]), timedelta(), story["opened"]
    for start in sorted(story["waits"]):
        if until <= start < last:
            until = min(at for at in ends if at >= start)
            total += until - start
    return total


def worked(start, end):
    """How much of the time lies between nine and five from Monday to Friday."""
    total, day = timedelta(), start.replace(hour=0, minute=0)
    while day <= end:
        if day.weekday() < 5:
            total += max(min(end, day + CLOSES) - max(start, day + OPENS), timedelta())
        day += DAY
    return total


def figures(path=LOG):
    """Clock -> n, mean and percentiles in seconds."""
    found = {}
    for clock, values in seconds(path).items():
        ordered = sorted(values)
        shares = {name: percentile(ordered, share) for name, share in SHARES.items()}
        found[clock] = {"n": len(ordered), "mean": sum(ordered) / len(ordered), **shares}
    return found


def told(store):
    """The same as the pipeline tells it."""
    query = urllib.parse.urlencode({"database": "feedback", "default_format": "JSONEachRow"})
    with urllib.request.urlopen(f"{store}/?{query}", SQL.encode(), timeout=60) as answer:  # noqa: S310 - the store that was named
        lines = [json.loads(line) for line in answer.read().splitlines()]
    return {one.pop("clock"): {name: float(value) for name, value in one.items()} for one in lines}


def differences(recounted, pipeline):
    """What is not equal, or further apart than bins are wide."""
    wrong = [clock for clock in CLOCKS if clock not in pipeline]
    for clock in set(recounted) & set(pipeline):
        for name, value in recounted[clock].items():
            most = RELATIVE_ERROR if name in SHARES else 1e-9
            if abs(pipeline[clock][name] - value) > most * value:
                wrong.append(f"{clock} {name}: recounted {value}, the pipeline tells {pipeline[clock][name]}")
    return wrong


def table(recounted, pipeline=None):
    """Hours, as in docs/cases.md: what the pipeline tells, and what is recounted."""
    lines = ["| clock | cases | mean | p50 | p90 | p95 |", "|---|---|---|---|---|---|"]
    sides = [side for side in (pipeline, recounted) if side is not None]
    for clock in CLOCKS:
        cells = [[f"{side[clock][name] / HOUR:,.1f}" for side in sides] for name in ("mean", *SHARES)]
        cases = [f"{int(side[clock]['n'])}" for side in sides]
        lines.append(f"| `{clock}` | " + " | ".join(" / ".join(one) for one in [cases, *cells]) + " |")
    return "\n".join(lines)


def waiting(found):
    """The share of the time in which the customer was waited for."""
    return 1 - found["agent"]["mean"] / found["full_resolution"]["mean"]


def main(store=None):
    recounted = figures()
    if store is None:
        print(f"{table(recounted)}\n\n{waiting(recounted):.1%} of the time they waited on the customer.")
        return 0
    pipeline = told(store)
    wrong = differences(recounted, pipeline)
    if set(CLOCKS) <= set(pipeline):
        print(table(recounted, pipeline))
        print(f"\n{waiting(pipeline):.1%} of the time they waited on the customer.")
    print("\n".join(["", *wrong, f"{len(wrong)} differences"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
