"""Where ledgers outlive a poll: loaded once at the start, committed before anything is published (rule 6)."""

from exporter.errors import StoreError
from exporter.store.base import MemoryStore, Store
from exporter.store.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "Store", "open_store"]


def open_store(path: str | None, redis_url: str | None) -> Store:
    """The store that the configuration's ``state`` section names.

    Args:
        path: a file, or ``:memory:``.
        redis_url: a server instead.

    Raises:
        StoreError: it cannot be opened.
    """
    if redis_url:
        try:
            from exporter.store.redis import RedisStore
        except ImportError:
            raise StoreError(
                "state.redis_url needs the extra: pip install 'codearts-build-exporter[redis]'"
            ) from None
        return RedisStore(redis_url)
    return MemoryStore() if path in (None, ":memory:") else SqliteStore(str(path))
