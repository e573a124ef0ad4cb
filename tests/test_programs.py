"""Without the programs that tests talk to: what is skipped, and what the summary says of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.redis_server import redis_server
from tests.support.programs import program

ROOT = Path(__file__).parents[1]

NEEDS_A_PROGRAM = """
import pytest
from tests.support.programs import program

@pytest.fixture(params=range(3))
def server():
    program("no-such-program")

def test_with_a_fixture(server):
    pass

def test_by_itself():
    program("no-such-program")
"""

LEAVES_A_FILE_OPEN = """
class Cycle:
    pass

def test_before():
    pass

def test_that_leaves_a_file_open():
    cycle = Cycle()
    cycle.itself, cycle.file = cycle, open(__file__)

def test_after():
    pass
"""


def pytest_says(source: str, folder: Path, *flags: str, **environment: str) -> str:
    """What pytest says about these tests, with the settings and hooks of this suite."""
    (folder / "test_made.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST_"))}
    told = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *(f"--config-file={ROOT / 'pyproject.toml'}", *flags, str(folder / "test_made.py")),
        ],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return told.stdout + told.stderr


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["one process", "workers"])
def test_a_missing_program_is_one_line_however_many_tests_need_it(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    told = pytest_says(NEEDS_A_PROGRAM, tmp_path, *flags)
    assert re.findall(r".*no-such-program.*", told) == ["SKIPPED [4] no-such-program is not installed"]
    assert "4 skipped" in told


def test_a_missing_program_is_a_failure_in_ci(tmp_path: Path) -> None:
    told = pytest_says(NEEDS_A_PROGRAM, tmp_path, CI="true")
    assert "1 failed, 3 errors" in told


def test_a_file_that_was_not_closed_is_an_error_of_the_test_that_opened_it(tmp_path: Path) -> None:
    told = pytest_says(LEAVES_A_FILE_OPEN, tmp_path)
    assert re.findall(r"^ERROR \S*::(\w+)", told, re.MULTILINE) == ["test_that_leaves_a_file_open"]
    assert "3 passed, 1 error" in told


def test_nothing_is_opened_for_a_server_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="redis-server is not installed"), redis_server(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_found_by_the_name_debian_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = tmp_path / "prometheus-alertmanager"
    made.touch(mode=0o755)
    assert program("alertmanager") == str(made)


def test_ci_hides_and_installs_every_program_that_a_test_asks_for() -> None:
    known = set(re.findall(r"\[([a-z-]+)\]=", (ROOT / ".ci" / "run").read_text(encoding="utf-8")))
    everywhere = {"bash", "unshare", *(path.name for path in Path(sys.executable).parent.iterdir())}
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("*/**/*.py"))
    asked = set(re.findall(r"\bprogram\(\s*\"([a-z-]+)\"", tests)) - everywhere
    assert {"prometheus", "redis-server", "chromium"} <= asked <= known


@pytest.mark.parametrize("target", [(), ("help",)], ids=["make", "make help"])
def test_make_lists_its_targets(target: tuple[str, ...]) -> None:
    told = subprocess.run(["make", *target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    [names] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(re.findall(r"^  make (\w+) +\S", told.stdout, re.MULTILINE)) == sorted(names.split())
