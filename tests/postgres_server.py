"""A real PostgreSQL for tests: Debian's package, on a free port, in a temporary folder, of a user without rights."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.reaper import die_with_parent
from tests.s3_server import _free_port

USER = "advkd"
_PATIENCE_SECONDS = 60


@dataclass
class Postgres:
    """A server that can be ended and started again; `user` asks for `password`."""

    folder: Path
    port: int
    password: str
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str, password: str | None = None) -> str:
        return f"postgresql://{USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def bare_url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        command = [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-k", str(self.folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent, **_user()
            )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def answers(self) -> bool:
        ready = [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(ready, check=False).returncode == 0

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT ends all connections, SIGQUIT at once and without a word, as a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_PATIENCE_SECONDS)
            self.process = None

    def make_database(self) -> str:
        name = f"d{secrets.token_hex(6)}"
        self.ask(f"CREATE DATABASE {name}")
        return name

    def ask(self, question: str, database: str = "postgres") -> str:
        command = [_program("psql"), "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", question, self.url(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def serve_postgres(disk: Path | None = None) -> Iterator[Postgres]:
    """Runs a server until the block ends; skips the test where the package is not installed.

    Args:
        disk: folder for its data; default: that of temporary files.
    """
    if not Path(_program("initdb")).is_absolute():
        pytest.skip("PostgreSQL is not installed; `apt-get install postgresql` (Debian) brings it")
    # Not below the test's folder: root's are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="advkd-postgres-", dir=disk))
    try:
        server = Postgres(folder, _free_port(), secrets.token_hex(12))
        secret = folder / "password"
        secret.write_text(server.password)
        if user := _user():
            for path in (folder, secret):
                os.chown(path, user["user"], user["group"])
        scram = ("-A", "scram-sha-256", "--pwfile", str(secret))
        subprocess.run(
            [_program("initdb"), "-D", str(folder / "data"), "-U", USER, "-N", "--locale=C.UTF-8", *scram],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **_user(),
        )
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    """Its path; its name where it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])) or name


def _user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: whom root's tests run it as."""
    if os.geteuid():
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
