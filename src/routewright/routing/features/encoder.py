"""Text -> codes: the contract of an encoder, whose answers are kept in steps of one byte."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import fsum, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]

PROBE: Final = "Which planet is larger, Mars or Venus? Answer in one word."
"""A text of our own whose codes travel with the artefact: an encoder that gives it others is not the one it knew."""
_DEVIATIONS: Final = 5.0
"""Of a unit vector's numbers; what lies further out is held there."""


class Encoder(ABC):
    """Makes a text a direction."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Codes:
        """int8 (n, width), each row as for its text alone. Raises NoVector."""


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
