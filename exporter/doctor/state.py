"""Section State: whether ledgers can be kept where configured. Reads the disk, changes nothing."""

import os
from pathlib import Path
from typing import Final

from exporter.config import Config
from exporter.doctor.report import Finding, Section, note, ok, problem
from exporter.errors import StoreError
from exporter.store import refuse_unusable_redis
from exporter.store.sqlite_file import NO_LOCKS, lock_holder, refuse_foreign

_SCARCE_BYTES: Final = 100 * 1024 * 1024


def state(config: Config, watched: int) -> Section:
    """Report on the store for the ledgers of ``watched`` jobs."""
    url, path = config.state.redis_url, config.state.path
    if url is not None:
        return Section("State", (_redis(url.get_secret_value()),))
    if path != ":memory:":
        return Section("State", _file(str(path)))
    text = ":memory:, so every start is a baseline, and builds in between are not counted"
    todo = "give a state.path on a volume that outlives the process" if watched > 1 else ""
    return Section("State", (note(text, todo),))


def _redis(url: str) -> Finding:
    try:
        refuse_unusable_redis(url)
    except StoreError as error:
        return problem(str(error), "check state.redis_url, and that the server runs and accepts this machine")
    return ok("the Redis server answers and accepts writes")


def _file(path: str) -> tuple[Finding, ...]:
    try:
        real = os.path.realpath(path)
    except FileNotFoundError:
        return (problem(f"{path}: the working directory was deleted", "give an absolute state.path"),)
    name = f"{path}, a link to {real}" if os.path.islink(path) else path
    folder = Path(real).parent
    if not folder.is_dir():
        return (problem(f"{name}: there is no folder {folder}", "create it, or give another state.path"),)
    if not os.access(folder, os.W_OK | os.X_OK):
        text = f"{name}: the folder {folder} is not writable for this user"
        return (problem(text, "give the exporter's user access to the folder"),)
    try:
        refuse_foreign(path)
    except StoreError as error:
        text, _, todo = str(error).rpartition("; ")
        return (problem(text, f"{todo}; a new file begins with a baseline"),)
    except OSError as error:
        todo = (
            "check that it is a file that the exporter's user may read and write, or give another "
            "state.path, which begins with a baseline"
        )
        return (problem(f"{name}: cannot be read: {error.strerror}", todo),)
    if not os.path.lexists(real):
        return (ok(f"{name}: is created at the first start"), *_free_space(folder))
    if not os.access(path, os.R_OK | os.W_OK):
        return (
            problem(f"{name}: not writable for this user", "give the exporter's user access to the file"),
        )
    return (_lock(path), *_free_space(folder))


def _lock(path: str) -> Finding:
    try:
        holder = lock_holder(path)
    except OSError:
        return problem(f"{path}: {NO_LOCKS}", "mount it with locks, or give a state.path on a local disk")
    if holder is None:
        return ok(f"{path}: exists, writable, and free")
    return note(f"{path}: a running exporter has it open (process {holder}); a second one could not start")


def _free_space(folder: Path) -> tuple[Finding, ...]:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free >= _SCARCE_BYTES:
        return ()
    todo = f"free some space in {folder}; 1,000 jobs take 6 MB"
    return (note(f"only {free // 1_000_000} MB are free in {folder}", todo),)
