"""One line for each operation that the exporter will use: whether it may, and what is lost if not; pure."""

from collections.abc import Iterator
from typing import Final

from exporter.config import Config, ProjectConfig
from exporter.doctor.results import (
    Answers,
    DetailAnswer,
    Finding,
    ListAnswer,
    Load,
    Section,
    is_refused,
    note,
    ok,
    problem,
)
from exporter.doctor.watched import Watched
from exporter.errors import ApiError, NotPublishedError
from exporter.model import RecycleBin
from exporter.poller.tasks import ALL
from exporter.poller.watchlist import UNKNOWN_PROJECT
from exporter.text import plural

ROLE: Final = "make the user a member of the project, with a role that may view build tasks"
_AGAIN: Final = "run this again later"


def permissions(config: Config, answers: Answers, seen: Watched, load: Load | None) -> Section:
    """What may be asked and what may not."""
    if answers.refusal:
        return Section("Permissions", (note("every operation is refused alike (see Address)"),))
    told = {
        "job-list": _list_of_all(config, answers, seen, load),
        "period-history": _histories(answers),
        "record-info": _detail(answers, seen),
        **({"full-stages": _stages(answers, seen)} if config.metrics.stages else {}),
        "projects": _names(answers, seen),
    }
    if config.recycle_bin.enabled:
        told["recycling-jobs"] = _recycle_bin(answers)
    findings = [finding for finding in told.values() if finding]
    findings[1:1] = _project_lists(config, answers, seen)
    unasked = [operation for operation, finding in told.items() if finding is None]
    if unasked:
        findings.append(note(f"not asked (see Address): {', '.join(unasked)}"))
    return Section("Permissions", tuple(findings))


def _unknown(operation: str, error: ApiError, answers: Answers) -> Finding:
    """Neither allowed nor refused."""
    if error is answers.stopped:
        return note(f"{operation}: not known, asking ended here (see Address)")
    if isinstance(error, NotPublishedError):
        return problem(
            f"{operation}: the gateway knows no such API: {error}",
            "check region and endpoint; if both are right, this API was withdrawn there",
        )
    if error.code == "401":
        return problem(
            f"{operation}: no good answer, though other operations accept the credentials: {error}", ROLE
        )
    return problem(f"{operation}: no good answer: {error}", _AGAIN)


def _histories(answers: Answers) -> Finding | None:
    told = [answer for answer in answers.histories.values() if isinstance(answer, tuple)]
    refused = [answer for answer in answers.histories.values() if is_refused(answer)]
    errors = [answer for answer in answers.histories.values() if isinstance(answer, ApiError)]
    if told:
        return ok(f"period-history: allowed, tried on {plural(len(told), 'job')}")
    if refused:
        return problem(
            f"period-history: refused for {plural(len(refused), 'job')}, allowed for none; without it "
            "nothing is counted",
            f"see Jobs below; or {ROLE}",
        )
    if errors:
        return _unknown("period-history", errors[-1], answers)
    return None if answers.stopped else note("period-history: could not be asked, since no job is known")


def _detail(answers: Answers, seen: Watched) -> Finding | None:
    lost = "without it no queue times, triggers and branches are known"
    if answers.detail is None:
        untold = note("record-info: could not be asked, since no finished build is known")
        return None if answers.stopped else untold
    build = _tried(answers.detail, seen)
    answer = answers.detail.answer
    if not isinstance(answer, ApiError):
        return ok(f"record-info: allowed, tried on {build}")
    if is_refused(answer):
        return problem(f"record-info: refused for {build}: {answer}; {lost}", ROLE)
    return _unknown("record-info", answer, answers)


def _stages(answers: Answers, seen: Watched) -> Finding | None:
    if answers.detail is None or answers.stages is None:
        why = "no finished build is known"
        if answers.detail:
            told = not isinstance(answers.detail.answer, ApiError)
            why = "record-info told no record_id" if told else "record-info told nothing"
        return None if answers.stopped else note(f"full-stages: could not be asked, since {why}")
    build = _tried(answers.detail, seen)
    if not isinstance(answers.stages, ApiError):
        return ok(f"full-stages: allowed, tried on {build}: {plural(len(answers.stages), 'stage')}")
    if is_refused(answers.stages):
        return problem(
            f"full-stages: refused for {build}: {answers.stages}; without it no stage is measured",
            f"{ROLE}; or set metrics.stages to false, which saves a request for each build",
        )
    return _unknown("full-stages", answers.stages, answers)


def _tried(detail: DetailAnswer, seen: Watched) -> str:
    names = {job.id: f"{job.project}/{job.name}" for job in seen.jobs}
    return f"build {detail.number} of {names.get(detail.job_id, detail.job_id)}"


def _list_of_all(config: Config, answers: Answers, seen: Watched, load: Load | None) -> Finding | None:
    answer = answers.lists.get(ALL)
    if isinstance(answer, ListAnswer):
        told = plural(answer.size, "job")
        if not answer.size:
            return note(
                "job-list: allowed, but empty: the user sees no job, or the service had a bad moment",
                f"run this again; if it stays empty, check the region of your projects, then {ROLE}",
            )
        if not answer.listing.is_whole:
            why = f"for the {len(config.jobs):,} under jobs:" if config.jobs else "where projects have lists"
            return ok(f"job-list: allowed, the user sees {told}; too many to be read {why}")
        return ok(f"job-list: allowed, the user sees {told}")
    if answer is None:
        return None
    if not is_refused(answer):
        return _unknown("job-list", answer, answers)
    if seen.worth_it:
        return note(f"job-list: refused, but the lists of projects do as well: {answer}")
    saved = load.idle - load.idle_if_listed if load and load.idle_if_listed is not None else 0.0
    more = f": {saved:.1f} requests a minute more" if saved >= 0.05 else ""
    return note(
        f"job-list: refused; without job lists every job is polled by itself{more}. {answer}",
        "let the user list jobs (a member of the projects may), so that one request tells the state of 100",
    )


def _project_lists(config: Config, answers: Answers, seen: Watched) -> Iterator[Finding]:
    """Each project that is watched, and those of watched jobs whose lists are the shortest."""
    watched = {project.id: project for project in config.projects}
    for project_id, answer in answers.lists.items():
        if project_id:
            yield _project_list(project_id, watched.get(project_id), answer, answers, seen)
    not_asked = len(watched.keys() - answers.lists.keys())
    if not_asked:
        yield note(f"project-job-list: not asked of {plural(not_asked, 'project')} (see Address)")


def _project_list(
    project_id: str,
    project: ProjectConfig | None,
    answer: ListAnswer | ApiError,
    answers: Answers,
    seen: Watched,
) -> Finding:
    name = next((job.project for job in seen.jobs if job.project_id == project_id), "")
    shown = f"project-job-list of {(project and project.name) or name or project_id}"
    if isinstance(answer, ListAnswer):
        if project is None:
            return ok(f"{shown}: allowed, {plural(answer.size, 'job')}")
        return _watched_project(shown, project, answer)
    if not is_refused(answer):
        return _unknown(shown, answer, answers)
    if project and _is_a_job(project_id, answers):
        return problem(f"{shown}: not a project, but a job has this ID", "put it under jobs:")
    if project and not any(job.project_id == project_id for job in seen.jobs):
        return problem(
            f"{shown}: refused, so that none of its jobs is watched: {answer}",
            f"check that {project_id} is the ID of a CodeArts project of this region, the 32 characters "
            f"after /project/ in its URL; then {ROLE}",
        )
    return note(f"{shown}: refused: {answer}")


def _watched_project(shown: str, project: ProjectConfig, answer: ListAnswer) -> Finding:
    names = sorted(job.names.name for job in answer.listing.jobs.values())
    wanted = sum(map(project.wants, names))
    text = f"{shown}: allowed, {wanted:,} of {plural(answer.size, 'job')} watched"
    if wanted:
        return ok(text)
    if not names:
        return problem(
            f"{shown}: allowed, but it shows no job, so that none is watched",
            f"check that {project.id} is the ID of the project you mean; then {ROLE}",
        )
    return problem(
        f"{text}: of {plural(len(names), 'name')} tried, include and exclude leave none",
        f"make include and exclude of the project {project.id} match whole names, such as {names[-1]}",
    )


def _is_a_job(project_id: str, answers: Answers) -> bool:
    lists = (answer for answer in answers.lists.values() if isinstance(answer, ListAnswer))
    return any(project_id in answer.listing.jobs for answer in lists)


def _names(answers: Answers, seen: Watched) -> Finding | None:
    if answers.names is None:
        return None if answers.stopped else _names_not_asked(answers, seen)
    lost = f"{plural(len(seen.unnamed), 'project')} without a name in labels, asked for again and again"
    todo = "give project under jobs:, or name under projects:, to save the request for names"
    if not isinstance(answers.names, ApiError):
        told = f"projects: allowed, {plural(len(answers.names), 'project')}"
        return note(f"{told}; still {lost}", todo) if seen.unnamed else ok(told)
    if not is_refused(answers.names):
        return _unknown("projects", answers.names, answers)
    return note(
        f"projects: refused{f'; {lost}' if seen.unnamed else ''}: {answers.names}",
        todo if seen.unnamed else "",
    )


def _names_not_asked(answers: Answers, seen: Watched) -> Finding:
    deleted = answers.recycle_bin.jobs if isinstance(answers.recycle_bin, RecycleBin) else {}
    strays = sum(
        job.project == UNKNOWN_PROJECT and not job.project_id and job.id not in deleted for job in seen.jobs
    )
    if not strays:
        return ok("projects: not needed, since the names of all projects are known")
    return note(
        f"projects: not asked, since no list tells the project of {plural(strays, 'job')}; labels say "
        f"{UNKNOWN_PROJECT} until a list or the detail of a build tells it"
    )


def _recycle_bin(answers: Answers) -> Finding | None:
    answer = answers.recycle_bin
    if answer is None:
        return None
    if not isinstance(answer, ApiError):
        return ok(f"recycling-jobs: allowed, {plural(len(answer.jobs), 'job')} in the recycle bin")
    if not is_refused(answer):
        return _unknown("recycling-jobs", answer, answers)
    return problem(
        f"recycling-jobs: refused; without it nobody tells that a job was deleted: {answer}",
        "let the user view build tasks, or set recycle_bin.enabled to false",
    )
