"""The unit, as far as systemd judges it without starting it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.deploy import DEPLOY, unknown_flags
from tests.support.programs import program

UNIT = DEPLOY / "systemd" / "codearts-build-exporter.service"
TEXT = UNIT.read_text(encoding="utf-8")
MOST_EXPOSED = 1.5
"""Of 10; below 2 systemd calls a service well protected. What is left is the network that it needs."""


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


@pytest.fixture(name="unit")
def _unit(tmp_path: Path) -> Path:
    """The unit with a program that exists: systemd looks whether it can be run."""
    [command] = setting("ExecStart")
    file = tmp_path / UNIT.name
    file.write_text(TEXT.replace(shlex.split(command)[0], "/bin/true"))
    return file


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("systemd-analyze"), "--no-pager", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_systemd_understands_every_line(unit: Path) -> None:
    told = systemd_analyze("verify", "--man=no", str(unit))
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def test_systemd_finds_it_well_confined(unit: Path) -> None:
    told = systemd_analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", str(unit))
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_command_is_one_that_the_exporter_understands() -> None:
    [command] = setting("ExecStart")
    path, *arguments = shlex.split(command)
    assert path == "/opt/codearts-build-exporter/bin/codearts-build-exporter"
    assert unknown_flags(arguments) == set()


def test_the_configuration_comes_as_a_credential() -> None:
    credentials = dict(one.split(":") for one in setting("LoadCredential"))
    assert credentials.keys() == {"config.yaml", "secret-key"}
    assert "--config.file=${CREDENTIALS_DIRECTORY}/config.yaml" in setting("ExecStart")[0]


def test_the_state_is_where_the_exporter_starts() -> None:
    [folder] = setting("StateDirectory")
    assert setting("WorkingDirectory") == [f"%S/{folder}"]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert setting("RestartPreventExitStatus") == ["2"]
