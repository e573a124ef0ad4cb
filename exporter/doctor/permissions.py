"""Section Permissions: whether each operation of the exporter is allowed, and what is lost if not. Pure."""

from collections.abc import Iterator
from typing import Final

from exporter.config import Config, ProjectConfig
from exporter.doctor.planner_replay import Load
from exporter.doctor.probe_answers import Answers, DetailAnswer, ListAnswer
from exporter.doctor.report import RUN_AGAIN, Finding, Section, note, ok, problem
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import ApiError, NotPublishedError, RefusalError
from exporter.humanize import plural
from exporter.poller.tasks_and_results import ALL
from exporter.poller.watchlist import UNKNOWN_PROJECT

ROLE: Final = "make the user a member of the project, with a role that may view build tasks"


def permissions(config: Config, answers: Answers, watched: WatchedJobs, load: Load | None) -> Section:
    """Report which operations are allowed."""
    if answers.refusal:
        return Section("Permissions", (note("every operation is refused alike (see Address)"),))
    by_operation = {
        "job-list": _list_of_all(config, answers, watched, load),
        "period-history": _histories(answers),
        "record-info": _detail(answers, watched),
        **({"full-stages": _stages(answers, watched)} if config.metrics.stages else {}),
        "projects": _names(answers, watched),
    }
    if config.recycle_bin.enabled:
        by_operation["recycling-jobs"] = _recycle_bin(answers)
    findings = [finding for finding in by_operation.values() if finding]
    findings[1:1] = _project_lists(config, answers, watched)
    unasked = [operation for operation, finding in by_operation.items() if finding is None]
    if unasked:
        findings.append(note(f"not known ({answers.where_stopped}): {', '.join(unasked)}"))
    return Section("Permissions", tuple(findings))


def _failed(operation: str, error: ApiError, answers: Answers, refused: Finding) -> Finding:
    """Report an error: a refusal as ``refused``, any other as one that says nothing about permissions."""
    if isinstance(error, RefusalError):
        return refused
    if error is answers.stopped:
        return note(f"{operation}: not known, the examination stopped here ({answers.where_stopped})")
    if isinstance(error, NotPublishedError):
        return problem(
            f"{operation}: the gateway has no such API: {error}",
            "check region and endpoint; if both are right, this API was withdrawn there",
        )
    if error.code == "401":
        return problem(
            f"{operation}: no usable answer, though other operations accept the credentials: {error}", ROLE
        )
    return problem(f"{operation}: no usable answer: {error}", RUN_AGAIN)


def _answered(operation: str, tried_on: str, answers: Answers) -> Finding:
    if newer := answers.replaced_by.get(operation):
        return note(f"{operation}: withdrawn; {newer} is used in its place, tried on {tried_on}")
    return ok(f"{operation}: allowed, tried on {tried_on}")


def _histories(answers: Answers) -> Finding | None:
    errors = [answer for answer in answers.histories.values() if isinstance(answer, ApiError)]
    if allowed := len(answers.histories) - len(errors):
        return _answered("period-history", plural(allowed, "job"), answers)
    if not errors:
        return None if answers.stopped else note("period-history: could not be asked, since no job is known")
    refusals = [error for error in errors if isinstance(error, RefusalError)]
    refused = problem(
        f"period-history: refused for {plural(len(refusals), 'job')}, allowed for none; without it "
        "nothing is counted",
        f"see Jobs below; or {ROLE}",
    )
    return _failed("period-history", (refusals or errors)[-1], answers, refused)


def _detail(answers: Answers, watched: WatchedJobs) -> Finding | None:
    if answers.detail is None:
        unknown = note("record-info: could not be asked, since no finished build is known")
        return None if answers.stopped else unknown
    build, answer = _tried(answers.detail, watched), answers.detail.answer
    if not isinstance(answer, ApiError):
        return _answered("record-info", build, answers)
    lost = "without it no queue times, triggers and branches are known"
    refused = problem(f"record-info: refused for {build}: {answer}; {lost}", ROLE)
    return _failed("record-info", answer, answers, refused)


def _stages(answers: Answers, watched: WatchedJobs) -> Finding | None:
    if answers.detail is None or answers.stages is None:
        why = "no finished build is known"
        if answers.detail:
            failed = isinstance(answers.detail.answer, ApiError)
            why = "record-info failed" if failed else "record-info has no record_id"
        return None if answers.stopped else note(f"full-stages: could not be asked, since {why}")
    build = _tried(answers.detail, watched)
    if not isinstance(answers.stages, ApiError):
        return ok(f"full-stages: allowed, tried on {build}: {plural(len(answers.stages), 'stage')}")
    refused = problem(
        f"full-stages: refused for {build}: {answers.stages}; without it no stage is measured",
        f"{ROLE}; or set metrics.stages to false, which saves a request for each build",
    )
    return _failed("full-stages", answers.stages, answers, refused)


def _tried(detail: DetailAnswer, watched: WatchedJobs) -> str:
    names = {job.id: f"{job.project}/{job.name}" for job in watched.jobs}
    return f"build {detail.number} of {names.get(detail.job_id, detail.job_id)}"


def _list_of_all(config: Config, answers: Answers, watched: WatchedJobs, load: Load | None) -> Finding | None:
    answer = answers.lists.get(ALL)
    of_all = next((project for project in config.projects if project.id == ALL), None)
    if of_all and isinstance(answer, ListAnswer | RefusalError):
        return _watched_by_all(config, of_all, answer)
    if isinstance(answer, ListAnswer):
        size = plural(answer.size, "job")
        if not answer.size:
            return note(
                "job-list: allowed, but empty: the user sees no job, or the service had a short problem",
                f"run this again; if it stays empty, check the region of your projects, then {ROLE}",
            )
        if not answer.listing.is_whole:
            why = f"for the {len(config.jobs):,} under jobs:" if config.jobs else "as projects have their own"
            return ok(f"job-list: allowed, the user sees {size}; too many to read {why}")
        return ok(f"job-list: allowed, the user sees {size}")
    if answer is None:
        return None
    saved = load.idle - load.idle_if_listed if load and load.idle_if_listed is not None else 0.0
    more = f": {saved:.1f} requests a minute more" if saved >= 0.05 else ""
    refused = note(
        f"job-list: refused; without job lists every job is polled by itself{more}. {answer}",
        "let the user list jobs (a member of the projects may), so that one request shows the state of 100",
    )
    if watched.worth_it:
        refused = note(f"job-list: refused, but the lists of projects suffice: {answer}")
    return _failed("job-list", answer, answers, refused)


def _watched_by_all(config: Config, of_all: ProjectConfig, answer: ListAnswer | ApiError) -> Finding:
    """Report the list of all jobs where ``projects`` watches them."""
    if isinstance(answer, ApiError):
        return problem(
            f"job-list: refused, so `all` under projects: watches no job: {answer}",
            "let the user list jobs (a member of the projects may), or give the IDs of the projects",
        )
    own = {project.id for project in config.projects if project.id != ALL}
    listed = (job.names for job in answer.listing.jobs.values())
    job_names = [names.name for names in listed if names.project_id not in own]
    wanted = sum(map(of_all.wants, job_names))
    text = f"job-list: allowed, the user sees {plural(answer.size, 'job')}, `all` watches {wanted:,} of them"
    if not job_names:
        return problem(text, f"check the region of your projects, then {ROLE}")
    return ok(text) if wanted else _matches_none(text, "`all`", job_names)


def _matches_none(text: str, project: str, job_names: list[str]) -> Finding:
    return problem(
        f"{text}: include and exclude match none of {plural(len(job_names), 'name')}",
        f"adapt include and exclude of {project}, which match whole names such as {max(job_names)}",
    )


def _project_lists(config: Config, answers: Answers, watched: WatchedJobs) -> Iterator[Finding]:
    """Report lists of watched projects, and those that show the watched jobs at the least cost."""
    projects = {project.id: project for project in config.projects if project.id != ALL}
    for project_id, answer in answers.lists.items():
        if project_id:
            yield _project_list(project_id, projects.get(project_id), answer, answers, watched)
    not_asked = len(projects.keys() - answers.lists.keys())
    if not_asked:
        yield note(f"project-job-list: not known of {plural(not_asked, 'project')} ({answers.where_stopped})")


def _project_list(
    project_id: str,
    project: ProjectConfig | None,
    answer: ListAnswer | ApiError,
    answers: Answers,
    watched: WatchedJobs,
) -> Finding:
    name = next((job.project for job in watched.jobs if job.project_id == project_id), "")
    title = f"project-job-list of {(project and project.name) or name or project_id}"
    if isinstance(answer, ListAnswer):
        if project is None:
            return ok(f"{title}: allowed, {plural(answer.size, 'job')}")
        return _watched_project(title, project, answer)
    lists = (each for each in answers.lists.values() if isinstance(each, ListAnswer))
    refused = note(f"{title}: refused: {answer}")
    if project and any(project_id in each.listing.jobs for each in lists):
        refused = problem(f"{title}: not a project, but a job has this ID", "put it under jobs:")
    elif project and not any(job.project_id == project_id for job in watched.jobs):
        refused = problem(
            f"{title}: refused, so none of its jobs is watched: {answer}",
            f"check that {project_id} is the ID of a CodeArts project of this region, the 32 characters "
            f"after /project/ in its URL; then {ROLE}",
        )
    return _failed(title, answer, answers, refused)


def _watched_project(title: str, project: ProjectConfig, answer: ListAnswer) -> Finding:
    names = [job.names.name for job in answer.listing.jobs.values()]
    if not names:
        return problem(
            f"{title}: allowed, but shows no job, so none is watched",
            f"check that {project.id} is the ID of the project you mean; then {ROLE}",
        )
    wanted = sum(map(project.wants, names))
    text = f"{title}: allowed, {wanted:,} of {plural(answer.size, 'job')} watched"
    return ok(text) if wanted else _matches_none(text, f"the project {project.id}", names)


def _names(answers: Answers, watched: WatchedJobs) -> Finding | None:
    if answers.names is None:
        return None if answers.stopped else _names_not_asked(answers, watched)
    lost = f"{plural(len(watched.unnamed), 'project')} without a name in labels, requested repeatedly"
    todo = "give project under jobs:, or name under projects:, to save the request for names"
    if not isinstance(answers.names, ApiError):
        allowed = f"projects: allowed, {plural(len(answers.names), 'project')}"
        return note(f"{allowed}; still {lost}", todo) if watched.unnamed else ok(allowed)
    refused = note(f"projects: refused: {answers.names}")
    if watched.unnamed:
        refused = note(f"projects: refused; {lost}: {answers.names}", todo)
    return _failed("projects", answers.names, answers, refused)


def _names_not_asked(answers: Answers, watched: WatchedJobs) -> Finding:
    strays = sum(
        job.project == UNKNOWN_PROJECT and not job.project_id and job.id not in answers.deleted
        for job in watched.jobs
    )
    if not strays:
        return ok("projects: not needed, since the names of all projects are known")
    return note(
        f"projects: not asked, since no list shows the project of {plural(strays, 'job')}; labels say "
        f"{UNKNOWN_PROJECT} until a list or a build detail shows it"
    )


def _recycle_bin(answers: Answers) -> Finding | None:
    answer = answers.recycle_bin
    if answer is None:
        return None
    if not isinstance(answer, ApiError):
        return ok(f"recycling-jobs: allowed, {plural(len(answer.jobs), 'job')} in the recycle bin")
    refused = problem(
        f"recycling-jobs: refused; without it deleted jobs are not recognized: {answer}",
        "let the user view build tasks, or set recycle_bin.enabled to false",
    )
    return _failed("recycling-jobs", answer, answers, refused)
