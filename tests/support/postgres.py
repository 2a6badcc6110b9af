"""A real PostgreSQL server for tests, Debian's, which can be stopped and started."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.support.left_out import leave_out
from tests.support.service import wait_for

PASSWORD = "p@ss/w:o%rd#only-here"
_PROGRAMS = "/usr/lib/postgresql/*/bin"
_QUICK = ("fsync=off", "listen_addresses=127.0.0.1", "max_connections=40", "log_min_messages=fatal")


class Postgres:
    """In `home`, which its user owns. Every address names the password of its only user, `history`."""

    def __init__(self, programs: Path, home: Path, user: str | None) -> None:
        self._programs = programs
        self._home = home
        self._user = user
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self._port = one.getsockname()[1]
        (home / "password").write_text(PASSWORD)
        self._run("initdb", "-U", "history", "--auth=scram-sha-256", f"--pwfile={home / 'password'}", "--no-sync")

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://history:{quote(PASSWORD, safe='')}@127.0.0.1:{self._port}/{name}"

    def new(self) -> str:
        """The URL of a database of its own."""
        self._databases += 1
        name = f"history_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Returns when it answers."""
        words = [word for setting in _QUICK for word in ("-c", setting)]
        program = [self._programs / "postgres", "-D", self._data, "-p", str(self._port), "-k", self._home, *words]
        log = (self._home / "log").open("ab")
        with log:
            self._process = subprocess.Popen(program, stdout=log, stderr=log, user=self._user, start_new_session=True)
        wait_for(self._answers, what="PostgreSQL")

    def stop(self) -> None:
        """At once: connections break."""
        assert self._process
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        self._process = None

    @contextmanager
    def away(self) -> Generator[None]:
        """It is stopped, and started again at the end."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Generator[None]:
        """It is there, takes connections, and says nothing."""
        assert self._process
        group = self._process.pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *words: str) -> None:
        command = [self._programs / name, "-D", self._data, *words]
        done = subprocess.run(command, user=self._user, cwd=self._home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def running() -> Generator[Postgres]:
    """A server of one's own. It refuses to run as root, and gets another user then."""
    programs = sorted(Path("/").glob(_PROGRAMS.removeprefix("/")))
    if not programs:
        leave_out("no PostgreSQL here: apt-get install postgresql")
    home = Path(tempfile.mkdtemp(prefix="k8s-mcp-postgresql-"))
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    try:
        server = Postgres(programs[-1], home, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home)
