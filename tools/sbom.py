"""Create a CycloneDX bill of materials from a lock file: `python -m tools.sbom LOCK FILE`.

cyclonedx-py reads names, versions and hashes. This module adds the version of the package, and the dependency
graph from the `# via` comments of the lock file.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from exporter import __version__

PACKAGE = "codearts-build-exporter"


def required_by(lock: str) -> dict[str, set[str]]:
    """Return the packages that need each package of a lock file, without extras in square brackets."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines():
        if pin := re.match(r"([\w.-]+)(?:\[.*?\])?==", line):
            name = pin[1]
        elif name and (parent := re.fullmatch(r"    #(?: via |   )([\w.-]+)(?:\[.*\])?(?: \(.*\))?", line)):
            found.setdefault(name, set()).add(parent[1])
    return found


def completed(bom: dict[str, Any], lock: str) -> dict[str, Any]:
    """Add stable references, the version of the package and the dependency graph."""
    root = bom["metadata"]["component"]
    root |= {"version": __version__, "purl": f"pkg:pypi/{PACKAGE}@{__version__}"}
    for component in bom["components"]:
        component.pop("description")
    parts = [root, *bom["components"]]
    for part in parts:
        part["bom-ref"] = part["purl"]
    references = {part["name"]: part["purl"] for part in parts}
    dependencies: dict[str, list[str]] = {reference: [] for reference in references.values()}
    for name, parents in required_by(lock).items():
        for parent in parents:
            dependencies[references[parent]].append(references[name])
    graph = [{"ref": name, "dependsOn": sorted(needed)} for name, needed in sorted(dependencies.items())]
    return bom | {"dependencies": graph}


def main(lock: str, file: str) -> None:
    """Write the bill of materials."""
    options = ["--pyproject=pyproject.toml", "--mc-type=application", "--output-reproducible"]
    command = ["cyclonedx_py", "requirements", *options, "--output-format=JSON", lock]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *command], check=True, stdout=subprocess.PIPE, text=True
    )
    bom = completed(json.loads(result.stdout), Path(lock).read_text(encoding="utf-8"))
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(json.dumps(bom, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
