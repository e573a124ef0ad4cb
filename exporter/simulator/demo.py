"""The demo fleet, and the simulator as a program."""

import random
import signal
import sys
import threading
from typing import TextIO

from exporter.simulator.builds import Plan, job_name, project_name
from exporter.simulator.faults import Faults
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
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    jobs: int | None = None,
    seed: int = 0,
    speed: float = 1.0,
    history_days: float = 7.0,
    faults: Faults | None = None,
    clock: Clock | None = None,
    output: TextIO | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        jobs: number of jobs; None for the demo fleet.
        seed: determines ids, plans and builds.
        speed: of the fleet's clock, relative to the wall clock.
        history_days: how long the jobs have been running; not for the demo fleet.
        faults: active from the start.
        clock: replaces the one with ``speed``.
        output: for the address and the credentials; standard output by default.

    Raises:
        OSError: the address cannot be used.
    """
    clock = clock or RealClock(speed)
    if jobs is None:
        fleet = demo_fleet(clock, seed)
    else:
        fleet = Fleet(clock, seed=seed, jobs=jobs, history_days=history_days)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Simulator(fleet, faults=faults).start(host, port) as simulator:
        print(_banner(simulator), file=output or sys.stdout, flush=True)
        stop.wait()


def _banner(simulator: Simulator) -> str:
    known = simulator.credentials
    jobs = [job for job in simulator.fleet.jobs() if job.deleted_ms is None]
    key = known.access_keys[0]
    return "\n".join(
        (
            f"CodeArts Build simulator on {simulator.url}, {len(jobs)} jobs",
            f"token     {known.tokens[0]}",
            f"password  domain {known.domain}, username {known.username}, password {known.password}, "
            f"project {known.project}",
            f"key       {key.access_key} {key.secret_key}",
            f"truth     {simulator.url}/_sim/truth",
            *(f"job       {job.id} {job.name}" for job in jobs[:3]),
        )
    )
