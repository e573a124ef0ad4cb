"""What a reader of the status page asks to see, from the query of the URL and back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from exporter.web.status.problems import Trouble

LONGEST: Final = 200
"""Characters of a filter that count."""

_LAST_PAGE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Filters, all of which a job has to pass, and the page; nothing asked for is everything.

    Attributes:
        project: the job's, exactly.
        text: words that name, project or id contain, in any case.
        trouble: what is wrong with the job.
        page: from 1; one beyond the last is the last.
    """

    project: str = ""
    text: str = ""
    trouble: Trouble | None = None
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        """What a query says; whatever cannot be read in it asks for nothing."""
        page = query.get("page", "")
        trouble = query.get("trouble", "")
        return cls(
            project=query.get("project", ""),
            text=query.get("text", "").strip()[:LONGEST],
            trouble=Trouble(trouble) if trouble in set(Trouble) else None,
            page=max(1, min(int(page), _LAST_PAGE))
            if page.isascii() and page.isdigit() and len(page) < 10
            else 1,
        )

    @property
    def is_everything(self) -> bool:
        """No filter is set."""
        return not (self.project or self.text or self.trouble)

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the text, without case."""
        return tuple(self.text.casefold().split())

    def on_page(self, page: int) -> "Asked":
        """The same on another page."""
        return replace(self, page=page)

    def about(self, trouble: Trouble | None) -> "Asked":
        """The same for another trouble, from its first page."""
        return replace(self, trouble=trouble, page=1)

    @property
    def href(self) -> str:
        """The link that asks for it, relative to the page."""
        pairs = {
            "project": self.project,
            "text": self.text,
            "trouble": self.trouble or "",
            "page": str(self.page) if self.page > 1 else "",
        }
        query = urlencode({name: value for name, value in pairs.items() if value}, errors="replace")
        return f"./?{query}" if query else "./"
