"""Which kept answer was given to a question that means the same: unit vectors of questions, by family.

A family is all that two requests must have in common to the byte (`keys.family_of`); within one, the nearest question
is found by one product of a matrix and a vector. Rows take the place of the oldest where there are too many; what a row
points to may be gone by then, which is found out when it is fetched.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from routewright.caching.telling import are_alike

Float32 = NDArray[np.float32]
Words = tuple[Any, ...]
"""What carries a question, in its order: words, or their hashes."""
_FIRST_ROWS: Final = 4
CANDIDATES: Final = 4
"""Of the rows above the threshold, so many are looked at, the nearest first."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of a request's last words."""

    family: bytes
    vector: Float32
    """Of length 1, (width,)."""
    words: Words


class _Family:
    """A matrix that grows by doubling; a row that goes is replaced by the last one."""

    __slots__ = ("keys", "places", "rows", "words")

    def __init__(self, width: int) -> None:
        self.rows: Float32 = np.empty((_FIRST_ROWS, width), dtype=np.float32)
        self.keys: list[str] = []
        self.words: list[Words] = []
        self.places: dict[str, int] = {}

    def add(self, key: str, question: Question) -> None:
        count = len(self.keys)
        if count == len(self.rows):
            self.rows = np.concatenate((self.rows, np.empty_like(self.rows)))
        self.rows[count] = question.vector
        self.keys.append(key)
        self.words.append(question.words)
        self.places[key] = count

    def remove(self, key: str) -> None:
        place = self.places.pop(key)
        last_key, last_words = self.keys.pop(), self.words.pop()
        if last_key != key:
            self.rows[place] = self.rows[len(self.keys)]
            self.keys[place], self.words[place], self.places[last_key] = last_key, last_words, place
        if len(self.rows) > _FIRST_ROWS and len(self.keys) * 4 < len(self.rows):
            self.rows = self.rows[: len(self.rows) // 2].copy()


class Similar:
    """Questions whose answers are kept, at most `max_rows` of them; the oldest goes first."""

    def __init__(self, threshold: float, max_rows: int) -> None:
        """`threshold`: least cosine of two questions that have one answer."""
        self._threshold = threshold
        self._max_rows = max_rows
        self._families: dict[bytes, _Family] = {}
        self._family_of: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._family_of)

    def add(self, key: str, question: Question) -> None:
        """`key`: under which the answer is kept."""
        self.forget(key)
        family = self._families.get(question.family)
        if family is None:
            family = self._families[question.family] = _Family(len(question.vector))
        elif family.rows.shape[1] != len(question.vector):
            return  # another maker's: replicas are being changed over
        family.add(key, question)
        self._family_of[key] = question.family
        if len(self._family_of) > self._max_rows:
            self.forget(next(iter(self._family_of)))

    def forget(self, key: str) -> None:
        name = self._family_of.pop(key, None)
        if name is None:
            return
        family = self._families[name]
        family.remove(key)
        if not family.keys:
            del self._families[name]

    def clear(self) -> None:
        self._families.clear()
        self._family_of.clear()

    def holds(self, family: bytes) -> bool:
        """Whether there is anything that a question of this family could be near to."""
        return family in self._families

    def nearest(self, question: Question) -> list[tuple[float, str]]:
        """(cosine, key) of those that may answer it, the nearest first, at most `CANDIDATES`."""
        family = self._families.get(question.family)
        if family is None or family.rows.shape[1] != len(question.vector):
            return []
        cosines = family.rows[: len(family.keys)] @ question.vector
        above = (cosines >= self._threshold).nonzero()[0]
        if not len(above):
            return []
        best = above[np.argsort(-cosines[above], kind="stable")][:CANDIDATES]
        return [
            (min(1.0, float(cosines[place])), family.keys[place])
            for place in best.tolist()
            if are_alike(family.words[place], question.words)
        ]
