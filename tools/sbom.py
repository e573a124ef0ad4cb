"""Completes the CycloneDX list of what a lock names: version of the package, and what needs what.

`python -m tools.sbom LOCK FILE`. cyclonedx-py reads names, versions and hashes; the `# via` comments of the
lock tell the rest.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from exporter import __version__

PACKAGE = "codearts-build-exporter"


def needed_by(lock: str) -> dict[str, set[str]]:
    """The packages that each package of a lock is there for; extras in square brackets are left out."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines():
        if pin := re.match(r"([\w.-]+)(?:\[.*?\])?==", line):
            name = pin[1]
        elif name and (parent := re.fullmatch(r"    #(?: via |   )([\w.-]+)(?:\[.*\])?(?: \(.*\))?", line)):
            found.setdefault(name, set()).add(parent[1])
    return found


def completed(listed: dict[str, Any], lock: str) -> dict[str, Any]:
    """The list with references that last, the version of the package, and the graph."""
    root = listed["metadata"]["component"]
    root |= {"version": __version__, "purl": f"pkg:pypi/{PACKAGE}@{__version__}"}
    for component in listed["components"]:
        component.pop("description")
    parts = [root, *listed["components"]]
    for part in parts:
        part["bom-ref"] = part["purl"]
    references = {part["name"]: part["purl"] for part in parts}
    needs: dict[str, list[str]] = {reference: [] for reference in references.values()}
    for name, parents in needed_by(lock).items():
        for parent in parents:
            needs[references[parent]].append(references[name])
    graph = [{"ref": one, "dependsOn": sorted(others)} for one, others in sorted(needs.items())]
    return listed | {"dependencies": graph}


def main(lock: str, file: str) -> None:
    """Write the list."""
    options = ["--pyproject=pyproject.toml", "--mc-type=application", "--output-reproducible"]
    command = ["cyclonedx_py", "requirements", *options, "--output-format=JSON", lock]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command], check=True, stdout=subprocess.PIPE, text=True
    )
    whole = completed(json.loads(result.stdout), Path(lock).read_text(encoding="utf-8"))
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
