"""What is exposed, and what is not, as the numbers of a job become known."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from exporter.catalogue import FLEET_FAMILIES, JOB_FAMILIES, Declared, JobView, Snapshot
from exporter.exposition import families
from exporter.ledger import JobLedger, Refused
from exporter.model import Job, RecycleBin, RecycledJob, Result
from tests.ledger.examples import counted, details, finished, history, idle, running, watched

CHECKOUT = Job("f9d6c8466d614a9788e9a0acf6c15f46", "checkout", "shop", "b4d3971c3988463b865f6f920846149e")
NASTY = ('say "hi"', "back\\slash", "two\nlines", "构建任务", "x" * 300, "{a='b'}", "\\n", "#", " ", "é😀")


class Fixed(Collector):
    """A collector of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot)


def registry_of(snapshot: Snapshot) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Fixed(snapshot))
    return registry


def exposed(snapshot: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name.removeprefix("codearts_build_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(generate_latest(registry_of(snapshot)).decode())
        for sample in family.samples
    }


def of_job(ledger: JobLedger | None, **known: bool) -> dict[str, dict[str, float]]:
    """The samples of one job by name, then by the label that is neither project, job_name nor le."""
    values: dict[str, dict[str, float]] = {}
    for (name, labels), value in exposed(Snapshot((JobView(CHECKOUT, ledger, **known),))).items():
        own = [text for label, text in labels if label not in ("project", "job_name")]
        values.setdefault(name, {})[" ".join(own)] = value
    return values


def full() -> Snapshot:
    """Every family has a sample."""
    ledger = counted(counted(counted(idle(), 2, Result.FAILURE), 3), 4, Result.ABORTED)
    ledger = history(ledger, running(5, minute=9), minute=10)
    gone = RecycledJob("0" * 32, "gone", CHECKOUT.project_id, 1_700_000_000_000)
    return Snapshot(
        jobs=(JobView(CHECKOUT, ledger, up=True, deleted=False, checked_ms=ledger.polled_ms),),
        recycle_bin=RecycleBin(29 * 86_400_000, {gone.id: gone}),
        projects={CHECKOUT.project_id: "shop"},
    )


def test_before_the_first_poll_there_is_only_the_info() -> None:
    assert of_job(None) == {"job_info": {f"{CHECKOUT.id} {CHECKOUT.project_id}": 1}}


def test_from_the_first_poll_on_every_result_is_there_at_0() -> None:
    shown = of_job(watched(), up=True)
    zeros = dict.fromkeys(("success", "failure", "aborted", "timeout", "schedule_failure", "unknown"), 0)
    assert shown["builds_total"] == zeros
    assert shown["duration_seconds_count"] == {"success": 0, "failure": 0}
    assert (shown["queue_duration_seconds_count"], shown["recovery_duration_seconds_count"]) == (
        {"": 0},
        {"": 0},
    )
    assert shown["active_builds"] == {"queued": 0, "running": 0}
    assert (shown["recovered_builds_total"], shown["lost_builds_total"]) == ({"": 0}, {"": 0})
    assert (shown["consecutive_failures"], shown["job_up"]) == ({"": 0}, {"": 1})


@pytest.mark.parametrize(
    "name",
    [
        "oldest_active_build_timestamp_seconds",
        "last_build_result",
        "last_build_number",
        "last_build_duration_seconds",
        "last_build_queue_duration_seconds",
        "last_build_finish_timestamp_seconds",
        "last_success_timestamp_seconds",
        "job_deleted",
    ],
)
def test_what_is_not_known_is_absent(name: str) -> None:
    assert name not in of_job(watched(), up=True)


def test_one_result_of_the_last_build_is_1_and_the_others_are_0() -> None:
    shown = of_job(counted(idle(), 2, Result.TIMEOUT))["last_build_result"]
    assert (len(shown), {result for result, value in shown.items() if value}) == (6, {"timeout"})


def test_a_last_build_without_queue_time_has_no_series_for_it() -> None:
    shown = of_job(details(history(idle(), finished(2)), Refused(2)))
    assert shown["last_build_duration_seconds"] == {"": 60}
    assert "last_build_queue_duration_seconds" not in shown


def test_a_duration_of_another_result_appears_with_its_first_build() -> None:
    shown = of_job(counted(idle(), 2, Result.ABORTED))["duration_seconds_count"]
    assert shown == {"success": 0, "failure": 0, "aborted": 1}


def test_buckets_are_cumulative_and_end_with_infinity() -> None:
    shown = of_job(counted(idle(), 2))["duration_seconds_bucket"]
    assert {bound: value for bound, value in shown.items() if bound.endswith("success")} == {
        "10.0 success": 0,
        "60.0 success": 1,
        "600.0 success": 1,
        "+Inf success": 1,
    }


def test_seconds_are_exact_to_the_millisecond() -> None:
    ledger = idle()
    for number in range(2, 5):
        ledger = counted(ledger, number, finish=1 + 0.1 / 60)
    assert of_job(ledger)["duration_seconds_sum"]["success"] == 0.3


def test_an_empty_recycle_bin_has_a_size_and_a_retention_and_no_oldest_deletion() -> None:
    assert exposed(Snapshot(recycle_bin=RecycleBin(29 * 86_400_000, {}))) == {
        ("recycle_bin_jobs", ()): 0,
        ("recycle_bin_retention_seconds", ()): 29 * 86_400,
    }


def test_an_unread_recycle_bin_has_nothing() -> None:
    assert exposed(Snapshot()) == {}


def test_a_full_snapshot_has_every_family_under_its_name_type_and_labels() -> None:
    shown = {family.name: family for family in families(full())}
    declarations: tuple[Declared, ...] = (*JOB_FAMILIES, *FLEET_FAMILIES)
    for declared in declarations:
        family = shown.pop(declared.name.removesuffix("_total"))
        assert family.type == declared.kind
        assert {tuple(sorted(set(s.labels) - {"le"})) for s in family.samples} == {
            tuple(sorted(declared.labels))
        }
    assert shown == {}


def test_the_text_format_reads_back_as_what_was_exposed() -> None:
    snapshot = full()
    read = {
        s for f in parse_text(generate_latest(registry_of(snapshot)).decode()) for s in map(key, f.samples)
    }
    assert read == {s for f in families(snapshot) for s in map(key, f.samples)}


def test_openmetrics_reads_back_as_what_was_exposed() -> None:
    snapshot = full()
    text = openmetrics.generate_latest(registry_of(snapshot)).decode()
    assert text.endswith("# EOF\n")
    read = {s for f in parse_openmetrics(text) for s in map(key, f.samples)}
    assert read == {s for f in families(snapshot) for s in map(key, f.samples)}


def key(sample: object) -> tuple[object, ...]:
    name, labels, value = sample[:3]  # type: ignore[index]
    return name, tuple(sorted(labels.items())), float(value)


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("form", ["text", "openmetrics"])
def test_any_text_survives_as_a_label(text: str, form: str) -> None:
    job = Job(CHECKOUT.id, text, text, text)
    registry = registry_of(Snapshot((JobView(job, counted(idle(), 2), up=True),)))
    read = (
        parse_text(generate_latest(registry).decode())
        if form == "text"
        else parse_openmetrics(openmetrics.generate_latest(registry).decode())
    )
    labels = {(sample.labels["project"], sample.labels["job_name"]) for f in read for sample in f.samples}
    assert labels == {(text, text)}


def test_no_series_stands_twice() -> None:
    views = tuple(JobView(Job(str(n), f"job-{n}", "shop"), idle(), up=True) for n in range(50))
    keys = [key(sample)[:2] for family in families(Snapshot(views)) for sample in family.samples]
    assert len(keys) == len(set(keys))
