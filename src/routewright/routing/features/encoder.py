"""Text -> codes: the contract of an encoder, whose answers are kept in steps of one byte."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from math import fsum, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]

PROBE: Final = "Which planet is larger, Mars or Venus? Answer in one word."
"""A text of our own whose codes travel with the artefact: an encoder that gives it others is not the one it knew."""
REMEMBERED: Final = 512
_DEVIATIONS: Final = 5.0
"""Of a unit vector's numbers; what lies further out is held there."""


class Encoder(ABC):
    """Makes a text a direction."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Codes:
        """int8 (n, width), each row as for its text alone. Raises NoVector."""

    def close(self) -> None:  # noqa: B027 - most hold nothing open
        """Let go of what the calling thread holds open; it is had again when it is needed."""


class Remembering(Encoder):
    """Knows the codes of texts that it was asked for lately, whoever asked: a route and the cache ask for the same."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._recent: OrderedDict[bytes, Codes] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Codes:
        """As the contract says."""
        if len(texts) != 1:  # what is learned from, or several requests at once
            return self._encoder.encode(texts)
        key = blake2b(texts[0].encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            found = self._recent.get(key)
        if found is None:
            found = self._encoder.encode(texts)
            with self._lock:
                self._recent[key] = found
                if len(self._recent) > REMEMBERED:
                    self._recent.popitem(last=False)
        return found

    def close(self) -> None:
        """As the contract says."""
        self._encoder.close()


def to_codes(vector: NDArray[np.float64]) -> Codes:
    """The direction of a finite vector (width,), in steps of five standard deviations over 127; zeros stay zeros."""
    length = sqrt(fsum((vector * vector).tolist()))
    steps = vector * (127.0 * sqrt(len(vector)) / (_DEVIATIONS * (length or 1.0)))
    return np.rint(steps).clip(-127, 127).astype(np.int8)


def likeness(first: Codes, second: Codes) -> float:
    """Cosine of two rows of codes; 0 where one of them is nothing."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / lengths if lengths else 0.0
