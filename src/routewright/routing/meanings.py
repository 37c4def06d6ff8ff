"""Vectors by which questions are compared: an encoder's codes as a direction, with nothing learned on top.

The vectors of routes are made for rating models: how long, how hard, of what subject. Two questions of which one has
`France` and one `Germany` are equal to them (cosine 0.998 with `hashed`), so they can't say whether one answer will do.
Where a route's features rest on the same encoder, what it makes of a text is made once (`encoder.Remembering`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from routewright.routing.features import find_features, open_encoder
from routewright.routing.features.contract import NO_SUPPLIES, NoVector, Supplies
from routewright.routing.router import Float32
from routewright.routing.vectors import Vectors
from routewright.types import Prompt

ENCODERS: Final = ("minilm", "wordllama", "remote")


class Meanings:
    """One encoder's vectors, made on the event loop where that is quick, else in a thread."""

    def __init__(self, name: str, supplies: Supplies = NO_SUPPLIES) -> None:
        """`name`: of `ENCODERS`. Raises ValueError, MissingExtra where it can't be had."""
        made = find_features(name)
        self.name = name
        self.batch_size = made.batch_size
        self.n_threads = made.n_threads
        self._is_quick = made.is_quick
        self._supplies = supplies
        self._encoder = open_encoder(name, supplies) if made.is_quick else None
        self._vectors = Vectors()

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """float32 (n, width) of length 1. Raises NoVector."""
        if self._encoder is None:  # in a thread: loading one takes half a second
            self._encoder = open_encoder(self.name, self._supplies)
        codes = self._encoder.encode([prompt.text for prompt in prompts]).astype(np.float32)
        lengths = np.sqrt(np.square(codes).sum(axis=1, keepdims=True))
        if not lengths.all():
            raise NoVector("the encoder knows nothing of this text")
        return np.asarray(codes / lengths, dtype=np.float32)

    async def of(self, text: str) -> Float32 | None:
        """(width,) of length 1; None where there is none within 50 ms."""
        if self._is_quick:
            try:
                made: Float32 | str = self.transform([Prompt(text)])[0]
            except NoVector:
                return None
        else:
            made = await self._vectors.ask(self, Prompt(text), lambda x: None)
        return None if isinstance(made, str) else made

    def close(self) -> None:
        self._vectors.close()
