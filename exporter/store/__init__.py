"""Persistent storage of ledgers: loaded once at start, committed before anything is published (rule 6)."""

from contextlib import closing
from typing import TYPE_CHECKING

from exporter.errors import StoreError
from exporter.store.base import Store
from exporter.store.memory import MemoryStore
from exporter.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from exporter.store.redis import RedisStore

__all__ = ["MemoryStore", "SqliteStore", "Store", "open_store", "refuse_unusable_redis"]


def open_store(path: str | None, redis_url: str | None) -> Store:
    """Open the store that the configuration's ``state`` section names.

    Args:
        path: a file, or ``:memory:``.
        redis_url: a server instead.

    Raises:
        StoreError: it cannot be opened.
    """
    if redis_url:
        return _redis(redis_url)
    return MemoryStore() if path in (None, ":memory:") else SqliteStore(str(path))


def refuse_unusable_redis(url: str) -> None:
    """Check whether a Redis server can keep ledgers, without changing anything.

    Raises:
        StoreError: it cannot.
    """
    with closing(_redis(url)) as store:
        store.refuse_unusable()


def _redis(url: str) -> "RedisStore":
    try:
        from exporter.store.redis import RedisStore
    except ImportError:
        raise StoreError(
            "state.redis_url needs the extra: pip install 'codearts-build-exporter[redis]'"
        ) from None
    return RedisStore(url)
