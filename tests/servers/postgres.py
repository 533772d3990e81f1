"""A private PostgreSQL cluster, from the binaries that the system has."""

import shutil
import subprocess
from itertools import count
from signal import SIGINT

import psycopg
from sqlalchemy import URL

from servers.process import Server, as_server, data_folder, free_port, program

BINARIES = "usr/lib/postgresql/*/bin"
USER = "orderflow"
PASSWORD = "p@ss/word:%"  # what a URL has to escape, so that every test proves that it is


class Postgres:
    """A cluster with as many databases as asked for. Commits are flushed to disk, as in production."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Start one that is found at ``host``, an address of this machine, by whoever can reach it."""
        self.host = host
        initdb = program("initdb", "postgresql", BINARIES)
        self._postgres = program("postgres", "postgresql", BINARIES)
        self._folder = data_folder("postgres")
        self._names = count(1)
        self.port = free_port()
        try:
            self._initialise(initdb)
            self.start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "fsync": "on",
            "max_connections": 200,
            "deadlock_timeout": "200ms",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._server = Server([self._postgres, "-D", "data", *options], self._folder, self._is_up, SIGINT)

    def stop(self) -> None:
        """Stop the server: its connections break. :meth:`start` brings it back with its data, on the same port."""
        self._server.stop()

    def close(self) -> None:
        """Stop the server and forget its data."""
        self._server.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        """Return the address of a database, whether it exists or not."""
        url = URL.create("postgresql+psycopg", USER, PASSWORD, self.host, self.port, database)
        return url.render_as_string(hide_password=False)

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def execute(self, statement: str) -> None:
        """Execute a statement as the superuser, outside any transaction."""
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _initialise(self, initdb: str) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = [f"--username={USER}", "--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
        command = as_server([initdb, "--pgdata=data", *options, "--no-sync"])
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        with (self._folder / "data" / "pg_hba.conf").open("a") as access:
            access.write("host all all 0.0.0.0/0 scram-sha-256\n")

    def _is_up(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=self.host, port=self.port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        )
