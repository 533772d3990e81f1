"""A private Redis that keeps everything in memory."""

import shutil
import socket

from servers.process import Server, data_folder, free_port, program


class Redis:
    """A Redis server on a port of its own."""

    def __init__(self) -> None:
        self._program = program("redis-server", "redis-server")
        self._folder = data_folder("redis")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = Server([self._program, *options], self._folder, self._is_up)

    def stop(self) -> None:
        """Stop the server: its connections break. :meth:`start` brings it back, empty, on the same port."""
        self._server.stop()

    def close(self) -> None:
        """Stop the server for good."""
        self._server.stop()
        shutil.rmtree(self._folder)

    def flush(self) -> None:
        """Forget every key."""
        if self._ask(b"FLUSHALL\r\n") != b"+OK\r\n":
            raise RuntimeError("Redis did not forget its keys")

    def _is_up(self) -> bool:
        try:
            return self._ask(b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(command)
            return connection.recv(64)
