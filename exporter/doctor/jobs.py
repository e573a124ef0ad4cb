"""Each watched job: whether it is visible, and if not, why; pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from exporter.api.parsers import SERVICE_ZONE
from exporter.config import Config
from exporter.doctor.permissions import ROLE
from exporter.doctor.results import Answers, Finding, ListAnswer, Mark, Section, is_refused, note, ok, problem
from exporter.doctor.watched import ASKED_ONE_BY_ONE, Watched
from exporter.errors import ApiError
from exporter.model import Build, Job, ListedJob, RecycleBin, RecycledJob
from exporter.poller.tasks import ALL
from exporter.text import plural

_SHOWN: Final = 20
"""Of more jobs than these only those in trouble are told one by one, and of these no more."""


def jobs(config: Config, answers: Answers, seen: Watched) -> Section:
    """The watched jobs."""
    if answers.refusal:
        return Section("Jobs", (note("not known: every operation is refused alike (see Address)"),))
    told = [_job(job, config, answers, seen) for job in seen.jobs]
    findings = [finding for finding in told if finding]
    if len(told) > ASKED_ONE_BY_ONE:
        findings = list(_collapsed(findings, answers, seen))
    unknown = told.count(None)
    if unknown:
        where = " (see Address)" if answers.stopped else ": no list shows them"
        findings.append(note(f"{plural(unknown, 'job')} not asked one by one{where}"))
    if not findings:
        findings = [_none(answers)]
    return Section("Jobs", (*findings, *_named_twice(config, answers)))


def _none(answers: Answers) -> Finding:
    if answers.stopped:
        return note("none is known: nothing was answered")
    return problem(
        "none is watched: no project brings any", "see to the projects above, or name jobs under jobs:"
    )


def _collapsed(findings: list[Finding], answers: Answers, seen: Watched) -> Iterator[Finding]:
    visible = sum(finding.mark is not Mark.PROBLEM for finding in findings)
    quiet = [finding for finding in findings if finding.mark is Mark.NOTE]
    troubles = [finding for finding in findings if finding.mark is Mark.PROBLEM]
    tried = sum(isinstance(answer, tuple) for answer in answers.histories.values())
    if visible:
        whole = "all" if visible == len(seen.jobs) else f"{visible:,} of"
        listed = f"{len(seen.listed):,} in lists, " if seen.listed else ""
        yield ok(f"{whole} {plural(len(seen.jobs), 'job')} visible: {listed}{tried} tried one by one")
    if quiet:
        have = "has" if len(quiet) == 1 else "have"
        yield note(f"{plural(len(quiet), 'job')} of them {have} never built")
    yield from troubles[:_SHOWN]
    more = len(troubles[_SHOWN:])
    if more:
        yield problem(f"{plural(more, 'more job')} in trouble", "see to those above first")


def _job(job: Job, config: Config, answers: Answers, seen: Watched) -> Finding | None:
    """What is known of a job; None where it was not asked."""
    shown = job.id if job.name == job.id else f"{job.project}/{job.name} {job.id}"
    listed = seen.listed.get(job.id)
    bin_ = answers.recycle_bin
    if isinstance(bin_, RecycleBin) and job.id in bin_.jobs:
        return _deleted(shown, bin_.jobs[job.id], bin_.retention_ms)
    answer = answers.histories.get(job.id)
    if isinstance(answer, tuple):
        return _visible(shown, answer, listed)
    if answer is None:
        return _not_asked(shown, listed)
    if not is_refused(answer):
        if answer is answers.stopped:
            return None
        return problem(f"{shown}: no good answer: {answer}", "run this again later")
    if listed:
        where = f" {job.project}" if job.project else ""
        return problem(f"{shown}: a list shows it, but its history is refused: {answer}", f"{ROLE}:{where}")
    return _invisible(job, shown, config, answers, answer)


def _visible(shown: str, builds: tuple[Build, ...], listed: ListedJob | None) -> Finding:
    told = (listed.number or 0) if listed else 0
    newest = max((told, *(build.number for build in builds)))
    if newest:
        return ok(f"{shown}: visible, last build {newest}")
    if listed and listed.never_built:
        return note(f"{shown}: visible, has never built")
    return ok(f"{shown}: visible, no build in the last four weeks")


def _not_asked(shown: str, listed: ListedJob | None) -> Finding | None:
    if listed is None:
        return None
    if listed.never_built:
        return note(f"{shown}: visible, has never built")
    return ok(f"{shown}: visible in a list" + (f", last build {listed.number}" if listed.number else ""))


def _deleted(shown: str, recycled: RecycledJob, retention_ms: int | None) -> Finding:
    told = f"{shown}: deleted"
    if recycled.deleted_ms is not None:
        told += f" on {_day(recycled.deleted_ms)}"
        if retention_ms is not None:
            told += f", can be restored until {_day(recycled.deleted_ms + retention_ms)}"
    return problem(told, "restore it from the recycle bin, or take it out of jobs:")


def _day(moment_ms: int) -> str:
    """In the service's own zone, as its console shows it."""
    return datetime.fromtimestamp(moment_ms / 1000, SERVICE_ZONE).strftime("%Y-%m-%d %H:%M UTC+8")


def _invisible(job: Job, shown: str, config: Config, answers: Answers, error: ApiError) -> Finding:
    if job.id in _project_ids(config, answers):
        return problem(
            f"{shown}: not a job, but a project has this ID",
            "put it under projects:, or give the ID of a job, the 32 characters at the end of its URL",
        )
    if error.code == "403":
        return problem(f"{shown}: no permission: {error}", ROLE)
    everything = answers.lists.get(ALL)
    among = ""
    if isinstance(everything, ListAnswer) and everything.listing.is_whole and everything.size:
        among = f"; not among the {plural(everything.size, 'job')} that the user sees"
    return problem(
        f"{shown}: not visible, it does not exist or the user may not see it{among}: {error}",
        f"compare the ID with the end of the job's URL, and the region with its beginning; if both are "
        f"right, {ROLE}",
    )


def _project_ids(config: Config, answers: Answers) -> set[str]:
    found = {project.id for project in config.projects}
    if answers.names is not None and not isinstance(answers.names, ApiError):
        found |= answers.names.keys()
    for listed in _listed(answers):
        found.add(listed.names.project_id)
    return found


def _listed(answers: Answers) -> Iterator[ListedJob]:
    for answer in answers.lists.values():
        if isinstance(answer, ListAnswer):
            yield from answer.listing.jobs.values()


def _named_twice(config: Config, answers: Answers) -> Iterable[Finding]:
    """Jobs that projects would bring anyway."""
    named = {job.id for job in config.jobs}
    projects = {project.id: project for project in config.projects}
    both = {
        listed.id
        for listed in _listed(answers)
        if listed.id in named
        and listed.names.project_id in projects
        and projects[listed.names.project_id].wants(listed.names.name)
    }
    if both:
        yield note(
            f"{plural(len(both), 'job')} named under jobs: though projects: brings them anyway",
            "take out of jobs: what projects: brings, unless it has a name or project of its own",
        )
