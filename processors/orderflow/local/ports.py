"""Ports on the loopback interface."""

import errno
import random
import socket
from contextlib import ExitStack
from typing import Final

from orderflow.local.errors import LocalError

LOWEST: Final = 20_000
HIGHEST: Final = 32_000
"""Below the range from which the system takes a port for each outgoing connection (32768 on Linux): a port that a
process has left for a moment, to be restarted on it, is not taken by somebody's connection meanwhile."""


def free_ports(number: int) -> tuple[int, ...]:
    """Return so many ports on which nobody listens just now.

    Raises:
        LocalError: there are not so many.
    """
    first = random.randrange(LOWEST, HIGHEST)
    found: list[int] = []
    with ExitStack() as held:
        for port in (*range(first, HIGHEST), *range(LOWEST, first)):
            if len(found) == number:
                break
            listener = held.enter_context(socket.socket())
            if _binds(listener, "127.0.0.1", port) is None:
                found.append(port)
    if len(found) < number:
        raise LocalError(f"there are no {number} free ports between {LOWEST} and {HIGHEST}")
    return tuple(found)


def refuse_taken_port(host: str, port: int, field: str) -> None:
    """Make sure that somebody can listen on ``port``.

    Raises:
        LocalError: nobody can; ``field`` says where another port is to be named.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        error = _binds(listener, host, port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise LocalError(f"port {port} on {host} is in use: end what listens there, or name another in {field}")
    raise LocalError(f"nobody can listen on port {port} of {host} ({field}): {error.strerror or error}")


def _binds(listener: socket.socket, host: str, port: int) -> OSError | None:
    # As servers do: connections that have just ended do not count.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        return error
    return None
