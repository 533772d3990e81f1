"""The contracts as files: one schema per message and the AsyncAPI document, committed with the code.

The committed files are the promise that was given. They are written anew when a contract grows, and never to break it:
an incompatible change is a new major version, and so a new file.
"""

from pathlib import Path
from typing import Any

import msgspec

from orderflow.contracts.asyncapi import Takes, document
from orderflow.contracts.compatibility import incompatibilities
from orderflow.contracts.envelope import Message
from orderflow.contracts.registry import TYPES, major_of
from orderflow.contracts.schemas import schema_of

DOCUMENT = "asyncapi.json"


class BrokenContract(Exception):  # noqa: N818 - names what the change would do
    """A committed contract does not allow the change; the text names each file and field."""


def schema_file(kind: type[Message]) -> str:
    """Return the name of the file that holds the type's schema, as in ``OrderCreated.v1.json``."""
    return f"{kind.__name__}.v{major_of(kind.VERSION)}.json"


def contract_files(takes: Takes | None = None) -> dict[str, bytes]:
    """Return the content of every file by its name."""
    schemas = {schema_file(kind): _formatted(schema_of(kind)) for kind in TYPES.values()}
    return {**schemas, DOCUMENT: _formatted(document(takes))}


def broken_promises(directory: Path) -> list[str]:
    """Return how today's types break the schemas that are committed in ``directory``, a sentence each."""
    today = {schema_file(kind): schema_of(kind) for kind in TYPES.values()}
    found = []
    for path in sorted(directory.glob("*.v*.json")):
        if path.name not in today:
            found.append(f"{path.name}: the message is gone, or its major version went down")
            continue
        committed = msgspec.json.decode(path.read_bytes())
        found += [f"{path.name}: {sentence}" for sentence in incompatibilities(committed, today[path.name])]
    return found


def write_contracts(directory: Path, takes: Takes | None = None) -> list[Path]:
    """Write every contract into ``directory`` and return the files, in order.

    Raises:
        BrokenContract: a file that is there would change incompatibly; nothing is written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if broken := broken_promises(directory):
        raise BrokenContract("\n".join(broken))
    written = []
    for name, content in sorted(contract_files(takes).items()):
        path = directory / name
        path.write_bytes(content)
        written.append(path)
    return written


def _formatted(value: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
