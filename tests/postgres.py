"""Private PostgreSQL servers on unix sockets: a primary, and standbys that stream from it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.polling import until

BINARIES = Path("/usr/lib/postgresql/15/bin")


def as_postgres(*argv: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a PostgreSQL program, as `postgres` if the tests run as root (initdb refuses root)."""
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        [str(item) for item in argv], check=True, capture_output=True, text=True, timeout=60, cwd="/", **account, **more
    )


@dataclass
class Server:
    """One PostgreSQL server on a unix socket."""

    home: Path
    name: str
    port: int

    @property
    def data(self) -> Path:
        """Data directory."""
        return self.home / self.name

    def start(self) -> None:
        """Start the server and wait until it answers."""
        as_postgres(BINARIES / "pg_ctl", "-D", self.data, "-w", "-l", self.home / f"{self.name}.log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server. The mode `immediate` is a crash."""
        as_postgres(BINARIES / "pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def promote(self) -> None:
        """Make a standby the primary."""
        as_postgres(BINARIES / "pg_ctl", "-D", self.data, "-w", "promote")

    def dsn(self, user: str, database: str = "approval") -> str:
        """Return the connection string of one login."""
        return f"host={self.home} port={self.port} user={user} dbname={database}"

    def sql(
        self, statement: str, parameters: tuple[Any, ...] = (), database: str = "approval"
    ) -> list[tuple[Any, ...]]:
        """Execute a statement as superuser, without waiting for standbys."""
        superuser = self.dsn("postgres", database) + " options='-c synchronous_commit=local'"
        with psycopg.connect(superuser, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def configure(self, **settings: str) -> None:
        """Change settings of the running server and wait until they are in force."""
        for name, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        for name, value in settings.items():
            until(f"{name}={value}", lambda n=name, v=value: self.sql("SELECT current_setting(%s)", (n,)) == [(v,)], 20)


@contextmanager
def server_home(prefix: str) -> Iterator[Path]:
    """Create a directory that the account of the database server may use, and remove it at the end."""
    if not (BINARIES / "initdb").exists():
        pytest.fail(f"{BINARIES}/initdb is missing: ./govcloud setup installs it (Debian package postgresql-15)")
    path = Path(tempfile.mkdtemp(prefix=prefix))
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(path, account.pw_uid, account.pw_gid)
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start_primary(home: Path, name: str, port: int) -> Server:
    """Create and start a server with the database `approval`, but without roles of the services."""
    server = Server(home=home, name=name, port=port)
    as_postgres(
        BINARIES / "initdb", "-D", server.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"
    )
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"listen_addresses = ''\nunix_socket_directories = '{home}'\nport = {server.port}\nfsync = off\n"
            "max_connections = 60\nshared_buffers = 32MB\nwal_retrieve_retry_interval = 100ms\n"
            "wal_receiver_status_interval = 1s\n"
        )
    server.start()
    return server


def start_standby(primary: Server, name: str, port: int, cluster_name: str) -> Server:
    """Create and start a standby that streams from the primary as `cluster_name`."""
    server = Server(home=primary.home, name=name, port=port)
    as_postgres(
        BINARIES / "pg_basebackup", "-D", server.data, "-h", primary.home, "-p", str(primary.port), "-U", "postgres",
        "-R", "-X", "stream", "-c", "fast",
    )  # fmt: skip
    with (server.data / "postgresql.auto.conf").open("a") as conf:
        conf.write(f"port = {server.port}\ncluster_name = '{cluster_name}'\n")
    server.start()
    until("the standby streams", lambda: primary.sql("SELECT count(*) FROM pg_stat_replication") == [(1,)], 20)
    return server
