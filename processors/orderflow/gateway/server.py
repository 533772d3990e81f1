"""A uvicorn server that is told to stop by a signal, finishes what it is at, and ends with status 0."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from orderflow.runtime.garbage import look_rarely

DRAIN_SECONDS = 10
"""How long requests that are being answered may take after the signal: several times the longest wait for the store."""

IDLE_SECONDS = 75
"""How long a connection without requests is kept: longer than the minute after which most clients and proxies close
theirs, so that it is never the server that closes under a request."""


class PortTaken(OSError):  # noqa: N818 - says what is the matter
    """Somebody else listens on the port, or nobody may listen there."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, not listening yet; port 0 takes any that is free.

    Raises:
        PortTaken: the address cannot be had; the text says why in a sentence.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reasons = {errno.EADDRINUSE: "somebody else is listening there", errno.EACCES: "this user may not listen there"}
        reason = reasons.get(error.errno or 0, error.strerror)
        raise PortTaken(error.errno, f"cannot listen on port {port} of {host}: {reason}") from error
    return listener


class Server(uvicorn.Server):
    """Serves one application on one socket until a signal or :meth:`leave`."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._listener = listener

    def leave(self) -> None:
        """Stop taking requests, finish those under way, and end."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Let signals stop the server, and not repeat them to the process afterwards: a drained end is a good end."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.leave)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def serve_until_told(self) -> None:
        """Serve in an event loop of its own, in the main thread.

        Raises:
            RuntimeError: the application could not start.
        """
        import uvloop  # noqa: PLC0415 - not where a test serves in a loop of its own

        look_rarely()
        uvloop.run(self.serve(sockets=[self._listener]))
        if not self.started:
            raise RuntimeError("the application could not start; the log says why")
