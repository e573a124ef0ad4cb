from collections.abc import Iterator

import pytest

from tests.store.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    """A server with nothing in it."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis
