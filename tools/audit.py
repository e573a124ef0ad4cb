"""Query PyPI for known vulnerabilities of the packages in a lock; pass with a note if it does not respond.

`python -m tools.audit LOCK [OPTION…]`: options go to pip-audit, such as `--ignore-vuln ID`.
Exit codes: 0 no known vulnerability or no response, 1 a vulnerability, 2 pip-audit failed.
"""

import re
import subprocess
import sys
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

# How pip-audit ends when network, proxy or service fail it: an error of its own, or one of requests.
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|ServiceError|JSONDecodeError"
    r"|ChunkedEncodingError|Could not connect to|not redirecting properly|Tip: your network"
)
SECONDS_TO_ANSWER = 5


class Advisory(BaseModel):
    """One known vulnerability."""

    id: str
    fix_versions: list[str] = []

    def __str__(self) -> str:
        """In words."""
        return f"{self.id}, fixed in {', '.join(self.fix_versions) or 'no version yet'}"


class Dependency(BaseModel):
    """What pip-audit learnt about one line of the lock."""

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
    words: str


def verdict(printed: str, complaint: str) -> Verdict:
    """Judge what pip-audit wrote to its two outputs.

    An index that offers packages and no advisories answers "not found" for each of them. pip-audit calls that
    a clean bill, which it is not.
    """
    try:
        listed = Report.model_validate_json(printed).dependencies
    except ValidationError:
        if UNREACHABLE.search(complaint):
            return Verdict(0, "audit: PyPI's advisories cannot be reached; nothing was checked")
        return Verdict(2, f"audit: pip-audit failed\n{complaint.strip()}")
    checked = [package for package in listed if not package.skip_reason]
    if listed and not checked:
        return Verdict(0, "audit: this index has no advisories to offer; nothing was checked")
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
    """Run pip-audit on a lock with hashes, which needs neither pip nor an environment."""
    command = ["pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    command += [f"--timeout={SECONDS_TO_ANSWER}", "--requirement", lock, *options]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    judged = verdict(done.stdout, done.stderr)
    print(judged.words, file=sys.stderr if judged.exit_code else sys.stdout)
    return judged.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
