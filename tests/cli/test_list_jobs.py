"""``list-jobs``: the jobs that the user sees, in a form that a configuration accepts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from exporter.cli.commands import cli
from exporter.cli.list_jobs import table_lines, yaml_lines
from exporter.config import load
from exporter.doctor.report import columns
from exporter.model import JobNames, ListedJob
from exporter.simulator import Fleet, RealClock, Simulator, fault

ODD_NAMES = ("checkout", "构建 服务", "null", 'say "${HOME}"', "a: b, {c} # d", "- x", "7", "true")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    fleet = Fleet(RealClock(), seed=3)
    for name in ODD_NAMES:
        fleet.add_job(name, "shop")
    fleet.add_job("nightly", "mobile")
    with Simulator(fleet).start() as running:
        yield running


@pytest.fixture
def account(simulator: Simulator, tmp_path: Path) -> Path:
    """A configuration without anything to watch."""
    path = tmp_path / "config.yaml"
    token = simulator.credentials.tokens[0]
    path.write_text(f"endpoint: {simulator.url}\nauth: {{token: {token}}}\n", encoding="utf-8")
    return path


def listed(config: Path, *flags: str) -> Result:
    return CliRunner().invoke(cli, ["list-jobs", f"--config.file={config}", *flags])


def test_its_output_completes_the_configuration_it_was_called_with(
    simulator: Simulator, account: Path
) -> None:
    done = listed(account)
    assert (done.exit_code, done.stderr) == (0, "9 jobs in 2 projects\n")
    account.write_text(account.read_text(encoding="utf-8") + done.stdout, encoding="utf-8")
    config = load(account, {})
    assert {(job.id, job.name, job.project) for job in config.jobs} == {
        (job.id, job.name, simulator.fleet.projects[job.project_id]) for job in simulator.fleet.jobs()
    }
    assert [job.project for job in config.jobs] == ["mobile"] + ["shop"] * len(ODD_NAMES)


def test_other_commands_still_need_something_to_watch(account: Path) -> None:
    done = CliRunner().invoke(cli, ["check-config", str(account)])
    assert "there is nothing to watch" in str(done.exception)


def test_the_file_can_be_given_without_its_flag(account: Path) -> None:
    assert CliRunner().invoke(cli, ["list-jobs", str(account)]).stdout == listed(account).stdout


def test_json_has_the_ids_of_the_projects_too(simulator: Simulator, account: Path) -> None:
    job = simulator.fleet.jobs()[-1]
    [last] = [item for item in json.loads(listed(account, "--format=json").stdout) if item["id"] == job.id]
    assert last == {
        "id": job.id,
        "name": "nightly",
        "project": "mobile",
        "project_id": job.project_id,
        "last_build": None,
        "disabled": False,
    }


def test_the_table_has_a_column_for_each_value_and_fits_chinese_names(account: Path) -> None:
    head, *rows = listed(account, "--format=table").stdout.splitlines()
    assert head.split("  ")[0].strip() == "PROJECT"
    ids_begin = {columns(row[: row.index("  never") - 32]) for row in rows}
    assert ids_begin == {columns(head[: head.index("ID")])}
    assert len(rows) == 9


def test_disabled_jobs_are_marked(simulator: Simulator, account: Path) -> None:
    simulator.fleet.disable_job(simulator.fleet.jobs()[-1].id)
    marked = [line for line in listed(account).stdout.splitlines() if "disabled" in line]
    assert [line.partition("}")[2] for line in marked] == ["  # disabled"]
    table = listed(account, "--format=table").stdout
    assert re.findall(r"^\w+ +(\S+) .* never \(disabled\)$", table, re.MULTILINE) == ["nightly"]


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    job = ListedJob("a" * 32, JobNames("two\nlines\x1b[31m", "shop"))
    assert list(yaml_lines([job]))[1].startswith(f"  - {job.id}  # ")
    assert "\x1b" not in "".join([*yaml_lines([job]), *table_lines([job])])
    assert len(list(table_lines([job]))[1].splitlines()) == 1


def test_jobs_that_share_their_names_are_listed_by_id() -> None:
    jobs = [ListedJob(letter * 32, JobNames("checkout", "shop")) for letter in "ab"]
    assert list(yaml_lines(jobs))[1:] == [f'  - {job.id}  # "shop/checkout"' for job in jobs]


def test_where_the_list_of_all_jobs_is_refused_those_of_the_configured_projects_are_listed(
    simulator: Simulator, account: Path
) -> None:
    simulator.faults.add(fault("error", operation="job-list", status=403, code="DEV.CB.032011", message="no"))
    done = listed(account)
    assert done.exit_code == 1
    assert "name projects in the configuration" in str(done.exception)
    project = next(key for key, name in simulator.fleet.projects.items() if name == "mobile")
    account.write_text(f"{account.read_text(encoding='utf-8')}projects: [{project}]\n", encoding="utf-8")
    done = listed(account)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 2)
    assert "name: nightly, project: mobile}" in done.stdout
    assert "the list of all jobs is refused" in done.stderr


@pytest.mark.parametrize("projects", ["", f"projects: [{'a' * 32}]\n"])
def test_a_gateway_without_the_api_is_no_refusal(simulator: Simulator, account: Path, projects: str) -> None:
    simulator.faults.add(fault("withdrawn"))
    account.write_text(account.read_text(encoding="utf-8") + projects, encoding="utf-8")
    assert str(listed(account).exception).startswith("the gateway has no such API: HTTP 404 APIGW.0101")


def test_an_empty_list_is_a_failure(simulator: Simulator, account: Path) -> None:
    for job in simulator.fleet.jobs():
        simulator.fleet.delete_job(job.id)
    done = listed(account)
    assert done.exit_code == 1
    assert "the list of jobs is empty" in str(done.exception)


@pytest.mark.parametrize(
    ("change", "cause", "todo"),
    [
        (("token: ", "token: x"), "the credentials are refused: HTTP 401 ", "check that it was copied"),
        (("127.0.0.1:", "127.0.0.1:1 #"), "nothing listens at that address: ", "check host and port"),
    ],
    ids=["wrong token", "wrong port"],
)
def test_a_refusal_of_everything_says_what_to_do(
    account: Path, change: tuple[str, str], cause: str, todo: str
) -> None:
    account.write_text(account.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    done = listed(account)
    assert done.exit_code == 1
    assert str(done.exception).startswith(cause)
    assert f"; {todo}" in str(done.exception)
