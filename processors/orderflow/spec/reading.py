"""From a file to a resource, or to one sentence that says what is wrong and on which line.

A file holds one YAML document. Beyond YAML's own rules a key stands once in a section (YAML would keep the last one in
silence), and every field is one that the resource has: one that is spelt wrong is not left to its default.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any, Final

import msgspec
import yaml

from orderflow.spec.errors import SpecError
from orderflow.spec.resource import API_VERSION, KIND, OrderFlow
from orderflow.spec.rules import check
from orderflow.spec.shape import Path, Step, choices_at, fields_at, parsed, written

_UNKNOWN_CHOICE: Final = re.compile(r"Invalid enum value (.*)")
_NAMED_FIELD: Final = re.compile(r"^([A-Za-z]+): (.*)$", re.DOTALL)


def read_resource(path: File) -> OrderFlow:
    """Return the resource that the file describes.

    Raises:
        SpecError: it cannot be read, or is no such resource.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError("there is no such file", file=str(path)) from None
    except IsADirectoryError:
        raise SpecError("expected a file, got a folder", file=str(path)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"expected UTF-8, got {error.object[error.start]:#04x}", file=str(path)) from None
    except OSError as error:
        raise SpecError(error.strerror or type(error).__name__, file=str(path)) from None
    return parse_resource(text, str(path))


def parse_resource(text: str, file: str) -> OrderFlow:
    """Return the resource that ``text`` describes; ``file`` is only named in errors.

    Raises:
        SpecError: it describes none.
    """
    root = _document(text, file)
    reader = _Reader(file, root)
    reader.refuse_what_is_repeated()
    reader.refuse_another_kind()
    reader.refuse_what_is_unknown()
    return reader.resource()


def _document(text: str, file: str) -> yaml.Node:
    try:
        documents = list(yaml.compose_all(text, yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, file) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(
            f"not YAML: the character {error.character!r} cannot stand here", file=file, line=line
        ) from None
    if not documents or _is_empty(documents[0]):
        raise SpecError(f"the file is empty, expected an {KIND} resource", file=file)
    if len(documents) > 1:
        reason = f"expected one document, got {len(documents)}: an {KIND} resource has a file of its own"
        raise SpecError(reason, file=file, line=_line(documents[1]))
    return documents[0]


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value


def _not_yaml(error: yaml.MarkedYAMLError, file: str) -> SpecError:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "it cannot be read"
    if "\\t" in problem:
        problem = "a tab stands where YAML wants spaces"
    return SpecError(f"not YAML: {problem}", file=file, line=mark.line + 1 if mark else 0)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """One document on its way to a resource. The methods are called in the order in which they stand."""

    def __init__(self, file: str, root: yaml.Node) -> None:
        self._file = file
        self._root = root

    def refuse_what_is_repeated(self) -> None:
        for path, section in _sections(self._root):
            first: dict[str, int] = {}
            for key, _ in section.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise self._error("expected a name before the colon", path, _line(key))
                if key.value in first:
                    reason = f"stands on line {first[key.value]} already"
                    raise self._error(reason, (*path, key.value), _line(key))
                first[key.value] = _line(key)

    def refuse_another_kind(self) -> None:
        if not isinstance(self._root, yaml.MappingNode):
            raise self._error(f"expected an {KIND} resource, got {_what(self._root)}", (), _line(self._root))
        for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
            value = _child(self._root, field)
            if value is None:
                raise self._error(f"missing, expected `{expected}`", (field,))
            if not isinstance(value, yaml.ScalarNode) or value.value != expected:
                raise self._error(f"expected `{expected}`, got {_what(value)}", (field,))

    def refuse_what_is_unknown(self) -> None:
        for path, section in _sections(self._root):
            known = fields_at(path)
            if known is None:
                continue
            for key, _ in section.value:
                if key.value not in known and key.tag != "tag:yaml.org,2002:merge":
                    raise self._error(_unknown(key.value, known), (*path, key.value), _line(key))

    def resource(self) -> OrderFlow:
        try:
            resource = msgspec.convert(_plain(self._root), OrderFlow)
            check(resource)
        except yaml.MarkedYAMLError as error:
            raise _not_yaml(error, self._file) from None
        except msgspec.ValidationError as error:
            raise self._mistyped(str(error)) from None
        except SpecError as error:
            raise self._error(error.reason, parsed(f"$.{error.field}")) from None
        return resource

    def _mistyped(self, message: str) -> SpecError:
        reason, _, at = message.rpartition(" - at `")
        reason, path = (reason, parsed(at.rstrip("`"))) if reason else (message, ())
        if choice := _UNKNOWN_CHOICE.match(reason):
            reason = f"Expected {' or '.join(f'`{one}`' for one in choices_at(path))}, got {choice[1]}"
        elif (named := _NAMED_FIELD.match(reason)) and named[1] in (fields_at(path) or ()):
            # What a section says of one of its fields.
            path, reason = (*path, named[1]), named[2]
        return self._error(reason.removeprefix("Object ").replace("`null`", "nothing"), path)

    def _error(self, reason: str, path: Path, line: int = 0) -> SpecError:
        sentence = reason[:1].lower() + reason[1:]
        return SpecError(sentence, field=written(path), file=self._file, line=line or self._line_of(path))

    def _line_of(self, path: Path) -> int:
        """Return the line of the field at ``path``, or of the innermost section around it that is there."""
        node, line = self._root, _line(self._root)
        for step in path:
            key = _key(node, step)
            child = _child(node, step)
            if child is None:
                break
            node, line = child, _line(key or child)
        return line


def _sections(root: yaml.Node) -> Iterator[tuple[Path, yaml.MappingNode]]:
    """Give every section of the document with its path, each once however often it is referred to."""
    seen: set[int] = set()
    waiting: list[tuple[Path, yaml.Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield path, node
            waiting += [((*path, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [((*path, place), item) for place, item in enumerate(node.value)]


def _plain(root: yaml.Node) -> Any:
    constructor = yaml.constructor.SafeConstructor()
    return constructor.construct_document(root)


def _key(node: yaml.Node, step: Step) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((key for key, _ in node.value if key.value == step), None)


def _child(node: yaml.Node, step: Step) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item: yaml.Node = node.value[step]
        return item
    return None


def _what(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"`{node.value}`" if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a section"


def _unknown(field: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(field, sorted(known), n=1)
    if near:
        return f"there is no such field, did you mean `{near[0]}`?"
    return f"there is no such field, expected one of {', '.join(f'`{one}`' for one in sorted(known))}"
