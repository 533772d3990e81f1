"""The real servers that tests ask for by name. Each is started once, by the first test that asks for it.

A server that is not installed fails the test that needs it, with the sentence that says what to install: a test that
skips proves nothing.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from servers.postgres import Postgres
from servers.process import ServerMissing
from servers.redis import Redis

T = TypeVar("T")


def started(start: Callable[[], T]) -> T:
    try:
        return start()
    except ServerMissing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server. A test that stops it starts it again."""
    server = started(Postgres)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database that no other test sees."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A Redis server. A test that stops it starts it again."""
    server = started(Redis)
    yield server
    server.close()


@pytest.fixture
def redis_url(redis: Redis) -> str:
    """The address of an empty Redis."""
    redis.flush()
    return redis.url
