"""A signature covers every byte of a router file; whoever asks for one gets nothing less."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import make_artefact

from routewright.errors import ArtefactRefused
from routewright.routing import container
from routewright.routing.artefact import CANARIES, artefact_bytes, read_artefact
from routewright.signatures import public_of

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC = public_of(SEED)


@pytest.fixture(scope="module")
def plain() -> bytes:
    return artefact_bytes(make_artefact("linear"))


@pytest.fixture(scope="module")
def signed(plain) -> bytes:
    return container.sign(plain, SEED)


@pytest.fixture
def file(tmp_path: Path, signed: bytes) -> Path:
    path = tmp_path / "router.safetensors"
    path.write_bytes(signed)
    return path


def test_a_signed_file_rates_as_the_unsigned_one_and_says_who_signed_it(file, plain, tmp_path):
    loaded = read_artefact(file, public_keys=[public_of(OTHER), PUBLIC])
    assert loaded.signed_by == PUBLIC.hex()
    (tmp_path / "plain").write_bytes(plain)
    unsigned = read_artefact(tmp_path / "plain")
    assert unsigned.signed_by == ""
    assert unsigned.sha256 != loaded.sha256
    for prompt in CANARIES:
        x = unsigned.features.vector(prompt)
        assert unsigned.router.rate_one(x).tobytes() == loaded.router.rate_one(x).tobytes()


def test_whoever_asks_for_no_signature_reads_signed_files_too(file):
    assert read_artefact(file).signed_by == ""
    from safetensors.numpy import load_file

    assert load_file(file)["router.weights"].dtype == np.float32


def test_signing_again_gives_the_same_bytes_and_takes_the_place_of_another_signature(plain, signed):
    assert container.sign(signed, SEED) == signed
    assert container.sign(container.sign(plain, OTHER), SEED) == signed


def test_a_flipped_bit_anywhere_is_refused(file, signed):
    rng = np.random.default_rng(3)
    head = 8 + int.from_bytes(signed[:8], "little")
    places = [*rng.integers(len(signed), size=150), *rng.integers(head, size=150)]
    for name in ("signature", "signed_by", "sha256"):
        start = signed.index(f'"{name}": "'.encode()) + len(name) + 5
        places += list(range(start, start + 64, 7))
    for place in places:
        file.write_bytes(signed[:place] + bytes([signed[place] ^ 1 << int(rng.integers(8))]) + signed[place + 1 :])
        with pytest.raises(ArtefactRefused):
            read_artefact(file, public_keys=[PUBLIC])


def test_a_changed_file_with_its_hash_made_right_is_refused(file, signed):
    """What a hash alone does not stop: somebody who changes an array and computes the hash anew."""
    contents = container.unpack(signed)
    arrays = {**contents.arrays, "router.intercept": contents.arrays["router.intercept"] + np.float32(0.5)}
    forged = container.pack(contents.header, arrays)
    head = json.loads(forged[8 : 8 + int.from_bytes(forged[:8], "little")])
    table = {name: entry for name, entry in head.items() if name != "__metadata__"}
    metadata = {**head["__metadata__"], "sha256": "0" * 64}
    metadata |= {"signature": contents.signature, "signed_by": contents.signed_by}
    data = forged[8 + int.from_bytes(forged[:8], "little") :]
    file.write_bytes(container._hashed(container._joined(metadata, table, data)))
    assert read_artefact(file)  # sound in itself
    with pytest.raises(ArtefactRefused, match='"signature" does not fit'):
        read_artefact(file, public_keys=[PUBLIC])


def test_a_foreign_name_in_signed_by_is_refused(file, plain):
    theirs = container.sign(plain, OTHER)
    file.write_bytes(theirs)
    with pytest.raises(ArtefactRefused, match='"signed_by" names a key that is not among'):
        read_artefact(file, public_keys=[PUBLIC])
    # signed by them, and said to be by us
    claimed = theirs.replace(public_of(OTHER).hex().encode(), PUBLIC.hex().encode())
    digest = container.unpack(theirs).sha256
    file.write_bytes(container._hashed(claimed.replace(digest.encode(), b"0" * 64)))
    with pytest.raises(ArtefactRefused, match='"signature" does not fit'):
        read_artefact(file, public_keys=[PUBLIC])


def test_an_unsigned_file_is_refused_by_the_fields_name(file, plain):
    file.write_bytes(plain)
    with pytest.raises(ArtefactRefused, match=r'router\.safetensors.*"signature" is missing'):
        read_artefact(file, public_keys=[PUBLIC])
    file.write_bytes(container.sign(plain, SEED))
    with pytest.raises(ArtefactRefused, match='"signed_by"'):
        read_artefact(file, public_keys=[])


@pytest.mark.parametrize("value", ["", "0" * 127, "g" * 128, "A" * 128, 3, None, ["0"]])
def test_a_malformed_signature_is_named(file, signed, value):
    start = 8 + int.from_bytes(signed[:8], "little")
    table = json.loads(signed[8:start])
    metadata = table.pop("__metadata__") | {"sha256": "0" * 64, "signature": value}
    file.write_bytes(container._hashed(container._joined(metadata, table, signed[start:])))
    with pytest.raises(ArtefactRefused, match='"signature" is m'):
        read_artefact(file, public_keys=[PUBLIC])
