"""A good file is loaded bit for bit; a bad one is refused by name, and by nothing but ArtefactRefused."""

from __future__ import annotations

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from made_up import make_artefact

from routewright.errors import ArtefactRefused
from routewright.routing import container
from routewright.routing.artefact import CANARIES, artefact_bytes, read_artefact, write_artefact
from routewright.routing.registry import ROUTERS


@pytest.fixture(scope="module")
def good() -> bytes:
    return artefact_bytes(make_artefact())


@pytest.fixture
def file(tmp_path: Path, good: bytes) -> Path:
    path = tmp_path / "router.safetensors"
    path.write_bytes(good)
    return path


def taken_apart(content: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    contents = container.unpack(content)
    return contents.header, dict(contents.arrays)


def put_together(header: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """A file whose hash is right, whatever else is wrong with it."""
    return container.pack(header, arrays)


# --- good files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("router", [name for name in ROUTERS if name != "task-mean"])
def test_a_loaded_artefact_rates_bit_for_bit_as_the_saved_one(router, tmp_path):
    saved = make_artefact(router)
    digest = write_artefact(saved, tmp_path / "a.safetensors")
    loaded = read_artefact(tmp_path / "a.safetensors")
    assert loaded.sha256 == digest
    assert loaded.labels == saved.labels
    assert loaded.training_ids == saved.training_ids
    assert loaded.sample_scores.tobytes() == saved.sample_scores.tobytes()
    for prompt in CANARIES:
        x, y = saved.features.vector(prompt), loaded.features.vector(prompt)
        assert x.tobytes() == y.tobytes()
        assert saved.router.rate_one(x).tobytes() == loaded.router.rate_one(y).tobytes()


def test_writing_again_what_was_read_gives_the_same_bytes(file, good):
    assert artefact_bytes(read_artefact(file)) == good


def test_any_safetensors_reader_opens_it(file):
    from safetensors.numpy import load_file

    arrays = load_file(file)
    assert arrays["router.X"].dtype == np.float32
    assert arrays["features.table"].dtype == np.int8


def test_loaded_arrays_can_not_be_changed(file):
    with pytest.raises(ValueError, match="read-only"):
        read_artefact(file).router.X_[0, 0] = 1.0


def test_a_symbolic_link_to_a_good_file_is_followed(file, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(file)
    assert read_artefact(link).router_name == "knn"


def test_a_failed_write_leaves_the_old_file(file, good, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk gone")))
    with pytest.raises(OSError, match="disk gone"):
        write_artefact(make_artefact("cluster"), file)
    assert file.read_bytes() == good
    assert [p.name for p in file.parent.iterdir()] == [file.name]


# --- bad places -------------------------------------------------------------------------------------------------


def test_bad_places_are_refused_by_name(tmp_path):
    loop, directory, empty, fifo = (tmp_path / name for name in ("loop", "directory", "empty", "fifo"))
    loop.symlink_to(loop)
    directory.mkdir()
    empty.touch()
    os.mkfifo(fifo)
    for path, word in (
        (tmp_path / "absent", "no such file"),
        (loop, "loop"),
        (directory, "directory"),
        (empty, "empty"),
        (fifo, "regular file"),
        (tmp_path / ("n" * 300), "name too long"),
        ("zero\0byte", "zero byte"),
    ):
        with pytest.raises(ArtefactRefused, match=f"(?i){word}"):
            read_artefact(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(file):
    file.chmod(0)
    with pytest.raises(ArtefactRefused, match="may not be read"):
        read_artefact(file)


def test_an_oversize_file_is_refused_before_a_byte_is_read(tmp_path, monkeypatch):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as handle:
        handle.truncate(10 * 1024**3)
    monkeypatch.setattr(os, "fdopen", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ArtefactRefused, match="10737418240 bytes, the limit is"):
        read_artefact(sparse)


# --- bad content ------------------------------------------------------------------------------------------------


def test_a_thousand_corrupted_files_are_refused_and_the_old_router_stays(file, good):
    old = read_artefact(file)
    before = old.router.rate_one(old.features.vector(CANARIES[0])).tobytes()
    rng = np.random.default_rng(0)
    head = 8 + int.from_bytes(good[:8], "little")
    bad: list[bytes] = []
    for _ in range(350):  # a flipped bit anywhere
        at = int(rng.integers(len(good)))
        bad.append(good[:at] + bytes([good[at] ^ (1 << int(rng.integers(8)))]) + good[at + 1 :])
    for _ in range(300):  # a flipped bit in the header, where structure lives
        at = int(rng.integers(head))
        bad.append(good[:at] + bytes([good[at] ^ (1 << int(rng.integers(8)))]) + good[at + 1 :])
    bad += [good[: int(cut)] for cut in rng.integers(1, len(good), size=150)]  # truncated
    bad += [good[:cut] for cut in range(1, 60)]
    bad += [good + rng.bytes(int(n)) for n in rng.integers(1, 100, size=40)]  # too long
    bad += [rng.bytes(int(n)) for n in rng.integers(1, 3000, size=80)]  # noise
    bad += [int(size).to_bytes(8, "little") + good[8:] for size in (0, 1, head - 9, head, 2**31, 2**63, 2**64 - 1)]
    for _ in range(60):  # a run of bytes replaced
        at, n = int(rng.integers(len(good) - 64)), int(rng.integers(1, 64))
        bad.append(good[:at] + rng.bytes(n) + good[at + n :])
    assert len(bad) >= 1000
    for content in bad:
        if content == good:
            continue
        file.write_bytes(content)
        with pytest.raises(ArtefactRefused) as caught:
            read_artefact(file)
        assert file.name in caught.value.message
    assert old.router.rate_one(old.features.vector(CANARIES[0])).tobytes() == before


def test_header_json_mangled_under_a_right_hash_is_refused_by_nothing_but_its_name(good, file):
    """Somebody who can compute the hash can still not crash the reader."""
    header, arrays = taken_apart(good)
    rng = np.random.default_rng(1)
    strange = [None, True, -1, 2**70, 1e308, "x", "", [], {}, [[]], {"name": 3}, "\x00", "knn", ["a"] * 3]

    def spots(node, path=()):
        yield path
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield from spots(node[key], (*path, key))

    places = [spot for spot in spots(header) if spot]
    tried = 0
    for spot in places:
        for value in rng.permutation(len(strange))[:6]:
            copy = json.loads(json.dumps(header))
            node = copy
            for key in spot[:-1]:
                node = node[key]
            node[spot[-1]] = strange[value]
            file.write_bytes(put_together(copy, arrays))
            tried += 1
            with suppress(ArtefactRefused):  # anything else fails the test
                read_artefact(file)
    assert tried > 200


def spoilt(good: bytes, change) -> bytes:
    header, arrays = taken_apart(good)
    change(header, arrays)
    return put_together(header, arrays)


def with_nan(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flat[0] = np.nan
    return copy


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda h, a: h.update(format_version=2), "format_version.*newer"),
        (lambda h, a: h.update(format_version="1"), "format_version"),
        (lambda h, a: h["router"].update(name="os.system"), "unknown router class 'os.system'"),
        (lambda h, a: h["features"].update(name="minilm-42"), "unknown features"),
        (lambda h, a: h["router"]["arguments"].update(k="many"), '"k" in "router.arguments" must be int'),
        (lambda h, a: h["router"]["arguments"].update(k=0), "k"),
        (lambda h, a: h["router"]["arguments"].update(command="rm"), 'unknown argument "command"'),
        (lambda h, a: h["features"]["arguments"].update(buckets=4096), "table"),
        (lambda h, a: h["features"]["arguments"].update(buckets=10**9), "buckets"),
        (lambda h, a: h["labels"].pop(), "labels"),
        (lambda h, a: h["labels"][1].update(name=h["labels"][0]["name"]), "twice"),
        (lambda h, a: h["labels"][2].update(quality=1.5), r"labels\[2\].quality"),
        (lambda h, a: h["labels"][0].update(output_tokens=-1), r"labels\[0\].output_tokens"),
        (lambda h, a: h["labels"][0].update(role="admin"), "role"),
        (lambda h, a: h.pop("router"), '"router" is missing'),
        (lambda h, a: h.update(labels=[]), "labels"),
        (lambda h, a: h.update(gate={"passed": False, "difference": -0.1, "high": -0.05}), "gate"),
        (lambda h, a: a.pop("router.X"), '"X" is missing'),
        (lambda h, a: a.update({"router.X": a["router.X"][:, :-1]}), '"X" must be float32'),
        (lambda h, a: a.update({"router.residual": a["router.residual"][:-1]}), "residual"),
        (lambda h, a: a.update({"router.weights": a["router.weights"].astype(np.float64)}), "weights"),
        (lambda h, a: a.update({"router.X": with_nan(a["router.X"])}), '"router.X" holds NaN'),
        (lambda h, a: a.update({"features.cheap_scale": with_nan(a["features.cheap_scale"])}), "NaN"),
        (lambda h, a: a.update({"sample.scores": with_nan(a["sample.scores"])}), "NaN"),
        (lambda h, a: a.update({"sample.scores": a["sample.scores"] + np.float16(2)}), "0..1"),
        (lambda h, a: a.update({"sample.scores": a["sample.scores"][:, :2]}), "sample.scores"),
        (lambda h, a: a.update({"sample.prompt_tokens": a["sample.prompt_tokens"][:3]}), "prompt_tokens"),
        (lambda h, a: a.update({"calibration.y": a["calibration.y"][::-1] + np.float32(0.1)}), "knots"),
        (
            lambda h, a: a.update({"features.scale": np.full_like(a["features.scale"], 3e38)}),
            "canary prompt 1 of 3",
        ),
    ],
)
def test_a_wrong_field_is_named(good, file, change, word):
    file.write_bytes(spoilt(good, change))
    with pytest.raises(ArtefactRefused, match=word):
        read_artefact(file)


def test_a_router_that_failed_its_gate_loads_only_by_force(good, file):
    file.write_bytes(spoilt(good, lambda h, a: h.update(gate={"passed": False})))
    with pytest.raises(ArtefactRefused, match="gate was not passed"):
        read_artefact(file)
    assert read_artefact(file, force=True).gate == {"passed": False}


class Explosive:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_not_executed(tmp_path, protocol):
    trace = tmp_path / "it-was-executed"
    path = tmp_path / "router.pt"
    path.write_bytes(pickle.dumps(Explosive(trace), protocol=protocol))
    with pytest.raises(ArtefactRefused):
        read_artefact(path)
    assert not trace.exists()


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ArtefactRefused, match="something else"):
        read_artefact(tmp_path / "other.safetensors")


def test_deeply_nested_json_is_refused(tmp_path):
    head = b'{"__metadata__":' + b"[" * 100_000 + b"}"
    (tmp_path / "deep").write_bytes(len(head).to_bytes(8, "little") + head)
    with pytest.raises(ArtefactRefused):
        read_artefact(tmp_path / "deep")
