"""Whole examinations of a service that works, refuses, or is in trouble."""

import re
import time

import pytest

from exporter.doctor.report import Mark, columns
from exporter.simulator import Fault, Simulator, fault
from tests.doctor.conftest import Examine, statuses
from tests.support.programs import free_port

PASSWORD = (
    "{password: {domain: example, username: exporter, password: example-password, project: cn-north-4}}"
)


def forbidden(operation: str | None = None, job: str | None = None) -> Fault:
    return fault(
        "error", operation=operation, job=job, status=403, code="CB.00031007", message="No permission."
    )


def test_a_right_configuration_has_no_problem(examined: Examine) -> None:
    found = examined()
    assert found.problems == []
    assert found.section("Clock") == ["ok: within 5 s of the service's"]
    assert found.section("Credentials")[-1] == "ok: accepted by the service"
    assert all("visible, last build 1" in line for line in found.section("Jobs"))
    assert {line.partition(":")[0] for line in found.section("Permissions")} == {"ok"}
    assert found.text.splitlines()[-1] == "No problem, 1 note."


def test_the_report_fits_a_terminal(simulator: Simulator, examined: Examine) -> None:
    for name in ("release-" * 16, "构建" * 64, "构建 发布 " * 20):
        simulator.fleet.add_job(name, "项目" * 30)
    ids = [job.id for job in simulator.fleet.jobs()]
    for job_id in ids[4:]:
        simulator.faults.add(forbidden(job=job_id))
    found = examined(jobs=[*ids, "f" * 32, "e" * 32])
    assert found.report.count(Mark.PROBLEM) == 4
    assert max(map(columns, found.text.splitlines())) <= 100


def test_a_repeated_remedy_is_printed_once(examined: Examine) -> None:
    found = examined(jobs=["f" * 32, "e" * 32])
    assert found.text.count("what to do: compare the ID") == found.text.count("what to do: the same") == 1


def test_every_problem_says_what_to_do(simulator: Simulator, examined: Examine) -> None:
    simulator.faults.add(forbidden("recycling-jobs"))
    found = examined(jobs=["f" * 32])
    assert found.text.count("what to do: ") == found.report.count(Mark.PROBLEM) == 3


def test_each_operation_is_asked_a_few_times_at_most(simulator: Simulator, examined: Examine) -> None:
    examined()
    asked = {operation: count for (operation, _), count in simulator.counts.items()}
    assert asked == {"job-list": 1, "recycling-jobs": 1, "period-history": 3, "record-info": 1}


def test_many_jobs_take_little_more_than_their_lists(simulator: Simulator, examined: Examine) -> None:
    for number in range(597):
        simulator.fleet.add_job(f"job-{number}", f"project-{number % 3}")
    found = examined()
    assert sum(simulator.counts.values()) <= 6 + 10
    assert "600 jobs" in found.text


def test_max_interval_is_compared_with_its_default(simulator: Simulator, examined: Examine) -> None:
    for number in range(12):
        simulator.fleet.add_job(f"job-{number}", "shop")
    ids = [*(job.id for job in simulator.fleet.jobs()), "f" * 32]
    poll = "max_requests_per_minute: 6000, interval: 5m"
    given = examined(f"poll: {{{poll}, max_interval: 5m}}", jobs=ids).section("Requests")
    left_out = examined(f"poll: {{{poll}}}", jobs=ids).section("Requests")
    polls = [re.findall(r"([0-9.]+) for polls of jobs", line) for line in (given[0], left_out[0])]
    [[with_it], [without]] = polls
    assert (
        given[-1]
        == f"note: poll.max_interval raises polls from {without} to {with_it} a minute to no benefit"
    )
    assert not any("poll.max_interval raises" in line for line in left_out)


class TestTrouble:
    def test_the_endpoint_refuses_connections(self, examined: Examine) -> None:
        found = examined(endpoint=f"http://127.0.0.1:{free_port()}")
        assert "nothing listens at that address" in found.problems[0]
        assert found.section("Clock") == ["note: not compared: no valid answer had a date"]
        assert len(found.problems) == 1

    def test_iam_refuses_connections(self, examined: Examine) -> None:
        dead = f"http://127.0.0.1:{free_port()}"
        found = examined(auth=PASSWORD, iam_endpoint=dead)
        [text] = found.problems
        assert f"nothing listens at that address: IAM at {dead} cannot be reached" in text
        assert "check host and port of iam_endpoint; " in found.text

    def test_the_metadata_service_refuses_connections(self, examined: Examine) -> None:
        dead = f"http://127.0.0.1:{free_port()}"
        found = examined(auth=f"{{ecs_agency: {{metadata_endpoint: {dead}}}}}")
        [text] = found.problems
        assert f"the metadata service at {dead} cannot be reached" in text
        assert " ".join(found.text.split()).count("check auth.ecs_agency.metadata_endpoint") == 1

    def test_an_html_page_instead_of_a_token(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("html", status=200, operation="auth"))
        found = examined(auth=PASSWORD)
        assert found.problems[0].startswith("the answer is not one of this API: IAM at ")
        assert "what to do: check iam_endpoint, and proxies in between" in found.text

    def test_every_request_times_out(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("hang"))
        found = examined(timeout="200ms")
        assert "no answer in time" in found.problems[0]

    def test_one_job_hangs(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("hang", job=simulator.fleet.jobs()[1].id))
        found = examined(timeout="200ms")
        assert len(found.problems) == 1
        assert "no usable answer" in found.problems[0]

    def test_an_html_page_instead_of_answers(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("html", status=200))
        found = examined()
        assert any("an HTML page comes instead of the API's answer" in line for line in found.problems)

    @pytest.mark.parametrize(
        ("page", "text", "jobs", "projects"),
        [
            (fault("html", status=200), "an HTML page comes instead of the API's answer", [], "[all]"),
            (fault("html", status=407), "an HTML page comes instead of the API's answer", None, "[]"),
            (fault("body", text="{}"), "the answer is not one of this API", [], f"[{'a' * 32}]"),
            (fault("withdrawn"), "the gateway has no such API", [], "[all]"),
        ],
        ids=["page", "proxy", "JSON", "not published"],
    )
    def test_without_a_valid_answer_the_address_is_the_only_problem(
        self,
        page: Fault,
        text: str,
        jobs: list[str] | None,
        projects: str,
        simulator: Simulator,
        examined: Examine,
    ) -> None:
        simulator.faults.add(page)
        found = examined(f"projects: {projects}\nrecycle_bin: {{enabled: {projects == '[]'}}}", jobs=jobs)
        [problem] = found.problems
        assert problem.startswith(f"{text}: ")
        [line] = found.section("Jobs")
        assert line.endswith(" known (see Address)")
        assert "run this again" not in found.text

    @pytest.mark.parametrize(
        ("status", "code", "text", "todo"),
        [
            (404, "APIGW.0101", "the gateway has no such API", "check region and endpoint"),
            (403, "CB.00031007", "every operation is refused alike", "member of their projects"),
        ],
    )
    def test_everything_is_refused_alike(
        self, simulator: Simulator, examined: Examine, status: int, code: str, text: str, todo: str
    ) -> None:
        simulator.faults.add(fault("error", status=status, code=code))
        found = examined()
        [problem] = found.problems
        assert problem.startswith(f"{text}: HTTP {status} {code}")
        assert todo in " ".join(found.text.split())

    def test_one_operation_is_not_published(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("error", operation="recycling-jobs", status=404, code="APIGW.0101"))
        found = examined()
        [problem] = found.problems
        assert problem.startswith("recycling-jobs: the gateway has no such API")

    @pytest.mark.parametrize("kind", ["error", "truncated"])
    def test_every_answer_is_broken(self, kind: str, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault(kind))
        found = examined()
        assert found.report.count(Mark.PROBLEM) >= 1
        assert len(simulator.requests) <= 4 * 3

    def test_brief_trouble_is_tolerated(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("error", status=500, times=1), fault("truncated", times=1))
        assert examined().problems == []

    def test_brief_throttling_is_tolerated(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("throttle", times=1, announce=False))
        assert examined().problems == []

    def test_a_long_retry_after_ends_the_examination(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("throttle", operation="period-history", retry_after=120))
        found = examined()
        assert len(found.problems) == 1
        assert "the service throttles requests; the rest was not asked" in found.problems[0]
        assert statuses(simulator, 429) == 1

    def test_repeated_throttling_ends_the_examination(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("throttle", announce=False))
        assert "the service throttles requests" in examined().problems[0]
        assert statuses(simulator, 429) == 3

    def test_the_clock_of_the_machine_is_off(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("date-skew", seconds=1200))
        [text] = examined().problems
        assert re.match(r"this machine is (20m|19m5\ds) behind the service", text)


class TestRefused:
    @pytest.mark.parametrize(
        ("operation", "mark", "text"),
        [
            ("period-history", "problem", "without it nothing is counted"),
            ("record-info", "problem", "without it no queue times"),
            ("recycling-jobs", "problem", "without it deleted jobs are not recognized"),
        ],
    )
    def test_an_operation(
        self, operation: str, mark: str, text: str, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(forbidden(operation))
        [line] = [line for line in examined().section("Permissions") if operation in line]
        assert line.startswith(f"{mark}: {operation}: refused")
        assert text in line

    @pytest.mark.parametrize(
        ("operation", "newer"), [("period-history", "v1/records"), ("record-info", "v1/record-info")]
    )
    def test_a_withdrawn_operation_is_replaced(
        self, operation: str, newer: str, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(fault("withdrawn", operation=operation))
        found = examined()
        [line] = [line for line in found.section("Permissions") if f" {operation}:" in line]
        assert line.startswith(f"note: {operation}: withdrawn; {newer} is used in its place, tried on ")
        assert found.problems == []

    def test_refused_job_lists_report_the_requests_they_would_save(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        for number in range(12):
            simulator.fleet.add_job(f"more-{number}", "shop")
        simulator.faults.add(forbidden("job-list"), forbidden("project-job-list"))
        [line] = [line for line in examined().section("Permissions") if line.startswith("note: job-list")]
        assert "every job is polled by itself: " in line
        assert "requests a minute more" in line

    def test_lists_of_projects_suffice(self, simulator: Simulator, examined: Examine) -> None:
        for number in range(30):
            job = simulator.fleet.add_job(f"more-{number}", f"project-{number % 2}")
            simulator.fleet.add_build(job.id, duration_s=0.01, queue_s=0.01)
        time.sleep(0.05)
        simulator.faults.add(forbidden("job-list"))
        lines = examined().section("Permissions")
        assert any(
            line.startswith("note: job-list: refused, but the lists of projects suffice") for line in lines
        )
        assert sum(line.startswith("ok: project-job-list") for line in lines) == 3

    def test_a_project_that_is_not_visible(self, examined: Examine) -> None:
        found = examined(f"projects: [{'a' * 32}]")
        assert any("none of its jobs is watched" in line for line in found.problems)

    def test_a_project_whose_names_do_not_match(self, simulator: Simulator, examined: Examine) -> None:
        project = simulator.fleet.jobs()[0].project_id
        found = examined(f'projects: [{{id: {project}, include: ["release"]}}]')
        text = "allowed, 0 of 3 jobs watched: include and exclude match none of 3 names"
        assert found.problems == [f"project-job-list of shop: {text}"]
        assert "match whole names such as 构建" in " ".join(found.text.split())

    def test_an_empty_project(self, simulator: Simulator, examined: Examine) -> None:
        project = simulator.fleet.jobs()[0].project_id
        simulator.faults.add(fault("empty-list", operation="project-job-list"))
        found = examined(f"projects: [{project}]")
        assert any("shows no job, so none is watched" in line for line in found.problems)
        assert f"check that {project} is the ID of the project you mean" in " ".join(found.text.split())

    def test_a_configuration_that_watches_nothing(self, simulator: Simulator, examined: Examine) -> None:
        project = simulator.fleet.jobs()[0].project_id
        found = examined(f'projects: [{{id: {project}, include: ["release"]}}]', jobs=[])
        assert "none is watched: no project contains any" in found.problems
        assert found.text.splitlines()[-1].startswith("2 problems")

    def test_an_empty_list(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("empty-list"))
        found = examined()
        assert found.problems == []
        lines = found.section("Permissions")
        assert any("allowed, but empty" in line for line in lines)
        assert any("no list shows the project of 3 jobs; labels say unknown" in line for line in lines)
        assert "the names of all projects are known" not in found.text

    def test_a_job_under_projects(self, simulator: Simulator, examined: Examine) -> None:
        [text] = examined(f"projects: [{simulator.fleet.jobs()[1].id}]").problems
        assert "not a project, but a job has this ID" in text

    @pytest.mark.parametrize(
        ("rules", "watched", "mark"),
        [("", 3, "ok"), (", include: ['.*o.*']", 1, "ok"), (", include: [x]", 0, "problem")],
    )
    def test_all_jobs_are_watched(
        self, simulator: Simulator, examined: Examine, rules: str, watched: int, mark: str
    ) -> None:
        found = examined(f"projects: [{{id: all{rules}}}]", jobs=[])
        line = f"{mark}: job-list: allowed, the user sees 3 jobs, `all` watches {watched} of them"
        assert [text[: len(line)] for text in found.section("Permissions") if "job-list" in text] == [line]
        assert len(found.section("Jobs")) == max(watched, 1)
        assert bool(found.problems) is (mark == "problem")
        assert [exchange.operation for exchange in simulator.requests].count("job-list") == 1

    def test_all_jobs_are_watched_and_the_list_is_refused(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(forbidden("job-list"))
        found = examined("projects: [all]", jobs=[])
        assert any(
            "job-list: refused, so `all` under projects: watches no job" in text for text in found.problems
        )

    def test_all_jobs_are_watched_and_the_list_is_empty(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(fault("empty-list", operation="job-list"))
        found = examined("projects: [all]", jobs=[])
        assert any("the user sees 0 jobs, `all` watches 0 of them" in text for text in found.problems)

    def test_jobs_given_under_jobs_and_by_all(self, examined: Examine) -> None:
        assert any(
            "3 jobs under jobs: are also watched" in line
            for line in examined("projects: [all]").section("Jobs")
        )


class TestStages:
    @staticmethod
    def line(examined: Examine) -> str:
        [line] = [
            line
            for line in examined("metrics: {stages: true}").section("Permissions")
            if "full-stages" in line
        ]
        return line

    def test_stages_are_not_requested_unless_measured(self, simulator: Simulator, examined: Examine) -> None:
        assert "full-stages" not in examined().text
        assert "full-stages" not in {exchange.operation for exchange in simulator.requests}

    def test_allowed(self, simulator: Simulator, examined: Examine) -> None:
        assert re.fullmatch(
            r"ok: full-stages: allowed, tried on build 1 of shop/\S+: \d stages?", self.line(examined)
        )
        assert [exchange.operation for exchange in simulator.requests].count("full-stages") == 1

    @pytest.mark.parametrize("status", [403, 404])
    def test_refused(self, status: int, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("error", operation="full-stages", status=status, code="CB.00031007"))
        line = self.line(examined)
        assert line.startswith("problem: full-stages: refused for build 1 of shop/")
        assert line.endswith("without it no stage is measured")

    def test_trouble(self, simulator: Simulator, examined: Examine) -> None:
        simulator.faults.add(fault("error", operation="full-stages", status=500))
        assert self.line(examined).startswith("problem: full-stages: no usable answer: ")

    @pytest.mark.parametrize(
        ("strikes", "why"),
        [
            (forbidden("record-info"), "record-info failed"),
            (fault("missing-fields", operation="record-info", fields=("id",)), "has no record_id"),
            (fault("error", operation="period-history", status=403), "no finished build is known"),
        ],
        ids=["detail refused", "no record", "no build"],
    )
    def test_stages_cannot_be_requested(
        self, strikes: Fault, why: str, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(strikes)
        line = self.line(examined)
        assert line.startswith("note: full-stages: could not be asked, since ")
        assert why in line

    def test_a_build_that_succeeded_is_preferred_since_a_failed_one_may_lack_stages(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        for job in simulator.fleet.jobs():
            simulator.fleet.add_build(job.id, result="failure", duration_s=0.01, queue_s=0.01)
        time.sleep(0.05)
        assert "tried on build 1 of" in self.line(examined)

    def test_the_estimate_assumes_six_stages_if_they_are_refused(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        simulator.faults.add(forbidden("full-stages"))
        [usual, _, each, *_, forms] = examined("metrics: {stages: true}").section("Series and memory")
        assert "that succeed and fail in 6 stages" in usual
        assert "with every result and stage" in usual
        assert each.startswith("ok: each stage adds ")
        assert re.search(r"with metrics.detail: lean, \d+ each, and \d+ for a project", forms)


class TestJobs:
    def test_one_that_does_not_exist(self, examined: Examine) -> None:
        [text] = [line for line in examined(jobs=["f" * 32, "0" * 32]).section("Jobs") if "ffff" in line]
        assert "it does not exist or the user may not see it; not among the 3 jobs" in text

    def test_one_that_is_forbidden(self, simulator: Simulator, examined: Examine) -> None:
        hidden = simulator.fleet.jobs()[1].id
        simulator.faults.add(forbidden(job=hidden))
        [text] = examined().problems
        assert text.startswith(f"shop/payment {hidden}: a list shows it, but its history is refused")

    def test_one_in_the_recycle_bin(self, simulator: Simulator, examined: Examine) -> None:
        simulator.fleet.delete_job(simulator.fleet.jobs()[1].id)
        [text] = examined().problems
        assert "deleted on 2" in text
        assert "can be restored until 2" in text

    def test_one_that_has_never_built(self, simulator: Simulator, examined: Examine) -> None:
        simulator.fleet.add_job("new", "shop")
        assert any("visible, has never built" in line for line in examined().section("Jobs"))

    def test_one_that_is_a_project(self, simulator: Simulator, examined: Examine) -> None:
        [text] = [
            line
            for line in examined(jobs=[simulator.fleet.jobs()[0].project_id]).section("Jobs")
            if line.startswith("problem")
        ]
        assert "not a job, but a project has this ID" in text

    def test_of_many_jobs_only_problems_are_listed(self, simulator: Simulator, examined: Examine) -> None:
        for number in range(30):
            simulator.fleet.add_job(f"more-{number}", "shop")
        gone = simulator.fleet.jobs()[4].id
        simulator.fleet.delete_job(gone)
        lines = examined().section("Jobs")
        assert [line for line in lines if line.startswith("problem")] == [
            line for line in lines if gone in line
        ]
        assert len(lines) <= 3

    def test_of_many_jobs_a_few_are_tried_where_lists_are_refused(
        self, simulator: Simulator, examined: Examine
    ) -> None:
        for number in range(20):
            simulator.fleet.add_job(f"more-{number}", "shop")
        simulator.faults.add(forbidden("job-list"), forbidden("project-job-list"))
        found = examined()
        assert sum(count for (name, _), count in simulator.counts.items() if name == "period-history") == 20
        assert any("3 jobs not asked" in line for line in found.section("Jobs"))

    def test_jobs_given_twice(self, simulator: Simulator, examined: Examine) -> None:
        found = examined(f"projects: [{simulator.fleet.jobs()[0].project_id}]")
        assert any("3 jobs under jobs:" in line for line in found.section("Jobs"))

    def test_jobs_of_a_project_are_found(self, simulator: Simulator, examined: Examine) -> None:
        found = examined(f"projects: [{simulator.fleet.jobs()[0].project_id}]", jobs=[])
        assert len(found.section("Jobs")) == 3
        assert found.problems == []
