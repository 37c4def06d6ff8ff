"""`routewright sign` and `routewright verify`: who vouches for a router file."""

from __future__ import annotations

import sys
from pathlib import Path

from routewright.errors import ArtefactRefused
from routewright.routing.artefact import read_artefact
from routewright.routing.container import read_whole, sign, unpack, write_whole
from routewright.signatures import KeyRefused, base64_of, private_key_of, public_key_of, public_of, write_new_key


def sign_command(file: Path | None, key: Path | None, new_key: Path | None, out: Path | None) -> int:
    """Make a key pair, or sign a file that loads, in place or as `out`. Returns the exit status."""
    if new_key is not None:
        if file is not None or key is not None or out is not None:
            return _fail("--new-key makes a key pair and nothing else; sign with it afterwards")
        try:
            public = write_new_key(new_key)
        except OSError as error:
            return _fail(f"{error.filename or new_key}: {error.strerror}")
        print(f"private key: {new_key}, for whoever signs")
        print(f"public key:  {new_key}.pub, or as text for `public_keys`: {base64_of(public)}")
        return 0
    if file is None or key is None:
        return _fail("a router file and --key are needed, or --new-key alone")
    try:
        seed = private_key_of(key)
        read_artefact(file)
        content = sign(read_whole(file), seed)
        write_whole(content, out or file)
        sha256 = unpack(content).sha256
        read_artefact(out or file, public_keys=[public_of(seed)])
    except KeyRefused as error:
        return _fail(f'key "{key}": {error}')
    except ArtefactRefused as error:
        return _fail(error.message)
    except OSError as error:
        return _fail(f"{error.filename or out or file}: {error.strerror}")
    print(f"{out or file}: signed by {base64_of(public_of(seed))}, sha256 {sha256[:12]}")
    return 0


def verify_command(file: Path, keys: list[str]) -> int:
    """Is the file sound, and signed by one of these keys? 0 if so, 1 if not, 2 where a key can't be read."""
    try:
        public_keys = [public_key_of(key) for key in keys]
    except KeyRefused as error:
        return _fail(f"--key: {error}")
    try:
        artefact = read_artefact(file, public_keys=public_keys)
    except ArtefactRefused as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"{file}: good, signed by {base64_of(bytes.fromhex(artefact.signed_by))}, sha256 {artefact.sha256[:12]}")
    return 0


def _fail(message: str) -> int:
    print(f"routewright: {message}", file=sys.stderr)
    return 2
