"""Whole expositions, one for each scenario; ``make golden`` rewrites them for review."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

import pytest

from exporter.simulator import Fleet, ManualClock, fault
from tests.support.programs import program
from tests.support.watch import DAY, HOUR, MINUTE, START_MS, Watch, watching

FOLDER = Path(__file__).parent / "golden"
CHECKOUT = "f9d6c8466d614a9788e9a0acf6c15f46"
NIGHTLY = "48c66c6002964721be537cdc6ce0297b"

ENDED: tuple[tuple[Literal["success", "failure", "aborted", "timeout"], float], ...] = (
    ("failure", 62.5),
    ("aborted", 3.0),
    ("success", 48.125),
    ("timeout", 7200.0),
)

LEFT_OUT = re.compile(
    r"(?:# (?:HELP|TYPE) )?"
    r"(?:process_|python_|codearts_build_exporter_(?:build_info|api_request_duration_seconds))"
)
"""Samples that differ between machines or runs."""


def healthy(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    for result, duration_s in ENDED:
        fleet.add_build(CHECKOUT, result=result, queue_s=1.5, duration_s=duration_s)
        watch.poll_for(duration_s + 2 * MINUTE)
    fleet.add_build(CHECKOUT, queue_s=2, duration_s=HOUR)
    fleet.add_build(CHECKOUT, queue_s=HOUR)
    fleet.add_build(NIGHTLY, result="schedule_failure", queue_s=30)
    watch.poll(times=2)


def baseline(fleet: Fleet, watch: Watch) -> None:
    fleet.add_build(CHECKOUT, duration_s=20)
    for _ in range(2):
        fleet.add_build(CHECKOUT, result="failure", duration_s=20)
    fleet.add_build(CHECKOUT, duration_s=HOUR)
    watch.poll()


def api_down(fleet: Fleet, watch: Watch) -> None:
    healthy(fleet, watch)
    watch.simulator.faults.add(fault("error", status=503))
    watch.poll(times=2)


def api_down_from_the_start(_fleet: Fleet, watch: Watch) -> None:
    watch.simulator.faults.add(fault("html"))
    watch.poll()


def throttled(fleet: Fleet, watch: Watch) -> None:
    healthy(fleet, watch)
    watch.simulator.faults.add(fault("throttle", operation="period-history", times=2, retry_after=20))
    watch.poll()


def malformed(fleet: Fleet, watch: Watch) -> None:
    watch.poll()
    watch.simulator.faults.replace(
        [
            fault("garbage-records", operation="period-history"),
            fault("localised-triggers", language="en"),
            fault("unknown-result", numbers=[2]),
            fault("backwards-clock", numbers=[3]),
            fault("backwards-clock", numbers=[4], how="queued-after-start"),
            fault("body", operation="period-history", job=NIGHTLY, text="<html>login</html>"),
        ]
    )
    for _ in range(4):
        fleet.add_build(CHECKOUT, duration_s=20)
    watch.poll(times=2)


def job_in_the_recycle_bin(fleet: Fleet, watch: Watch) -> None:
    healthy(fleet, watch)
    fleet.delete_job(NIGHTLY, fleet.clock.now_ms() - 3_600_000)
    watch.poll_for(12 * MINUTE)


SCENARIOS: tuple[Callable[[Fleet, Watch], None], ...] = (
    healthy,
    baseline,
    api_down,
    api_down_from_the_start,
    throttled,
    malformed,
    job_in_the_recycle_bin,
)


def exposition(scenario: Callable[[Fleet, Watch], None]) -> str:
    clock = ManualClock(START_MS)
    fleet = Fleet(clock, seed=1)
    fleet.add_job("checkout", "shop", job_id=CHECKOUT)
    fleet.add_job("每晚构建", "shop", job_id=NIGHTLY)
    fleet.delete_job(fleet.add_job("old", "archive").id, START_MS - round(3 * DAY * 1000))
    with watching(fleet, settings="poll: {max_interval: 1m}") as watch:
        watch.telemetry.reload_successful.set(1)
        watch.telemetry.reload_timestamp.set(START_MS / 1000)
        scenario(fleet, watch)
        return "".join(line for line in with_sorted_samples(watch.text()) if not LEFT_OUT.match(line))


def with_sorted_samples(text: str) -> Iterator[str]:
    """Yield lines, with the exporter's own samples sorted, because their order depends on events."""
    lines = text.splitlines(keepends=True)
    for own, group in groupby(lines, lambda line: line.startswith("codearts_build_exporter_")):
        yield from (sorted if own else list)(group)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.__name__))
def test_the_exposition_equals_the_golden_file(scenario: Callable[[Fleet, Watch], None]) -> None:
    golden = FOLDER / f"{scenario.__name__}.metrics"
    actual = exposition(scenario)
    if os.environ.get("GOLDEN") == "rewrite":
        golden.write_text(actual, encoding="utf-8")
    assert actual.splitlines() == golden.read_text(encoding="utf-8").splitlines()


def test_every_golden_file_has_a_scenario() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == {scenario.__name__ for scenario in SCENARIOS}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.metrics")), ids=lambda file: file.stem)
def test_promtool_finds_nothing(file: Path) -> None:
    result = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=file.read_bytes(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
