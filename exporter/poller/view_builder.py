"""Builds the published view of the fleet from the states of its jobs; pure."""

from collections.abc import Iterable, Iterator

from exporter.metrics import FleetView, JobView
from exporter.model import Job, RecycleBin
from exporter.poller.project_totals import ProjectTotals
from exporter.poller.watchlist import Watchlist


class Views:
    """Builds the view of the fleet; only changed jobs are built again.

    Attributes:
        recycle_bin: as last read; None if it was not read yet.
    """

    def __init__(self, watchlist: Watchlist, totals: ProjectTotals | None, *, shows_fleet: bool) -> None:
        self._watchlist = watchlist
        self._totals = totals
        self._shows_fleet = shows_fleet
        self._jobs: tuple[Job, ...] | None = None
        self.recycle_bin: RecycleBin | None = None

    def build(self, changed: Iterable[str] | None, *, is_complete: bool) -> FleetView:
        """Build the view after those jobs have changed, or all."""
        jobs = self._watchlist.jobs
        if changed is None or jobs is not self._jobs:
            self._jobs = jobs
            self._views = {job.id: self._view(job) for job in jobs}
            self._projects = self._watchlist.project_names
            self._labels = sorted({job.project for job in jobs})
        else:
            for job_id in changed:
                if job_id in self._views:
                    self._views[job_id] = self._view(self._views[job_id].job)
        return FleetView(
            jobs=tuple(self._views.values()),
            recycle_bin=self.recycle_bin if self._shows_fleet else None,
            projects=self._projects,
            totals=tuple(self._of_projects()),
            is_complete=is_complete,
        )

    def _of_projects(self) -> Iterator[JobView]:
        if totals := self._totals:
            for state, project in ((totals.of(project), project) for project in self._labels):
                yield JobView(Job(state.id, "", project), state.ledger, held=state.zero_hold)

    def _view(self, job: Job) -> JobView:
        state = self._watchlist.states[job.id]
        ledger, confirmed_ms, listed = state.ledger, state.lists.confirmed_ms, state.lists.listed
        return JobView(
            job=job,
            ledger=ledger,
            up=(True if confirmed_ms else None) if state.up is None else state.up,
            failure=state.failure,
            deleted=None if self.recycle_bin is None else job.id in self.recycle_bin.jobs,
            disabled=listed.disabled if listed else None,
            checked_ms=max(ledger.polled_ms, confirmed_ms or 0) if ledger else None,
            held=state.zero_hold,
        )
