"""A fleet to look at: a build ends every few seconds, and something is wrong here and there."""

import random

from exporter.simulator.builds import Plan
from exporter.simulator.clock import Clock
from exporter.simulator.fleet import Fleet
from exporter.simulator.identity import job_name, project_name

JOBS = 24
FAILING, STUCK, DELETED = 5, 9, 3


def demo_fleet(clock: Clock, seed: int = 0) -> Fleet:
    """24 jobs at a lively pace; one fails all the time, one hangs, three more lie in the recycle bin."""
    fleet = Fleet(clock, seed=seed, history_days=0.25)
    dice = random.Random(f"{seed}/demo")
    for ordinal in range(JOBS):
        failing = ordinal == FAILING
        plan = Plan(
            gap_s=dice.uniform(30, 150),
            duration_s=dice.uniform(3, 20),
            spread=0.35,
            queue_s=dice.uniform(0.3, 4),
            failure_ratio=1.0 if failing else dice.choice((0.03, 0.1, 0.25)),
            streak=1.0 if failing else dice.choice((0.2, 0.5)),
            concurrency=3 if ordinal % 4 == 0 else 1,
            first_number=dice.choice((1, 500, 3001)),
            branches=("main", "develop", "release/1.4"),
        )
        fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=plan)
    fleet.add_build(fleet.jobs()[STUCK].id, duration_s=None, trigger="pipeline")
    for ordinal in range(JOBS, JOBS + DELETED):
        job = fleet.add_job(job_name(ordinal), project_name(ordinal % 4), plan=Plan(gap_s=None))
        fleet.delete_job(job.id, clock.now_ms() - (ordinal - JOBS) * 3_600_000)
    return fleet
