"""The file: ledgers are kept, one process owns it, and damaged or foreign files are refused unchanged."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import StoreError
from exporter.ledger.job_ledger import JobLedger
from exporter.store import SqliteStore, sqlite
from exporter.store.serialization import encode
from tests.store.kept_file import FIRST_WATCHED_V4, KEPT_V1, KEPT_V2, KEPT_V3, KEPT_V5
from tests.store.ledgers import START_MS, counted, ledgers
from tests.support import fork_server
from tests.support.programs import answers, eventually, free_port, running

JOB_IDS = [f"{ordinal:032x}" for ordinal in range(40)]
FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextmanager
def opened(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(str(path))) as store:
        yield store


def keep(path: Path, changed: Mapping[str, JobLedger]) -> None:
    with opened(path) as store:
        store.commit(changed)


def kept(path: Path) -> dict[str, JobLedger]:
    with opened(path) as store:
        return store.load(JOB_IDS)


def edit(path: Path, *statements: str) -> None:
    """Change a file without the store."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def left_by_a_kill(path: Path, builds: int) -> None:
    """The file of a killed exporter, with its -wal."""
    code = (
        "import os, sys; from exporter.store import SqliteStore\n"
        "from tests.store.ledgers import counted\n"
        "store = SqliteStore(sys.argv[1])\n"
        "for at in range(int(sys.argv[2])): store.commit({f'{job:032x}': counted(at) for job in range(9)})\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = fork_server.run([sys.executable, "-c", code, str(path), str(builds)], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert (path.parent / f"{path.name}-wal").stat().st_size > 0


def fingerprints(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def refusal(path: Path) -> str:
    """The message that refuses a file; nothing in its folder may change."""
    before = fingerprints(path.parent)
    with pytest.raises(StoreError) as refused, opened(path) as store:
        store.load(JOB_IDS)
    assert fingerprints(path.parent) == before
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@given(st.dictionaries(st.sampled_from(JOB_IDS), ledgers(), max_size=4), st.data())
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_committed_ledgers_are_loaded(path: Path, ledgers: dict[str, JobLedger], data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    keep(path, ledgers)
    assert kept(path) == ledgers
    asked = data.draw(st.sets(st.sampled_from(JOB_IDS)))
    with opened(path) as store:
        assert store.load(asked) == {job_id: ledgers[job_id] for job_id in asked & set(ledgers)}


def test_a_later_commit_replaces_an_earlier_one_of_the_same_job(path: Path) -> None:
    with opened(path) as store:
        store.commit({JOB_IDS[0]: counted(1), JOB_IDS[1]: counted(1)})
        assert store.commit({JOB_IDS[1]: counted(2)}) == {}
    assert kept(path) == {JOB_IDS[0]: counted(1), JOB_IDS[1]: counted(2)}


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    with opened(path) as store:
        store.commit({JOB_IDS[0]: counted(1)})
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["state.db", "state.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_closed_store_leaves_one_file(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


def test_stale_ledgers_of_unwatched_jobs_are_deleted(path: Path) -> None:
    ages = {job_id: counted(1, polled_ms=START_MS + ordinal) for ordinal, job_id in enumerate(JOB_IDS)}
    with opened(path) as store:
        store.commit(ages)
        assert store.prune(JOB_IDS[:3], before_ms=START_MS + 10) == 7
        assert store.prune(JOB_IDS[:3], before_ms=START_MS + 10) == 0
    assert set(kept(path)) == {*JOB_IDS[:3], *JOB_IDS[10:]}


def test_an_empty_file_is_used_as_a_new_one(path: Path) -> None:
    path.touch()
    assert kept(path) == {}


def test_a_missing_folder_is_reported(path: Path) -> None:
    missing = path.parent / "missing" / "state.db"
    with pytest.raises(StoreError) as refused:
        SqliteStore(str(missing))
    assert str(refused.value) == (
        f"{missing}: cannot open: No such file or directory; there is no folder {missing.parent}"
    )
    assert not missing.parent.exists()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["folder", "pipe"])
def test_anything_but_a_regular_file_is_refused(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    with pytest.raises(StoreError, match=r"Is a directory|this is not a regular file"):
        SqliteStore(str(path))


def test_a_second_exporter_is_refused(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"endpoint: http://127.0.0.1:{free_port()}\nauth: {{token: example-token}}\njobs: [{JOB_IDS[0]}]\n"
        f"state: {{path: {tmp_path / 'state.db'}}}\n"
    )
    command = [sys.executable, "-m", "exporter", f"--config.file={config}", "--web.listen-address"]
    with running([*command, f"127.0.0.1:{port}"], tmp_path / "first.log") as first:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/-/healthy"), 60)
        second = fork_server.run([*command, "127.0.0.1:0"], capture_output=True, text=True, timeout=60)
        assert first.poll() is None
        first.kill()
        first.wait()
        with opened(tmp_path / "state.db"):
            pass
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1] == (
        f"codearts-build-exporter: {tmp_path / 'state.db'}: cannot open: another process has it open; "
        "one exporter for each state.path"
    )


def test_a_kill_releases_the_lock_and_loses_nothing(path: Path) -> None:
    left_by_a_kill(path, builds=5)
    assert kept(path) == {job_id: counted(4) for job_id in JOB_IDS[:9]}


def test_a_kill_during_commits_leaves_complete_transactions(path: Path) -> None:
    code = (
        "import itertools, sys; from exporter.store import SqliteStore\n"
        "from tests.store.ledgers import counted\n"
        "store = SqliteStore(sys.argv[1]); ledgers = [counted(at) for at in range(20)]\n"
        "for at in itertools.count():\n"
        "    store.commit({f'{job:032x}': ledgers[at % 20] for job in range(40)}); print(at, flush=True)"
    )
    for lines in (1, 7, 30):
        with fork_server.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            heard = [int(child.stdout.readline()) for _ in range(lines)][-1]
            child.kill()
            heard = ([heard, *map(int, child.stdout.read().split())])[-1]
        found = kept(path)
        assert found in [{job_id: counted(at % 20) for job_id in JOB_IDS} for at in (heard, heard + 1)]


CUTS = (1, 15, 16, 50, 99, 100, 101, 4095, 4096, 8192, 16_000)


@pytest.mark.parametrize("size", CUTS)
def test_a_truncated_file_is_refused_unchanged(path: Path, size: int) -> None:
    keep(path, {job_id: counted(3) for job_id in JOB_IDS})
    os.truncate(path, size)
    refusal(path)


@pytest.mark.parametrize("size", CUTS)
def test_a_truncated_file_with_a_wal_is_refused_unchanged(path: Path, size: int) -> None:
    keep(path, {job_id: counted(3) for job_id in JOB_IDS})
    left_by_a_kill(path, builds=2)
    os.truncate(path, size)
    refusal(path)


def test_an_empty_file_with_a_wal_is_refused(path: Path) -> None:
    left_by_a_kill(path, builds=2)
    path.write_bytes(b"")
    assert refusal(path) == "the file is empty, but not its -wal; restore a copy, or remove both"


def test_a_flipped_byte_never_changes_a_ledger(path: Path) -> None:
    truth = {job_id: counted(3) for job_id in JOB_IDS[:6]}
    keep(path, truth)
    whole = path.read_bytes()
    refused, every = 0, 41
    for at in range(0, len(whole), every):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
        before = path.read_bytes()
        try:
            assert kept(path) == truth, at
        except StoreError:
            refused += 1
            assert path.read_bytes() == before
            assert [file.name for file in path.parent.iterdir()] == ["state.db"]
    assert refused >= sum(len(encode(ledger)) // every for ledger in truth.values())


def test_a_torn_end_of_the_wal_is_ignored(path: Path) -> None:
    left_by_a_kill(path, builds=5)
    log = path.parent / "state.db-wal"
    log.write_bytes(log.read_bytes()[:-100])
    assert kept(path) == {job_id: counted(3) for job_id in JOB_IDS[:9]}


@pytest.mark.parametrize("content", [b"jobs: []\n", b"SQLite format 2\0" + b"x" * 5000, b"\0" * 4096])
def test_a_file_that_is_not_sqlite_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path) == "this is not a SQLite file; name another state.path"


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE notes (text)"],
        ["CREATE TABLE ledgers (job_id, polled_ms, ledger, checksum)", "PRAGMA user_version = 1"],
        ["PRAGMA application_id = 252006673"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE notes (text)"],
    ],
)
def test_a_file_of_another_program_is_refused(path: Path, statements: list[str]) -> None:
    edit(path, *statements)
    assert refusal(path) == "this SQLite file belongs to another program; name another state.path"


def test_a_file_in_use_by_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE notes (text)")
        assert refusal(path) == "this SQLite file belongs to another program; name another state.path"


def test_a_newer_file_is_refused(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    edit(path, f"PRAGMA user_version = {sqlite.SCHEMA_VERSION + 1}")
    assert refusal(path) == (
        "written by a newer exporter (schema 3, not 2); start that version again, or name another state.path"
    )


def test_file_and_wal_of_a_killed_newer_exporter_are_not_changed(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    code = (
        "import os, sqlite3, sys; newer = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "newer.execute('PRAGMA user_version = 3').fetchall(); os.kill(os.getpid(), 9)"
    )
    fork_server.run([sys.executable, "-c", code, str(path)], timeout=60)
    (path.parent / "state.db-shm").unlink()
    assert sorted(fingerprints(path.parent)) == ["state.db", "state.db-wal"]
    assert refusal(path).startswith("written by a newer exporter (schema 3, not 2)")


def replaced(path: Path, row: object) -> None:
    """Write one job's row with a correct checksum."""
    keep(path, {JOB_IDS[0]: counted(1), JOB_IDS[1]: counted(1)})
    bare = row if isinstance(row, bytes) else str(row).encode()
    checksum = sqlite._checksum(JOB_IDS[1].encode(), START_MS, bare)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE ledgers SET ledger = CAST(? AS TEXT), polled_ms = ?, checksum = ? WHERE job_id = ?",
            (bare, START_MS, checksum, JOB_IDS[1]),
        )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("garbage", "Invalid JSON: expected value at line 1 column 1"),
        (b"\xff\xfe\x00", "Invalid JSON: expected value at line 1 column 1"),
        ('{"version":9,"ledger":{}}', "written by a newer exporter (row version 9, this one reads up to 4)"),
    ],
)
def test_an_unreadable_row_is_reported_with_its_job(path: Path, row: object, reason: str) -> None:
    replaced(path, row)
    assert refusal(path) == f"the ledger of job {JOB_IDS[1]}: {reason}"
    with opened(path) as store:
        assert set(store.load(JOB_IDS[:1])) == {JOB_IDS[0]}


def test_an_edited_row_is_refused_even_if_it_is_a_ledger(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    edit(path, """UPDATE ledgers SET ledger = replace(ledger, '"builds":1', '"builds":2')""")
    assert refusal(path) == f"the ledger of job {JOB_IDS[0]}: it is damaged: its checksum does not match"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("state-v1.db", KEPT_V1),
        ("state-v2.db", KEPT_V2),
        ("state-v3.db", KEPT_V3),
        ("state-v4.db", KEPT_V3),
        ("state-v5.db", KEPT_V5),
    ],
)
def test_files_of_all_versions_open(path: Path, name: str, kept: dict[str, JobLedger]) -> None:
    shutil.copy(FIXTURES / name, path)
    with opened(path) as store:
        assert store.load(kept) == kept
        store.commit({JOB_IDS[0]: counted(1)})
        assert store.load([*kept, JOB_IDS[0]]) == {**kept, JOB_IDS[0]: counted(1)}
        first_watched = store.first_watched(FIRST_WATCHED_V4, 0)
        assert first_watched == (
            FIRST_WATCHED_V4 if name >= "state-v4.db" else dict.fromkeys(FIRST_WATCHED_V4, 0)
        )


def test_a_file_passes_every_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    steps = (*sqlite._MIGRATIONS, "CREATE TABLE third (x)", "ALTER TABLE third ADD COLUMN y")
    monkeypatch.setattr(sqlite, "_MIGRATIONS", steps)
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 4)
    assert kept(path) == {JOB_IDS[0]: counted(1)}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (4,)
        assert connection.execute("SELECT x, y FROM third").fetchall() == []


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    monkeypatch.setattr(sqlite, "_MIGRATIONS", (*sqlite._MIGRATIONS, "CREATE TABLE third (x)", "nonsense"))
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 4)
    assert "syntax error" in refusal(path)
    monkeypatch.undo()
    assert kept(path) == {JOB_IDS[0]: counted(1)}


def test_the_first_watched_time_is_kept_until_there_is_a_ledger(path: Path) -> None:
    with opened(path) as store:
        assert store.first_watched(JOB_IDS[:2], START_MS) == dict.fromkeys(JOB_IDS[:2], START_MS)
    with opened(path) as store:
        assert store.load(None) == {}
        later = store.first_watched(JOB_IDS[:3], START_MS + 5)
        assert later == dict.fromkeys(JOB_IDS[:2], START_MS) | {JOB_IDS[2]: START_MS + 5}
        store.commit({JOB_IDS[0]: counted(1)})
        assert store.first_watched(JOB_IDS[:2], START_MS + 9) == {
            JOB_IDS[0]: START_MS + 9,
            JOB_IDS[1]: START_MS,
        }


def test_recorded_times_are_corrected_and_no_others(path: Path) -> None:
    job, other, doubt = JOB_IDS[:3]
    with closing(SqliteStore(str(path))) as store:
        store.first_watched([job, doubt], START_MS)
        store.correct_first_watched({job: START_MS - 7, other: START_MS, doubt: None})
        later_ms = START_MS + 9
        assert store.first_watched([job, other, doubt], later_ms) == {
            job: START_MS - 7,
            other: later_ms,
            doubt: later_ms,
        }


def test_the_first_watched_time_is_pruned_with_the_job(path: Path) -> None:
    with opened(path) as store:
        store.first_watched(JOB_IDS[:2], START_MS)
        store.first_watched(JOB_IDS[2:3], START_MS + 1)
        assert store.prune([JOB_IDS[0]], START_MS + 1) == 0
        kept = store.first_watched(JOB_IDS[:3], START_MS + 9)
    assert list(kept.values()) == [START_MS, START_MS + 9, START_MS + 1]
