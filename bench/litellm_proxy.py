"""LiteLLM's proxy, measured beside the gateway: a process of an environment of its own (`make litellm`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import HERE, KEY, Server, free_port, start, stop, wait_until_answering

START_S = 90.0
"""It takes some ten seconds on an idle core."""
SETTLE_S = 20.0


def program() -> Path | None:
    """None where the environment was not made."""
    given = os.environ.get("BENCH_LITELLM")
    path = Path(given) if given else HERE.parent / ".venv" / "litellm" / "bin" / "litellm"
    return path if path.is_file() else None


class Proxy(Server):
    """Its callbacks run after the answers: what they take belongs to the load."""

    started_s = 0.0

    def settle(self) -> None:
        end_s = time.monotonic() + SETTLE_S
        while time.monotonic() < end_s:
            before = self.cpu_s()
            time.sleep(1.0)
            if self.cpu_s() - before < 0.05:
                return


def config(upstream: Server) -> dict[str, Any]:
    """The gateway's models at the same prices. Its virtual keys need Postgres: this one key is its master's."""

    def deployment(model: str, api_base: str, cost: float) -> dict[str, object]:
        params = {"model": model, "api_base": api_base, "api_key": "sk-mock"}
        costs = {"input_cost_per_token": cost, "output_cost_per_token": 4 * cost}
        return {"model_name": model.rpartition("/")[2], "litellm_params": {**params, **costs}}

    address = f"http://127.0.0.1:{upstream.port}"
    return {
        "model_list": [
            deployment("openai/gpt-4o", f"{address}/v1", 2.5e-6),
            deployment("anthropic/claude-sonnet-4-5", address, 3e-6),
        ],
        "general_settings": {"master_key": KEY},
    }


@contextmanager
def proxy(folder: Path, upstream: Server, pinned: list[int] | None) -> Iterator[Proxy]:
    """One worker with the settings that its documentation has for production, and nothing that is fetched."""
    path = program()
    if path is None:
        raise RuntimeError("the environment of LiteLLM's proxy is not there (make litellm)")
    folder = folder / "litellm"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(json.dumps(config(upstream)))  # JSON is YAML
    port = free_port()
    command = [str(path), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "NO_PROXY": "127.0.0.1",
    }
    began_s = time.perf_counter()
    with (folder / "output.txt").open("ab") as output:
        started = start("litellm", port, command, pinned, env=environment, stdout=output, stderr=output, cwd=folder)
    server = Proxy(started.name, started.port, started.process)
    try:
        wait_until_answering(server, "/health/liveliness", START_S)
        server.started_s = time.perf_counter() - began_s
        yield server
    except RuntimeError as error:
        text = (folder / "output.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{error}\n{text}") from error
    finally:
        stop(server)
