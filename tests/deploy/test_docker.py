"""The Dockerfile passes its linter and matches the exporter; its steps work without a container."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from exporter import __version__
from tests.support.deploy import DEPLOY, IMAGE, PORT, ROOT, USER, unknown_flags
from tests.support.distribution import EPOCH, build, checkout
from tests.support.programs import exporter, run_program

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Return names and arguments of the instructions, without comments and with joined lines."""
    code = "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", code)
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line]


def last_stage() -> list[Instruction]:
    found = instructions()
    start = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def only(name: str) -> str:
    [value] = [arguments for found, arguments in last_stage() if found == name]
    return value


def test_the_linter_finds_nothing() -> None:
    run_program("hadolint", DOCKERFILE)


def test_every_base_has_a_tag_with_version_and_distribution() -> None:
    bases = {arguments.split()[0] for name, arguments in instructions() if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


def test_the_user_is_given_by_number_and_is_not_root() -> None:
    assert only("USER") == f"{USER}:{USER}"


def test_port_state_and_signal_are_those_of_the_exporter() -> None:
    assert only("EXPOSE") == str(PORT)
    assert only("VOLUME") == only("WORKDIR") == "/var/lib/codearts-build-exporter"
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_exporter_accepts_the_command() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["codearts-build-exporter"]
    command = json.loads(only("CMD"))
    assert command == ["--config.file=/etc/codearts-build-exporter/config.yaml"]
    assert unknown_flags(command) == set()


def test_label_and_comment_name_the_version_of_the_package() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in only("LABEL")
    assert f"--tag {IMAGE} " in TEXT


def test_the_revision_reaches_the_exporter() -> None:
    assert only("ARG") == "REVISION=unknown"
    assert 'EXPORTER_REVISION="${REVISION}"' in only("ENV")
    assert "EXPORTER_REVISION" in (ROOT / "exporter" / "__init__.py").read_text(encoding="utf-8")


def copied() -> list[str]:
    """Return the paths that are copied from the checkout."""
    lines = [arguments.split() for name, arguments in instructions() if name == "COPY"]
    return [path for words in lines if not words[0].startswith("--from") for path in words[:-1]]


def test_the_build_context_has_only_the_copied_files() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(copied())


def healthcheck(address: str) -> int:
    """Run the image's health check on an address, with an unreachable proxy, and return its exit code."""
    command = json.loads(only("HEALTHCHECK").partition(" CMD ")[2])
    code = command[-1].replace(f"127.0.0.1:{PORT}", address)
    assert code != command[-1]
    return subprocess.run(
        [sys.executable, *command[1:-1], code],
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""},
        capture_output=True,
        timeout=30,
        check=False,
    ).returncode


def test_the_health_check_fails_without_a_running_exporter(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "region: cn-north-4\nendpoint: http://127.0.0.1:9\nauth: {token: made-up}\n"
        'jobs: [f9d6c8466d614a9788e9a0acf6c15f46]\nstate: {path: ":memory:"}\n'
    )
    with exporter(config, tmp_path / "log") as url:
        address = url.removeprefix("http://")
        assert healthcheck(address) == 0
    assert healthcheck(address) != 0


def test_the_build_context_gives_the_same_wheel_as_the_checkout(tmp_path: Path) -> None:
    """Use this environment's build backend, so that the test needs no package index."""
    context = tmp_path / "context"
    context.mkdir()
    for path in copied():
        source = ROOT / path
        if source.is_dir():
            shutil.copytree(source, context / path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, context / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    result = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "."],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)},
        cwd=context,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.read_bytes() == build(checkout(tmp_path / "checkout"), tmp_path / "dist").wheel.read_bytes()


def test_dependencies_and_build_backend_come_from_the_lock_files_only() -> None:
    [run] = [arguments for name, arguments in instructions() if name == "RUN" and "pip " in arguments]
    steps = [step.split() for step in run.split("&&") if "pip" in step.split()]
    assert len(steps) == 4
    for step in steps:
        assert ("--require-hashes" in step) != ("--no-deps" in step), step
        assert ("wheel" in step) == ("--no-build-isolation" in step), step
