"""Servers with an older copy, demoted or unusable ones: nothing that was published is lost."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from exporter.config import parse
from exporter.doctor.report import Mark
from exporter.doctor.state import state
from exporter.errors import StoreError
from exporter.simulator import Fleet, ManualClock
from exporter.store.redis import KEY, RedisStore
from tests.store.ledgers import counted
from tests.store.redis_server import RedisServer, redis_server
from tests.support.certificates import Authority
from tests.support.programs import eventually, free_port, program
from tests.support.watch import START_MS, watching

JOB, OTHER, THIRD = (f"{ordinal:032x}" for ordinal in range(3))
PASSWORD = "T0p-secret-xyzzy"
RIGHTS = "+ping +hget +hset +hsetnx +hmget +hkeys +hscan +hdel +evalsha +script|load"
KEYS = "codearts-build-exporter:*"
"""The commands listed in docs/operations.md."""


@contextmanager
def connected(server: RedisServer, query: str = "") -> Iterator[RedisStore]:
    with closing(RedisStore(server.url + query)) as store:
        yield store


def go_back(client: "redis.Redis", rows: Any) -> None:
    """Replace all rows on the server by these, as in a replica that was promoted too early."""
    client.delete(KEY)
    client.hset(KEY, mapping=rows)


def test_rows_that_are_older_on_the_server_are_rewritten(server: RedisServer) -> None:
    held = {JOB: counted(3), OTHER: counted(1), THIRD: counted(2)}
    with connected(server) as store, connected(server) as another, server.client() as client:
        store.commit({JOB: counted(1), OTHER: counted(1)})
        before = client.hgetall(KEY)
        store.commit({JOB: counted(2)})
        store.commit({JOB: counted(3), THIRD: counted(2)})
        assert store.restore(held) == 0
        go_back(client, before)
        assert store.restore(held) == 2
        assert store.restore(held) == 0
        assert another.load([JOB, OTHER, THIRD]) == held
        another.commit({JOB: counted(4)})
        assert store.restore(held) == 0
        assert store.commit({JOB: counted(9), OTHER: counted(2)}) == {JOB: counted(4)}


def test_the_later_of_held_and_stored_ledger_is_loaded(server: RedisServer) -> None:
    with connected(server) as store, connected(server) as another, server.client() as client:
        store.commit({JOB: counted(1), OTHER: counted(1)})
        before = client.hgetall(KEY)
        store.commit({JOB: counted(3)})
        go_back(client, before)
        another.load([OTHER])
        another.commit({OTHER: counted(2)})
        held = {JOB: counted(3), OTHER: counted(1), THIRD: counted(5)}
        assert store.load([JOB, OTHER, THIRD], held) == {**held, OTHER: counted(2)}
        assert store.load(None, held) == {**held, OTHER: counted(2)}
        assert store.commit({JOB: counted(4)}) == {}
        assert another.load([JOB]) == {JOB: counted(4)}


def test_ledgers_of_idle_jobs_are_restored_within_minutes(server: RedisServer) -> None:
    fleet = Fleet(ManualClock(START_MS), seed=1)
    fleet.add_job("checkout", "shop", job_id=JOB)
    settings = "poll: {interval: 1h, max_interval: 1h}\nrecycle_bin: {enabled: false}"
    with (
        connected(server) as store,
        watching(fleet, store=store, settings=settings) as watch,
        server.client() as client,
        capture_logs() as logs,
    ):
        watch.poll()
        before = client.hgetall(KEY)
        fleet.add_build(JOB)
        watch.poll(after=3700, times=2)
        assert watch.counted() == {"success": 1}
        go_back(client, before)
        for _ in range(3):
            watch.wait(200)
            assert [work.task for work in watch.poller.take(0)] == []
        with connected(server) as restarted:
            assert sum(restarted.load([JOB])[JOB].counts.values()) == 1
        assert watch.value("exporter_store_errors_total", operation="restore") == 1
    assert [(line["event"], line["ledgers"]) for line in logs] == [("store_went_back", 1)]


def test_after_a_demotion_the_new_master_is_used(tmp_path: Path) -> None:
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    name = tmp_path / "redis.sock"
    with (
        redis_server(folders[0], "--unixsocket", str(folders[0] / "s")) as old,
        redis_server(folders[1], "--unixsocket", str(folders[1] / "s")) as new,
        old.client() as of_old,
        new.client() as of_new,
    ):
        name.symlink_to(folders[0] / "s")
        with closing(RedisStore(f"unix://{name}")) as store:
            store.commit({JOB: counted(1), OTHER: counted(1)})
            of_new.replicaof("127.0.0.1", str(old.port))
            eventually(lambda: of_new.hlen(KEY) == 2, 60)
            of_new.replicaof("NO", "ONE")
            store.commit({JOB: counted(2), OTHER: counted(2)})
            of_old.replicaof("127.0.0.1", str(new.port))
            eventually(lambda: of_old.info("replication")["role"] == "slave", 60)
            name.unlink()
            name.symlink_to(folders[1] / "s")
            with pytest.raises(StoreError, match=r"^redis: cannot write: it is a read-only replica"):
                store.commit({JOB: counted(3)})
            assert store.commit({JOB: counted(3)}) == {}
            assert store.restore({JOB: counted(3), OTHER: counted(2)}) == 1
            with connected(new) as restarted:
                assert restarted.load([JOB, OTHER]) == {JOB: counted(3), OTHER: counted(2)}


def test_a_server_without_hello_works(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--rename-command", "HELLO", "", password=PASSWORD) as server:
        with connected(server) as store:
            assert store.commit({JOB: counted(1)}) == {}
            assert store.load([JOB]) == {JOB: counted(1)}
        with pytest.raises(StoreError) as refused:
            RedisStore(f"{server.url}?protocol=3")
        assert str(refused.value) == (
            "redis: cannot connect: it does not support HELLO; leave protocol=3 out of state.redis_url"
        )


def test_refused_logins_are_explained(tmp_path: Path) -> None:
    with redis_server(tmp_path, password=PASSWORD) as server:
        address = server.url.rpartition("@")[2]
        for login, words in (
            ("", "it requires a password, and state.redis_url has none"),
            (":xyzzy-wrong@", "it refuses the user or the password in state.redis_url"),
            ("xyzzy-nobody:xyzzy-wrong@", "it refuses the user or the password in state.redis_url"),
        ):
            with pytest.raises(StoreError) as refused:
                RedisStore(f"redis://{login}{address}")
            assert str(refused.value) == f"redis: cannot connect: {words}"


def examined(url: str) -> tuple[Mark, str]:
    text = f"region: cn-north-4\nauth: {{token: t}}\njobs: [{JOB}]\nstate: {{redis_url: '{url}'}}\n"
    config = parse(text, source="test", environ={}, base_dir=Path())
    [finding] = state(config, 1).findings
    return finding.mark, finding.text


def test_a_user_with_the_documented_permissions_suffices(server: RedisServer) -> None:
    documented = Path(__file__).parents[2].joinpath("docs/operations.md").read_text()
    assert f"ACL SETUSER exporter on '>PASSWORD' '~{KEYS}' {RIGHTS}" in documented
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "least", "reset", "on", ">p", f"~{KEYS}", *RIGHTS.split())
    url = server.url.replace("redis://", "redis://least:p@")
    assert examined(url) == (Mark.OK, "the Redis server answers and accepts writes")
    with closing(RedisStore(url)) as store:
        assert store.commit({JOB: counted(1)}) == {}
        assert store.load(None) == {JOB: counted(1)}
        assert store.restore({JOB: counted(1)}) == 0
        assert store.first_watched([OTHER], START_MS) == {OTHER: START_MS}
        assert store.prune([], START_MS * 2) == 1


@pytest.mark.parametrize(
    "rights",
    [
        "~* +@all -@scripting",
        "~* +@all -evalsha",
        "~* +@all -hset",
        "~* +@all -hmget",
        "~other +@all",
        f"%R~{KEY} +@all",
    ],
)
def test_a_user_without_a_needed_permission_is_a_problem(server: RedisServer, rights: str) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "short", "reset", "on", ">p", *rights.split())
        mark, text = examined(server.url.replace("redis://", "redis://short:p@"))
        assert mark is Mark.PROBLEM
        assert "the user may not run every command, or use every key, that the exporter needs" in text
        assert client.exists(KEY) == 0


@pytest.mark.parametrize("writable", ["no", "yes"])
def test_a_replica_is_a_problem(server: RedisServer, tmp_path: Path, writable: str) -> None:
    flags = ("--replicaof", f"127.0.0.1 {server.port}", "--replica-read-only", writable)
    with redis_server(tmp_path, *flags) as replica:
        mark, text = examined(replica.url)
    assert (mark, text) == (
        Mark.PROBLEM,
        "redis: cannot write: it is a replica; the exporter needs the master",
    )


def test_a_node_of_a_cluster_is_a_problem(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--cluster-enabled", "yes") as server:
        mark, text = examined(server.url)
    assert (mark, "node of a cluster" in text) == (Mark.PROBLEM, True)


def test_tls_with_a_private_authority(tmp_path: Path) -> None:
    program("openssl")
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("server")
    stranger, its_key = Authority(tmp_path / "stranger").issue("server")
    for name, files, words in (
        ("known", (certificate, key), ""),
        ("strange", (stranger, its_key), "its certificate is not trusted"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        tls = ("--tls-cert-file", str(files[0]), "--tls-key-file", str(files[1]), "--tls-auth-clients", "no")
        where = ("--tls-port", str(free_port()), "--tls-ca-cert-file", str(authority.certificate))
        with redis_server(folder, *tls, *where):
            url = f"rediss://127.0.0.1:{where[1]}?ssl_ca_certs={authority.certificate}"
            if not words:
                RedisStore(url).close()
                continue
            with pytest.raises(StoreError, match=f"^redis: cannot connect: {words}"):
                RedisStore(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"-ERR unknown command 'AUTH', with args beginning with: '" + PASSWORD.encode() + b"'\r\n",
        b"-\x1b]0;" + PASSWORD.encode() + b"\x07 \xe2\x80\xae\r\n",
        b"HTTP/1.1 400 " + PASSWORD.encode() + b"\r\n\r\n",
        b"*" + PASSWORD.encode() + b"\r\n",
        b":" + PASSWORD.encode() + b"\r\n",
        b"+" + PASSWORD.encode() + b"\r\n",
        b"$-7\r\n",
        b"",
    ],
)
def test_no_text_of_the_server_is_repeated(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(StoreError) as refused:
            RedisStore(f"redis://:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert re.fullmatch(r"redis: cannot connect: [a-zA-Z .,/;()_]+", str(refused.value))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
