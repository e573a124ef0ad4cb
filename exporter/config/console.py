"""Links to the console, as a section of the configuration file."""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from exporter.config.section_base import Section, parsed, problem, text_matching
from exporter.config.types import text
from exporter.humanize import join_words
from exporter.model import ConsoleLinks

_OF_JOBS: Final = ("{region}", "{project_id}", "{job_id}")
_OF_BUILDS: Final = (*_OF_JOBS, "{build_number}")
_TEMPLATE: Final = "[!#-;=?-~]+"
"""Characters of a URL and of placeholders."""


def _template(allowed: tuple[str, ...], required: tuple[str, ...]) -> BeforeValidator:
    """Annotate a URL with placeholders."""

    def parse(value: object) -> str:
        template = text(value)
        for found in re.findall(r"\{[^{}]*\}|[{}]", template):
            if found not in allowed:
                raise problem(f"has the unknown placeholder {found}; known are {join_words(allowed)}")
        for placeholder in required:
            if placeholder not in template:
                raise problem(f"must contain {placeholder}, so that each link leads elsewhere")
        url = re.sub(r"[{}]", "", template)
        if not re.fullmatch(_TEMPLATE, template) or not _is_url(url):
            raise problem("must be a URL that begins with https:// or http://, without spaces and quotes")
        if "@" in urlsplit(url).netloc:
            raise problem("must not contain a user name or password")
        return template

    pattern = rf"[Hh][Tt][Tt][Pp][Ss]?://{_TEMPLATE}"
    return parsed(parse, title="URL with placeholders", **text_matching(pattern))


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class ConsoleConfig(Section):
    """Links to the pages of jobs and builds in the console."""

    job_url: Annotated[str, _template(_OF_JOBS, ("{job_id}",))] = Field(
        "",
        description="The URL of a job's page in the console. Copy it from the browser, and replace the IDs "
        "by `{project_id}` and `{job_id}`; `{region}` is the key `region`. It becomes the label `url` of "
        "codearts_build_job_info, and a link on the status page, in dashboards and alerts.",
        examples=["https://console.example.com/{region}/project/{project_id}/build/{job_id}"],
    )
    build_url: Annotated[str, _template(_OF_BUILDS, ("{job_id}", "{build_number}"))] = Field(
        "",
        description="The URL of a build's page, with `{build_number}` too. It is a link on the status page.",
        examples=[
            "https://console.example.com/{region}/project/{project_id}/build/{job_id}/{build_number}",
        ],
    )

    @property
    def needs_region(self) -> bool:
        """A template refers to the region."""
        return "{region}" in self.job_url + self.build_url

    def links(self, region: str | None) -> ConsoleLinks:
        """Return the templates with the region filled in."""
        return ConsoleLinks(
            self.job_url.replace("{region}", region or ""), self.build_url.replace("{region}", region or "")
        )
