"""`routewright usage` and `routewright export`, as they are called, beside a gateway that runs and without one."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.gateway import Gateway, running
from harness.upstream import Upstream
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    with running(priced_config(upstream)) as started:
        uses_all(upstream["paid"], gap_s=0)
        for _ in range(3):
            assert started.chat("paid", max_tokens=MAX_TOKENS, tags=['ä, "b"'], user="=1+1").status == 200
        yield started


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "routewright", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_usage_adds_up_by_key_and_model(gateway: Gateway) -> None:
    """What was answered a moment ago is in, though the gateway may not have brought it in yet."""
    done = run("usage", "--data-dir", gateway.data_dir, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["key"], row["model"], row["requests"], row["failed"]) == ("team", "paid", 3, 0)
    assert row["cost_nusd"] == round(3 * ANSWER_USD * 1e9)
    assert row["completion_tokens"] == 3 * MAX_TOKENS
    table = run("usage", "--data-dir", gateway.data_dir)
    assert "0.000300" in table.stdout


def test_usage_of_an_empty_folder_says_what_is_wrong(tmp_path: Path) -> None:
    done = run("usage", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_export_writes_every_call(gateway: Gateway, tmp_path: Path) -> None:
    out = tmp_path / "calls.csv"
    done = run("export", "--data-dir", gateway.data_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert {row["model"] for row in rows} == {"paid"}
    assert rows[0]["cost_nusd"] == str(round(ANSWER_USD * 1e9))
    assert json.loads(rows[0]["tags"]) == ['ä, "b"']
    assert "customer_id" in rows[0]
    past = run("export", "--data-dir", gateway.data_dir, "--out", out, "--to", "2020-01-01")
    assert past.returncode == 0
    assert len(out.read_text().splitlines()) == 1


def test_export_as_parquet_holds_the_same(gateway: Gateway, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    out = tmp_path / "calls.parquet"
    done = run("export", "--data-dir", gateway.data_dir, "--out", out)
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(out).to_pylist()
    assert [row["cost_nusd"] for row in rows] == [round(ANSWER_USD * 1e9)] * 3
    assert rows[0]["is_stream"] is False


@pytest.mark.parametrize("arguments", [["--out", "x.xlsx"], ["--out", "x.csv", "--from", "yesterday"], []])
def test_export_says_what_it_expects(tmp_path: Path, arguments: list[str]) -> None:
    done = run("export", "--data-dir", tmp_path, *arguments)
    assert done.returncode != 0
    assert "expected" in done.stderr or "required" in done.stderr
