"""Every array of a file that is not the router's own (`test_router_files.py` has those): left out, of another shape or
type, or with a number that is none, it is refused by its name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import make_artefact, make_prompts

from routewright.errors import ArtefactRefused
from routewright.routing import container
from routewright.routing.artefact import artefact_bytes, read_artefact
from routewright.routing.lengths import AnswerLengths

NOT_NEEDED = {"training.ids"}
"""A file may do without; `calibration` and `lengths` too, but only as a whole."""


@pytest.fixture(scope="module")
def contents() -> container.Contents:
    made = make_artefact("linear")
    prompts, _ = make_prompts(90)
    X = made.features.transform(prompts)
    lengths = AnswerLengths().fit(X, np.random.default_rng(0).integers(5, 300, size=(90, 4)).astype(np.float32))
    wordiness = lengths.wordiness(X[: len(made.sample_scores)]).astype(np.float16)
    whole = replace(made, lengths=lengths, sample_wordiness=wordiness, training_ids=("a", "b"))
    return container.unpack(artefact_bytes(whole))


def changed(array: np.ndarray) -> list[np.ndarray]:
    other = np.float64 if array.dtype != np.float64 else np.float32
    out = [array[None], array.astype(other)]
    if array.dtype.kind == "f":
        for bad in (np.nan, np.inf):
            copy = array.copy()
            copy.flat[-1] = bad
            out.append(copy)
    return out


def test_every_array_is_refused_by_its_name_when_it_does_not_fit(contents, tmp_path):
    path = tmp_path / "router.safetensors"
    path.write_bytes(container.pack(contents.header, contents.arrays))
    assert read_artefact(path).lengths is not None
    tried = 0
    for name, array in contents.arrays.items():
        if name.startswith("router.") or name in NOT_NEEDED:
            continue
        short = name.partition(".")[2]
        for bad in [None, *changed(array)]:
            arrays = {**contents.arrays, name: bad} if bad is not None else dict(contents.arrays)
            if bad is None:
                del arrays[name]
            path.write_bytes(container.pack(contents.header, arrays))
            with pytest.raises(ArtefactRefused, match=rf'array "([a-z]+\.)?{short}"'):
                read_artefact(path)
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("huge", [np.float32(3e38), np.float32(-3e38)])
def test_numbers_at_the_edge_are_refused_or_rated_with_never_a_warning(contents, tmp_path, huge):
    """Warnings are errors here; a file of somebody's making may overflow anywhere."""
    path = tmp_path / "router.safetensors"
    for name, array in contents.arrays.items():
        if array.dtype != np.float32:
            continue
        path.write_bytes(container.pack(contents.header, {**contents.arrays, name: np.full_like(array, huge)}))
        try:
            loaded = read_artefact(path)
        except ArtefactRefused:
            continue
        assert loaded.labels
