"""Vectors of several makers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from routewright.routing.features.contract import Features, Supplies
from routewright.routing.router import Array, Float32
from routewright.types import Prompt


class JoinedFeatures(Features):
    """The vectors of `parts`, one behind the other; arguments and arrays go by the parts' names.

    parts: at least one, no two of a name. Slow where one of them is. As good as its weakest part where the same text
    on another machine is concerned.
    """

    arguments: ClassVar[tuple[str, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parts: Sequence[Features]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)  # type: ignore[misc]
        self.is_quick = all(part.is_quick for part in parts)
        self.n_threads = min((part.n_threads for part in parts if not part.is_quick), default=1)
        self.batch_size = min((part.batch_size for part in parts if not part.is_quick), default=1)

    def open(self, supplies: Supplies) -> Self:
        """As the contract says."""
        for part in self.parts:
            part.open(supplies)
        return self

    @property
    def n_features(self) -> int:
        return sum(part.n_features for part in self.parts)

    def vector(self, prompt: Prompt) -> Float32:
        """As the contract says."""
        return np.concatenate([part.vector(prompt) for part in self.parts])

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """As the contract says."""
        return np.hstack([part.transform(prompts) for part in self.parts])

    def rehearsal(self, prompt: Prompt) -> Float32:
        """As the contract says."""
        return np.concatenate([part.rehearsal(prompt) for part in self.parts])

    def fit_transform(self, prompts: Sequence[Prompt], quality: Float32 | None = None) -> Float32:
        """As the contract says."""
        return np.hstack([part.fit_transform(prompts, quality) for part in self.parts])

    def look(self, prompt: Prompt) -> tuple[Float32, str]:
        """As the contract says."""
        looks = [part.look(prompt) for part in self.parts]
        return np.concatenate([vector for vector, _ in looks]), next((why for _, why in looks if why), "")

    def why_unlike(self, prompt: Prompt) -> str:
        """What the first part says that says something."""
        return next((why for part in self.parts if (why := part.why_unlike(prompt))), "")

    def check_is_fitted(self) -> None:
        for part in self.parts:
            part.check_is_fitted()

    def params(self) -> dict[str, Any]:
        """Constructor arguments of each part, under its name."""
        return {part.name: part.params() for part in self.parts}

    def state(self) -> dict[str, Array]:
        """Learned arrays, `part.array`."""
        return {f"{part.name}.{name}": array for part in self.parts for name, array in part.state().items()}

    def check_state(self) -> None:
        for part in self.parts:
            part.check_state()


def under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with `prefix`, named by the rest."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
