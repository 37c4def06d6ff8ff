"""Text -> vectors. Feature makers by name; a new one is a file here and a line in `FEATURES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from routewright.routing.arguments import check_arguments
from routewright.routing.features.contract import NO_SUPPLIES, Features, Supplies
from routewright.routing.features.encoded import EncodedFeatures
from routewright.routing.features.encoder import Encoder
from routewright.routing.features.joined import JoinedFeatures, under
from routewright.routing.router import Array

FEATURES: Final[Mapping[str, tuple[str, str]]] = {
    "causallm": ("causallm", "CausalLMFeatures"),
    "hashed": ("hashed", "HashedFeatures"),
    "minilm": ("minilm", "MiniLMFeatures"),
    "remote": ("remote", "RemoteFeatures"),
    "routerdc": ("routerdc", "RouterDCFeatures"),
    "wordllama": ("wordllama", "WordLlamaFeatures"),
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
    supplies: Supplies = NO_SUPPLIES,
) -> Features:
    """Features that have learned nothing yet: one maker's, or those of several joined by `+`, side by side.

    arguments: of the constructor; for several by maker, `{"hashed": {"n_topics": 64}}`. Raises ValueError for an
    unknown name, MissingExtra for a library that is not installed.
    """
    names = name.split("+")
    if len(names) == 1:
        return _make(name, seed, arguments or {}).open(supplies)
    _check_names(names)
    parts = []
    for at, part in enumerate(names):
        made = find_features(part)
        given = dict((arguments or {}).get(part, {}))
        if at and "with_facts" in made.arguments:
            given.setdefault("with_facts", False)  # the first part has them
        parts.append(_make(part, seed, given).open(supplies))
    return JoinedFeatures(parts)


def _make(name: str, seed: int, arguments: Mapping[str, Any]) -> Features:
    made = find_features(name)
    seeded = {"seed": seed} if "seed" in made.arguments else {}
    return made(**{**seeded, **arguments})


def load_features(
    name: str,
    arguments: Mapping[str, Any],
    arrays: Mapping[str, Array],
    supplies: Supplies = NO_SUPPLIES,
) -> Features:
    """The features whose `name`, `params` and `state` these are. Raises ValueError naming what does not fit."""
    names = name.split("+")
    if len(names) == 1:
        made = find_features(name)
        check_arguments(made, arguments, "features.arguments")
        return made.from_state(arguments, arrays).open(supplies)
    _check_names(names)
    if set(arguments) != set(names):
        raise ValueError(f'field "features.arguments" must have an object for each of {", ".join(names)}')
    return JoinedFeatures([load_features(part, arguments[part], under(f"{part}.", arrays), supplies) for part in names])


def open_encoder(name: str, supplies: Supplies = NO_SUPPLIES) -> Encoder:
    """The encoder behind a maker's name, for what only compares texts; a route with it uses the same object.

    Raises ValueError for a maker that has none, MissingExtra.
    """
    made = find_features(name)
    if not issubclass(made, EncodedFeatures):
        raise ValueError(f'features "{name}" have no encoder')
    return made().find_encoder(supplies)


def _check_names(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError(f'features "{"+".join(names)}" name a maker twice')
