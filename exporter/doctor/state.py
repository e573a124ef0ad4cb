"""Whether ledgers can be kept where the configuration says; looks, and touches nothing."""

import os
from pathlib import Path
from typing import Final

from exporter.config import Config
from exporter.doctor.results import Finding, Section, note, ok, problem
from exporter.errors import StoreError
from exporter.store import refuse_unusable_redis
from exporter.store.sqlite_file import NO_LOCKS, lock_holder, refuse_foreign

_SCARCE_BYTES: Final = 100 * 1024 * 1024


def state(config: Config, watched: int) -> Section:
    """Where the ledgers of so many jobs will be kept."""
    url, path = config.state.redis_url, config.state.path
    if url is not None:
        return Section("State", (_redis(url.get_secret_value()),))
    if path == ":memory:":
        return Section("State", (_memory(watched),))
    return Section("State", _file(str(path)))


def _memory(watched: int) -> Finding:
    text = ":memory:, so that every start is a baseline and counts nothing of what was missed"
    return (
        note(text, "name a state.path on a volume that outlives the process") if watched > 1 else note(text)
    )


def _redis(url: str) -> Finding:
    try:
        refuse_unusable_redis(url)
    except StoreError as error:
        return problem(
            str(error), "check state.redis_url, and whether the server is up and lets this machine in"
        )
    return ok("the Redis server answers, and lets ledgers be written")


def _file(path: str) -> tuple[Finding, ...]:
    try:
        real = os.path.realpath(path)
    except FileNotFoundError:
        return (problem(f"{path}: the working directory is deleted", "give an absolute state.path"),)
    shown = f"{path}, a link to {real}" if os.path.islink(path) else path
    folder = Path(real).parent
    if not folder.is_dir():
        return (
            problem(f"{shown}: there is no folder {folder}", "make the folder, or name another state.path"),
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return (
            problem(
                f"{shown}: the folder {folder} is not writable for this user",
                "give the exporter's user the folder",
            ),
        )
    try:
        refuse_foreign(path)
    except StoreError as error:
        return (
            problem(str(error), "do what it says, or name another state.path, which begins with a baseline"),
        )
    except OSError as error:
        return (
            problem(
                f"{shown}: cannot be read: {error.strerror}",
                "see that it is a file which the exporter's user may read and write, or name another "
                "state.path, which begins with a baseline",
            ),
        )
    if not os.path.lexists(real):
        return (ok(f"{shown}: will be made at the first start"), *_room(folder))
    if not os.access(path, os.R_OK | os.W_OK):
        return (problem(f"{shown}: not writable for this user", "give the exporter's user the file"),)
    return (_held(path), *_room(folder))


def _held(path: str) -> Finding:
    try:
        holder = lock_holder(path)
    except OSError:
        return problem(f"{path}: {NO_LOCKS}", "mount it with locks, or name a state.path on a local disk")
    if holder is None:
        return ok(f"{path}: there, writable, and free")
    return note(f"{path}: a running exporter has it open (process {holder}); a second one could not start")


def _room(folder: Path) -> tuple[Finding, ...]:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free >= _SCARCE_BYTES:
        return ()
    return (
        note(f"{free // 1_000_000} MB are free in {folder}", f"make room in {folder}; 1,000 jobs take 6 MB"),
    )
