"""The provider's own SDK as the caller, signing with a made-up key."""

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.simulator import Fleet, ManualClock, Simulator

from .conftest import JOB, START_MS

# Warnings of the SDK itself, which is old and leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def simulator(fleet: Fleet) -> Iterator[Simulator]:
    """The SDK signs by the wall clock, so the simulator takes its callers to live by it."""
    with Simulator(fleet) as running:
        yield running


@pytest.fixture
def v3() -> Any:
    """The SDK, imported late: every worker imports every test."""
    return importlib.import_module("huaweicloudsdkcodeartsbuild.v3")


@pytest.fixture
def sdk(v3: Any, simulator: Simulator) -> Any:
    return _sdk(v3, simulator, "example-secret-key")


def _sdk(v3: Any, simulator: Simulator, secret_key: str) -> Any:
    from huaweicloudsdkcore.auth.credentials import BasicCredentials

    known = simulator.credentials
    credentials = BasicCredentials(known.access_keys[0].access_key, secret_key, known.project_id)
    return (
        v3.CodeArtsBuildClient.new_builder()
        .with_credentials(credentials)
        .with_endpoint(simulator.url)
        .build()
    )


def test_it_reads_the_history_of_a_period(sdk: Any, v3: Any, fleet: Fleet, clock: ManualClock) -> None:
    fleet.add_build(JOB, result="failure", branch="develop")
    fleet.add_build(JOB)
    clock.advance(60)
    answer = sdk.show_list_period_history(
        v3.ShowListPeriodHistoryRequest(
            job_id=JOB, offset=0, limit=10, start_time="2025-03-10", end_time="2025-03-10"
        )
    )
    assert (answer.total, [record.build_number for record in answer.history_records]) == (2, [2, 1])
    oldest = answer.history_records[1]
    assert (oldest.result, oldest.branch, oldest.job_id) == ("FAILURE", "develop", JOB)


def test_it_reads_the_detail_of_a_build(sdk: Any, v3: Any, fleet: Fleet, clock: ManualClock) -> None:
    fleet.add_build(JOB, queue_s=3, duration_s=100.068)
    clock.advance(200)
    answer = sdk.show_record_detail(v3.ShowRecordDetailRequest(job_id=JOB, build_no=1))
    detail = answer.result
    assert (answer.status, detail.status, detail.duration) == ("success", "SUCCESS", 100_068)
    moments = [datetime.fromisoformat(text) for text in (detail.queued_time, detail.start_time)]
    assert moments[0] == datetime.fromtimestamp(START_MS / 1000, UTC)
    assert (moments[1] - moments[0]).total_seconds() == 3


def test_it_reads_records_and_the_newer_record_info(
    sdk: Any, v3: Any, fleet: Fleet, clock: ManualClock
) -> None:
    for _ in range(3):
        fleet.add_build(JOB, queue_s=3, duration_s=100.068)
    clock.advance(200)
    detail = sdk.show_job_build_record_detail(
        v3.ShowJobBuildRecordDetailRequest(job_id=JOB, build_no=2)
    ).result
    answer = sdk.list_records(
        v3.ListRecordsRequest(
            build_project_id=detail.build_project_id,
            page=1,
            limit=2,
            from_date="2025-03-10 12:00:00",
            to_date="2025-03-10 12:00:00",
        )
    )
    [record] = answer.result.data
    assert (answer.result.pagination.total, record.build_no, record.build_duration) == (3, "1", 100_068)
    assert (detail.build_no, detail.start_time) == (2, record.start_time)


def test_it_reads_the_recycle_bin(sdk: Any, v3: Any, fleet: Fleet) -> None:
    fleet.delete_job(fleet.add_job("结算 发布/x~").id)
    answer = sdk.list_recycling_job(v3.ListRecyclingJobRequest(page_no=1, page_size=100, search="算 发布/x~"))
    assert (answer.status, answer.result.total, answer.result.keep_time) == ("success", 1, 29)
    assert answer.result.job_list[0].job_name == "结算 发布/x~"


def test_it_reads_job_and_project_lists(sdk: Any, v3: Any, fleet: Fleet) -> None:
    project_id = fleet.project_id("shop")
    of_user = sdk.list_job(v3.ListJobRequest(page_index=0, page_size=10))
    of_project = sdk.list_project_jobs(
        v3.ListProjectJobsRequest(project_id=project_id, page_index=0, page_size=10)
    )
    projects = sdk.list_related_project_info(v3.ListRelatedProjectInfoRequest(page_no=1, page_size=10))
    assert [job.id for job in of_user.result.job_list] == [JOB]
    assert [job.id for job in of_project.jobs] == [JOB]
    assert [project.identifier for project in projects.result.project_info_list] == [project_id]


def test_it_is_refused_with_a_wrong_key(v3: Any, simulator: Simulator) -> None:
    from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

    with pytest.raises(ClientRequestException) as refused:
        _sdk(v3, simulator, "another-secret-key").list_job(v3.ListJobRequest())
    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")
