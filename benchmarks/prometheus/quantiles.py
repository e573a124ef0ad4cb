"""``python -m benchmarks.prometheus.quantiles``: errors of the quantiles that Prometheus computes.

Each project has one kind of durations; its jobs differ in their scale. Prometheus scrapes all of them as
classic and as native histograms, and computes quantiles for each job and for each project.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from prometheus_client import CollectorRegistry

from benchmarks.store.fleet import BUCKETS, START_MS
from benchmarks.tables import table
from exporter.exposition.publisher import Publisher
from exporter.ledger.build_labels import BuildLabels
from exporter.ledger.fold_observations import baseline
from exporter.ledger.histogram import Histogram
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Job, Result
from exporter.web import MetricsEndpoint, WebServer, application
from tests.support.programs import Prometheus, eventually, prometheus
from tests.support.sites import Fleet, listening

QUANTILES: Final = (0.5, 0.9, 0.99)
FEATURE: Final = "--enable-feature=native-histograms"
NAME: Final = "codearts_build_duration_seconds"

FORMS: Final[Mapping[str, tuple[list[str], str]]] = {
    "classic": ([], f"sum by (project, job_name, le) ({NAME}_bucket)"),
    "native": ([FEATURE], f"sum by (project, job_name) ({NAME})"),
}
"""Flags of Prometheus, and the histograms of all jobs."""

DISTRIBUTIONS: Final[Mapping[str, Callable[[Random], float]]] = {
    "log-normal": lambda rng: rng.lognormvariate(math.log(240), 0.8),
    "two peaks": lambda rng: rng.gauss(60, 3) if rng.random() < 0.7 else rng.gauss(900, 45),
    "constant": lambda rng: 150.0,
}
"""Durations in seconds; two peaks are a cached and a full build."""

Key = tuple[str, str]
"""A project and a job; an empty job stands for the whole project."""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=20, help="jobs of each kind")
    parser.add_argument("--builds", type=int, default=500, help="builds of each job")
    options = parser.parse_args(arguments)
    rng = Random(1)
    durations = {
        (kind, f"job-{index}"): [max(1, round(scale * draw(rng) * 1000)) for _ in range(options.builds)]
        for kind, draw in DISTRIBUTIONS.items()
        for index in range(options.jobs)
        for scale in [rng.uniform(0.5, 2)]
    }
    exact = {quantile: dict(exact_quantiles(durations, quantile)) for quantile in QUANTILES}
    errors: dict[tuple[str, float], dict[Key, float]] = {}
    with served(durations) as target:
        for form, (flags, histograms) in FORMS.items():
            with TemporaryDirectory() as folder, prometheus(target, Path(folder), *flags) as stored:
                eventually(partial(stored.query, f"{NAME}_count or histogram_count({NAME})"), 60)
                for quantile in QUANTILES:
                    values = dict(_computed(stored, histograms, quantile))
                    errors[form, quantile] = {
                        key: abs(values[key] / value - 1) for key, value in exact[quantile].items()
                    }
    head = ["durations", "quantile", *(f"{form}, {of}" for of in ("job", "project") for form in FORMS)]
    table(head, [row for kind in DISTRIBUTIONS for row in _rows(kind, errors)])


def _computed(stored: Prometheus, histograms: str, quantile: float) -> Iterator[tuple[Key, float]]:
    """Yield the quantile that Prometheus computes of each job and of each project, in seconds."""
    for expression in (histograms, histograms.replace("project, job_name", "project")):
        for found, value in stored.query(f"histogram_quantile({quantile}, {expression})").items():
            labels = dict(found)
            yield (labels["project"], labels.get("job_name", "")), value


def exact_quantiles(durations: Mapping[Key, Sequence[int]], quantile: float) -> Iterator[tuple[Key, float]]:
    """Yield the quantile of each job and of each project, in seconds."""
    projects: dict[Key, list[int]] = {}
    for (project, _), values in durations.items():
        projects.setdefault((project, ""), []).extend(values)
    for key, values in {**durations, **projects}.items():
        yield key, sorted(values)[math.ceil(quantile * len(values)) - 1] / 1000


def _rows(kind: str, errors: Mapping[tuple[str, float], Mapping[Key, float]]) -> Iterator[list[str]]:
    for quantile in QUANTILES:
        of_jobs, of_project = [], []
        for form in FORMS:
            found = errors[form, quantile]
            jobs = [error for (project, job), error in found.items() if project == kind and job]
            of_jobs.append(f"{median(jobs):.1%}, worst {max(jobs):.1%}")
            of_project.append(f"{found[kind, '']:.1%}")
        yield [kind, f"p{quantile * 100:.0f}", *of_jobs, *of_project]


def ledger_of(values: Sequence[int]) -> JobLedger:
    """Return a ledger whose successes took these durations in milliseconds."""
    ledger = baseline([], at_ms=START_MS, buckets=BUCKETS).ledger
    histogram = reduce(Histogram.observed, values, Histogram.empty(BUCKETS.duration))
    return replace(
        ledger,
        tallies=tuple(
            replace(tally, builds=len(values), durations=histogram)
            if tally.labels == BuildLabels(Result.SUCCESS)
            else tally
            for tally in ledger.tallies
        ),
    )


@contextmanager
def served(durations: Mapping[Key, Sequence[int]]) -> Iterator[str]:
    """Serve the metrics of jobs with these durations; the value is ``host:port``."""
    view = FleetView(
        tuple(
            JobView(Job(f"{index:032x}", job, project, project), ledger_of(values), up=True)
            for index, ((project, job), values) in enumerate(durations.items())
        ),
        is_complete=True,
    )
    telemetry = Telemetry(CollectorRegistry())
    publisher = Publisher(lambda: view, telemetry)
    publisher.start()
    app = application(MetricsEndpoint(publisher, telemetry.registry), Fleet(view), telemetry.readings)
    with listening(WebServer(app)) as (host, port):
        yield f"{host}:{port}"
    publisher.stop()


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
