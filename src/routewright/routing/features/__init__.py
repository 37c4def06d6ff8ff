"""Text -> vectors. Feature makers by name; a new one is a file here and a line in `FEATURES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from routewright.routing.arguments import check_arguments
from routewright.routing.features.contract import Features
from routewright.routing.features.joined import JoinedFeatures, under
from routewright.routing.router import Array
from routewright.settings import EmbeddingsSettings

FEATURES: Final[Mapping[str, tuple[str, str]]] = {
    "hashed": ("hashed", "HashedFeatures"),
}
"""Name -> the module here and the class in it, imported when it is named: most need an extra."""


def find_features(name: str) -> type[Features]:
    """The class of one maker's name. Raises ValueError naming those known."""
    if name not in FEATURES:
        raise ValueError(f'unknown features "{name}"; known: {", ".join(sorted(FEATURES))}, or several joined by +')
    module, made = FEATURES[name]
    found: type[Features] = getattr(import_module(f"{__name__}.{module}"), made)
    return found


def make_features(
    name: str,
    *,
    seed: int = 0,
    arguments: Mapping[str, Any] | None = None,
    embeddings: EmbeddingsSettings | None = None,
    encodings: Path | None = None,
) -> Features:
    """Features that have learned nothing yet: one maker's, or those of several joined by `+`, side by side.

    arguments: of the constructor; for several by maker, `{"hashed": {"n_topics": 64}}`. embeddings, encodings: see
    `Features.open`. Raises ValueError for an unknown name, MissingExtra for a library that is not installed.
    """
    names = name.split("+")
    if len(names) == 1:
        return find_features(name)(**{"seed": seed, **(arguments or {})}).open(embeddings, encodings)
    _check_names(names)
    parts = []
    for at, part in enumerate(names):
        made = find_features(part)
        given = {"seed": seed, **(arguments or {}).get(part, {})}
        if at and "with_facts" in made.arguments:
            given.setdefault("with_facts", False)  # the first part has them
        parts.append(made(**given).open(embeddings, encodings))
    return JoinedFeatures(parts)


def load_features(
    name: str,
    arguments: Mapping[str, Any],
    arrays: Mapping[str, Array],
    embeddings: EmbeddingsSettings | None = None,
) -> Features:
    """The features whose `name`, `params` and `state` these are. Raises ValueError naming what does not fit."""
    names = name.split("+")
    if len(names) == 1:
        made = find_features(name)
        check_arguments(made, arguments, "features.arguments")
        return made.from_state(arguments, arrays).open(embeddings)
    _check_names(names)
    if set(arguments) != set(names):
        raise ValueError(f'field "features.arguments" must have an object for each of {", ".join(names)}')
    return JoinedFeatures(
        [load_features(part, arguments[part], under(f"{part}.", arrays), embeddings) for part in names]
    )


def _check_names(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f'features "{"+".join(names)}" name a maker twice')
