"""Text -> vectors. Feature makers by name; a new one is a file here and a line in `FEATURES`."""

from __future__ import annotations

from typing import Final

from routewright.routing.features.hashed import HashedFeatures

FEATURES: Final[dict[str, type[HashedFeatures]]] = {HashedFeatures.name: HashedFeatures}
