"""The file: ledgers come back, it has one owner, and whatever is no sound file of ours is left alone."""

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
from exporter.ledger import JobLedger
from exporter.store import SqliteStore, sqlite
from exporter.store.serialization import encode
from tests.store.kept_file import FIRST_WATCHED_V4, KEPT_V1, KEPT_V2, KEPT_V3
from tests.store.ledgers import START_MS, counted, ledgers
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
    """Change a file behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def left_by_a_kill(path: Path, builds: int) -> None:
    """A file that a killed exporter leaves, with its log of changes beside it."""
    code = (
        "import os, sys; from exporter.store import SqliteStore\n"
        "from tests.store.ledgers import counted\n"
        "store = SqliteStore(sys.argv[1])\n"
        "for at in range(int(sys.argv[2])): store.commit({f'{job:032x}': counted(at) for job in range(9)})\n"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path), str(builds)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (path.parent / f"{path.name}-wal").stat().st_size > 0


def fingerprints(folder: Path) -> dict[str, str]:
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def refusal(path: Path) -> str:
    """What is said of a file that is refused, which changes nothing in its folder."""
    before = fingerprints(path.parent)
    with pytest.raises(StoreError) as refused, opened(path) as store:
        store.load(JOB_IDS)
    assert fingerprints(path.parent) == before
    told = str(refused.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    return told.removeprefix(f"{path}: ")


@given(st.dictionaries(st.sampled_from(JOB_IDS), ledgers(), max_size=4), st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_was_committed_is_loaded(path: Path, ledgers: dict[str, JobLedger], data: st.DataObject) -> None:
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


def test_only_the_owner_may_read_the_file_and_those_beside_it(path: Path) -> None:
    with opened(path) as store:
        store.commit({JOB_IDS[0]: counted(1)})
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["state.db", "state.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_closed_it_is_one_file(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


def test_what_is_stale_and_not_watched_is_dropped(path: Path) -> None:
    ages = {job_id: counted(1, polled_ms=START_MS + ordinal) for ordinal, job_id in enumerate(JOB_IDS)}
    with opened(path) as store:
        store.commit(ages)
        assert store.prune(JOB_IDS[:3], before_ms=START_MS + 10) == 7
        assert store.prune(JOB_IDS[:3], before_ms=START_MS + 10) == 0
    assert set(kept(path)) == {*JOB_IDS[:3], *JOB_IDS[10:]}


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    assert kept(path) == {}


def test_a_missing_folder_is_named(path: Path) -> None:
    missing = path.parent / "missing" / "state.db"
    with pytest.raises(StoreError) as refused:
        SqliteStore(str(missing))
    assert str(refused.value) == (
        f"{missing}: cannot open: No such file or directory; there is no folder {missing.parent}"
    )
    assert not missing.parent.exists()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)], ids=["folder", "pipe"])
def test_what_is_no_file_is_refused(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    with pytest.raises(StoreError, match=r"Is a directory|this is not a regular file"):
        SqliteStore(str(path))


def test_a_second_exporter_is_told_so_and_ends(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"endpoint: http://127.0.0.1:{free_port()}\nauth: {{token: example-token}}\njobs: [{JOB_IDS[0]}]\n"
        f"state: {{path: {tmp_path / 'state.db'}}}\n"
    )
    command = [sys.executable, "-m", "exporter", f"--config.file={config}", "--web.listen-address"]
    with running([*command, f"127.0.0.1:{port}"], tmp_path / "first.log") as first:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/-/healthy"), 60)
        second = subprocess.run(
            [*command, "127.0.0.1:0"], check=False, capture_output=True, text=True, timeout=60
        )
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


def test_a_kill_lets_go_of_the_file_and_loses_nothing(path: Path) -> None:
    left_by_a_kill(path, builds=5)
    assert kept(path) == {job_id: counted(4) for job_id in JOB_IDS[:9]}


def test_a_kill_amid_commits_leaves_whole_rounds(path: Path) -> None:
    code = (
        "import itertools, sys; from exporter.store import SqliteStore\n"
        "from tests.store.ledgers import counted\n"
        "store = SqliteStore(sys.argv[1]); ledgers = [counted(at) for at in range(20)]\n"
        "for at in itertools.count():\n"
        "    store.commit({f'{job:032x}': ledgers[at % 20] for job in range(40)}); print(at, flush=True)"
    )
    for lines in (1, 7, 30):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            heard = [int(child.stdout.readline()) for _ in range(lines)][-1]
            child.kill()
            heard = ([heard, *map(int, child.stdout.read().split())])[-1]
        found = kept(path)
        assert found in [{job_id: counted(at % 20) for job_id in JOB_IDS} for at in (heard, heard + 1)]


CUTS = (1, 15, 16, 50, 99, 100, 101, 4095, 4096, 8192, 16_000)


@pytest.mark.parametrize("size", CUTS)
def test_a_truncated_file_is_refused_and_left_alone(path: Path, size: int) -> None:
    keep(path, {job_id: counted(3) for job_id in JOB_IDS})
    os.truncate(path, size)
    refusal(path)


@pytest.mark.parametrize("size", CUTS)
def test_a_truncated_file_with_changes_beside_it_is_refused_and_left_alone(path: Path, size: int) -> None:
    keep(path, {job_id: counted(3) for job_id in JOB_IDS})
    left_by_a_kill(path, builds=2)
    os.truncate(path, size)
    refusal(path)


def test_an_empty_file_with_changes_beside_it_is_no_new_one(path: Path) -> None:
    left_by_a_kill(path, builds=2)
    path.write_bytes(b"")
    assert refusal(path) == "the file is empty, but not its -wal; restore a copy, or remove both"


def test_no_flipped_byte_is_taken_for_a_build(path: Path) -> None:
    truth = {job_id: counted(3) for job_id in JOB_IDS[:6]}
    keep(path, truth)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 17):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x04]) + whole[at + 1 :])
        before = path.read_bytes()
        try:
            assert kept(path) == truth, at
        except StoreError:
            refused += 1
            assert path.read_bytes() == before
            assert [file.name for file in path.parent.iterdir()] == ["state.db"]
    assert refused >= sum(len(encode(ledger)) // 17 for ledger in truth.values())


def test_a_torn_end_of_the_log_of_changes_is_as_if_not_committed(path: Path) -> None:
    left_by_a_kill(path, builds=5)
    log = path.parent / "state.db-wal"
    log.write_bytes(log.read_bytes()[:-100])
    assert kept(path) == {job_id: counted(3) for job_id in JOB_IDS[:9]}


@pytest.mark.parametrize("content", [b"jobs: []\n", b"SQLite format 2\0" + b"x" * 5000, b"\0" * 4096])
def test_what_is_no_sqlite_file_is_left_alone(path: Path, content: bytes) -> None:
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
def test_a_file_of_another_program_is_left_alone(path: Path, statements: list[str]) -> None:
    edit(path, *statements)
    assert refusal(path) == "this SQLite file belongs to another program; name another state.path"


def test_a_file_in_use_by_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE notes (text)")
        assert refusal(path) == "this SQLite file belongs to another program; name another state.path"


def test_a_newer_file_is_left_alone(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    edit(path, f"PRAGMA user_version = {sqlite.SCHEMA_VERSION + 1}")
    assert refusal(path) == (
        "written by a newer exporter (schema 3, not 2); start that version again, or name another state.path"
    )


def test_what_a_killed_newer_exporter_left_stays_in_both_files(path: Path) -> None:
    keep(path, {JOB_IDS[0]: counted(1)})
    code = (
        "import os, sqlite3, sys; newer = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "newer.execute('PRAGMA user_version = 3').fetchall(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (path.parent / "state.db-shm").unlink()
    assert sorted(fingerprints(path.parent)) == ["state.db", "state.db-wal"]
    assert refusal(path).startswith("written by a newer exporter (schema 3, not 2)")


def replaced(path: Path, row: object) -> None:
    """One job's row written by hand, with the checksum it should have."""
    keep(path, {JOB_IDS[0]: counted(1), JOB_IDS[1]: counted(1)})
    bare = row if isinstance(row, bytes) else str(row).encode()
    checksum = sqlite._checksum(JOB_IDS[1].encode(), START_MS, bare)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE ledgers SET ledger = CAST(? AS TEXT), polled_ms = ?, checksum = ? WHERE job_id = ?",
            (bare, START_MS, checksum, JOB_IDS[1]),
        )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("garbage", "Invalid JSON: expected value at line 1 column 1"),
        (b"\xff\xfe\x00", "Invalid JSON: expected value at line 1 column 1"),
        ('{"version":9,"ledger":{}}', "written by a newer exporter (row version 9, this one reads up to 3)"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(path: Path, row: object, told: str) -> None:
    replaced(path, row)
    assert refusal(path) == f"the ledger of job {JOB_IDS[1]}: {told}"
    with opened(path) as store:
        assert set(store.load(JOB_IDS[:1])) == {JOB_IDS[0]}


def test_a_row_that_somebody_edited_is_named_though_it_is_a_ledger(path: Path) -> None:
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
    ],
)
def test_a_file_of_any_version_opens_for_ever(path: Path, name: str, kept: dict[str, JobLedger]) -> None:
    shutil.copy(FIXTURES / name, path)
    with opened(path) as store:
        assert store.load(kept) == kept
        store.commit({JOB_IDS[0]: counted(1)})
        assert store.load([*kept, JOB_IDS[0]]) == {**kept, JOB_IDS[0]: counted(1)}
        first_watched = store.first_watched(FIRST_WATCHED_V4, 0)
        assert first_watched == (
            FIRST_WATCHED_V4 if name == "state-v4.db" else dict.fromkeys(FIRST_WATCHED_V4, 0)
        )


def test_a_file_moves_on_through_every_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_moment_when_a_job_was_first_watched_is_kept_until_it_has_a_ledger(path: Path) -> None:
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


def test_the_moment_outlives_neither_the_watch_list_nor_its_retention(path: Path) -> None:
    with opened(path) as store:
        store.first_watched(JOB_IDS[:2], START_MS)
        store.first_watched(JOB_IDS[2:3], START_MS + 1)
        assert store.prune([JOB_IDS[0]], START_MS + 1) == 0
        kept = store.first_watched(JOB_IDS[:3], START_MS + 9)
    assert list(kept.values()) == [START_MS, START_MS + 9, START_MS + 1]
