"""Section Jobs: whether each watched job is visible, and if not, why. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from exporter.api.parsers import SERVICE_ZONE
from exporter.config import Config
from exporter.doctor.permissions import ROLE
from exporter.doctor.probe_answers import Answers, ListAnswer
from exporter.doctor.probe_plan import ASKED_ONE_BY_ONE
from exporter.doctor.report import RUN_AGAIN, Finding, Mark, Section, note, ok, problem
from exporter.doctor.watched_jobs import WatchedJobs
from exporter.errors import ApiError, RefusalError
from exporter.humanize import plural
from exporter.model import Build, Job, ListedJob, RecycleBin, RecycledJob
from exporter.poller.tasks_and_results import ALL

_SHOWN: Final = 20
"""Maximum number of jobs with problems that are listed where many jobs are watched."""


def jobs(config: Config, answers: Answers, watched: WatchedJobs) -> Section:
    """Report the watched jobs."""
    if answers.refusal:
        return Section("Jobs", (note("not known: every operation is refused alike (see Address)"),))
    all_findings = [_job(job, config, answers, watched) for job in watched.jobs]
    findings = [finding for finding in all_findings if finding]
    if len(all_findings) > ASKED_ONE_BY_ONE:
        findings = list(_summarized(findings, answers, watched))
    if unknown := all_findings.count(None):
        reason = "not asked one by one: no list shows them"
        if answers.stopped:
            reason = f"not known ({answers.where_stopped})"
        findings.append(note(f"{plural(unknown, 'job')} {reason}"))
    if not findings and answers.stopped:
        findings.append(note(f"none is known ({answers.where_stopped})"))
    elif not findings:
        todo = "see the projects above, or give jobs under jobs:"
        findings.append(problem("none is watched: no project contains any", todo))
    return Section("Jobs", (*findings, *_given_twice(config, answers)))


def _summarized(findings: list[Finding], answers: Answers, watched: WatchedJobs) -> Iterator[Finding]:
    """Report many jobs by their number, and only the first problems one by one."""
    problems = [finding for finding in findings if finding.mark is Mark.PROBLEM]
    visible, total = len(findings) - len(problems), len(watched.jobs)
    if visible:
        share = "all" if visible == total else f"{visible:,} of"
        listed = f"{len(watched.listed):,} in lists, " if watched.listed else ""
        tried = sum(isinstance(answer, tuple) for answer in answers.histories.values())
        yield ok(f"{share} {plural(total, 'job')} visible: {listed}{tried} tried one by one")
    if never_built := sum(finding.mark is Mark.NOTE for finding in findings):
        have = "has" if never_built == 1 else "have"
        yield note(f"{plural(never_built, 'job')} of them {have} never built")
    yield from problems[:_SHOWN]
    if more := len(problems[_SHOWN:]):
        yield problem(f"{plural(more, 'more job')} with problems", "solve those above first")


def _job(job: Job, config: Config, answers: Answers, watched: WatchedJobs) -> Finding | None:
    """Report one job; None if nothing was asked about it."""
    name = job.id if job.name == job.id else f"{job.project}/{job.name} {job.id}"
    listed = watched.listed.get(job.id)
    if job.id in answers.deleted:
        return _deleted(name, answers.deleted[job.id], answers.recycle_bin)
    match answers.histories.get(job.id):
        case None:
            return _visible(f"{name}: visible in a list", (), listed) if listed else None
        case ApiError() as error if error is answers.stopped:
            return None
        case RefusalError() as error if listed:
            project = f" {job.project}" if job.project else ""
            text = f"{name}: a list shows it, but its history is refused: {error}"
            return problem(text, f"{ROLE}:{project}")
        case RefusalError() as error:
            return _invisible(job, name, config, answers, error)
        case ApiError() as error:
            return problem(f"{name}: no usable answer: {error}", RUN_AGAIN)
        case builds:
            return _visible(f"{name}: visible", builds, listed, ", no build in the last four weeks")


def _visible(text: str, builds: tuple[Build, ...], listed: ListedJob | None, quiet: str = "") -> Finding:
    newest = max((listed.number or 0 if listed else 0, *(build.number for build in builds)))
    if newest:
        return ok(f"{text}, last build {newest}")
    if listed and listed.never_built:
        return note(f"{text}, has never built")
    return ok(f"{text}{quiet}")


def _deleted(name: str, job: RecycledJob, recycle_bin: RecycleBin | ApiError | None) -> Finding:
    text = f"{name}: deleted"
    if job.deleted_ms is not None:
        text += f" on {_day(job.deleted_ms)}"
        if isinstance(recycle_bin, RecycleBin) and recycle_bin.retention_ms is not None:
            text += f", can be restored until {_day(job.deleted_ms + recycle_bin.retention_ms)}"
    return problem(text, "restore it from the recycle bin, or remove it from jobs:")


def _day(moment_ms: int) -> str:
    """Format a time in the service's own zone, as its console shows it."""
    return datetime.fromtimestamp(moment_ms / 1000, SERVICE_ZONE).strftime("%Y-%m-%d %H:%M UTC+8")


def _invisible(job: Job, name: str, config: Config, answers: Answers, error: ApiError) -> Finding:
    names = answers.names if isinstance(answers.names, Mapping) else {}
    projects = {listed.names.project_id for listed in _listed(answers)}
    if job.id in projects.union(names, (project.id for project in config.projects)):
        return problem(
            f"{name}: not a job, but a project has this ID",
            "move it to projects:, or give the ID of a job, the 32 characters at the end of its URL",
        )
    if error.code == "403":
        return problem(f"{name}: no permission: {error}", ROLE)
    everything = answers.lists.get(ALL)
    among = ""
    if isinstance(everything, ListAnswer) and everything.listing.is_whole and everything.size:
        among = f"; not among the {plural(everything.size, 'job')} that the user sees"
    return problem(
        f"{name}: not visible, it does not exist or the user may not see it{among}: {error}",
        "compare the ID with the end of the job's URL, and the region with its beginning; if both are right, "
        f"{ROLE}",
    )


def _listed(answers: Answers) -> Iterator[ListedJob]:
    for answer in answers.lists.values():
        if isinstance(answer, ListAnswer):
            yield from answer.listing.jobs.values()


def _given_twice(config: Config, answers: Answers) -> Iterator[Finding]:
    """Report jobs under ``jobs:`` that belong to a watched project anyway."""
    given = {job.id for job in config.jobs}
    projects = {project.id: project for project in config.projects}
    twice = {
        listed.id
        for listed in _listed(answers)
        if listed.id in given
        and (project := projects.get(listed.names.project_id) or projects.get(ALL))
        and project.wants(listed.names.name)
    }
    if twice:
        yield note(
            f"{plural(len(twice), 'job')} under jobs: are also watched by projects:",
            "remove from jobs: what projects: covers, unless it has a name or project of its own there",
        )
