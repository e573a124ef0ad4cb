"""Views to render: one with everything in it, and any."""

from dataclasses import replace
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st

from exporter.ledger.build_labels import BuildLabels
from exporter.ledger.histogram import Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.stages import LastStages, Stages
from exporter.metrics import FleetView, JobView
from exporter.model import Job, RecycleBin, RecycledJob, Result, Trigger
from tests.ledger.examples import counted, history, idle, running
from tests.store.ledgers import ledgers

CHECKOUT: Final = Job(
    "f9d6c8466d614a9788e9a0acf6c15f46", "checkout", "shop", "b4d3971c3988463b865f6f920846149e"
)
NASTY: Final = (
    'say "hi"',
    "back\\slash",
    "two\nlines",
    "构建任务",
    "x" * 300,
    "{a='b'}",
    "\\n",
    "#",
    " ",
    "é😀",
)
EXAMPLES: Final = settings().max_examples // 2
"""Of laws about any views: one view has dozens of values, and to make it takes longer than to render it."""

EXTRA: Final = ((), ("trigger",), ("branch",), ("trigger", "branch"), ("branch", "trigger"))


def full() -> FleetView:
    """Every family has a sample."""
    ledger = counted(counted(counted(idle(), 2, Result.FAILURE), 3), 4, Result.ABORTED)
    ledger = history(ledger, running(5, minute=9), minute=10)
    durations = {name: Histogram.empty(ledger.no_durations.bounds) for name in ("fetch", *NASTY)}
    durations["fetch"] = durations["fetch"].observed(1500, number=3, at_ms=ledger.polled_ms)
    ledger = replace(
        ledger, stages=Stages(durations=durations, last=LastStages(4, {"fetch": 1500, "\u2028": 0}))
    )
    gone = RecycledJob("0" * 32, "gone", CHECKOUT.project_id, 1_700_000_000_000)
    return FleetView(
        jobs=(
            JobView(CHECKOUT, ledger, up=True, deleted=False, disabled=False, checked_ms=ledger.polled_ms),
        ),
        recycle_bin=RecycleBin(29 * 86_400_000, {gone.id: gone}, read_ms=ledger.polled_ms),
        projects={CHECKOUT.project_id: "shop"},
    )


def busy(number: int) -> JobView:
    """A job like many others, with a few builds behind it."""
    ledger = counted(counted(idle(), 2, Result.FAILURE), 3)
    return JobView(Job(f"{number:032d}", f"job-{number}", "shop"), ledger, up=True, checked_ms=number)


_texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(NASTY)
_branches = st.sampled_from(("", "other", "main", "tmp"))
_moments = st.none() | st.integers(0, 10**14)


def job_views(known: st.SearchStrategy[JobLedger | None] | None = None) -> st.SearchStrategy[JobView]:
    """Any job, at any stage of being known."""
    return st.builds(
        JobView,
        job=st.builds(Job, id=st.sampled_from("abcdef"), name=_texts, project=_texts, project_id=_texts),
        ledger=st.none() | ledgers() if known is None else known,
        up=st.none() | st.booleans(),
        deleted=st.none() | st.booleans(),
        disabled=st.none() | st.booleans(),
        checked_ms=_moments,
        held=st.frozensets(
            st.builds(BuildLabels, st.sampled_from(Result), st.sampled_from(("", *Trigger)), _branches),
            max_size=6,
        ),
    )


recycled = st.builds(RecycledJob, id=_texts, name=_texts, project_id=_texts, deleted_ms=_moments)
bins = st.builds(
    RecycleBin,
    retention_ms=st.none() | st.integers(0, 10**12),
    jobs=st.lists(recycled, max_size=3).map(lambda jobs: {job.id: job for job in jobs}),
    read_ms=_moments,
)


def views(jobs: st.SearchStrategy[JobView]) -> st.SearchStrategy[FleetView]:
    """Any fleet of these jobs, each named once."""
    return st.builds(
        FleetView,
        jobs=st.lists(
            jobs, max_size=3, unique_by=(lambda one: (one.job.project, one.job.name), lambda one: one.job.id)
        ).map(tuple),
        recycle_bin=st.none() | bins,
        projects=st.dictionaries(_texts, _texts, max_size=2),
    )
