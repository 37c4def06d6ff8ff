"""What a start knows of the one before it in the same data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from routewright.admission.counters import Counters
from routewright.leasing import names


def test_start_knows_how_many_machines_there_were(tmp_path: Path) -> None:
    """F28: who starts while the Valkey is away takes its share by it."""
    first = Counters(1)
    names.prepare(first, tmp_path, tmp_path / "run")
    assert first.replicas == 1
    names.remember(tmp_path, 3)
    second = Counters(1)
    names.prepare(second, tmp_path, tmp_path / "run")
    assert second.replicas == 3


@pytest.mark.parametrize("content", [b"", b"0", b"-1", b"x", b"99999999", b"\xff\xfe"])
def test_spoiled_number_is_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / names.REPLICAS_FILE).write_bytes(content)
    assert names.remembered(tmp_path) == 1
