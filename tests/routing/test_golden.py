"""Files that an earlier routewright wrote still load, and rate as they did; `golden/ratings.json` has what they gave.

Whoever has to break this raises `FORMAT_VERSION`, lets the reader refuse or convert the old one by name, and adds files
of the new version beside the old.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from routewright.routing.artefact import CANARIES, artefact_bytes, read_artefact
from routewright.signatures import public_key_of

GOLDEN = Path(__file__).with_name("golden")
FILES = json.loads((GOLDEN / "ratings.json").read_text())


def test_every_golden_file_is_listed():
    assert sorted(FILES) == sorted(path.name for path in GOLDEN.glob("*.safetensors"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_an_earlier_version_rates_as_it_did(name):
    signed_by = FILES[name].get("signed_by")
    keys = None if signed_by is None else [public_key_of(signed_by)]
    loaded = read_artefact(GOLDEN / name, public_keys=keys)
    assert loaded.sha256 == FILES[name]["sha256"]
    for prompt, ratings in zip(CANARIES, FILES[name]["ratings"], strict=True):
        assert loaded.router.rate_one(loaded.features.vector(prompt)) == pytest.approx(ratings, abs=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_an_earlier_file_can_be_written_again_by_this_version(name, tmp_path):
    first = read_artefact(GOLDEN / name)
    (tmp_path / name).write_bytes(artefact_bytes(first))
    again = read_artefact(tmp_path / name)
    assert again.labels == first.labels
    assert again.training == first.training
    for prompt in CANARIES:
        x, y = first.features.vector(prompt), again.features.vector(prompt)
        assert first.router.rate_one(x).tobytes() == again.router.rate_one(y).tobytes()
