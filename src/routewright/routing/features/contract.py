"""The contract every feature maker keeps: text to vectors, learned from prompts, saved and loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np

from routewright.routing.router import Array, Float32, NotFitted
from routewright.routing.spread import each
from routewright.settings import EmbeddingsSettings
from routewright.types import Prompt

SYSTEM_CHARACTERS: Final = 2000
"""So much of a system prompt can make a difference to a vector."""


class MissingExtra(ValueError):
    """Features were named whose library is not installed; the message says how to install it."""

    def __init__(self, features: str, extra: str, error: ImportError | None = None, also: str = "") -> None:
        what = f" ({error})" if error is not None else ""
        super().__init__(f"features \"{features}\" need `pip install 'routewright[{extra}]'`{also}{what}")


class NoVector(Exception):
    """A maker could not make a vector this time; the message says why in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """What makers may need beside what they learned."""

    embeddings: EmbeddingsSettings | None = None
    """The endpoint of the configuration, for `remote`."""
    encodings: Path | None = None
    """A folder where a maker with an encoder keeps what it made, while learning."""
    base_model: Path | None = None
    """A folder with the encoder that a maker which trains one begins with."""


NO_SUPPLIES: Final = Supplies()


_TOGETHER: Final = 4096
"""Prompts that are read and made vectors as one piece of work."""


def _vectors(features: Features, prompts: Sequence[Prompt]) -> Float32:
    out = np.empty((len(prompts), features.n_features), dtype=np.float32)
    for row, prompt in enumerate(prompts):
        out[row] = features.vector(prompt)
    return out


class Features(ABC):
    """Makes a prompt a vector.

    The constructor stores its arguments, nothing else. What `fit` learned ends in `_`. A vector is float32
    (n_features,), finite whatever the text, and the same alone as in a batch; each maker says how far the same text
    gives the same vector on another machine. The time it takes is linear in the text: what is long is cut first.
    """

    name: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    """Names of the constructor's arguments, all of them numbers, booleans or strings."""
    arrays: ClassVar[tuple[str, ...]]
    """Names of the learned arrays, without the closing underscore."""
    later_arrays: ClassVar[tuple[str, ...]] = ()
    """Learned arrays that files of earlier versions lack, all of them; what rests on them is off without them."""

    is_quick: bool = True
    """Cheap enough for the event loop. A slow maker's `transform` is called in a thread, a few prompts at a time."""
    batch_size: int = 1
    """Prompts that a slow maker takes at once, where several wait."""
    n_threads: int = 1
    """Threads that may make such vectors at once: one for a maker that computes, several for one that waits."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Length of a vector."""

    @abstractmethod
    def vector(self, prompt: Prompt) -> Float32:
        """float32 (n_features,). Raises NotFitted; NoVector where what makes it failed."""

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """float32 (n, n_features), each row as `vector` gives it."""
        self.check_is_fitted()
        parts = each(_vectors, (prompts[low : low + _TOGETHER] for low in range(0, len(prompts), _TOGETHER)), self)
        return np.concatenate(parts) if parts else np.empty((0, self.n_features), dtype=np.float32)

    def rehearsal(self, prompt: Prompt) -> Float32:
        """What a loaded maker is tried with: its vector, or one like it where making it would ask another machine."""
        return self.vector(prompt)

    @abstractmethod
    def fit_transform(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Float32:
        """Learn from prompts, and from their scores float32 (n, n_models), NaN where not recorded; their vectors.

        What was learned from a row's own scores is left out of its vector, so that a router sees training rows as it
        will see new ones. Raises ValueError for an argument out of range, or no prompts.
        """

    def fit(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Self:
        """`fit_transform` without the vectors."""
        self.fit_transform(prompts, quality)
        return self

    def why_unlike(self, prompt: Prompt) -> str:
        """Why the prompt is out of the range that was learned from, in a few plain words; empty where it is not."""
        text = prompt.text
        return "" if text and not text.isspace() else "empty prompt"

    def look(self, prompt: Prompt) -> tuple[Float32, str]:
        """`vector` and `why_unlike` of a prompt, at the price of one where they share work."""
        return self.vector(prompt), self.why_unlike(prompt)

    def fold(self, weights: Float32, offset: Float32) -> Callable[[Prompt], tuple[list[float], str]] | None:
        """`vector(prompt) @ weights + offset` and `why_unlike` by a shorter way, where the maker has one.

        weights: (n_features, n). offset: (n,).
        """
        return None

    # --- what it needs beside its arrays --------------------------------------------------------------------------

    def open(self, supplies: Supplies) -> Self:
        """Load what the maker needs beside what it learned, before anything else is asked of it.

        Raises MissingExtra for a library that is not installed; ValueError where the configuration lacks something.
        """
        return self

    # --- saving and loading ---------------------------------------------------------------------------------------

    def check_is_fitted(self) -> None:
        if not all(hasattr(self, f"{name}_") for name in self.arrays):
            raise NotFitted("fit or load these features before asking them for vectors")

    def params(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {argument: getattr(self, argument) for argument in self.arguments}

    def state(self) -> dict[str, Array]:
        """Learned arrays by name; with `params` all that `from_state` needs."""
        self.check_is_fitted()
        later = [name for name in self.later_arrays if hasattr(self, f"{name}_")]
        return {name: getattr(self, f"{name}_") for name in (*self.arrays, *later)}

    @classmethod
    def from_state(cls, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """The features that `params` and `state` were taken from. Raises ValueError naming what does not fit."""
        unknown = sorted(set(params) - set(cls.arguments))
        if unknown:
            raise ValueError(f'unknown argument "{unknown[0]}" of features "{cls.name}"')
        features = cls(**params)
        later = cls.later_arrays if any(name in arrays for name in cls.later_arrays) else ()
        for name in (*cls.arrays, *later):
            if name not in arrays:
                raise ValueError(f'array "{name}" is missing')
            setattr(features, f"{name}_", arrays[name])
        features.check_state()
        return features

    @abstractmethod
    def check_state(self) -> None:
        """Raise ValueError, naming it, when a loaded argument or array does not fit; prepare `vector`."""
