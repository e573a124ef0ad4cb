"""The store is examined and never changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.config import Config, parse
from exporter.doctor.report import Finding, Mark
from exporter.doctor.state import state
from exporter.store import SqliteStore
from tests.support import fork_server
from tests.support.programs import free_port

HOLD = (
    "import sys; from exporter.store import SqliteStore; "
    "store = SqliteStore(sys.argv[1]); print('.', flush=True); input(); store.close()"
)


def config(section: str) -> Config:
    text = f"region: cn-north-4\nauth: {{token: t}}\njobs: [{'f' * 32}]\nstate: {section}\n"
    return parse(text, source="test", environ={}, base_dir=Path())


def found(path: Path | str, watched: int = 1) -> Finding:
    return state(config(f'{{path: "{path}"}}'), watched).findings[0]


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    assert found(tmp_path / "state.db").mark is Mark.OK
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "there is no folder" in found(tmp_path / "nowhere" / "state.db").text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert found(tmp_path / "state.db").mark is Mark.PROBLEM


def test_an_unused_state_file_stays_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    SqliteStore(str(path)).close()
    before = path.read_bytes(), sorted(tmp_path.iterdir())
    assert "writable, and free" in found(path).text
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


def test_a_link_to_a_missing_file_is_followed(tmp_path: Path) -> None:
    path, real = tmp_path / "state.db", tmp_path / "volume" / "real.db"
    path.symlink_to(real)
    assert f"there is no folder {real.parent}" in found(path).text
    real.parent.mkdir()
    finding = found(path)
    assert (finding.mark, finding.text) == (
        Mark.OK,
        f"{path}, a link to {real}: is created at the first start",
    )
    SqliteStore(str(path)).close()
    assert real.is_file()
    assert "writable, and free" in found(path).text


def test_a_file_that_cannot_be_opened_has_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.symlink_to(path)
    finding = found(path)
    assert finding.mark is Mark.PROBLEM
    assert "Errno" not in finding.text
    assert finding.todo.startswith("check that it is a file that the exporter's user may read and write")


def test_a_running_exporter_is_named_and_undisturbed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    command = [sys.executable, "-c", HOLD, str(path)]
    with fork_server.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        finding = found(path)
        assert finding.mark is Mark.NOTE
        assert f"(process {holder.pid})" in finding.text
        holder.communicate(b"\n")
    assert holder.returncode == 0


def test_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("a letter")
    finding = found(path)
    assert finding.text == f"{path}: this is not a SQLite file"
    assert finding.todo == "name another state.path; a new file begins with a baseline"


def test_memory_gets_a_suggestion_if_several_jobs_are_watched() -> None:
    assert found(":memory:", watched=1).todo == ""
    assert "give a state.path" in found(":memory:", watched=2).todo


def test_an_unreachable_server_is_shown_without_its_password() -> None:
    url = f"redis://:s3cret@127.0.0.1:{free_port()}"
    [finding] = state(config(f'{{redis_url: "{url}"}}'), 1).findings
    assert finding.mark is Mark.PROBLEM
    assert "s3cret" not in finding.text
