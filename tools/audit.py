"""Query PyPI for known vulnerabilities of locked packages; pass with a note if it does not respond.

`python -m tools.audit LOCK [OPTION…]`: options go to pip-audit, such as `--ignore-vuln ID`.
Exit codes: 0 no known vulnerability or no response, 1 a vulnerability, 2 pip-audit failed.
"""

import re
import subprocess
import sys
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

# Errors of pip-audit or requests when the network, the proxy or the service fails.
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|ServiceError|JSONDecodeError"
    r"|ChunkedEncodingError|Could not connect to|not redirecting properly|Tip: your network"
)
TIMEOUT_S = 5


class Advisory(BaseModel):
    """One known vulnerability."""

    id: str
    fix_versions: list[str] = []

    def __str__(self) -> str:
        """Return id and fixed versions as text."""
        return f"{self.id}, fixed in {', '.join(self.fix_versions) or 'no version yet'}"


class Dependency(BaseModel):
    """The result for one package of the lock file."""

    name: str
    version: str = ""
    skip_reason: str = ""
    advisories: list[Advisory] = Field(default=[], alias="vulns")


class Report(BaseModel):
    """pip-audit's answer in JSON."""

    dependencies: list[Dependency]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The report and its exit code."""

    exit_code: int
    text: str


def verdict(output: str, error_output: str) -> Verdict:
    """Interpret pip-audit's output and error output.

    An index without advisories responds "not found" for each package, and pip-audit reports no vulnerability.
    """
    try:
        listed = Report.model_validate_json(output).dependencies
    except ValidationError:
        if UNREACHABLE.search(error_output):
            return Verdict(0, "audit: PyPI's advisories are unreachable; nothing was checked")
        return Verdict(2, f"audit: pip-audit failed\n{error_output.strip()}")
    checked = [package for package in listed if not package.skip_reason]
    if listed and not checked:
        return Verdict(0, "audit: this package index has no advisories; nothing was checked")
    lines = [
        f"audit: {package.name} {package.version}: {advisory}"
        for package in checked
        for advisory in package.advisories
    ]
    found = len(lines)
    lines += [f"audit: not checked: {package.skip_reason}" for package in listed if package.skip_reason]
    lines.append(f"audit: {len(checked)} packages checked, {found} known vulnerabilities")
    return Verdict(1 if found else 0, "\n".join(lines))


def main(lock: str, *options: str) -> int:
    """Run pip-audit on a lock file with hashes, which needs neither pip nor an environment."""
    command = ["pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    command += [f"--timeout={TIMEOUT_S}", "--requirement", lock, *options]
    result = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    found = verdict(result.stdout, result.stderr)
    print(found.text, file=sys.stderr if found.exit_code else sys.stdout)
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
