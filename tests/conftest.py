"""The real servers that tests ask for by name. Each is started once, by the first test that asks for it.

A server that is not installed fails the test that needs it, with the sentence that says what to install: a test that
skips proves nothing.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest

from orderflow.local.broker import RunningBroker
from orderflow.local.errors import LocalError
from servers.kafka import running_kafka
from servers.postgres import Postgres
from servers.process import ServerMissing
from servers.redis import Redis

T = TypeVar("T")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: collecting garbage there takes a fifth of the fast tests' time."""
    gc.collect()
    gc.freeze()


def started(start: Callable[[], T]) -> T:
    try:
        return start()
    except (ServerMissing, LocalError) as error:
        pytest.fail(str(error), pytrace=False)


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


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A Kafka broker. A test that stops or kills it starts it again."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("kafka")
        yield started(lambda: stack.enter_context(running_kafka(folder)))


@pytest.fixture(scope="session")
def kafka_address(kafka: RunningBroker) -> str:
    """The address of the broker. It is everybody's: topics have to be told apart by their names."""
    return kafka.broker.address
