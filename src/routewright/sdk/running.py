"""Keeps the LiteLLM SDK's process running while a deployment needs it; worker 0 does, for all."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

log = logging.getLogger("routewright")
AGAIN_S = 5.0
"""A process that ended is started again no sooner than this."""
BRIDGE = Path(__file__).with_name("bridge.py")
PYTHON_VARIABLE = "ROUTEWRIGHT_LITELLM_PYTHON"


class SdkProcess:
    """`on_tick` starts it when it is wanted, and again when it has died. Its end follows that of its parent."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._child: subprocess.Popen[bytes] | None = None
        self._started_s = -AGAIN_S
        self.wanted_by: list[str] = []
        """Names of the models that need it."""

    def on_tick(self, now: float) -> None:
        child = self._child
        if child is not None and child.poll() is not None:
            log.error("the LiteLLM SDK's process ended with %s", child.returncode)
            self._child = child = None
        if child is None and self.wanted_by and now - self._started_s >= AGAIN_S:
            self._started_s = now
            self._spawn()

    def _spawn(self) -> None:
        shown = ", ".join(sorted(set(self.wanted_by))[:10])
        log.info("starting the LiteLLM SDK in a process of its own, for %s", shown)
        python = os.environ.get(PYTHON_VARIABLE) or sys.executable
        self._socket_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._child = subprocess.Popen(  # noqa: S603 - the configured interpreter and a file of ours
                [python, str(BRIDGE), str(self._socket_path)], stdin=subprocess.PIPE, close_fds=True
            )
        except OSError as error:
            log.error("the LiteLLM SDK's process can't be started: %s", error.strerror)

    def close(self) -> None:
        """Its standard input ends; it finishes what other workers have under way."""
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(2.0)
