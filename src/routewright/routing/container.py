"""The router file as bytes: safetensors arrays, a JSON header in their metadata, a hash and, if signed, a signature.

The metadata has two entries, or four where the file is signed:

routewright   the header, as JSON text
sha256        SHA-256 of the whole file with these 64 digits as zeros
signature     Ed25519, 128 hex digits, of `SIGNED_AS` and the SHA-256 of the whole file with these digits and those of
              `sha256` as zeros
signed_by     the public key, 64 hex digits; it says whose signature to look for, and proves nothing

So hash and signature cover every byte but their own digits, in one file, which a reader that knows no signatures reads
as before: to it they are two more entries. A signed file has another `sha256` than the unsigned one, and the same
arrays and header. Nothing in a file is code; what is parsed is what was hashed: the bytes are read once.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from routewright.errors import ArtefactRefused
from routewright.routing.router import Array
from routewright.signatures import base64_of, is_signed, public_of, signature_of

FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_HEADER_BYTES: Final = 8 * 1024 * 1024
SIGNED_AS: Final = b"routewright router file 1\n"
"""Before the hash that is signed, so that a signature of anything else is none of a router file."""
_HEX: Final = re.compile(r"[0-9a-f]+")
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
_DTYPE_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file's bytes hold, checked for place, size and hash."""

    header: dict[str, Any]
    arrays: dict[str, Array]
    sha256: str
    signature: str | None
    """128 hex digits; None: not signed. Whether it is good, `check_signature` tells."""
    signed_by: str | None


# --- writing ------------------------------------------------------------------------------------------------------


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """A file, its arrays widest type first so that each lies on its own boundary. Raises ValueError for an array that
    it can't hold."""
    table: dict[str, Any] = {}
    parts: list[bytes] = []
    at = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in _DTYPE_NAMES:
            raise ValueError(f'array "{name}" has a type that the file does not hold: {array.dtype}')
        part = np.ascontiguousarray(array, dtype=dtype).tobytes()
        table[name] = {
            "dtype": _DTYPE_NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    text = json.dumps(header, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return _hashed(_joined({"routewright": text, "sha256": "0" * 64}, table, b"".join(parts)))


def sign(content: bytes, seed: bytes) -> bytes:
    """A file's bytes with a signature, in place of one they may have had. content: of a file that `unpack` takes."""
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    metadata = table.pop("__metadata__")
    zeroed = _joined(
        {
            "routewright": metadata["routewright"],
            "sha256": "0" * 64,
            "signature": "0" * 128,
            "signed_by": public_of(seed).hex(),
        },
        table,
        content[start:],
    )
    signature = signature_of(seed, SIGNED_AS + hashlib.sha256(zeroed).digest())
    return _hashed(_filled(zeroed, "signature", signature.hex()))


def _joined(metadata: Mapping[str, str], table: Mapping[str, Any], data: bytes) -> bytes:
    head = json.dumps({"__metadata__": metadata, **table}, ensure_ascii=True).encode()
    head += b" " * (-len(head) % 8)
    return b"".join((len(head).to_bytes(8, "little"), head, data))


def _hashed(content: bytes) -> bytes:
    return _filled(content, "sha256", hashlib.sha256(content).hexdigest())


def _filled(content: bytes, name: str, digits: str) -> bytes:
    """Digits in place of their zeros; the header's own quotes are escaped, so the first place is the right one."""
    return content.replace(f'"{name}": "{"0" * len(digits)}"'.encode(), f'"{name}": "{digits}"'.encode(), 1)


def write_whole(content: bytes, path: Path) -> None:
    """A new file renamed over the old: whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# --- reading ------------------------------------------------------------------------------------------------------


def read_whole(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """A regular file's bytes, its size checked on the open file before a byte is read. Raises ArtefactRefused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = {
            errno.ENOENT: "there is no such file",
            errno.ELOOP: "its symbolic links form a loop",
            errno.EACCES: "it may not be read",
            errno.EISDIR: "it is a directory",
        }.get(error.errno or 0, error.strerror or "it can't be opened")
        raise ArtefactRefused(reason) from None
    except ValueError:
        raise ArtefactRefused("its name holds a zero byte") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ArtefactRefused("it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise ArtefactRefused("it is no regular file")
        if status.st_size > max_bytes:
            raise ArtefactRefused(f"it has {status.st_size} bytes, the limit is {max_bytes}")
        if status.st_size == 0:
            raise ArtefactRefused("it is empty")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ArtefactRefused(error.strerror or "it can't be read") from None
    finally:
        os.close(handle)
    if len(content) > max_bytes:
        raise ArtefactRefused(f"it grew beyond the limit of {max_bytes} bytes while it was read")
    return content


def unpack(content: bytes) -> Contents:
    """What a file's bytes hold. Raises ArtefactRefused; ValueError, TypeError, KeyError for a header of odd shape."""
    if content[:2] == b"PK" or (content[:1] == b"\x80" and content[1:2] in b"\x02\x03\x04\x05"):
        raise ArtefactRefused("it is a pickle or PyTorch file, which is never opened; expected a routewright artefact")
    if len(content) < 10:
        raise ArtefactRefused(f"it is truncated: {len(content)} bytes")
    head_size = int.from_bytes(content[:8], "little")
    if head_size > MAX_HEADER_BYTES or head_size < 2:
        raise ArtefactRefused(f"header length {head_size} is not within 2..{MAX_HEADER_BYTES}: no artefact, or damaged")
    start = 8 + head_size
    if len(content) < start:
        raise ArtefactRefused(f"it is truncated: the header alone has {head_size} bytes, the file {len(content)}")
    head = content[8:start]
    try:
        table = json.loads(head)
    except (ValueError, RecursionError):
        raise ArtefactRefused("the header is no JSON: no artefact, or damaged") from None
    metadata = table.pop("__metadata__", None) if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("routewright"), str):
        raise ArtefactRefused('the metadata has no "routewright" header: a safetensors file of something else')
    digest = metadata.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64 or head.count(digest.encode("utf-8", "replace")) != 1:
        raise ArtefactRefused('field "sha256" is missing or malformed')
    signature, signed_by = metadata.get("signature"), metadata.get("signed_by")
    if signature is not None:
        for field, digits, length in (("signature", signature, 128), ("signed_by", signed_by, 64)):
            if not isinstance(digits, str) or len(digits) != length or not _HEX.fullmatch(digits):
                raise ArtefactRefused(f'field "{field}" is missing or malformed')
        if head.count(signature.encode()) != 1:
            raise ArtefactRefused('field "signature" is malformed')

    header = json.loads(metadata["routewright"])
    if not isinstance(header, dict):
        raise ArtefactRefused("the header is no JSON object")
    version = header.get("format_version")
    if type(version) is not int or version < 1:
        raise ArtefactRefused(f'field "format_version" must be a whole number, is {version!r}')
    if version > FORMAT_VERSION:
        raise ArtefactRefused(
            f'field "format_version" is {version}, this routewright reads up to {FORMAT_VERSION}: a newer one made it'
        )

    arrays: dict[str, Array] = {}
    at = 0
    entries = sorted(table.items(), key=lambda item: item[1]["data_offsets"])
    for name, entry in entries:
        dtype = _DTYPES.get(entry["dtype"])
        if dtype is None:
            raise ArtefactRefused(f'array "{name}" has the unknown type {entry["dtype"]!r}')
        shape, (low, high) = entry["shape"], entry["data_offsets"]
        if any(type(size) is not int or size < 0 for size in (*shape, low, high)) or len(shape) > 4:
            raise ArtefactRefused(f'array "{name}" has an impossible shape or place')
        if low != at or high - low != math.prod(shape) * dtype.itemsize:
            raise ArtefactRefused(f'array "{name}" has a size that disagrees with its shape, or lies over another')
        at = high
        if start + at > len(content):
            raise ArtefactRefused(f'it is truncated: array "{name}" ends at {start + at}, the file at {len(content)}')
        # a copy: numpy's own alignment, so that sums round as they did when the router was fitted
        array = (
            np.frombuffer(content, dtype, math.prod(shape), start + low).reshape(shape).astype(dtype.newbyteorder("="))
        )
        array.flags.writeable = False
        arrays[name] = array
    if start + at != len(content):
        raise ArtefactRefused(f"it has {len(content) - start - at} bytes beyond its last array")

    if _digest(content, start, digest).hex() != digest:
        raise ArtefactRefused('field "sha256" does not match the content: the file is damaged or was changed')
    return Contents(header, arrays, digest, signature, signed_by)


def _digest(content: bytes, end: int, *digits: str) -> bytes:
    """SHA-256 with these digits, each of which stands once before `end`, as zeros."""
    hasher = hashlib.sha256()
    view, at = memoryview(content), 0
    for place, length in sorted((content.index(each.encode(), 8, end), len(each)) for each in digits):
        hasher.update(view[at:place])
        hasher.update(b"0" * length)
        at = place + length
    hasher.update(view[at:])
    return hasher.digest()


def check_signature(content: bytes, contents: Contents, public_keys: Sequence[bytes]) -> str:
    """The key among `public_keys` that signed the file, as hex digits. Raises ArtefactRefused naming the field."""
    if contents.signature is None or contents.signed_by is None:
        raise ArtefactRefused('field "signature" is missing: only files signed by a key of `public_keys` are taken')
    public_key = bytes.fromhex(contents.signed_by)
    if public_key not in public_keys:
        raise ArtefactRefused(f'field "signed_by" names a key that is not among `public_keys`: {base64_of(public_key)}')
    start = 8 + int.from_bytes(content[:8], "little")
    digest = _digest(content, start, contents.sha256, contents.signature)
    if not is_signed(public_key, SIGNED_AS + digest, bytes.fromhex(contents.signature)):
        raise ArtefactRefused('field "signature" does not fit the content and the key in "signed_by"')
    return contents.signed_by
