import os
from pathlib import Path

import pytest

from exporter.config import PasswordAuth, load
from exporter.errors import ConfigError
from tests.config.helpers import JOB, MINIMAL


def complaint_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


def test_a_file_is_loaded_with_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("made-up\n")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"region: ${{REGION}}\njobs: [{JOB}]\n"
        "auth: {password: {domain: d, username: u, password_file: password}}\n"
    )
    config = load(path, {"REGION": "eu-west-101"})
    assert isinstance(config.auth, PasswordAuth)
    assert config.auth.password.get_secret_value() == "made-up"
    assert config.auth.project == "eu-west-101"


def test_errors_name_the_file_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(MINIMAL + "recycle_bin: {enabled: 2}\n")
    assert complaint_of(Path("my.yaml")) == 'my.yaml:4: recycle_bin.enabled: "2" is neither true nor false'


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(path, {}).region == "cn-north-4"


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert complaint_of(path) == f"{path}: cannot be read: No such file or directory"


def test_a_directory_is_reported(tmp_path: Path) -> None:
    assert complaint_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL)
    path.chmod(0)
    assert complaint_of(path) == f"{path}: cannot be read: Permission denied"


def test_a_file_that_is_not_utf_8_is_reported_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("region: cn-north-4\n# 区域\n".encode("gbk"))
    assert complaint_of(path) == f"{path}:2: is not UTF-8 text; save it as UTF-8"


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert complaint_of(path) == f"{path}: cannot be read: File too large"


def test_a_device_is_not_read() -> None:
    assert complaint_of(Path("/dev/zero")) == "/dev/zero: cannot be read: it is not a regular file"


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    os.mkfifo(path)
    assert complaint_of(path) == f"{path}: cannot be read: it is not a regular file"
