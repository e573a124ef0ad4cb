"""The package as it is built for people, from a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000  # an even number, since a zip file counts in steps of two seconds
NO_PART_OF_IT = (".git", ".venv", "dist", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Distribution:
    """The two files of a release."""

    wheel: Path
    sdist: Path


def checkout(folder: Path, *, mode: int = 0o644) -> Path:
    """A copy of this checkout, each file with this mode, as another umask would have given it."""
    shutil.copytree(
        ROOT, folder, ignore=shutil.ignore_patterns(*NO_PART_OF_IT), copy_function=shutil.copyfile
    )
    for path in folder.rglob("*"):
        if path.is_file():
            executable = 0o111 if os.access(ROOT / path.relative_to(folder), os.X_OK) else 0
            path.chmod(mode | executable & mode >> 2)
    return folder


def build(source: Path, out: Path, *, umask: int = 0o022, **environment: str) -> Distribution:
    """Run `python -m build` as `make dist` does."""
    told = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)} | environment,
        umask=umask,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    [wheel] = out.glob("*.whl")
    [sdist] = out.glob("*.tar.gz")
    return Distribution(wheel, sdist)
