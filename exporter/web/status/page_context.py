"""The context of every page: moment, exporter, query and language."""

from dataclasses import dataclass, replace
from typing import Final, Self

from exporter import humanize
from exporter.metrics.exporter_metrics import Readings
from exporter.model import ConsoleLinks
from exporter.web.status.query import PageQuery
from exporter.web.status.words import ENGLISH, Words

NO_LINKS: Final = ConsoleLinks()


@dataclass(frozen=True, slots=True)
class PageContext:
    """The moment and the exporter that a page shows, and what its reader asked for.

    Attributes:
        stale_after_ms: a job polled longer ago is stale.
        links: to the console.
        root: the relative link to the status page.
    """

    readings: Readings
    query: PageQuery
    now_ms: int
    stale_after_ms: int
    links: ConsoleLinks = NO_LINKS
    words: Words = ENGLISH
    root: str = "./"

    @property
    def at(self) -> str:
        """The time at which the page was made, ISO 8601, UTC."""
        return humanize.format_utc(self.now_ms)

    @property
    def switch(self) -> str:
        """The link that turns refreshing on or off."""
        return f"?{replace(self.query, refreshes=not self.query.refreshes).encoded}"

    def of_job(self) -> Self:
        """Return the context of a page below ``/jobs/``, of which only refreshing can be chosen."""
        return replace(self, query=self.query.unfiltered, root="../")

    def ago(self, at_ms: int | None) -> str:
        """Format how long ago something was; empty if there is no time."""
        return "" if at_ms is None else self.words.ago(self.now_ms - at_ms)
