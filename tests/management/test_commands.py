"""`routewright keys`: the same calls on the command line; a gateway that runs obeys them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.gateway import base_config, eventually, running
from harness.upstream import Upstream


def keys(data_dir: Path, *words: str, status: int = 0) -> Any:
    command = [sys.executable, "-m", "routewright", "keys", *words, "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def test_gateway_that_runs_obeys_within_a_second(upstream: Upstream) -> None:
    with running(base_config(upstream), workers=2) as gateway:
        made = keys(gateway.data_dir, "generate", "key_alias=ci", "models=gpt-4o,gpt-4o-mini", "max_budget=5")
        assert (made["key_alias"], made["models"], made["max_budget"]) == ("ci", ["gpt-4o", "gpt-4o-mini"], 5.0)
        assert made["created_by"] == "cli"
        key = made["key"]
        assert {gateway.chat(key=key).status for _ in range(8)} == {200}
        keys(gateway.data_dir, "block", key)
        eventually(lambda: {gateway.chat(key=key).status for _ in range(8)} == {401})
        keys(gateway.data_dir, "unblock", made["token"])
        eventually(lambda: {gateway.chat(key=key).status for _ in range(8)} == {200})
        assert keys(gateway.data_dir, "delete", key)["deleted_keys"] == [made["token"]]
        eventually(lambda: {gateway.chat(key=key).status for _ in range(8)} == {401})


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    assert "unknown field" in keys(tmp_path, "generate", "modells=x", status=1)
    assert "no such key" in keys(tmp_path, "info", "sk-nobody-has-this-key-at-all", status=1)
    made = keys(tmp_path, "generate", "duration=30d", 'metadata={"a": 1}')
    assert made["metadata"] == {"a": 1}
    assert keys(tmp_path, "list")["keys"] == [made["token"]]
    assert keys(tmp_path, "info", made["key"])["info"]["key_name"] == made["key_name"]
