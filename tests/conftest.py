"""The real servers that tests ask for by name. Each is started once, by the first test that asks for it.

A server that is not installed fails the test that needs it, with the sentence that says what to install: a test that
skips proves nothing.

Whoever asks for no server does not wait for their drivers to be imported: every process of the fast tests reads this.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from orderflow.local.broker import RunningBroker
    from servers.postgres import Postgres
    from servers.redis import Redis

T = TypeVar("T")

GARBAGE_IS_LOOKED_FOR_AFTER = 20_000
"""Objects. Python's own figure, 700, makes Hypothesis alone spend seconds on looking."""

# What is loaded until the tests begin stays, so there is nothing to find.
gc.disable()


def pytest_collection_finish() -> None:
    """Never look at what is loaded by now: that takes a fifth of the fast tests' time."""
    gc.freeze()
    gc.set_threshold(GARBAGE_IS_LOOKED_FOR_AFTER)
    gc.enable()


def started(start: Callable[[], T]) -> T:
    from orderflow.local.errors import LocalError
    from servers.process import ServerMissing

    try:
        return start()
    except (ServerMissing, LocalError) as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A PostgreSQL server. A test that stops it starts it again."""
    from servers.postgres import Postgres

    server = started(Postgres)
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: "Postgres") -> Iterator[str]:
    """The address of an empty database that no other test sees."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def redis() -> "Iterator[Redis]":
    """A Redis server. A test that stops it starts it again."""
    from servers.redis import Redis

    server = started(Redis)
    yield server
    server.close()


@pytest.fixture
def redis_url(redis: "Redis") -> str:
    """The address of an empty Redis."""
    redis.flush()
    return redis.url


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RunningBroker]":
    """A Kafka broker. A test that stops or kills it starts it again."""
    from servers.kafka import running_kafka

    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("kafka")
        yield started(lambda: stack.enter_context(running_kafka(folder)))


@pytest.fixture(scope="session")
def kafka_address(kafka: "RunningBroker") -> str:
    """The address of the broker. It is everybody's: topics have to be told apart by their names."""
    return kafka.broker.address
