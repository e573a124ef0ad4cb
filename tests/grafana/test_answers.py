"""Queries of the dashboards return the right values for made-up series, evaluated by promtool."""

from pathlib import Path

import pytest

from tests.grafana.promql_answers import API, WEB, A, B, check
from tests.grafana.queries import expressions


def builds(result: str, target: str = A, job: str = API, more: str = "") -> str:
    return f'codearts_build_builds_total{{{target}, {job}, result="{result}"{more}}}'


def test_the_success_ratio_sums_over_shards_and_triggers_and_ignores_aborted_builds(tmp_path: Path) -> None:
    series = {
        builds("success"): "0+1x40",
        builds("success", B, WEB, ', trigger="manual"'): "0+2x40",
        builds("failure"): "0+1x40",
        builds("timeout", B, WEB, ', trigger="schedule"'): "0+1x40",
        builds("aborted"): "0+9x40",
    }
    [ratio] = expressions("fleet", "Success ratio")
    check(tmp_path, ratio, series, {"{}": 0.6})


def test_without_builds_there_is_no_success_ratio(tmp_path: Path) -> None:
    [ratio] = expressions("fleet", "Success ratio")
    check(tmp_path, ratio, {builds("success"): "0x40", builds("failure"): "0x40"}, {})


def test_builds_per_hour_do_not_depend_on_the_resolution(tmp_path: Path) -> None:
    [rate] = expressions("job", "Builds per hour, by result")
    series = {builds("success"): "0+1x40", builds("success", B, WEB): "0+1x40", builds("failure"): "0x40"}
    check(tmp_path, rate, series, {'{result="success"}': 480, '{result="failure"}': 0})


STREAKS = {
    f"codearts_build_consecutive_failures{{{A}, {API}}}": "3x40",
    f"codearts_build_consecutive_failures{{{A}, {WEB}}}": "2x40",
    f'codearts_build_consecutive_failures{{{A}, project="shop", job_name="fine"}}': "0x40",
    f"codearts_build_last_success_timestamp_seconds{{{A}, {WEB}}}": "100x40",
    f'codearts_build_last_success_timestamp_seconds{{{A}, project="shop", job_name="fine"}}': "500x40",
}


def test_failing_jobs_are_listed_with_and_without_a_known_success(tmp_path: Path) -> None:
    streak, since, page = expressions("fleet", "Failing jobs")
    check(tmp_path, streak, STREAKS, {f"{{{API}}}": 3, f"{{{WEB}}}": 2})
    info = {f'codearts_build_job_info{{{A}, {API}, job_id="1", url="https://x"}}': "1x40"}
    check(tmp_path, page, STREAKS | info, {f'{{{API}, url="https://x"}}': 1})
    check(tmp_path, since, STREAKS, {f"{{{WEB}}}": 500})


def test_the_number_of_failing_jobs_is_zero_without_failures_and_absent_without_jobs(tmp_path: Path) -> None:
    [failing] = expressions("fleet", "Jobs failing now")
    check(tmp_path, failing, STREAKS, {"{}": 2})
    check(tmp_path, failing, {f"codearts_build_consecutive_failures{{{A}, {API}}}": "0x40"}, {"{}": 0})
    check(tmp_path, failing, {}, {})


def test_a_job_that_moved_to_another_shard_is_listed_once(tmp_path: Path) -> None:
    streak, *_ = expressions("fleet", "Failing jobs")
    both = {
        f"codearts_build_consecutive_failures{{{A}, {API}}}": "3x40",
        f"codearts_build_consecutive_failures{{{B}, {API}}}": "4x40",
    }
    check(tmp_path, streak, both, {f"{{{API}}}": 4})


def test_stuck_builds_have_the_age_of_the_oldest(tmp_path: Path) -> None:
    age, usual = expressions("fleet", "Stuck builds")
    oldest = "codearts_build_oldest_active_build_timestamp_seconds"
    bucket = "codearts_build_duration_seconds_bucket"
    series = {
        f"{oldest}{{{A}, {API}}}": "60x40",
        f'{bucket}{{{A}, {API}, result="success", le="10"}}': "0+1x40",
        f'{bucket}{{{A}, {API}, result="success", le="+Inf"}}': "0+1x40",
        f'{bucket}{{{A}, {WEB}, result="success", le="10"}}': "0+1x40",
        f'{bucket}{{{A}, {WEB}, result="success", le="+Inf"}}': "0+1x40",
    }
    check(tmp_path, age, series, {f"{{{API}}}": 540})
    check(tmp_path, usual, series, {f"{{{API}}}": 9.9})


def gauges(job: str, active: int, streak: int, **more: str) -> dict[str, str]:
    """Return gauges of a job with unfinished builds and a streak of failures, and others by name."""
    named = {
        "oldest_active_build_timestamp_seconds": "0x400",
        "consecutive_failures": f"{streak}x400",
        "job_deleted": "0x400",
        **more,
    }
    running = f'codearts_build_active_builds{{{A}, {job}, state="running"}}'
    others = {f"codearts_build_{name}{{{A}, {job}}}": values for name, values in named.items()}
    return {running: f"{active}x400", **others}


@pytest.mark.parametrize(("eval_time", "active", "failing"), [("10m", 7, 3), ("30m", 3, 2), ("75m", 1, 1)])
def test_jobs_that_are_gone_are_excluded_and_a_short_outage_excludes_none(
    tmp_path: Path, eval_time: str, active: int, failing: int
) -> None:
    gone, binned = 'project="shop", job_name="gone"', 'project="shop", job_name="binned"'
    polled, up = "job_last_poll_timestamp_seconds", "job_up"
    series = {
        **gauges(API, 1, 3, **{up: "1x280 0x119", polled: "0+15x280 4200x119"}),
        **gauges(gone, 2, 4, **{up: "1x20 0x379", polled: "0+15x20 300x379"}),
        **gauges(binned, 4, 5, job_deleted="0x80 1x319"),
    }
    [running] = expressions("fleet", "Running builds")
    [unfinished] = expressions("job", "Unfinished builds")
    [failures] = expressions("fleet", "Jobs failing now")
    check(tmp_path, running, series, {"{}": active}, eval_time)
    check(tmp_path, unfinished, series, {'{state="running"}': active}, eval_time)
    check(tmp_path, failures, series, {"{}": failing}, eval_time)


def test_stuck_builds_exclude_deleted_jobs(tmp_path: Path) -> None:
    age, usual = expressions("fleet", "Stuck builds")
    series = {**gauges(API, 1, 0), **gauges(WEB, 1, 0, job_deleted="1x400")}
    check(tmp_path, age, series, {f"{{{API}}}": 600})
    check(tmp_path, usual, series, {})


def test_quantiles_without_builds_have_no_value(tmp_path: Path) -> None:
    bucket = "codearts_build_queue_duration_seconds_bucket"
    series = {f'{bucket}{{{A}, {API}, le="1"}}': "5x40", f'{bucket}{{{A}, {API}, le="+Inf"}}': "5x40"}
    for quantile in expressions("job", "Queue time"):
        check(tmp_path, quantile, series, {})


def test_the_last_result_is_a_number_that_the_panel_maps_to_a_word(tmp_path: Path) -> None:
    [last] = expressions("job", "Result of the last build")
    name = "codearts_build_last_build_result"
    series = {
        f'{name}{{{A}, {API}, result="success"}}': "0x40",
        f'{name}{{{A}, {API}, result="failure"}}': "1x40",
        f'{name}{{{A}, {WEB}, result="success"}}': "1x40",
        f'{name}{{{A}, {WEB}, result="failure"}}': "0x40",
    }
    check(tmp_path, last, series, {f"{{{API}}}": 2, f"{{{WEB}}}": 1})


@pytest.mark.parametrize(("eval_time", "visible"), [("4m45s", False), ("5m", True), ("5m15s", False)])
def test_each_build_is_one_point(tmp_path: Path, eval_time: str, visible: bool) -> None:
    success, failure, *_ = expressions("job", "Individual builds")
    series = {
        f"codearts_build_last_build_number{{{A}, {API}}}": "7x19 8x20",
        f"codearts_build_last_build_duration_seconds{{{A}, {API}}}": "30x19 44x20",
        f'codearts_build_last_build_result{{{A}, {API}, result="success"}}': "1x40",
        f'codearts_build_last_build_result{{{A}, {API}, result="failure"}}': "0x40",
    }
    check(tmp_path, success, series, {f"{{{API}}}": 44} if visible else {}, eval_time)
    check(tmp_path, failure, series, {}, eval_time)


@pytest.mark.parametrize(("eval_time", "visible"), [("4m45s", False), ("5m", True), ("5m15s", False)])
def test_a_build_that_never_started_is_a_point_at_zero(tmp_path: Path, eval_time: str, visible: bool) -> None:
    [unstarted] = [
        query for query in expressions("job", "Individual builds") if '"schedule_failure"' in query
    ]
    series = {
        f"codearts_build_last_build_number{{{A}, {API}}}": "7x19 8x20",
        f'codearts_build_last_build_result{{{A}, {API}, result="schedule_failure"}}': "1x40",
    }
    check(tmp_path, unstarted, series, {f"{{{API}}}": 0} if visible else {}, eval_time)


def test_the_mean_recovery_is_of_streaks_that_ended(tmp_path: Path) -> None:
    [mean] = expressions("job", "Mean time to recovery")
    name = "codearts_build_recovery_duration_seconds"
    series = {f"{name}_sum{{{A}, {API}}}": "0+30x40", f"{name}_count{{{A}, {API}}}": "0+2x40"}
    check(tmp_path, mean, series, {"{}": 15})
    check(tmp_path, mean, {f"{name}_sum{{{A}, {API}}}": "0x40", f"{name}_count{{{A}, {API}}}": "0x40"}, {})


def test_the_next_purge_is_the_oldest_deletion_plus_the_retention(tmp_path: Path) -> None:
    [left] = expressions("fleet", "Next purge in")
    series = {
        f"codearts_build_recycle_bin_oldest_deletion_timestamp_seconds{{{A}}}": "100x40",
        f"codearts_build_recycle_bin_retention_seconds{{{A}}}": "2000x40",
    }
    check(tmp_path, left, series, {"{}": 1500})


def test_the_age_of_the_recycle_bin_is_the_time_since_its_last_read(tmp_path: Path) -> None:
    [age] = expressions("fleet", "Recycle bin age")
    read = f"codearts_build_recycle_bin_last_read_timestamp_seconds{{{A}}}"
    check(tmp_path, age, {read: "60x40"}, {"{}": 540})


def test_the_share_of_failed_requests_is_zero_when_none_failed(tmp_path: Path) -> None:
    [share] = expressions("exporter", "Share of failed requests")
    name = "codearts_build_exporter_api_requests_total"
    series = {
        f'{name}{{{A}, operation="projects", code="200"}}': "0+3x40",
        f'{name}{{{B}, operation="projects", code="200"}}': "0+3x40",
        f'{name}{{{B}, operation="projects", code="timeout"}}': "0+1x40",
    }
    check(tmp_path, share, series, {'{instance="a:1"}': 0, '{instance="b:1"}': 0.25})


def test_an_exporter_that_went_down_is_included_and_other_programs_are_not(tmp_path: Path) -> None:
    [up] = expressions("exporter", "Exporters up")
    series = {
        f"up{{{A}}}": "1x40",
        f"up{{{B}}}": "1x30 0x9",
        'up{job="node", instance="n:1"}': "0x40",
        f"codearts_build_exporter_build_info{{{A}}}": "1x40",
        f"codearts_build_exporter_build_info{{{B}}}": "1x30 stale",
    }
    check(tmp_path, up, series, {"{}": 0.5})


def stages(metric: str, stage: str, target: str = A, job: str = API) -> str:
    return f'codearts_build_{metric}{{{target}, {job}, stage="{stage}"}}'


def test_the_mean_duration_of_a_stage_is_over_builds_that_reached_it(tmp_path: Path) -> None:
    series = {
        stages("stage_duration_seconds_sum", "Maven"): "0+90x40",
        stages("stage_duration_seconds_count", "Maven"): "0+2x40",
        stages("stage_duration_seconds_sum", "Maven", B, WEB): "0+30x40",
        stages("stage_duration_seconds_count", "Maven", B, WEB): "0+1x40",
        stages("stage_duration_seconds_sum", "idle"): "7x40",
        stages("stage_duration_seconds_count", "idle"): "1x40",
    }
    [average] = expressions("job", "Mean duration of stages")
    check(tmp_path, average, series, {'{stage="Maven"}': 40})


SHOP = f'{A}, project="shop"'


def test_in_lean_detail_distributions_are_those_of_the_project(tmp_path: Path) -> None:
    [recovery] = expressions("job", "Mean time to recovery")
    histogram = "codearts_build_recovery_duration_seconds"
    series = {f"{histogram}_sum{{{SHOP}}}": "0+600x40", f"{histogram}_count{{{SHOP}}}": "0+2x40"}
    check(tmp_path, recovery, series, {"{}": 300})
    p50, p90 = expressions("job", "Time to recovery")
    buckets = {
        f'{histogram}_bucket{{{SHOP}, le="300"}}': "0+1x40",
        f'{histogram}_bucket{{{SHOP}, le="600"}}': "0+2x40",
        f'{histogram}_bucket{{{SHOP}, le="+Inf"}}': "0+2x40",
    }
    check(tmp_path, p50, buckets, {"{}": 300})
    check(tmp_path, p90, buckets, {"{}": 540})


def test_in_lean_detail_the_usual_duration_of_a_job_is_the_mean(tmp_path: Path) -> None:
    [slowest] = expressions("fleet", "Slowest jobs")
    series = {
        f"codearts_build_success_duration_seconds_total{{{A}, {API}}}": "0+200x40",
        f"codearts_build_timed_successes_total{{{A}, {API}}}": "0+2x40",
        f"codearts_build_success_duration_seconds_total{{{A}, {WEB}}}": "0x40",
        f"codearts_build_timed_successes_total{{{A}, {WEB}}}": "0x40",
        f'codearts_build_duration_seconds_bucket{{{SHOP}, result="success", le="300"}}': "0+2x40",
        f'codearts_build_duration_seconds_bucket{{{SHOP}, result="success", le="+Inf"}}': "0+2x40",
    }
    check(tmp_path, slowest, series, {f"{{{API}}}": 100})


def test_in_lean_detail_the_last_result_is_the_only_one_that_there_is(tmp_path: Path) -> None:
    result, *_ = expressions("job", "Last build")
    last = "codearts_build_last_build_result"
    series = {
        f'{last}{{{A}, {API}, result="success"}}': "1x20 stale",
        f'{last}{{{A}, {API}, result="aborted"}}': "_x20 1x20",
    }
    check(tmp_path, result, series, {f"{{{API}}}": 1}, "4m")
    check(tmp_path, result, series, {f"{{{API}}}": 3}, "6m")
