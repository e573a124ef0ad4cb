"""The filters, the order and the page number in the URL of the status page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

from exporter.web.status.job_problems import Problem

_MAX_TEXT: Final = 200
"""Characters of the text that count."""


class Column(StrEnum):
    """A column that jobs can be sorted by; the value is its name in the URL."""

    PROJECT = "project"
    JOB = "job"
    RESULT = "result"
    DURATION = "duration"
    FINISHED = "finished"
    QUEUE = "queue"
    FAILURES = "failures"
    POLLED = "polled"

    @property
    def descends_first(self) -> bool:
        """Numbers and times begin with the largest, and names and results with the first."""
        return self not in (Column.PROJECT, Column.JOB, Column.RESULT)


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Filters, all of which a job has to match, order and page number; empty filters match every job.

    Attributes:
        project: the exact name of the job's project.
        text: words that the job's name, project or id contain, ignoring case.
        problem: a problem that the job has; ``trouble`` in the URL.
        sort: the column to sort by; None for jobs with problems first.
        descends: from the largest value; a minus sign before the column in the URL.
        refreshes: the browser loads the page again now and then, unless the URL has ``refresh=off``.
        page: from 1; a page after the last one means the last.
    """

    project: str = ""
    text: str = ""
    problem: Problem | None = None
    sort: Column | None = None
    descends: bool = False
    refreshes: bool = True
    page: int = 1

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "PageQuery":
        """Read the parameters of a URL; invalid ones are ignored."""
        page = parameters.get("page", "")
        problem = parameters.get("trouble", "")
        sort = parameters.get("sort", "")
        column = Column(sort.removeprefix("-")) if sort.removeprefix("-") in set(Column) else None
        is_number = page.isascii() and page.isdigit() and len(page) < 10
        return cls(
            project=parameters.get("project", ""),
            text=parameters.get("text", "").strip()[:_MAX_TEXT],
            problem=Problem(problem) if problem in set(Problem) else None,
            sort=column,
            descends=column is not None and sort.startswith("-"),
            refreshes=parameters.get("refresh") != "off",
            page=max(1, int(page)) if is_number else 1,
        )

    def sorted_by(self, column: Column) -> "PageQuery":
        """Return the query that a click on a column leads to: sorted, then reversed, then as before."""
        first = column.descends_first
        if self.sort is not column:
            return replace(self, sort=column, descends=first, page=1)
        if self.descends is first:
            return replace(self, descends=not first, page=1)
        return replace(self, sort=None, descends=False, page=1)

    @property
    def _parameters(self) -> dict[str, str]:
        return {
            "project": self.project,
            "text": self.text,
            "trouble": self.problem or "",
            "sort": f"{'-' * self.descends}{self.sort}" if self.sort else "",
            "refresh": "" if self.refreshes else "off",
            "page": str(self.page) if self.page > 1 else "",
        }

    @property
    def encoded(self) -> str:
        """The query of the URL, without parameters that have their defaults."""
        given = {name: value for name, value in self._parameters.items() if value}
        return urlencode(given, errors="replace")

    @property
    def href(self) -> str:
        """The link to the result, relative to the page."""
        return f"./?{self.encoded}" if self.encoded else "./"

    @property
    def kept_by_the_form(self) -> dict[str, str]:
        """The parameters that the form does not show and that a new filter keeps."""
        shown = ("project", "text", "page")
        return {name: value for name, value in self._parameters.items() if value and name not in shown}

    @property
    def unfiltered(self) -> "PageQuery":
        """The query for all jobs, refreshed or not like this one."""
        return PageQuery(refreshes=self.refreshes)
