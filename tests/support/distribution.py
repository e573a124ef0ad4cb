"""Builds of wheel and source distribution from a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000  # an even number, because zip files have a resolution of two seconds
EXCLUDED = (".git", ".venv", "dist", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Distribution:
    """The two files of a release."""

    wheel: Path
    sdist: Path


def checkout(folder: Path, *, mode: int = 0o644) -> Path:
    """Copy this checkout, with another mode for each file, as with another umask."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*EXCLUDED), copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        if path.is_file():
            executable = 0o111 if os.access(ROOT / path.relative_to(folder), os.X_OK) else 0
            path.chmod(mode | executable & mode >> 2)
    return folder


def build(source: Path, out: Path, *, umask: int = 0o022, **environment: str) -> Distribution:
    """Run `python -m build` as `make dist` does."""
    result = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)} | environment,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [wheel] = out.glob("*.whl")
    [sdist] = out.glob("*.tar.gz")
    return Distribution(wheel, sdist)
