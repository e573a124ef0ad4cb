"""The demo fleet, and the simulator as a program."""

import random
import signal
import threading

from exporter.simulator.builds import Plan, job_name, project_name
from exporter.simulator.fleet import Clock, Fleet, RealClock
from exporter.simulator.server import Simulator

JOBS = 24
FAILING, STUCK, DELETED = 5, 9, 3


def demo_fleet(clock: Clock, seed: int = 0) -> Fleet:
    """24 busy jobs, one of which always fails and one hangs, and three in the recycle bin."""
    fleet = Fleet(clock, seed=seed, history_days=0.25)
    rng = random.Random(f"{seed}/demo")
    for ordinal in range(JOBS):
        failing = ordinal == FAILING
        plan = Plan(
            gap_s=rng.uniform(30, 150),
            duration_s=rng.uniform(3, 20),
            spread=0.35,
            queue_s=rng.uniform(0.3, 4),
            failure_ratio=1.0 if failing else rng.choice((0.03, 0.1, 0.25)),
            streak=1.0 if failing else rng.choice((0.2, 0.5)),
            concurrency=3 if ordinal % 4 == 0 else 1,
            first_number=rng.choice((1, 500, 3001)),
            branches=("main", "develop", "release/1.4"),
        )
        fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=plan)
    fleet.add_build(fleet.jobs()[STUCK].id, duration_s=None, trigger="pipeline")
    for ordinal in range(JOBS, JOBS + DELETED):
        job = fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=Plan(gap_s=None))
        fleet.delete_job(job.id, clock.now_ms() - (ordinal - JOBS) * 3_600_000)
    return fleet


def run(
    host: str = "127.0.0.1", port: int = 0, *, jobs: int | None = None, seed: int = 0, speed: float = 1.0
) -> None:
    """Print a configuration for an exporter, and serve until SIGTERM or SIGINT; port 0 takes a free one.

    Without a number of ``jobs``, the fleet is the demo fleet. ``speed`` is that of the fleet's clock.

    Raises:
        OSError: the address cannot be used.
    """
    clock = RealClock(speed)
    fleet = demo_fleet(clock, seed) if jobs is None else Fleet(clock, seed=seed, jobs=jobs)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Simulator(fleet).start(host, port) as simulator:
        print(_banner(simulator), flush=True)
        stop.wait()


def _banner(simulator: Simulator) -> str:
    """Return a configuration of the exporter that works with the simulator; all else is in comments."""
    known = simulator.credentials
    jobs = sum(job.deleted_ms is None for job in simulator.fleet.jobs())
    key = known.access_keys[0]
    password = (
        f"{{domain: {known.domain}, username: {known.username}, password: {known.password}, "
        f"project: {known.project}}}"
    )
    return f"""\
# CodeArts Build simulator on {simulator.url}, {jobs} jobs. This is a configuration for it.
endpoint: {simulator.url}
iam_endpoint: {simulator.url}
auth:
  token: {known.tokens[0]}
  # Or one of these:
  # password: {password}
  # access_key: {{access_key: {key.access_key}, secret_key: {key.secret_key}}}
projects:
  - id: all
poll: {{interval: 5s}}
state: {{path: ":memory:"}}
# What has happened: {simulator.url}/_sim/truth"""
