"""A file that is removed while in use, or is on a file system without locks."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.errors import StoreError
from exporter.simulator import Fleet, ManualClock
from exporter.store import SqliteStore
from tests.store.ledgers import counted
from tests.support import fork_server
from tests.support.syscalls import no_locks
from tests.support.watch import START_MS, watching

JOB, OTHER = "f9d6c8466d614a9788e9a0acf6c15f46", "48c66c6002964721be537cdc6ce0297b"
AGAIN = "was deleted or moved away while it was in use; it has been written again, and nothing is lost"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "state.db"


def kept(path: Path) -> dict[str, object]:
    with closing(SqliteStore(str(path))) as store:
        return dict(store.load(None))


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_its_log(path: Path) -> None:
    path.unlink()
    path.with_name("state.db-wal").unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("copy.db"))


def moved_with_its_log(path: Path) -> None:
    path.rename(path.with_name("copy.db"))
    path.with_name("state.db-wal").rename(path.with_name("copy.db-wal"))


WAYS = [deleted, deleted_with_its_log, moved, moved_with_its_log]


@pytest.mark.parametrize("go_away", WAYS)
def test_a_removed_file_is_rewritten(path: Path, go_away: Callable[[Path], None]) -> None:
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1), OTHER: counted(5)})
        store.commit({JOB: counted(2)})
        go_away(path)
        with pytest.raises(StoreError) as refused:
            store.commit({JOB: counted(3)})
        assert str(refused.value) == f"{path}: the file {AGAIN}"
        assert store.load(None) == {JOB: counted(2), OTHER: counted(5)}
        assert store.commit({JOB: counted(3)}) == {}
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(StoreError, match="another process has it open"):
            SqliteStore(str(path))
    assert kept(path) == {JOB: counted(3), OTHER: counted(5)}
    assert not {"state.db-wal", "state.db.new"} & set(os.listdir(path.parent))


@pytest.mark.parametrize("go_away", WAYS)
def test_a_removed_file_is_there_at_the_next_start(path: Path, go_away: Callable[[Path], None]) -> None:
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(2)})
        go_away(path)
    assert kept(path) == {JOB: counted(2)}


def test_an_idle_exporter_notices_too(path: Path) -> None:
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(2)})
        assert store.restore({JOB: counted(2)}) == 0
        path.unlink()
        with pytest.raises(StoreError, match=AGAIN):
            store.restore({JOB: counted(2)})
        assert store.restore({JOB: counted(2)}) == 0
        assert path.exists()


def test_a_removed_folder_is_waited_for(path: Path) -> None:
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
        shutil.rmtree(path.parent)
        with pytest.raises(StoreError, match="there is no folder"):
            store.commit({JOB: counted(2)})
        path.parent.mkdir()
        with pytest.raises(StoreError, match=AGAIN):
            store.commit({JOB: counted(2)})
        store.commit({JOB: counted(2)})
    assert kept(path) == {JOB: counted(2)}


def test_a_link_stays_a_link(path: Path) -> None:
    real = path.with_name("real.db")
    path.symlink_to(real)
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
        real.unlink()
        with pytest.raises(StoreError, match=AGAIN):
            store.commit({JOB: counted(2)})
        store.commit({JOB: counted(2)})
    assert path.is_symlink()
    assert kept(real) == {JOB: counted(2)}


def test_a_file_put_in_its_place_is_not_changed(path: Path) -> None:
    another = path.with_name("another.db")
    with closing(SqliteStore(str(another))) as store:
        store.commit({OTHER: counted(7)})
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
        store.commit({JOB: counted(2)})
        another.rename(path)
        content = path.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreError, match="another file was put in its place"):
                store.commit({JOB: counted(3)})
        assert path.read_bytes() == content
    assert kept(path) == {OTHER: counted(7)}


def test_after_removal_of_the_other_file_it_is_rewritten(path: Path) -> None:
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
        path.unlink()
        path.write_bytes(b"")
        with pytest.raises(StoreError, match="another file was put in its place"):
            store.commit({JOB: counted(2)})
        path.unlink()
        with pytest.raises(StoreError, match=AGAIN):
            store.commit({JOB: counted(2)})
        store.commit({JOB: counted(2)})
    assert kept(path) == {JOB: counted(2)}


def test_if_only_the_wal_is_left_no_file_is_created(path: Path) -> None:
    code = (
        "import os, sys; from exporter.store import SqliteStore; from tests.store.ledgers import counted\n"
        f"SqliteStore(sys.argv[1]).commit({{'{JOB}': counted(1)}})\n"
        "os.unlink(sys.argv[1]); os.kill(os.getpid(), 9)"
    )
    ended = fork_server.run([sys.executable, "-c", code, str(path)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert os.listdir(path.parent) == ["state.db-wal"]
    for _ in range(2):
        with pytest.raises(StoreError) as refused:
            SqliteStore(str(path))
        assert str(refused.value) == (
            f"{path}: the file is missing, but not its -wal; restore the file, or remove the -wal too"
        )
    assert os.listdir(path.parent) == ["state.db-wal"]
    path.with_name("state.db-wal").unlink()
    assert kept(path) == {}


def test_an_exporter_continues_counting(path: Path) -> None:
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    with (
        closing(SqliteStore(str(path))) as store,
        watching(fleet, store=store) as watch,
        capture_logs() as logs,
    ):
        watch.poll()
        fleet.add_build(JOB)
        watch.poll()
        path.unlink()
        fleet.add_build(JOB)
        watch.poll(times=3)
        assert watch.counted() == {"success": 2}
        assert watch.value("exporter_store_errors_total", operation="commit") == 1
    assert [line["event"] for line in logs] == ["store_unavailable", "store_recovered"]
    with closing(SqliteStore(str(path))) as store:
        assert sum(store.load([JOB])[JOB].counts.values()) == 2


@pytest.mark.parametrize("exists", [False, True])
def test_a_file_system_without_locks_is_reported(path: Path, exists: bool) -> None:
    if exists:
        SqliteStore(str(path)).close()
    config = path.with_name("config.yaml")
    config.write_text(
        f"region: cn-north-4\nauth: {{token: t}}\njobs: [{JOB}]\nstate: {{path: {path}}}\n"
        "endpoint: http://127.0.0.1:9\n"
    )
    code = (
        "import sys; from pathlib import Path; from exporter.config import load\n"
        "from exporter.doctor.state import state; from exporter.store import SqliteStore\n"
        "for one in state(load(Path(sys.argv[2]), {}), 1).findings: print(one.mark.value, one.text)\n"
        "SqliteStore(sys.argv[1])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path), str(config)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=no_locks(),
    )
    reason = "its file system has no file locks (NFS needs its lock service)"
    assert ended.stderr.splitlines()[-1].startswith(
        f"exporter.errors.StoreError: {path}: cannot open: {reason}"
    )
    if exists:
        assert ended.stdout.startswith(f"problem {path}: {reason}")
