"""A full or read-only disk: nothing uncommitted is published, and the exporter recovers by itself."""

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.errors import StoreError
from exporter.simulator import Fleet, ManualClock
from exporter.store import SqliteStore
from tests.store.ledgers import counted
from tests.support import fork_server
from tests.support.watch import START_MS, Watch, watching

JOB = "f9d6c8466d614a9788e9a0acf6c15f46"
NOBODY = 65534

Trouble = Callable[[], AbstractContextManager[None]]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of one megabyte; the test is skipped if mounting is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder):
        yield folder


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 65_536
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def size_limit() -> Iterator[None]:
    """Limit the size of files (Python ignores the signal for it)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def one_job(path: Path) -> Iterator[tuple[Watch, Fleet]]:
    """An exporter with a state file, after its first polls."""
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    with closing(SqliteStore(str(path))) as store, watching(fleet, store=store) as watch:
        watch.poll()
        fleet.add_build(JOB)
        watch.poll()
        assert watch.counted() == {"success": 1}
        yield watch, fleet


def hold_to_what_was_committed(path: Path, trouble: Trouble) -> None:
    with one_job(path) as (watch, fleet), capture_logs() as logs:
        before = watch.text()
        with trouble():
            for _ in range(3):
                fleet.add_build(JOB, result="failure")
                watch.poll(times=2)
        assert watch.value("exporter_store_errors_total", operation="commit") == 6
        assert of_builds(watch.text()) == of_builds(before)
        watch.poll()
        assert watch.counted() == {"success": 1, "failure": 3}
        assert watch.value("exporter_store_errors_total", operation="commit") == 6
        watch.start()
        watch.poll(times=3)
        assert watch.counted() == {"success": 1, "failure": 3}
        assert sorted(watch.asked_numbers()) == sorted(set(watch.asked_numbers()))
    assert [line["event"] for line in logs] == ["store_unavailable", "store_recovered"]
    with closing(SqliteStore(str(path))) as store:
        assert sum(store.load([JOB])[JOB].counts.values()) == 4


def of_builds(exposition: str) -> list[str]:
    """The metrics of jobs, without the exporter's own."""
    return [
        line for line in exposition.splitlines() if line.startswith("codearts_build_") and JOB_LABEL in line
    ]


JOB_LABEL = 'job_name="checkout"'


def test_on_a_full_disk_published_values_stay_until_it_recovers(disk: Path) -> None:
    hold_to_what_was_committed(disk / "state.db", lambda: full(disk))


def test_a_file_size_limit_behaves_like_a_full_disk(tmp_path: Path) -> None:
    hold_to_what_was_committed(tmp_path / "state.db", size_limit)


def test_a_full_disk_is_reported(disk: Path) -> None:
    with closing(SqliteStore(str(disk / "state.db"))) as store:
        store.commit({JOB: counted(1)})
        with full(disk), pytest.raises(StoreError, match=r"state\.db: cannot write: the disk is full"):
            store.commit({f"{ordinal:032x}": counted(1) for ordinal in range(100)})
        assert store.load([JOB]) == {JOB: counted(1)}
        assert store.commit({JOB: counted(2)}) == {}


def test_on_a_full_disk_ledgers_can_be_loaded(disk: Path) -> None:
    path = disk / "state.db"
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
    with full(disk), closing(SqliteStore(str(path))) as store:
        assert store.load([JOB]) == {JOB: counted(1)}


def test_a_new_file_on_a_full_disk_is_refused_and_works_later(disk: Path) -> None:
    with full(disk), pytest.raises(StoreError, match=r"state\.db: cannot write: the disk is full"):
        SqliteStore(str(disk / "state.db"))
    with closing(SqliteStore(str(disk / "state.db"))) as store:
        assert store.load([JOB]) == {}


def opened_by_nobody(path: Path) -> str:
    """The message when an unprivileged process opens the file."""
    code = (
        "import os, sys; from exporter.errors import StoreError; from exporter.store import SqliteStore\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n"
        "try: SqliteStore(sys.argv[1])\n"
        "except StoreError as error: print(error)\n"
        "else: print('opened')"
    )
    ran = fork_server.run(
        [sys.executable, "-c", code, str(path), str(NOBODY)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return str(ran.stdout).strip()


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that every user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="codearts-build-exporter-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def kept_in(folder: Path) -> Path:
    path = folder / "state.db"
    with closing(SqliteStore(str(path))) as store:
        store.commit({JOB: counted(1)})
    path.chmod(0o666)
    return path


def test_a_file_that_all_users_may_write_is_opened(open_folder: Path) -> None:
    assert opened_by_nobody(kept_in(open_folder)) == "opened"


def test_a_read_only_file_is_refused(open_folder: Path) -> None:
    path = kept_in(open_folder)
    path.chmod(0o444)
    assert opened_by_nobody(path) == f"{path}: cannot open: Permission denied"
    assert path.read_bytes()


def test_a_read_only_folder_is_refused(open_folder: Path) -> None:
    path = kept_in(open_folder)
    before = path.read_bytes()
    open_folder.chmod(0o555)
    assert opened_by_nobody(path) == (
        f"{path}: cannot open: the file, or its folder, which also holds the -wal, is read-only"
    )
    assert (path.read_bytes(), [file.name for file in open_folder.iterdir()]) == (before, ["state.db"])


def test_a_read_only_folder_without_a_file_is_refused(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    path = open_folder / "state.db"
    assert opened_by_nobody(path) == f"{path}: cannot open: Permission denied"


def test_a_read_only_disk_is_refused(disk: Path) -> None:
    path = kept_in(disk)
    before = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StoreError, match="cannot open: Read-only file system"):
        SqliteStore(str(path))
    assert path.read_bytes() == before
