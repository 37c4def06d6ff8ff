from __future__ import annotations

from pathlib import Path

import pytest
from made_up_sets import write_set

from routewright.learning.datasets import Dataset, read_dataset


@pytest.fixture(scope="session")
def made_up(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder)
    return read_dataset(folder, "made_up")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "routing"
    if not folder.is_dir():
        pytest.skip("the routing data sets are not beside the checkout (../shared/data/routing)")
    return folder
