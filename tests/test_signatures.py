from __future__ import annotations

import stat

import pytest

from routewright.signatures import (
    KeyRefused,
    base64_of,
    is_signed,
    private_key_of,
    public_key_of,
    public_of,
    signature_of,
    write_new_key,
)

# RFC 8032, section 7.1, test 2
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_the_rfcs_own_example():
    assert public_of(SEED) == PUBLIC
    assert signature_of(SEED, b"\x72") == SIGNATURE
    assert is_signed(PUBLIC, b"\x72", SIGNATURE)
    assert not is_signed(PUBLIC, b"\x73", SIGNATURE)
    assert not is_signed(PUBLIC, b"\x72", SIGNATURE[:-1])
    assert not is_signed(bytes(32), b"\x72", SIGNATURE)


def test_a_new_key_is_read_back_and_is_its_owners_alone(tmp_path):
    public = write_new_key(tmp_path / "keys" / "mine")
    assert stat.S_IMODE((tmp_path / "keys" / "mine").stat().st_mode) == 0o600
    assert public_of(private_key_of(tmp_path / "keys" / "mine")) == public
    assert public_key_of(str(tmp_path / "keys" / "mine.pub")) == public_key_of(base64_of(public)) == public
    with pytest.raises(FileExistsError):
        write_new_key(tmp_path / "keys" / "mine")


def test_a_key_as_openssl_writes_it(tmp_path):
    # `openssl pkey -pubout` of the seed above
    text = (
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n"
        "-----END PUBLIC KEY-----\n"
    )
    (tmp_path / "key").write_text(text)
    assert public_key_of(str(tmp_path / "key")) == PUBLIC


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "must be a PUBLIC KEY, is a PRIVATE KEY"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no plain Ed25519"),
        (b"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n", "damaged"),
        (b"\x80\x04pickle", "no PEM"),
    ],
)
def test_what_is_no_public_key_is_refused_without_being_shown(tmp_path, content, word):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyRefused, match=word):
        public_key_of(str(path))


def test_what_is_neither_a_key_nor_a_file_is_refused():
    for name in ("A" * 43, "absent", "zero\0byte", "."):
        with pytest.raises(KeyRefused, match="neither base64"):
            public_key_of(name)
