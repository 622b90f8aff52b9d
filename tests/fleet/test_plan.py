"""The plan of a fleet, and its demo."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from calls_in_progress_async import InvalidRequestError
from calls_in_progress_async.cli.program import program
from calls_in_progress_async.fleet.sizing import FleetPlan


@pytest.mark.parametrize(
    ("demands", "interval", "workers"),
    [
        ({"organizations": 50_000, "rate": 2000}, 25.0, 4),
        ({"organizations": 50_000}, 5.0, 10),
        ({"organizations": 1}, 5.0, 2),
    ],
)
def test_a_plan_follows_from_the_demands(demands: dict[str, Any], interval: float, workers: int) -> None:
    """A rate below the demand stretches the interval; there is one worker to spare."""
    plan = FleetPlan(**demands)
    assert plan.effective_interval == interval
    assert plan.staleness == interval / 2
    assert plan.workers == workers
    assert plan.shards >= 64
    assert plan.organizations / plan.shards <= 512
    assert 0 < plan.messages_per_second <= plan.polls_per_second
    assert plan.log_size > 0
    assert plan.worker_memory > 50e6
    assert plan.server_share > 0


@pytest.mark.parametrize(
    "demands", [{"organizations": 0}, {"organizations": 5, "rate": 0}, {"organizations": 5, "interval": -1}]
)
def test_a_plan_for_nothing_is_an_error(demands: dict[str, Any]) -> None:
    """A demand out of range is named."""
    with pytest.raises(InvalidRequestError):
        FleetPlan(**demands)


def test_the_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """For people as lines, for programs as JSON."""
    assert program.run(["fleet", "plan", "--organizations", "50000", "--rate", "2000"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("polls        2,000 a second; each organization every 25.0 s, because of the rate")
    assert shown[0].endswith("(every 5 s needs 10,000 a second)")
    assert "start the first worker with --shards 128" in shown[3]
    assert "GB in 7 days" in shown[4]
    assert program.run(["fleet", "plan", "--organizations", "20", "--max-age", "86400"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "polls        4 a second; each organization every 5.0 s"
    assert "GB in 1 day" in shown[4]
    assert program.run(["fleet", "plan", "--organizations", "50000", "--rate", "2000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 4


@pytest.mark.timeout(100)
def test_the_demo_survives_the_death_of_a_worker(binary: str) -> None:
    """It needs nothing by hand, and its audit finds no fault."""
    arguments = [sys.executable, "-m", "calls_in_progress_async", "fleet", "demo", "--seconds", "8"]
    shown = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=90)
    assert shown.returncode == 0, shown
    assert "0 doubled, 0 out of order, 0 endings lost" in shown.stdout
