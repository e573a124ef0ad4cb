"""The filters and the page number in the URL of the status page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from exporter.web.status.problems import Problem

_MAX_TEXT: Final = 200
"""Characters of the text that count."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Filters, all of which a job has to match, and the page number; empty filters match every job.

    Attributes:
        project: the exact name of the job's project.
        text: words that the job's name, project or id contain, ignoring case.
        problem: a problem that the job has; ``trouble`` in the URL.
        page: from 1; a page after the last one means the last.
    """

    project: str = ""
    text: str = ""
    problem: Problem | None = None
    page: int = 1

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "PageQuery":
        """Read the parameters of a URL; invalid ones are ignored."""
        page = parameters.get("page", "")
        problem = parameters.get("trouble", "")
        is_number = page.isascii() and page.isdigit() and len(page) < 10
        return cls(
            project=parameters.get("project", ""),
            text=parameters.get("text", "").strip()[:_MAX_TEXT],
            problem=Problem(problem) if problem in set(Problem) else None,
            page=max(1, int(page)) if is_number else 1,
        )

    @property
    def href(self) -> str:
        """The link to the result, relative to the page."""
        parameters = {
            "project": self.project,
            "text": self.text,
            "trouble": self.problem or "",
            "page": str(self.page) if self.page > 1 else "",
        }
        encoded = urlencode({name: value for name, value in parameters.items() if value}, errors="replace")
        return f"./?{encoded}" if encoded else "./"
