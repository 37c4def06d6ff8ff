"""Codes kept on disk while learning: an encoder is asked once for each text, however often a router is fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from routewright.routing.features.encoder import PROBE, Codes, Encoder

_DIGEST_BYTES: Final = 32
_AT_ONCE: Final = 256
"""Texts encoded between two writes."""
_LONG_PROBE: Final = " ".join(f"{PROBE} {number}" for number in range(60))


class StoredCodes(Encoder):
    """An encoder whose answers are kept in one file of `folder`: SHA-256 of the text, then its codes, row after row.

    The file's name holds the maker's name and the hash of the encoder's codes of two texts of our own, a short one and
    one longer than is read: another encoder, or the same one reading less, has another file. Rows are appended whole;
    what a killed process wrote in part is cut off.
    """

    def __init__(self, encoder: Encoder, folder: Path, name: str) -> None:
        probe = encoder.encode([PROBE, _LONG_PROBE])
        self.width = probe.shape[1]
        self._encoder = encoder
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}-{self.width}-{hashlib.sha256(probe.tobytes()).hexdigest()[:16]}.codes"
        self._known: dict[bytes, Codes] = {}
        size = _DIGEST_BYTES + self.width
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = len(content) - len(content) % size
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        for at in range(0, whole, size):
            row = np.frombuffer(content, np.int8, self.width, at + _DIGEST_BYTES)
            self._known[content[at : at + _DIGEST_BYTES]] = row

    def encode(self, texts: Sequence[str]) -> Codes:
        """As the contract says."""
        keys = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        waiting = list(new)
        for at in range(0, len(waiting), _AT_ONCE):
            some = waiting[at : at + _AT_ONCE]
            rows = self._encoder.encode([new[key] for key in some])
            with self._path.open("ab") as file:
                file.write(b"".join(key + row.tobytes() for key, row in zip(some, rows, strict=True)))
            self._known.update(zip(some, rows, strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else np.empty((0, self.width), dtype=np.int8)
