"""Ed25519: keys as PEM files or base64, signatures of bytes. Source: RFC 8032; RFC 8410 for the PEM.

libsodium is loaded where something is signed or checked, not before: most gateways never do.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Final

# what DER puts before the 32 bytes of a public key and of a private key's seed; Ed25519 has no parameters to vary
_PUBLIC: Final = bytes.fromhex("302a300506032b6570032100")
_PRIVATE: Final = bytes.fromhex("302e020100300506032b657004220420")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_PEM: Final = re.compile(r"\s*-----BEGIN ([A-Z ]+)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----\s*")
_MOST_BYTES: Final = 4096


class KeyRefused(ValueError):
    """Text or a file is no Ed25519 key; the message says what is wrong with it, never its name or what it holds."""


def base64_of(public_key: bytes) -> str:
    """A public key as it stands in a configuration."""
    return base64.b64encode(public_key).decode("ascii")


def public_key_of(named: str) -> bytes:
    """The 32 bytes of a public key: base64 of them, or the path of a PEM file. Raises KeyRefused."""
    if _BASE64.fullmatch(named):
        return base64.b64decode(named)
    return _key(Path(named), "PUBLIC KEY", _PUBLIC)


def private_key_of(path: Path) -> bytes:
    """The 32 bytes of a private key's seed, from a PEM file. Raises KeyRefused."""
    return _key(path, "PRIVATE KEY", _PRIVATE)


def _key(path: Path, kind: str, prefix: bytes) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise KeyRefused(f"neither base64 of 32 bytes nor a file that can be read: {error.strerror}") from None
    except ValueError:
        raise KeyRefused("neither base64 of 32 bytes nor a file's name") from None
    found = _PEM.fullmatch(text)
    if found is None:
        raise KeyRefused("no PEM file with one key")
    if found.group(1) != kind:
        raise KeyRefused(f"must be a {kind}, is a {found.group(1)}")
    try:
        content = base64.b64decode("".join(found.group(2).split()), validate=True)
    except binascii.Error:
        raise KeyRefused("damaged") from None
    if not content.startswith(prefix) or len(content) != len(prefix) + 32:
        raise KeyRefused("no plain Ed25519 key")
    return content[len(prefix) :]


def _pem_text(kind: str, content: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.b64encode(content).decode('ascii')}\n-----END {kind}-----\n"


def write_new_key(path: Path) -> bytes:
    """Make a key pair: `path` for the private key, readable by its owner alone, `path`.pub for the public one, whose
    bytes are returned. Never writes over a file. Raises OSError."""
    from nacl.signing import SigningKey

    key = SigningKey.generate()
    public = bytes(key.verify_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, mode, text in (
        (path, 0o600, _pem_text("PRIVATE KEY", _PRIVATE + bytes(key))),
        (path.with_name(f"{path.name}.pub"), 0o644, _pem_text("PUBLIC KEY", _PUBLIC + public)),
    ):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
    return public


def public_of(seed: bytes) -> bytes:
    """The public key of a private key's seed."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key)


def signature_of(seed: bytes, message: bytes) -> bytes:
    """64 bytes; the same message gives the same signature."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).sign(message).signature)


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Is it this key's signature of this message?"""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
