"""Samples of a job that are exposed or absent, depending on what is known of it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition import Format, Renderer
from exporter.ledger.fold_observations import Refused
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics import FleetView, JobView, job_families
from exporter.model import ConsoleLinks, Job, RecycleBin, Result, Trigger
from tests.ledger.examples import counted, details, finished, history, idle, watched
from tests.support.oracle import rendered

CHECKOUT = Job("f9d6c8466d614a9788e9a0acf6c15f46", "checkout", "shop", "b4d3971c3988463b865f6f920846149e")


def exposed(
    view: FleetView, extra: tuple[str, ...] = (), branches: tuple[str, ...] = ()
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name.removeprefix("codearts_build_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(rendered(view, Format.TEXT, extra, branches).decode())
        for sample in family.samples
    }


def of_job(ledger: JobLedger | None, *, up: bool | None = None) -> dict[str, dict[str, float]]:
    """The samples of one job by name, then by the label that is neither project, job_name nor le."""
    values: dict[str, dict[str, float]] = {}
    for (name, labels), value in exposed(FleetView((JobView(CHECKOUT, ledger, up=up),))).items():
        own = [text for label, text in labels if label not in ("project", "job_name")]
        values.setdefault(name, {})[" ".join(own)] = value
    return values


def test_before_the_first_poll_only_the_info_metric_is_exposed() -> None:
    assert of_job(None) == {"job_info": {f"{CHECKOUT.id} {CHECKOUT.project_id}": 1}}


def test_with_links_to_the_console_the_info_metric_has_the_url_of_the_job() -> None:
    families = job_families(links=ConsoleLinks("https://console/{project_id}/{job_id}"))
    view = FleetView((JobView(CHECKOUT, None), JobView(Job("a" * 32, "new", "unknown"), None)))
    text = Renderer(families, Format.TEXT).render(view, compress=False).identity(b"")
    urls = {
        sample.labels["job_name"]: sample.labels["url"]
        for family in parse_text(b"".join(text).decode())
        for sample in family.samples
        if sample.name == "codearts_build_job_info"
    }
    assert urls == {"checkout": f"https://console/{CHECKOUT.project_id}/{CHECKOUT.id}", "new": ""}


def test_from_the_first_poll_on_every_result_is_exposed_at_0() -> None:
    samples = of_job(watched(), up=True)
    zeros = dict.fromkeys(("success", "failure", "aborted", "timeout", "schedule_failure", "unknown"), 0)
    assert samples["builds_total"] == zeros
    assert samples["duration_seconds_count"] == {"success": 0, "failure": 0}
    assert (samples["queue_duration_seconds_count"], samples["recovery_duration_seconds_count"]) == (
        {"": 0},
        {"": 0},
    )
    assert samples["active_builds"] == {"queued": 0, "running": 0}
    assert (samples["recovered_builds_total"], samples["lost_builds_total"]) == ({"": 0}, {"": 0})
    assert (samples["consecutive_failures"], samples["job_up"]) == ({"": 0}, {"": 1})


@pytest.mark.parametrize("triggers", [False, True])
def test_configured_branches_are_exposed_at_0_like_other(triggers: bool) -> None:
    extra = ("branch", "trigger") if triggers else ("branch",)
    view = FleetView((JobView(CHECKOUT, watched(), up=True),))
    samples = exposed(view, extra, ("main", "other"))
    of_builds = [dict(labels) for name, labels in samples if name == "builds_total"]
    assert len(of_builds) == len(Result) * 2 * (len(Trigger) if triggers else 1)
    assert {labels["branch"] for labels in of_builds} == {"main", "other"}
    durations = [dict(labels)["branch"] for name, labels in samples if name == "duration_seconds_count"]
    assert sorted(durations) == ["other", "other"] if triggers else ["main", "main", "other", "other"]
    assert {value for (name, _), value in samples.items() if name.endswith(("_total", "_count"))} == {0}


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
        "job_disabled",
    ],
)
def test_unknown_values_are_absent(name: str) -> None:
    assert name not in of_job(watched(), up=True)


def test_one_result_of_the_last_build_is_1_and_the_others_are_0() -> None:
    samples = of_job(counted(idle(), 2, Result.TIMEOUT))["last_build_result"]
    assert (len(samples), {result for result, value in samples.items() if value}) == (6, {"timeout"})


def test_a_last_build_without_queue_time_has_no_series_for_it() -> None:
    samples = of_job(details(history(idle(), finished(2)), Refused(2)))
    assert samples["last_build_duration_seconds"] == {"": 60}
    assert "last_build_queue_duration_seconds" not in samples


def test_a_duration_of_another_result_appears_with_its_first_build() -> None:
    samples = of_job(counted(idle(), 2, Result.ABORTED))["duration_seconds_count"]
    assert samples == {"success": 0, "failure": 0, "aborted": 1}


def test_buckets_are_cumulative_and_end_with_infinity() -> None:
    samples = of_job(counted(idle(), 2))["duration_seconds_bucket"]
    assert {bound: value for bound, value in samples.items() if bound.endswith("success")} == {
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
    assert exposed(FleetView(recycle_bin=RecycleBin(29 * 86_400_000, {}, read_ms=1500))) == {
        ("recycle_bin_jobs", ()): 0,
        ("recycle_bin_retention_seconds", ()): 29 * 86_400,
        ("recycle_bin_last_read_timestamp_seconds", ()): 1.5,
    }


def test_an_unread_recycle_bin_has_no_samples() -> None:
    assert exposed(FleetView()) == {}
