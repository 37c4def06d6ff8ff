"""Files of every kind of router: what does not fit is refused with the array named, and a fit can be taken up again."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import make_artefact

from routewright.errors import ArtefactRefused
from routewright.routing import container
from routewright.routing.artefact import CANARIES, artefact_bytes, read_artefact, write_artefact
from routewright.routing.registry import ROUTERS

SERVED = [name for name in ROUTERS if name != "task-mean"]
"""All but the yardstick that reads a task's number where others read a vector."""


@pytest.mark.parametrize("name", SERVED)
def test_an_array_of_another_size_or_with_nan_is_refused_by_its_name(name, tmp_path):
    contents = container.unpack(artefact_bytes(make_artefact(name)))
    header, arrays = contents.header, contents.arrays
    path = tmp_path / "router.safetensors"
    for array_name, array in arrays.items():
        if not array_name.startswith("router."):
            continue
        short = array_name.removeprefix("router.")
        wrong = [array[None], array.astype(np.float16)]
        if array.dtype.kind == "f" and array.size:
            infinite = array.copy()
            infinite.flat[0] = np.inf
            wrong.append(infinite)
            if not array_name.endswith("residual"):
                nan = array.copy()
                nan.flat[-1] = np.nan
                wrong.append(nan)
        for bad in wrong:
            path.write_bytes(container.pack(header, dict(arrays) | {array_name: bad}))
            with pytest.raises(ArtefactRefused, match=f'array "(router.)?{short}"'):
                read_artefact(path)
        left = {n: a for n, a in arrays.items() if n != array_name}
        path.write_bytes(container.pack(header, left))
        with pytest.raises(ArtefactRefused, match=f'array "{short}" is missing'):
            read_artefact(path)


@pytest.mark.parametrize("name", [name for name in SERVED if ROUTERS[name].learns_online])
def test_a_loaded_router_goes_on_learning_and_is_saved_again(name, tmp_path):
    path = tmp_path / "router.safetensors"
    write_artefact(make_artefact(name), path)
    loaded = read_artefact(path)
    x = loaded.features.vector(CANARIES[1])
    before = loaded.router.rate_one(x)
    for _ in range(10):
        loaded.router.update(x, 2, 1.0, key="team-a")
    assert loaded.router.rate_one(x)[2] > before[2]
    write_artefact(loaded, path)
    again = read_artefact(path)
    assert again.router.rate_for(x, "team-a").tobytes() == loaded.router.rate_for(x, "team-a").tobytes()
