"""The example responses of the provider's documentation give the expected metrics."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.app import Exporter
from exporter.config import parse
from tests.support.documents import (
    PERIOD_HISTORY_JOB,
    RECORD_INFO_JOB,
    RECYCLED_JOB,
    example,
    history,
    serving,
)
from tests.support.oracle import Oracle

EMPTY_BIN = b'{"result": {"keep_time": 29, "total": 0, "job_list": []}, "error": null, "status": "success"}'


@contextmanager
def watching(job_id: str, answers: Mapping[str, bytes]) -> Iterator[Exporter]:
    """Run an exporter with a server of these responses; the first polls are done."""
    with serving(answers) as url:
        text = (
            f"endpoint: {url}\nauth: {{token: example}}\n"
            f"jobs: [{{id: {job_id}, name: maven, project: shop}}]\n"
            "poll: {interval: 100ms, max_interval: 1s, max_requests_per_minute: 100000}\n"
            'state: {path: ":memory:"}\n'
        )
        exporter = Exporter(parse(text, source="test", environ={}, base_dir=Path()))
        poll(exporter)
        try:
            yield exporter
        finally:
            exporter.client.session.close()
            exporter.store.close()


def poll(exporter: Exporter) -> None:
    """Run all due tasks; the job lists come first and make polls due."""
    while works := exporter.poller.take(10):
        exporter.poller.settle([exporter.poller.run(work) for work in works])


def shown(exporter: Exporter, name: str, **labels: str) -> float | None:
    job = {} if name.startswith("recycle_bin") else {"project": "shop", "job_name": "maven"}
    registry = CollectorRegistry()
    registry.register(Oracle(exporter.poller.view))
    return registry.get_sample_value(f"codearts_build_{name}", job | labels)


def test_period_history_has_build_55_a_failure_of_16_seconds() -> None:
    answers = {
        f"/v3/jobs/{PERIOD_HISTORY_JOB}/period-history": example("period-history"),
        "/v1/job/recycling-jobs": EMPTY_BIN,
    }
    with watching(PERIOD_HISTORY_JOB, answers) as exporter:
        assert shown(exporter, "last_build_number") == 55
        assert shown(exporter, "last_build_result", result="failure") == 1
        assert shown(exporter, "last_build_duration_seconds") == 16
        assert shown(exporter, "last_build_finish_timestamp_seconds") == 1_609_320_807
        assert shown(exporter, "last_build_queue_duration_seconds") is None
        assert shown(exporter, "consecutive_failures") == 1
        assert shown(exporter, "builds_total", result="failure") == 0
        assert shown(exporter, "job_up") == 1


def test_build_55_is_counted_if_it_ends_while_the_job_is_watched() -> None:
    running = {"job_id": PERIOD_HISTORY_JOB, "build_number": 55, "start_time": "2020-12-30T17:33:11+08:00"}
    answers = {f"/v3/jobs/{PERIOD_HISTORY_JOB}/period-history": history(running)}
    with watching(PERIOD_HISTORY_JOB, answers) as exporter:
        assert shown(exporter, "active_builds", state="running") == 1
        answers[f"/v3/jobs/{PERIOD_HISTORY_JOB}/period-history"] = example("period-history")
        time.sleep(0.1)
        poll(exporter)
        assert shown(exporter, "active_builds", state="running") == 0
        assert shown(exporter, "builds_total", result="failure") == 1
        assert shown(exporter, "duration_seconds_sum", result="failure") == 16
        assert shown(exporter, "queue_duration_seconds_count") == 0


def test_record_info_has_build_532_with_its_queue_time() -> None:
    record = {"job_id": RECORD_INFO_JOB, "build_number": 532, "start_time": "2022-10-11T16:28:47+08:00"}
    ended = record | {"end_time": "2022-10-11T16:30:27+08:00", "result": "SUCCESS"}
    path = f"/v3/jobs/{RECORD_INFO_JOB}/period-history"
    answers = {path: history(record), f"/v4/jobs/{RECORD_INFO_JOB}/532/record-info": example("record-info")}
    with watching(RECORD_INFO_JOB, answers) as exporter:
        answers[path] = history(ended)
        time.sleep(0.1)
        poll(exporter)
        assert shown(exporter, "last_build_number") == 532
        assert shown(exporter, "last_build_result", result="success") == 1
        assert shown(exporter, "last_build_duration_seconds") == 100.068
        assert shown(exporter, "last_build_queue_duration_seconds") == 2
        assert shown(exporter, "last_build_finish_timestamp_seconds") == 1_665_477_027
        assert shown(exporter, "last_success_timestamp_seconds") == 1_665_477_027
        assert shown(exporter, "builds_total", result="success") == 1
        assert shown(exporter, "duration_seconds_sum", result="success") == 100.068
        assert shown(exporter, "queue_duration_seconds_sum") == 2


def test_the_recycle_bin_holds_one_job_for_29_days() -> None:
    answers = {
        "/v1/job/recycling-jobs": example("recycling-jobs"),
        f"/v3/jobs/{RECYCLED_JOB}/period-history": history(),
    }
    with watching(RECYCLED_JOB, answers) as exporter:
        assert shown(exporter, "recycle_bin_jobs") == 1
        project = "b4d3971c3988463b865f6f920846149e"
        assert shown(exporter, "recycle_bin_project_jobs", project=project) == 1
        assert shown(exporter, "recycle_bin_retention_seconds") == 29 * 86_400
        assert shown(exporter, "recycle_bin_oldest_deletion_timestamp_seconds") == 1_727_084_455
        assert shown(exporter, "job_deleted") == 1
