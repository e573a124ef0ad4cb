"""The store on a real server: compare-and-set, lost responses, older copies, and errors of the server."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import StoreError
from exporter.ledger.job_ledger import JobLedger
from exporter.store import open_store
from exporter.store import redis as module
from exporter.store.redis import FIRST_WATCHED, KEY, RedisStore
from tests.store.ledgers import START_MS, counted, ledgers
from tests.store.redis_server import RedisServer, redis_server
from tests.support.programs import free_port

JOB_IDS = [f"{ordinal:032x}" for ordinal in range(40)]
JOB, OTHER = JOB_IDS[:2]


@contextmanager
def connected(server: RedisServer, query: str = "") -> Iterator[RedisStore]:
    with closing(RedisStore(server.url + query)) as store:
        yield store


@given(changed=st.dictionaries(st.sampled_from(JOB_IDS), ledgers(), max_size=4))
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_committed_ledgers_are_loaded(server: RedisServer, changed: dict[str, JobLedger]) -> None:
    with server.client() as client:
        client.flushall()
    with connected(server) as store:
        assert store.commit(changed) == {}
        assert store.load(JOB_IDS) == changed
    with connected(server) as store:
        assert store.load(JOB_IDS) == changed


@pytest.mark.parametrize("query", ["", "?protocol=2", "?protocol=3", "?decode_responses=true", "/5"])
def test_every_protocol_version_works(server: RedisServer, query: str) -> None:
    with connected(server, query) as one, connected(server, query) as two:
        one.commit({JOB: counted(1), OTHER: counted(1)})
        assert two.commit({JOB: counted(2)}) == {JOB: counted(1)}
        assert two.load([JOB, OTHER]) == {JOB: counted(1), OTHER: counted(1)}
        assert two.prune([OTHER], START_MS + 1) == 1


def test_of_two_commits_from_the_same_revision_the_second_gets_the_first(server: RedisServer) -> None:
    with connected(server) as one, connected(server) as two:
        one.commit({JOB: counted(1), OTHER: counted(1)})
        assert two.load([JOB, OTHER]) == one.load([JOB, OTHER])
        assert one.commit({JOB: counted(2)}) == {}
        assert two.commit({JOB: counted(3), OTHER: counted(3)}) == {JOB: counted(2)}
        assert two.load([JOB, OTHER]) == {JOB: counted(2), OTHER: counted(1)}, "all are written, or none"
        assert two.commit({JOB: counted(4), OTHER: counted(3)}) == {}
        assert one.commit({JOB: counted(3), OTHER: counted(2)}) == {JOB: counted(4), OTHER: counted(3)}


def test_two_concurrent_first_commits_give_one_baseline(server: RedisServer) -> None:
    with connected(server) as one, connected(server) as two:
        assert (one.load([JOB]), two.load([JOB])) == ({}, {})
        assert one.commit({JOB: counted(0)}) == {}
        assert two.commit({JOB: counted(1)}) == {JOB: counted(0)}


def test_a_lost_response_is_no_conflict_with_oneself(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(server) as store:
        store.commit({JOB: counted(1)})
        sent = redis.Connection.read_response
        lost: list[object] = []

        def read_response(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = sent(self, *args, **kwargs)
            if answer == [] and not lost:
                lost.append(answer)
                raise redis.ConnectionError("lost")
            return answer

        monkeypatch.setattr(redis.Connection, "read_response", read_response)
        assert store.commit({JOB: counted(2)}) == {}
        assert lost == [[]]
        assert store.commit({JOB: counted(3)}) == {}
        assert store.load([JOB]) == {JOB: counted(3)}


def test_an_unconfirmed_commit_is_returned_by_the_next_one(server: RedisServer) -> None:
    with connected(server) as store, connected(server) as ghost:
        store.commit({JOB: counted(1)})
        ghost.load([JOB])
        ghost.commit({JOB: counted(2)})
        assert store.commit({JOB: counted(3)}) == {JOB: counted(2)}
        assert store.commit({JOB: counted(3)}) == {}


def test_a_commit_executed_late_changes_nothing(server: RedisServer) -> None:
    with connected(server) as store, connected(server) as late:
        store.commit({JOB: counted(1)})
        late.load([JOB])
        store.commit({JOB: counted(2)})
        store.commit({JOB: counted(3)})
        late.commit({JOB: counted(2)})
        assert store.load([JOB]) == {JOB: counted(3)}


def test_a_server_with_an_older_copy_receives_the_later_state(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        store.commit({JOB: counted(1), OTHER: counted(1)})
        old = client.hgetall(KEY)
        store.commit({JOB: counted(2)})
        store.commit({JOB: counted(3)})
        client.hset(KEY, mapping=old)
        assert store.commit({JOB: counted(4)}) == {}
        client.delete(KEY)
        assert store.commit({JOB: counted(5), OTHER: counted(2)}) == {}
        with connected(server) as restarted:
            assert restarted.load([JOB, OTHER]) == {JOB: counted(5), OTHER: counted(2)}
            assert restarted.commit({JOB: counted(6)}) == {}


def test_a_server_that_lost_the_script_gets_it_again(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        store.commit({JOB: counted(1)})
        client.script_flush()
        assert store.commit({JOB: counted(2)}) == {}
        assert store.load([JOB]) == {JOB: counted(2)}


def test_a_huge_commit_is_atomic(server: RedisServer) -> None:
    many = dict.fromkeys((f"{ordinal:032x}" for ordinal in range(10_000)), counted(2))
    with connected(server) as store:
        assert store.commit(many) == {}
        assert store.load(list(many)) == many
        assert store.prune([], START_MS + 1) == len(many)
        assert store.load(list(many)) == {}


def test_stale_ledgers_of_unwatched_jobs_are_deleted(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        store.commit({job_id: counted(1, START_MS + ordinal) for ordinal, job_id in enumerate(JOB_IDS)})
        client.hset(KEY, "unreadable", '7 {"version": 99}')
        assert store.prune(JOB_IDS[:3], START_MS + 10) == 7
        assert set(store.load(JOB_IDS)) == {*JOB_IDS[:3], *JOB_IDS[10:]}
        assert client.hexists(KEY, "unreadable")


@pytest.mark.parametrize("row", ["", "garbage", "7", "x {}", '7 {"version": 99}', "7 {", b"7 \xff"])
def test_an_unreadable_row_is_reported_and_not_changed(server: RedisServer, row: str | bytes) -> None:
    with connected(server) as store, server.client() as client:
        client.hset(KEY, JOB, row)
        with pytest.raises(StoreError, match=f"^redis: the ledger of job {JOB}: "):
            store.load([JOB])
        with pytest.raises(StoreError, match=f"^redis: the ledger of job {JOB}: "):
            store.commit({OTHER: counted(1), JOB: counted(1)})
        assert client.hget(KEY, JOB) == (row if isinstance(row, bytes) else row.encode())
        assert store.load([OTHER]) == {}


def test_a_key_of_another_type_is_not_changed(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        client.set(KEY, "something else")
        with pytest.raises(StoreError, match="cannot read: the key of the ledgers holds something else"):
            store.load([JOB])
        with pytest.raises(StoreError, match="cannot write: the key of the ledgers holds something else"):
            store.commit({JOB: counted(1)})
        assert client.get(KEY) == b"something else"


def test_a_server_out_of_memory_behaves_like_a_full_disk(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        store.commit({JOB: counted(1)})
        try:
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreError, match="cannot write: it has used up its memory"):
                store.commit({job_id: counted(2) for job_id in JOB_IDS})
            assert store.load(JOB_IDS) == {JOB: counted(1)}
        finally:
            client.config_set("maxmemory", "0")
        assert store.commit({job_id: counted(2) for job_id in JOB_IDS}) == {}


def test_a_restarted_server_has_everything_it_confirmed(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, connected(server) as store:
        store.commit({JOB: counted(1)})
        server.signal(signal.SIGKILL)
        with pytest.raises(StoreError, match=r"^redis: cannot write: .*refused"):
            store.commit({JOB: counted(2)})
        server.start()
        assert store.commit({JOB: counted(2)}) == {}
        assert store.load([JOB]) == {JOB: counted(2)}


def test_a_server_that_hangs_does_not_hang_the_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 1.0)
    with redis_server(tmp_path) as server, connected(server) as store:
        store.commit({JOB: counted(1)})
        server.signal(signal.SIGSTOP)
        with pytest.raises(StoreError, match=r"^redis: cannot write: no answer in time"):
            store.commit({JOB: counted(2)})
        server.signal(signal.SIGCONT)
        assert store.commit({JOB: counted(3)}) in ({}, {JOB: counted(2)})
        assert store.load([JOB])[JOB] in (counted(2), counted(3))


def test_an_unreachable_server_is_reported() -> None:
    with pytest.raises(StoreError, match=r"^redis: cannot connect: .*Connection refused"):
        open_store(None, f"redis://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa#hunter2@127.0.0.1:6379",
        "redis://:hunter2@127.0.0.1:port",
        "redis://:hunter2@127.0.0.1:70000",
        "redis://:hunter2@127.0.0.1?socket_timeout=hunter2",
        "redis://:hunter2@127.0.0.1?no_such_option=hunter2",
    ],
)
def test_a_wrong_url_is_reported_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(None, url)
    assert str(refused.value).startswith("redis: ")
    assert "hunter2" not in str(refused.value)


def test_a_missing_extra_is_reported(tmp_path: Path) -> None:
    code = "import sys; sys.modules['redis'] = None\nfrom exporter.cli import main; main()"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"endpoint: http://127.0.0.1:{free_port()}\nauth: {{token: example-token}}\njobs: [{JOB}]\n"
        "state: {redis_url: redis://127.0.0.1}\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, f"--config.file={config}", "--web.listen-address=127.0.0.1:0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (
        1,
        "codearts-build-exporter: state.redis_url needs the extra: "
        "pip install 'codearts-build-exporter[redis]'",
    )


def test_the_first_process_to_watch_a_job_decides_when_counting_begins(server: RedisServer) -> None:
    with connected(server) as one, connected(server) as two:
        assert one.first_watched([JOB], START_MS) == {JOB: START_MS}
        assert two.first_watched([JOB, OTHER], START_MS + 5) == {JOB: START_MS, OTHER: START_MS + 5}
        assert two.load(None) == {}
        assert two.commit({JOB: counted(1)}) == {}
        assert one.first_watched([JOB, OTHER], START_MS + 9) == {JOB: START_MS + 9, OTHER: START_MS + 5}


@pytest.mark.parametrize("value", [b"garbage", b"-5", b"9" * 400])
def test_a_time_that_no_clock_has_stored_is_replaced(server: RedisServer, value: bytes) -> None:
    with connected(server) as store, server.client() as client:
        client.hset(FIRST_WATCHED, JOB, value)
        assert store.first_watched([JOB], START_MS) == {JOB: START_MS}


def test_recorded_times_are_corrected_and_no_others(server: RedisServer) -> None:
    with connected(server) as store:
        store.first_watched([JOB, "doubt"], START_MS)
        store.correct_first_watched({JOB: START_MS - 7, OTHER: START_MS, "doubt": None})
        later_ms = START_MS + 9
        assert store.first_watched([JOB, OTHER, "doubt"], later_ms) == {
            JOB: START_MS - 7,
            OTHER: later_ms,
            "doubt": later_ms,
        }


def test_the_first_watched_time_is_pruned_with_the_job(server: RedisServer) -> None:
    with connected(server) as store, server.client() as client:
        client.hset(FIRST_WATCHED, b"\xff", "garbage")
        store.first_watched(JOB_IDS[:2], START_MS)
        store.first_watched(JOB_IDS[2:3], START_MS + 1)
        assert store.prune([JOB], START_MS + 1) == 0
        kept = store.first_watched(JOB_IDS[:3], START_MS + 9)
    assert list(kept.values()) == [START_MS, START_MS + 9, START_MS + 1]
