"""Recounts the incident log with nothing but the standard library: what the pipeline's numbers must equal.

    python recount.py                      # figures over all incidents, as JSON
    python recount.py --cases > cases.csv  # seconds to the first resolution, case by case

First resolution = first row in state Resolved minus opened_at. The log names no time zone and none is used here.
"""

import csv
import gzip
import json
import math
import sys
from datetime import datetime
from pathlib import Path

LOG = Path(__file__).with_name("incident_event_log.csv.gz")


def moment(text):
    return datetime.strptime(text.replace("/", "-"), "%d-%m-%Y %H:%M")  # noqa: DTZ007 - the log names no zone


def rows(path=LOG):
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def first_resolutions(path=LOG):
    """Seconds from opened to first resolved, by incident number."""
    seconds = {}
    for row in rows(path):
        if row["incident_state"] == "Resolved" and row["number"] not in seconds:
            spent = moment(row["sys_updated_at"]) - moment(row["opened_at"])
            seconds[row["number"]] = spent.total_seconds()
    return seconds


def percentile(ordered, share):
    """Nearest rank: the smallest value that at least this share of the values do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def figures(path=LOG):
    seconds = sorted(first_resolutions(path).values())
    log = list(rows(path))
    return {
        "rows": len(log),
        "incidents": len({row["number"] for row in log}),
        "resolved": len(seconds),
        "reopened": len({row["number"] for row in log if row["reopen_count"] != "0"}),
        "reopenings": len(
            {(row["number"], row["reopen_count"]) for row in log if row["reopen_count"] != "0"}
        ),
        "sum": sum(seconds),
        "mean": sum(seconds) / len(seconds),
        **{f"p{round(share * 100)}": percentile(seconds, share) for share in (0.5, 0.9, 0.95, 0.99)},
    }


if __name__ == "__main__":
    if "--cases" in sys.argv:
        csv.writer(sys.stdout).writerows(first_resolutions().items())
    else:
        print(json.dumps(figures(), indent=2))
