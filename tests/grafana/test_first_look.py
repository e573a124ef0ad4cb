"""The first rows of *Fleet*, and the annotations of every dashboard."""

import re
from pathlib import Path

import pytest
import yaml

from tests.grafana.promql_answers import API, WEB, A, B, check
from tests.grafana.queries import FOLDER, SELECTOR, dashboards, expressions, is_of_jobs, panels


def test_the_list_of_alerts_shows_every_alert_of_the_rules_and_no_other() -> None:
    rules = yaml.safe_load((FOLDER.parents[1] / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    [listed] = [panel["options"] for panel in panels(dashboards()["fleet"]) if panel["type"] == "alertlist"]
    assert alerts
    assert all(listed["alertName"] in alert for alert in alerts)
    assert {state for state, shown in listed["stateFilter"].items() if shown} == {
        *("firing", "pending", "error")
    }


def test_the_number_of_alerts_is_zero_with_rules_and_absent_without(tmp_path: Path) -> None:
    [firing] = expressions("fleet", "Alerts firing")
    rules = {f"job_instance:codearts_build_scrape:up{{{A}}}": "1x40"}
    about_jobs = f'{API}, alertname="CodeArtsBuildStuck"'
    about_exporters = f'{A}, alertname="CodeArtsBuildApiDown"'
    series = {
        f'ALERTS{{{about_jobs}, alertstate="firing"}}': "1x40",
        f'ALERTS{{{about_exporters}, alertstate="firing"}}': "1x40",
        f'ALERTS{{{about_exporters}, alertstate="pending", severity="info"}}': "1x40",
        'ALERTS{alertname="DiskFull", alertstate="firing"}': "1x40",
    }
    check(tmp_path, firing, rules | series, {"{}": 2})
    check(tmp_path, firing, rules, {"{}": 0})
    check(tmp_path, firing, {f"codearts_build_up{{{A}}}": "1x40"}, {})


OLDEST = "codearts_build_oldest_active_build_timestamp_seconds"


def durations(form: str, job: str, seconds: int) -> dict[str, str]:
    """Return successful builds that took about as long, as a classic histogram or as counters."""
    name = "codearts_build_duration_seconds"
    labels = f'{A}, {job}, result="success"'
    if form == "lean":
        return {
            f"codearts_build_success_duration_seconds_total{{{A}, {job}}}": f"0+{seconds}x1000",
            f"codearts_build_timed_successes_total{{{A}, {job}}}": "0+1x1000",
        }
    return {
        f'{name}_bucket{{{labels}, le="{bound}"}}': f"0+{count}x1000"
        for bound, count in ((0.99 * seconds, 0), (seconds, 1), ("+Inf", 1))
    }


@pytest.mark.parametrize("form", ["classic", "lean"])
@pytest.mark.parametrize(("eval_time", "stuck"), [("119m", 0), ("121m", 2), ("179m", 2), ("181m", 3)])
def test_a_stuck_build_is_older_than_two_hours_and_thrice_the_usual_duration(
    tmp_path: Path, form: str, eval_time: str, stuck: int
) -> None:
    [number] = expressions("fleet", "Jobs with a stuck build")
    slow, new, idle = (f'project="shop", job_name="{name}"' for name in ("slow", "new", "idle"))
    started = {f"{OLDEST}{{{A}, {job}}}": "0x1000" for job in (API, slow, new)}
    up = {f"codearts_build_job_up{{{A}, {job}}}": "1x1000" for job in (API, slow, new, idle)}
    usual = {**durations(form, API, 60), **durations(form, slow, 3600)}
    check(tmp_path, number, {**started, **up, **usual}, {"{}": stuck}, eval_time)


def test_jobs_not_visible_exclude_those_in_the_recycle_bin(tmp_path: Path) -> None:
    [number] = expressions("fleet", "Jobs not visible")
    series = {
        f"codearts_build_job_up{{{A}, {API}}}": "0x40",
        f"codearts_build_job_up{{{A}, {WEB}}}": "0x40",
        f"codearts_build_job_deleted{{{A}, {API}}}": "0x40",
        f"codearts_build_job_deleted{{{A}, {WEB}}}": "1x40",
    }
    check(tmp_path, number, series, {"{}": 1})
    check(tmp_path, number, {f"codearts_build_job_up{{{A}, {API}}}": "1x40"}, {"{}": 0})


def test_exporters_with_problems_are_down_or_without_api_or_configuration(tmp_path: Path) -> None:
    [number] = expressions("fleet", "Exporters with problems")

    def exporter(name: str, up: int, api: int, config: int) -> dict[str, str]:
        target = f'{{job="c", instance="{name}"}}'
        return {
            f"up{target}": f"{up}x40",
            f"codearts_build_up{target}": f"{api}x40",
            f"codearts_build_exporter_config_last_reload_successful{target}": f"{config}x40",
            f"codearts_build_exporter_build_info{target}": "1x40",
        }

    fine = exporter("a", 1, 1, 1)
    node = {'up{job="node", instance="n"}': "0x40"}
    check(tmp_path, number, fine | node, {"{}": 0})
    broken = exporter("b", 0, 0, 0) | exporter("c", 1, 0, 1) | exporter("d", 1, 1, 0)
    check(tmp_path, number, fine | node | broken, {"{}": 3})


def test_a_lost_build_is_marked_when_it_is_counted(tmp_path: Path) -> None:
    [lost] = expressions("fleet", "annotation Lost builds")
    marked = f"{lost} < bool +Inf"
    series = {f"codearts_build_lost_builds_total{{{A}, {API}}}": "0x19 1x20"}
    check(tmp_path, marked, series, {}, "4m45s")
    check(tmp_path, marked, series, {f"{{{API}}}": 1}, "5m")
    check(tmp_path, marked, series, {}, "6m")


def test_a_reload_is_marked_at_its_time(tmp_path: Path) -> None:
    [loaded] = expressions("exporter", "annotation Start or reload")
    name = "codearts_build_exporter_config_last_reload_success_timestamp_seconds"
    series = {f"{name}{{{A}}}": "7x19 290x20", f"{name}{{{B}}}": "8x40"}
    check(tmp_path, loaded, series, {'{instance="a:1"}': 290_000, '{instance="b:1"}': 8000})


def test_every_dashboard_marks_lost_builds_and_loaded_configurations() -> None:
    for dashboard in dashboards().values():
        lost, loaded = dashboard["annotations"]["list"]
        for annotation in (lost, loaded):
            where = f"{dashboard['title']}: annotation {annotation['name']}"
            assert (annotation["datasource"], annotation["enable"]) == (
                {"type": "prometheus", "uid": "${datasource}"},
                True,
            ), where
            for metric, matchers in SELECTOR.findall(annotation["expr"]):
                selected = ["job", "instance"] + ["project", "job_name"] * is_of_jobs(metric)
                assert all(f'{name}=~"${name}"' in matchers for name in selected), where
            for name in re.findall(r"\{\{(\w+)\}\}", annotation["textFormat"]):
                assert re.search(rf"by \([^)]*\b{name}\b", annotation["expr"]), f"{where}: {name}"
        assert "codearts_build_lost_builds_total{" in lost["expr"]
        assert "codearts_build_exporter_config_last_reload_success_timestamp_seconds{" in loaded["expr"]
        assert (lost["useValueForTime"], loaded["useValueForTime"]) == (False, True)
