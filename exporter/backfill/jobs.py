"""Which jobs a configuration watches, and what the API calls them: asked once, where the exporter sweeps."""

from contextlib import suppress

from exporter.api.client import ApiClient
from exporter.backfill.fetch import persist
from exporter.config import Config
from exporter.errors import ApiError, NotVisibleError, RejectedError
from exporter.model import Job
from exporter.watchlist import Listing, Watchlist


def watched_jobs(config: Config, client: ApiClient) -> tuple[Job, ...]:
    """The jobs that are named and those of the projects, under the labels that the exporter gives them.

    Raises:
        ApiError: a project's jobs could not be listed. Names alone may be missing.
    """
    watchlist = Watchlist(config)
    for project in config.projects:
        watchlist.take_in(_listing(client, project.id))
    if any(not (job.name and job.project) for job in config.jobs):
        with suppress(NotVisibleError, RejectedError):
            watchlist.take_in(_listing(client, ""))
    if watchlist.unnamed_projects:
        with suppress(ApiError):
            watchlist.name_projects(client.project_names())
    return watchlist.jobs


def _listing(client: ApiClient, project_id: str) -> Listing:
    reply = persist(lambda wanted: client.job_list(wanted, most=None, expected=0), project_id)
    if reply.answer is None:
        raise reply.error or AssertionError("neither answer nor error")
    jobs, _, is_whole = reply.answer
    return Listing(project_id, jobs, is_whole)
