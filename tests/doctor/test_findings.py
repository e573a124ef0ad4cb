"""What single findings say, and how they look; no service is needed."""

from pathlib import Path

import pytest

from exporter.catalogue import FleetView, job_families
from exporter.config import parse
from exporter.doctor import Finding, Mark, Report, Section, lines_of
from exporter.doctor.address import Proxy, address
from exporter.doctor.answers import Answers
from exporter.doctor.clock import clock
from exporter.doctor.proxies import proxy_for
from exporter.doctor.series import series_of_a_job
from exporter.errors import Obstacle, UnreachableError
from exporter.exposition import Format, Renderer
from exporter.simulator import Fleet, ManualClock
from tests.support.watch import START_MS, watching

CONFIG = "region: cn-north-4\nauth: {token: t}\njobs: [ffffffffffffffffffffffffffffffff]\n"


def report(*findings: Finding) -> Report:
    return Report((Section("Title", findings),))


class TestText:
    def test_marks_are_words(self) -> None:
        told = report(Finding(Mark.OK, "good"), Finding(Mark.PROBLEM, "bad", "mend it"))
        assert list(lines_of(told)) == [
            "",
            "Title",
            "  ok       good",
            "  problem  bad",
            "           what to do: mend it",
            "",
            "1 problem, 0 notes.",
        ]

    def test_what_could_be_better_is_told_once_and_at_the_end(self) -> None:
        told = report(Finding(Mark.NOTE, "a", "change it"), Finding(Mark.NOTE, "b", "change it"))
        assert list(lines_of(told))[-5:] == [
            "",
            "What to change",
            "  1. change it",
            "",
            "All is well, with 2 notes.",
        ]

    def test_long_lines_are_broken_under_their_beginning(self) -> None:
        lines = list(lines_of(report(Finding(Mark.OK, "word " * 60))))
        assert max(map(len, lines)) <= 100
        assert lines[3].startswith(" " * 11 + "word")

    def test_a_name_cannot_command_the_terminal(self) -> None:
        assert "\x1b" not in "".join(lines_of(report(Finding(Mark.OK, "a \x1b[31m name"))))


@pytest.mark.parametrize(
    ("offset_s", "mark"),
    [(0.4, "ok"), (-5.2, "ok"), (6.0, "note"), (-290.0, "note"), (301.0, "problem"), (None, "note")],
)
def test_the_clock_is_judged_by_how_far_it_is_off(offset_s: float | None, mark: str) -> None:
    assert [finding.mark for finding in clock(offset_s).findings] == [mark]


@pytest.mark.parametrize("obstacle", Obstacle)
def test_each_obstacle_is_told_in_words_of_its_own(obstacle: Obstacle) -> None:
    config = parse(CONFIG, source="test", environ={}, base_dir=Path())
    error = UnreachableError("it broke", obstacle=obstacle)
    finding = address(config, Answers(stopped=error), None).findings[-1]
    assert finding.mark is Mark.PROBLEM
    assert finding.text.endswith(": it broke")
    others = (address(config, Answers(stopped=UnreachableError("", obstacle=o)), None) for o in Obstacle)
    assert sum(other.findings[-1].todo == finding.todo for other in others) == 1


def test_the_address_says_where_it_comes_from() -> None:
    config = parse(CONFIG, source="test", environ={}, base_dir=Path())
    own = "https://cloudbuild-ext.cn-north-4.myhuaweicloud.com"
    assert [one.text for one in address(config, Answers(), Proxy("https_proxy", "http://p:1")).findings] == [
        f"region cn-north-4, {own} (the region's own)",
        "requests go through the proxy http://p:1 (https_proxy)",
    ]


def test_a_proxy_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:p4ss@proxy.example:3128")
    assert proxy_for("https://example.com") == Proxy("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert proxy_for("https://example.com") is None


def test_series_are_those_that_the_exporter_shows() -> None:
    fleet = Fleet(ManualClock(START_MS), seed=1)
    job = fleet.add_job("checkout")
    with watching(fleet, settings="recycle_bin: {interval: 1m}") as watch:
        watch.poll()
        for result in ("success", "failure", "success"):
            fleet.add_build(job.id, result=result)
            watch.poll(times=2)
        fleet.add_build(job.id, duration_s=None)
        watch.poll(times=2)
        renderer = Renderer(job_families(), Format.OPENMETRICS)
        empty = Renderer(job_families(), Format.OPENMETRICS).render(
            FleetView(recycle_bin=watch.poller.view.recycle_bin), compress=False
        )
        shown = renderer.render(watch.poller.view, compress=False).series - empty.series
        assert series_of_a_job(watch.rules.buckets).usual == shown


def test_labels_multiply_series() -> None:
    fleet = Fleet(ManualClock(START_MS))
    with watching(fleet, jobs=["f" * 32]) as watch:
        buckets = watch.rules.buckets
    plain = series_of_a_job(buckets)
    branches = series_of_a_job(buckets, ("branch",), 2)
    assert branches.most == series_of_a_job(buckets, ("branch",), 1).most + branches.branch
    assert series_of_a_job(buckets, ("trigger",)).most > 3 * plain.most
    assert series_of_a_job(buckets, stages=True).most == plain.most + 31 * (len(buckets.duration) + 3)
