"""Build hook: the README of the package, whose links and images lead to the repository.

A package index shows the README without the files beside it, so relative targets would lead nowhere.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class CustomMetadataHook(MetadataHookInterface):
    """Hatchling's hook for the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the README, with the files as they are in the version's tag."""
        root = Path(self.root)
        package = (root / "exporter" / "__init__.py").read_text(encoding="utf-8")
        readme = (root / "README.md").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
        if found is None:
            raise ValueError("exporter/__init__.py has no version")
        text = with_absolute_links(readme, metadata["urls"]["Source"], f"v{found[1]}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_absolute_links(markdown: str, repository: str, ref: str) -> str:
    """Return Markdown whose relative images and links lead to a tag of a repository on GitHub."""
    raw = repository.replace("https://github.com/", "https://raw.githubusercontent.com/")

    def absolute(match: re.Match[str]) -> str:
        is_image, text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        base = f"{raw}/{ref}" if is_image else f"{repository}/blob/{ref}"
        return f"{is_image}[{text}]({base}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, markdown)
