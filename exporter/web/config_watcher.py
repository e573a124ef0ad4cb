"""The web configuration in force: read again whenever it, or a file that it names, has changed."""

import os
import threading
from pathlib import Path
from typing import Final

import structlog

from exporter.errors import ConfigError
from exporter.web.web_config import WebConfig, load

_EVERY_S: Final = 1.0

_log = structlog.get_logger(__name__)

_Signature = tuple[tuple[int, ...] | None, ...]


class WatchedConfig:
    """What new connections and requests are to go by.

    A change is taken up once it has rested from one look to the next, so that nobody meets a file that is
    half written. A new file that is wrong changes nothing. One that takes TLS or all passwords away does not
    either: a file cut short must not open a door, and who means it starts the exporter anew.

    Args:
        path: of the file; None stands for an empty one.

    Raises:
        ConfigError: the file is wrong.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stopping = threading.Event()
        self._refused = ""
        self._files: tuple[Path, ...] = ()
        self.current = WebConfig()
        if path is not None:
            self.current, self._in_force = self._read(path)
            self._seen = self._in_force
            _tell_of_idle_keys(self.current)

    def start(self) -> None:
        """Look for changes once a second, on a thread of its own that ends with the process."""
        if self._path is not None:
            threading.Thread(target=self._run, args=(self._path,), name="web-config", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def check(self) -> None:
        """Look for a change; take it up if the look before this one has seen it too."""
        if self._path is not None:
            self._check(self._path)

    def _run(self, path: Path) -> None:
        while not self._stopping.wait(_EVERY_S):
            try:
                self._check(path)
            except Exception as error:
                # Once: the same file would fail in the same way every second.
                if (reason := repr(error)) != self._refused:
                    self._refused = reason
                    _log.exception("unexpected_error", task="web-config")

    def _check(self, path: Path) -> None:
        signature = _signature((path, *self._files))
        rested, self._seen = signature == self._seen, signature
        # A file that was refused is tried at each look: what it names may have come into being meanwhile.
        if not rested or (signature == self._in_force and not self._refused):
            return
        try:
            config, signature = self._read(path)
            _hold_protection(self.current, config, str(path))
        except ConfigError as error:
            self._refuse(str(error))
            return
        if signature != self._in_force:
            self.current, self._in_force, self._seen = config, signature, signature
            _log.info("web_config_reloaded", file=str(path))
            _tell_of_idle_keys(config)
        self._refused = ""

    def _refuse(self, reason: str) -> None:
        if reason != self._refused:
            self._refused = reason
            _log.error("web_config_refused", error="; ".join(reason.splitlines()))

    def _read(self, path: Path) -> tuple[WebConfig, _Signature]:
        """Read it so that its signature is older than its content: a change in between will be seen."""
        while True:
            signature = _signature((path, *self._files))
            config = load(path)
            if config.files == self._files:
                return config, signature
            self._files = config.files


def _hold_protection(old: WebConfig, new: WebConfig, source: str) -> None:
    taken = [
        key
        for key, is_taken in (
            ("tls_server_config", old.tls_server_config and not new.tls_server_config),
            ("basic_auth_users", old.basic_auth_users and not new.basic_auth_users),
        )
        if is_taken
    ]
    if taken:
        raise ConfigError(f"{source}: {' and '.join(taken)} cannot be taken away without a restart")


def _tell_of_idle_keys(config: WebConfig) -> None:
    for key in config.tls_server_config.idle_keys if config.tls_server_config else ():
        _log.warning("config_key_ignored", key=key)


def _signature(files: tuple[Path, ...]) -> _Signature:
    return tuple(map(_stamp, files))


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
