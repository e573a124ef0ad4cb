"""A real Redis that tests may stop, freeze and start again; what it confirmed is on the disk."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.programs import eventually, free_port, program


class RedisServer:
    """``redis-server`` on a free port, with its files in a folder of its own.

    Args:
        folder: for its files.
        flags: more of its command line.
        password: what it requires; empty for none.
    """

    def __init__(self, folder: Path, *flags: str, password: str = "") -> None:
        redis_server = program("redis-server")
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}"
        self._log = folder / "redis.log"
        self._command = [
            *(redis_server, "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *(("--requirepass", password) if password else ()),
            *flags,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with what its files hold."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        eventually(self._answers, 60)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; wait for the end after SIGKILL."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait()

    def revive(self) -> None:
        """Let it go on after SIGSTOP, or start it after SIGKILL."""
        assert self._process is not None
        if self._process.poll() is None:
            self.signal(signal.SIGCONT)
        else:
            self.start()

    def close(self) -> None:
        """Be done with it."""
        if self._process:
            self.signal(signal.SIGKILL)

    def client(self) -> "redis.Redis":
        """A client beside the store's own."""
        return redis.Redis.from_url(self.url, protocol=2)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


@contextmanager
def redis_server(folder: Path, *flags: str, password: str = "") -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer(folder, *flags, password=password)
    try:
        server.start()
        yield server
    finally:
        server.close()
