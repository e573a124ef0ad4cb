"""The web configuration in force, read again whenever it or a file that it names changes."""

import os
import threading
from pathlib import Path
from typing import Final

import structlog

from exporter.errors import ConfigError
from exporter.web.web_config import WebConfig, load

_CHECK_INTERVAL_S: Final = 1.0

_Signature = tuple[tuple[int, ...] | None, ...]
"""Identifies the versions of the files; None for a file that cannot be found."""

_log = structlog.get_logger(__name__)


class WatchedConfig:
    """Provides the web configuration for new connections and requests.

    A change is applied once two checks in a row find the same files, so that no file is read while it is
    written. An invalid file changes nothing, and neither does one without the TLS section or without users: a
    truncated file must not remove protection. That takes a restart.

    Args:
        path: of the file; None stands for an empty one.

    Attributes:
        current: the configuration in force; a new object after each change.

    Raises:
        ConfigError: the file is invalid.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._stopping = threading.Event()
        self._refused = ""
        self._files: tuple[Path, ...] = ()
        self.current = WebConfig()
        if path is not None:
            self.current, self._applied = self._read(path)
            self._last_seen = self._applied
            _log_ignored_keys(self.current)

    def start(self) -> None:
        """Check for changes once a second, on a daemon thread."""
        if self._path is not None:
            threading.Thread(target=self._run, name="web-config", daemon=True).start()

    def stop(self) -> None:
        """Stop checking."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_CHECK_INTERVAL_S):
            try:
                self.check()
            except Exception as error:
                # Logged once: the same file would fail in the same way every second.
                if (reason := repr(error)) != self._refused:
                    self._refused = reason
                    _log.exception("unexpected_error", task="web-config")

    def check(self) -> None:
        """Apply a change that the previous check has seen too."""
        if self._path is None:
            return
        signature = self._signature(self._path)
        is_stable, self._last_seen = signature == self._last_seen, signature
        # A refused file is tried at every check: a file that it names may exist by now.
        if not is_stable or (signature == self._applied and not self._refused):
            return
        try:
            config, signature = self._read(self._path)
            self._check_protection(config)
        except ConfigError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                _log.error("web_config_refused", error="; ".join(str(error).splitlines()))
            return
        self._refused = ""
        if signature != self._applied:
            self.current, self._applied, self._last_seen = config, signature, signature
            _log.info("web_config_reloaded", file=str(self._path))
            _log_ignored_keys(config)

    def _check_protection(self, new: WebConfig) -> None:
        removed = [
            key
            for key in ("tls_server_config", "basic_auth_users")
            if getattr(self.current, key) and not getattr(new, key)
        ]
        if removed:
            raise ConfigError(f"{self._path}: {' and '.join(removed)} cannot be removed without a restart")

    def _read(self, path: Path) -> tuple[WebConfig, _Signature]:
        """Take the signature before the content, so that the next check finds a change in between."""
        while True:
            signature = self._signature(path)
            config = load(path)
            if config.files == self._files:
                return config, signature
            self._files = config.files

    def _signature(self, path: Path) -> _Signature:
        return tuple(map(_stamp, (path, *self._files)))


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _log_ignored_keys(config: WebConfig) -> None:
    for key in config.tls_server_config.ignored_keys if config.tls_server_config else ():
        _log.warning("config_key_ignored", key=key)
