"""The gateway as its users start it: a process of its own, with a configuration file, a port and a data folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness.ports import free_port
from harness.upstream import Upstream
from harness.wire import PATIENCE_S, NotHttpError, Reply, Wire, assert_no_secret, request_bytes, secret

MASTER_KEY = secret("master")
TEAM_KEY = secret("team")
"""May use everything; high limits."""
SMALL_KEY = secret("small")
"""May use `gpt-4o-mini` alone."""
TIGHT_KEY = secret("tight")
"""Three requests a minute."""
START_TIMEOUT_S = 2 * PATIENCE_S


def eventually(is_true: Callable[[], Any], *, within_s: float = PATIENCE_S, what: str = "") -> Any:
    """Wait until something holds; its value. Fails loudly when it does not come about."""
    end_s = time.monotonic() + within_s
    while True:
        value = is_true()
        if value:
            return value
        if time.monotonic() > end_s:
            raise AssertionError(f"not so within {within_s} s: {what or is_true}")
        time.sleep(0.01)


def deployment(
    name: str, upstream: Upstream, prefix: str, *, model: str = "", provider: str = "openai", **params: Any
) -> dict[str, Any]:
    """One entry of `model_list`; its credential is a canary."""
    model_info = params.pop("model_info", None)
    entry: dict[str, Any] = {
        "model_name": name,
        "litellm_params": {
            "model": f"{provider}/{model or prefix}",
            "api_base": upstream[prefix].api_base,
            "api_key": secret(prefix),
            "input_cost_per_token": 0.000001,
            "output_cost_per_token": 0.000004,
            **params,
        },
    }
    if model_info is not None:
        entry["model_info"] = model_info
    return entry


def base_config(upstream: Upstream, *, ones: int = 0, twos: int = 0, **sections: Any) -> dict[str, Any]:
    """Models for good answers; `one-NNN` with one deployment and `two-NNN` with two in order, for those that fail."""
    models = [
        deployment("gpt-4o", upstream, "gpt-4o", input_cost_per_token=2.5e-6, output_cost_per_token=1e-5),
        deployment("gpt-4o-mini", upstream, "gpt-4o-mini", input_cost_per_token=1.5e-7, output_cost_per_token=6e-7),
        deployment("embed", upstream, "embed", model_info={"mode": "embedding"}),
    ]
    models += [deployment(f"one-{place:03}", upstream, f"one-{place:03}") for place in range(ones)]
    for place in range(twos):
        models += [
            deployment(f"two-{place:03}", upstream, f"two-{place:03}-{side}", order=order)
            for order, side in ((1, "first"), (2, "second"))
        ]
    config: dict[str, Any] = {
        "model_list": models,
        # All of a test's clients come from one address.
        "general_settings": {"master_key": "os.environ/TEST_MASTER_KEY", "max_wrong_keys_per_minute": 0},
        "router_settings": {"num_retries": 2, "retry_after": 0},
        "keys": [
            {"key": "os.environ/TEST_TEAM_KEY", "alias": "team", "rpm_limit": 1_000_000, "tpm_limit": 1_000_000_000},
            {"key": SMALL_KEY, "alias": "small", "models": ["gpt-4o-mini"]},
            {"key": TIGHT_KEY, "alias": "tight", "rpm_limit": 3},
        ],
        "routes": {
            "auto": {"candidates": ["gpt-4o", "gpt-4o-mini"], "quality": 0.8, "default_model": "gpt-4o"},
        },
    }
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section} if isinstance(section, dict) else section
    return config


class Gateway:
    """One running gateway."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        most_files: int | None = None,
    ) -> None:
        """`most_files`: descriptors that each of its processes may have."""
        self.port = free_port()
        self.database_url: str | None = None
        self.successors: list[psutil.Process] = []
        """Main processes that took over from the one before."""
        self._records: list[dict[str, Any]] = []
        self._read_to: dict[Path, int] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="routewright-test-")
        folder = Path(self._folder.name)
        self.data_dir = folder / "data"
        self.config_file = folder / "config.yaml"
        self.output_file = folder / "output.txt"
        self.config_file.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
        command = [sys.executable, "-m", "routewright", "serve", "--config", str(self.config_file)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(workers)]
        command += ["--data-dir", str(self.data_dir), *arguments]
        if most_files is not None:
            command = ["sh", "-c", 'ulimit -n "$0"; exec "$@"', str(most_files), *command]
        self._command = command
        own = {"TEST_MASTER_KEY": MASTER_KEY, "TEST_TEAM_KEY": TEAM_KEY, "PYTHONUNBUFFERED": "1"}
        self.environment = {**os.environ, **own, **(environment or {})}
        self.process = self._start()
        try:
            self._wait_until_alive()
        except BaseException:
            self.process.kill()
            self.process.wait()
            self._folder.cleanup()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        with self.output_file.open("ab") as output:
            return subprocess.Popen(
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._folder.name,
            )

    def _wait_until_alive(self) -> None:
        end_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end_s:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.output()}")
            try:
                if self.request("GET", "/health/liveliness", key=None).status == 200:
                    return
            except (ConnectionError, TimeoutError, NotHttpError):
                time.sleep(0.02)
        raise AssertionError(f"the gateway did not answer within {START_TIMEOUT_S} s:\n{self.output()}")

    # --- asking ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, **options: Any) -> Wire:
        return Wire(self.port, **options)

    def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str | None = TEAM_KEY,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> Reply:
        """One request over a connection of its own; `body` is bytes or anything JSON can hold."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with self.connect(timeout_s=timeout_s) as client:
            client.send(request_bytes(method, target, key=key, body=data, headers=headers))
            return client.reply(method)

    def chat(
        self,
        model: str = "gpt-4o",
        prompt: str = "Say hello",
        *,
        key: str | None = TEAM_KEY,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
        **fields: Any,
    ) -> Reply:
        """One chat completion; `stream=True` reads the stream to its end."""
        return self.request(
            "POST",
            "/v1/chat/completions",
            {"model": model, "messages": [{"role": "user", "content": prompt}], **fields},
            key=key,
            headers=headers,
            timeout_s=timeout_s,
        )

    # --- looking inside from outside ---

    def journal(self) -> list[dict[str, Any]]:
        """Every record so far."""
        for path in sorted((self.data_dir / "journal").glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read_to.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read_to[path] = self._read_to.get(path, 0) + len(whole) + len(newline)
            self._records += [json.loads(line) for line in whole.splitlines()]
        return self._records

    def records_of(self, request_id: str) -> list[dict[str, Any]]:
        return [record for record in self.journal() if record["request_id"] == request_id]

    def record_of(self, reply: Reply, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The one record of this answer."""
        request_id = reply.headers["x-request-id"]
        eventually(lambda: self.records_of(request_id), within_s=within_s, what=f"a record of {request_id}")
        records = self.records_of(request_id)
        assert len(records) == 1, records
        return records[0]

    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The process started here, or the one it has handed over to, and all its descendants."""
        own = self.successors[-1] if self.successors else psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def serving_processes(self) -> list[psutil.Process]:
        """Those that accept connections: neither a supervisor, nor the store's process, nor one that has just died."""
        alive = []
        for process in self.processes():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and "routewright.keeper" not in process.cmdline():
                    alive.append(process)
            except psutil.NoSuchProcess:
                continue
        return alive if len(alive) == 1 else [process for process in alive if process.pid != self.process.pid]

    def store_processes(self) -> list[psutil.Process]:
        """The one beside the workers; none where it has not started yet, or has just died."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if "routewright.keeper" in process.cmdline():
                    found.append(process)
        return found

    def open_files(self) -> int:
        """Of those who serve: the store's process is started when something is to be stored, and has its own."""
        return sum(process.num_fds() for process in self.serving_processes())

    # --- ending ---

    def hand_over(self, *, within_s: float = START_TIMEOUT_S) -> psutil.Process:
        """Have it start a successor; when that serves and the old process takes nothing new, the old one's handle."""
        old = self.processes()[0]

        def started() -> list[str]:
            return re.findall(r"handing over to process (\d+)", self.output())

        before = len(started())
        old.send_signal(signal.SIGUSR2)

        def found() -> list[str]:
            return started()[before:]

        eventually(lambda: bool(found()), within_s=within_s, what="a successor")
        new = psutil.Process(int(found()[0]))
        eventually(lambda: f"process {new.pid} serves" in self.output(), within_s=within_s, what="it to serve")
        self.successors.append(new)
        return old

    def terminate(self) -> None:
        if self.successors:
            self.successors[-1].terminate()
        else:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    def kill_everything(self) -> None:
        """As a power cut would: supervisor, workers and the store's process at once."""
        for process in self.processes():
            process.kill()
        self.process.wait(PATIENCE_S)

    def start_again(self) -> None:
        """With the same data, on the same port."""
        self.process = self._start()
        self._wait_until_alive()

    def stop(self) -> None:
        """End it if it still runs, and look for secrets and tracebacks in all it wrote."""
        try:
            self._stop_successors()
            if self.process.poll() is None:
                self.terminate()
                try:
                    self.wait()
                except subprocess.TimeoutExpired:
                    for process in self.processes():
                        process.kill()
                    self.wait()
                    raise AssertionError(f"SIGTERM did not end the gateway:\n{self.output()[-3000:]}") from None
            self.search_for_secrets()
            assert "Traceback" not in self.output(), self.output()[-6000:]
            calls = [record["call_id"] for record in self.journal()]
            assert len(set(calls)) == len(calls), "a call was recorded twice"
        finally:
            self._folder.cleanup()

    def _stop_successors(self) -> None:
        for process in reversed(self.successors):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
                process.wait(PATIENCE_S)
        self.successors.clear()

    def search_for_secrets(self) -> None:
        """K in RELIABILITY.md: nothing that the gateway wrote holds a credential."""
        files = [self.output_file, *(path for path in self.data_dir.rglob("*") if path.is_file())]
        for file in files:
            assert_no_secret(file.read_bytes(), str(file.relative_to(self.data_dir.parent)))


@contextmanager
def running(config: Mapping[str, Any], **options: Any) -> Iterator[Gateway]:
    """A gateway for one test or one module."""
    gateway = Gateway(config, **options)
    try:
        yield gateway
    finally:
        gateway.stop()
