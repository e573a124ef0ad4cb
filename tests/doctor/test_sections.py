"""Single findings and their format, without a service."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.api.http import Proxy, proxy_for
from exporter.app import families_of
from exporter.cli.check_config import summary
from exporter.config import Config, parse
from exporter.doctor.api_reachability import address
from exporter.doctor.credentials import clock
from exporter.doctor.probe_answers import Answers
from exporter.doctor.probe_plan import announced, at_most
from exporter.doctor.report import Finding, Mark, Report, Section, lines_of
from exporter.doctor.run import proxies_of
from exporter.doctor.series import series_of_a_job, series_section
from exporter.errors import Obstacle, UnreachableError
from exporter.exposition import Format, Renderer
from exporter.exposition.publisher import Publisher
from exporter.metrics import Family, FleetView, JobView, job_families
from exporter.metrics.exporter_metrics import Telemetry
from exporter.poller import Rules
from exporter.simulator import Fleet, ManualClock, Plan
from exporter.simulator.builds import RESULTS
from tests.support.watch import START_MS, Watch, watching

CONFIG = "region: cn-north-4\nauth: {token: t}\njobs: [ffffffffffffffffffffffffffffffff]\n"


def config(settings: str) -> Config:
    return parse(CONFIG + settings, source="test", environ={}, base_dir=Path())


def report(*findings: Finding) -> Report:
    return Report((Section("Title", findings),))


@pytest.mark.parametrize(
    ("jobs", "expected"), [(1, "1 job, 1 project, "), (2, "2 jobs, 1 project, ")], ids=["one job", "two jobs"]
)
def test_one_job_is_singular(jobs: int, expected: str) -> None:
    ids = ", ".join(str(number) * 32 for number in range(jobs))
    text = CONFIG.replace("f" * 32, ids) + f"projects: [{'a' * 32}]\n"
    assert summary(parse(text, source="test", environ={}, base_dir=Path())).startswith(expected)


def test_all_projects_are_named_as_such() -> None:
    assert summary(config("projects: [all]\n")).startswith("1 job, all projects, ")
    without_jobs = CONFIG.replace(f"jobs: [{'f' * 32}]", "projects: [all]")
    assert summary(parse(without_jobs, source="test", environ={}, base_dir=Path())).startswith(
        "all projects, "
    )
    assert at_most(config("projects: [all]\n")) == at_most(config(f"projects: [{'a' * 32}]\n")) - 1


class TestText:
    def test_marks_are_words(self) -> None:
        made = report(Finding(Mark.OK, "good"), Finding(Mark.PROBLEM, "bad", "mend it"))
        assert list(lines_of(made)) == [
            "",
            "Title",
            "  ok       good",
            "  problem  bad",
            "           what to do: mend it",
            "",
            "1 problem, 0 notes.",
        ]

    def test_suggestions_are_printed_once_at_the_end(self) -> None:
        made = report(Finding(Mark.NOTE, "a", "change it"), Finding(Mark.NOTE, "b", "change it"))
        assert list(lines_of(made))[-5:] == [
            "",
            "What to change",
            "  1. change it",
            "",
            "No problem, 2 notes.",
        ]

    def test_long_lines_wrap_with_indentation(self) -> None:
        lines = list(lines_of(report(Finding(Mark.OK, "word " * 60))))
        assert max(map(len, lines)) <= 100
        assert lines[3].startswith(" " * 11 + "word")

    def test_a_name_cannot_control_the_terminal(self) -> None:
        assert "\x1b" not in "".join(lines_of(report(Finding(Mark.OK, "a \x1b[31m name"))))


@pytest.mark.parametrize(
    ("offset_s", "mark"),
    [(0.4, "ok"), (-5.2, "ok"), (6.0, "note"), (-290.0, "note"), (301.0, "problem"), (None, "note")],
)
def test_a_clock_offset_has_a_severity(offset_s: float | None, mark: str) -> None:
    assert [finding.mark for finding in clock(offset_s).findings] == [mark]


@pytest.mark.parametrize("obstacle", Obstacle)
def test_each_obstacle_has_its_own_text(obstacle: Obstacle) -> None:
    config = parse(CONFIG, source="test", environ={}, base_dir=Path())
    error = UnreachableError("it broke", obstacle=obstacle)
    finding = address(config, Answers(stopped=error), {}).findings[-1]
    assert finding.mark is Mark.PROBLEM
    assert finding.text.endswith(": it broke")
    others = (address(config, Answers(stopped=UnreachableError("", obstacle=o)), {}) for o in Obstacle)
    assert sum(other.findings[-1].todo == finding.todo for other in others) == 1


def test_the_origin_of_an_address_is_shown() -> None:
    config = parse(CONFIG, source="test", environ={}, base_dir=Path())
    own = "https://cloudbuild-ext.cn-north-4.myhuaweicloud.com"
    proxies = {"endpoint": Proxy("https_proxy", "http://p:1")}
    assert [finding.text for finding in address(config, Answers(), proxies).findings] == [
        f"region cn-north-4, {own} (the region's own)",
        "requests to endpoint go through the proxy http://p:1 (https_proxy)",
    ]


def test_a_proxy_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:p4ss@proxy.example:3128")
    assert proxy_for("https://example.com") == Proxy("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_for("https://example.com") is None


@pytest.mark.parametrize("proxy", ["http://user:2024/p4ss@proxy:3128", "http://user:2024#p4ss@proxy:3128"])
def test_a_proxy_with_an_ambiguous_password_is_hidden(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert proxy_for("https://example.com") == Proxy("HTTPS_PROXY", "(its address cannot be read)")


def test_iam_may_have_another_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = "{password: {domain: d, username: u, password: p, project: cn-north-4}}"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "cloudbuild-ext.cn-north-4.myhuaweicloud.com")
    assert proxies_of(config("")) == {}
    by_password = parse(CONFIG.replace("{token: t}", auth), source="test", environ={}, base_dir=Path())
    proxies = proxies_of(by_password)
    assert proxies == {"iam_endpoint": Proxy("HTTPS_PROXY", "http://proxy.example:3128")}
    texts = [finding.text for finding in address(by_password, Answers(), proxies).findings]
    assert "requests to iam_endpoint go through the proxy http://proxy.example:3128 (HTTPS_PROXY)" in texts


@contextmanager
def after_success_and_failure(settings: str = "") -> Iterator[tuple[Watch, Callable[..., object]]]:
    """A watched job with successes, a failure and an unfinished build; and what adds another build."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    job = fleet.add_job("checkout")
    with watching(fleet, settings=f"{settings}recycle_bin: {{interval: 1m}}") as watch:
        watch.poll()
        for result in ("success", "failure", "success"):
            fleet.add_build(job.id, result=result)
            watch.poll(times=2)
        fleet.add_build(job.id, duration_s=None)
        watch.poll(times=2)
        yield watch, partial(fleet.add_build, job.id)


def test_estimated_series_equal_those_of_the_exporter() -> None:
    with after_success_and_failure() as (watch, _):
        renderer = Renderer(job_families(), Format.OPENMETRICS)
        empty = Renderer(job_families(), Format.OPENMETRICS).render(
            FleetView(recycle_bin=watch.poller.view.recycle_bin), compress=False
        )
        rendered = renderer.render(watch.poller.view, compress=False).series - empty.series
        assert series_of_a_job(watch.rules.buckets).usual == rendered


def test_lean_detail_has_at_most_25_series_a_job_and_those_of_each_project() -> None:
    with after_success_and_failure("metrics: {detail: lean}\n") as (watch, add_build):
        families = families_of(watch.config)
        series = series_of_a_job(watch.rules.buckets, lean=True)
        assert series.usual == published(watch, families)
        without_projects = [family for family in families if "job_name" in family.labels]
        assert series.project == published_of(watch.poller.view, families) - published_of(
            watch.poller.view, without_projects
        )
        for rare in RESULTS[2:]:
            add_build(result=rare)
        watch.poll(times=20)
        assert watch.counted("checkout").keys() == set(RESULTS)
        text = Renderer(without_projects, Format.TEXT).render(
            replace(watch.poller.view, recycle_bin=None), compress=False
        )
        assert text.series == 25


def test_native_histograms_are_one_series_each() -> None:
    fleet = Fleet(ManualClock(START_MS))
    with watching(fleet, jobs=["f" * 32]) as watch:
        buckets = watch.rules.buckets
    full, lean = series_of_a_job(buckets), series_of_a_job(buckets, lean=True)
    assert lean.native < full.native < full.usual / 2
    assert full.native <= 45


def test_plain_branches_count_from_the_start() -> None:
    settings = "metrics: {extra_labels: [branch], branches: [main, 'release/.*']}\n"
    with after_success_and_failure(settings) as (watch, _):
        families = families_of(watch.config)
        series = series_of_a_job(watch.rules.buckets, ("branch",), 1, plain=("main",))
        assert series.usual == published(watch, families)
        two = series_of_a_job(watch.rules.buckets, ("branch",), 2)
        assert (series.most, series.branch) == (two.most, two.branch)


def test_labels_multiply_series() -> None:
    fleet = Fleet(ManualClock(START_MS))
    with watching(fleet, jobs=["f" * 32]) as watch:
        buckets = watch.rules.buckets
    plain = series_of_a_job(buckets)
    branches = series_of_a_job(buckets, ("branch",), 2)
    assert branches.most == series_of_a_job(buckets, ("branch",), 1).most + branches.branch
    assert series_of_a_job(buckets, ("trigger",)).most > 3 * plain.most


@pytest.mark.parametrize("stages", [1, 5, 30])
def test_estimated_series_of_stages_equal_those_of_the_exporter(stages: int) -> None:
    with measured_stages(stages) as watch:
        series = series_of_a_job(watch.rules.buckets, stages=stages)
        assert series.usual == published(watch)
        assert series.usual == series_of_a_job(watch.rules.buckets).usual + stages * series.stage


def test_further_stages_add_no_series() -> None:
    with measured_stages(40) as watch:
        buckets = watch.rules.buckets
        series = series_of_a_job(buckets, stages=40)
        assert series.usual == published(watch)
        assert series.most - series_of_a_job(buckets).most == series.usual - series_of_a_job(buckets).usual
        assert series.most == series_of_a_job(buckets, stages=7).most


@contextmanager
def measured_stages(number: int) -> Iterator[Watch]:
    """A job that has had a success and a failure under the real poller, and builds now."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    plan = Plan(gap_s=None, stages=tuple((f"stage {index}", 1) for index in range(number)))
    job = fleet.add_job("checkout", plan=plan)
    with watching(fleet, settings="metrics: {stages: true}\nrecycle_bin: {interval: 1m}") as watch:
        watch.poll()
        for result in ("failure", "success"):
            fleet.add_build(job.id, result=result)
            watch.poll(times=4)
        fleet.add_build(job.id, duration_s=None)
        watch.poll(times=2)
        yield watch


def published(watch: Watch, families: Sequence[Family[JobView]] = job_families(stages=True)) -> int:
    """Series of jobs in what the publisher serves."""
    view = watch.poller.view
    return published_of(view, families) - published_of(replace(view, jobs=()), families)


def published_of(view: FleetView, families: Sequence[Family[JobView]]) -> int:
    """Series in what the publisher serves."""
    publisher = Publisher(partial(replace, view), Telemetry(CollectorRegistry()), families)
    publisher.publish()
    return publisher.series


class TestAnnounced:
    def test_a_brief_examination_has_no_duration(self) -> None:
        assert announced(config("")).endswith("at most 300 a minute")

    def test_a_long_examination_has_a_duration(self) -> None:
        text = announced(config("poll: {max_requests_per_minute: 10}\nmetrics: {stages: true}\n"))
        assert text == (
            "asking: about 6 requests, which takes 36s at 10 a minute; each further 100 jobs in a list "
            "take 6s more"
        )

    def test_stages_add_one_request(self) -> None:
        assert at_most(config("metrics: {stages: true}")) == at_most(config("")) + 1


@pytest.mark.parametrize(("detail", "says"), [("full", True), ("lean", False)])
def test_the_native_form_is_mentioned_only_where_it_saves_series(detail: str, says: bool) -> None:
    settings = config(f"metrics: {{detail: {detail}}}")
    found = series_section(settings, Answers(), 1, Rules.of(settings).buckets).findings
    assert any("where Prometheus stores native histograms" in finding.text for finding in found) == says
    assert "1 job that succeeds and fails" in found[0].text
