"""The servers that the tests run against are real, private, and behave as in production where it matters."""

from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from orderflow.local.broker import RunningBroker
from servers.postgres import Postgres
from servers.process import ServerMissing, program
from servers.redis import Redis


def ask(url: str, question: str) -> object:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row and row[0]


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit"])
def test_postgres_flushes_its_commits_to_disk(postgres: Postgres, setting: str) -> None:
    assert ask(postgres.url("postgres"), f"SHOW {setting}") == "on"


def test_a_test_gets_an_empty_database_of_its_own(postgres_url: str) -> None:
    assert urlsplit(postgres_url).path.startswith("/test_")
    assert ask(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_postgres_keeps_its_data_over_a_restart(postgres: Postgres, postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    postgres.start()
    assert ask(postgres_url, "SELECT answer FROM kept") == 42


def test_a_test_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_redis_comes_back_on_the_same_port(redis_url: str, redis: Redis) -> None:
    redis.stop()
    with pytest.raises(ConnectionRefusedError):
        redis.flush()
    redis.start()
    redis.flush()
    assert redis.url == redis_url


def test_a_server_that_is_not_installed_is_named_with_what_to_do() -> None:
    with pytest.raises(ServerMissing, match=r"some-server is not installed: run tests/install-servers\.sh"):
        program("some-server-that-nobody-has", "some-server")


async def test_kafka_keeps_what_it_acknowledged_when_it_is_killed(kafka: RunningBroker, kafka_address: str) -> None:
    topic = f"kept-{uuid4()}"
    await create_topics(kafka_address, topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka_address, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"kept")
    kafka.kill()
    kafka.start()
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka_address, auto_offset_reset="earliest") as consumer:
        record = await consumer.getone()
    assert (record.offset, record.value) == (0, b"kept")


async def create_topics(address: str, *names: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        await client.create_topics([NewTopic(name, 1, 1) for name in names])
    finally:
        await client.close()
