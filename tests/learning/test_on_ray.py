"""Learning on a real local Ray cluster of two workers, by the command that a user types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_sets import write_set

from harness.upstream import closed_port
from routewright.learning.fit import fit_command
from routewright.routing.artefact import read_artefact
from routewright.routing.spread import each, spread_over


def fit(folder: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "routewright", "fit", "--data", str(folder), "--set", "made_up", "--force"]
    return subprocess.run(
        [*command, "--router", "ensemble", "--out", str(out), *more],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[Path, Path]:
    """One router learned here, and one there: a cluster takes its time to start."""
    pytest.importorskip("ray", reason="ray, of the extra [scale], is not installed")
    folder = tmp_path_factory.mktemp("ray")
    write_set(folder)
    here, there = folder / "here.safetensors", folder / "there.safetensors"
    for done in (fit(folder, here), fit(folder, there, "--ray", "local")):
        assert done.returncode == 0, done.stderr
    return here, there


def test_a_router_learned_on_ray_is_bit_for_bit_the_one_learned_here(learned):
    first, second = (read_artefact(path, force=True) for path in learned)
    for name, array in first.router.state().items():
        assert array.tobytes() == second.router.state()[name].tobytes(), name
    for name, array in first.features.state().items():
        assert array.tobytes() == second.features.state()[name].tobytes(), name
    assert first.metrics == second.metrics


def test_a_cluster_that_is_not_there_is_named(tmp_path, capsys):
    pytest.importorskip("ray", reason="ray, of the extra [scale], is not installed")
    write_set(tmp_path)
    with closed_port() as port:
        address = f"127.0.0.1:{port}"
        assert fit_command(tmp_path, "made_up", "linear", "hashed", tmp_path / "x", 0, True, ray=address) == 2
    assert f"no Ray cluster at {address}" in capsys.readouterr().err.replace("\n", "")


def test_without_the_extra_its_name_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_set(tmp_path)
    assert fit_command(tmp_path, "made_up", "linear", "hashed", tmp_path / "x", 0, True, ray="local") == 2
    assert "routewright[scale]" in capsys.readouterr().err


class Backwards:
    """A pool that does the last piece first."""

    def map(self, function, items, shared):
        return [function(*shared, item) for item in reversed(list(items))][::-1]


def scaled(by: float, item: int) -> float:
    return by * item


def test_pieces_come_back_in_order_whoever_does_them():
    assert each(scaled, range(4), 2.0) == [0.0, 2.0, 4.0, 6.0]
    with spread_over(Backwards()):
        assert each(scaled, range(4), 2.0) == [0.0, 2.0, 4.0, 6.0]
    assert np.array_equal(each(scaled, [], 2.0), [])
