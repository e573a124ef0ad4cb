"""The systemd unit, checked with systemd-analyze without starting it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.deploy import DEPLOY, unknown_flags
from tests.support.programs import program

UNIT = DEPLOY / "systemd" / "codearts-build-exporter.service"
TEXT = UNIT.read_text(encoding="utf-8")
MAX_EXPOSURE = 1.5
"""Maximum exposure, of 10. systemd calls a service below 2 well protected; the rest is network access."""


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", TEXT, re.MULTILINE)


@pytest.fixture(name="unit")
def _unit(tmp_path: Path) -> Path:
    """Write the unit with an existing program, because systemd checks that it can be executed."""
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


def test_systemd_accepts_every_line(unit: Path) -> None:
    result = systemd_analyze("verify", "--man=no", str(unit))
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_exposure_is_low(unit: Path) -> None:
    result = systemd_analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE * 10:.0f}", str(unit))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_exporter_accepts_the_command() -> None:
    [command] = setting("ExecStart")
    path, *arguments = shlex.split(command)
    assert path == "/opt/codearts-build-exporter/bin/codearts-build-exporter"
    assert unknown_flags(arguments) == set()


def test_the_configuration_is_a_credential() -> None:
    credentials = dict(value.split(":") for value in setting("LoadCredential"))
    assert credentials.keys() == {"config.yaml", "secret-key"}
    assert "--config.file=${CREDENTIALS_DIRECTORY}/config.yaml" in setting("ExecStart")[0]


def test_the_working_directory_is_the_state_directory() -> None:
    [folder] = setting("StateDirectory")
    assert setting("WorkingDirectory") == [f"%S/{folder}"]


def test_a_wrong_configuration_causes_no_restart() -> None:
    assert setting("RestartPreventExitStatus") == ["2"]
