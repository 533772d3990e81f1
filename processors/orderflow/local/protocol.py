"""What the supervisor and the fork server say to one another: JSON objects, one per line."""

import msgspec


class _Line(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class Preload(_Line, frozen=True, kw_only=True, tag=True):
    """Import these modules, so that the processes forked from now on have them already."""

    modules: tuple[str, ...]


class Fork(_Line, frozen=True, kw_only=True, tag=True):
    """Start a process that calls the function ``entry`` (``module:function``) with the list of ``arguments``.

    ``log`` is the file its output is added to.
    """

    name: str
    entry: str
    arguments: tuple[str, ...]
    log: str


class Exec(_Line, frozen=True, kw_only=True, tag=True):
    """Start a process that is another program."""

    name: str
    command: tuple[str, ...]
    log: str


class Signal(_Line, frozen=True, kw_only=True, tag=True):
    """Send a signal to a process that was started here, if it has not ended."""

    pid: int
    number: int


class Started(_Line, frozen=True, kw_only=True, tag=True):
    """A process runs."""

    name: str
    pid: int


class Ended(_Line, frozen=True, kw_only=True, tag=True):
    """A process has ended: ``status`` is its exit status, or the negative number of the signal that ended it."""

    name: str
    pid: int
    status: int


class Refused(_Line, frozen=True, kw_only=True, tag=True):
    """Something could not be done: a module not imported, or (``name``) a process not started."""

    reason: str
    name: str = ""


Command = Preload | Fork | Exec | Signal
Report = Started | Ended | Refused


def encode(line: Command | Report) -> bytes:
    """Return the line, with its end."""
    return msgspec.json.encode(line) + b"\n"


def decode_command(line: bytes) -> Command:
    """Return what the supervisor asks for."""
    command: Command = msgspec.json.decode(line, type=Command)
    return command


def decode_report(line: bytes) -> Report:
    """Return what the fork server says."""
    report: Report = msgspec.json.decode(line, type=Report)
    return report
