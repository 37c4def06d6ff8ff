"""The response cache that a configuration asks for: where it keeps answers, and what compares questions for it."""

from __future__ import annotations

from routewright.caching.cache import Cache, Store
from routewright.caching.similar import Similar
from routewright.routing.features.contract import Supplies
from routewright.routing.meanings import Meanings
from routewright.settings import Settings

FOLDER = "cache"


def make_cache(settings: Settings) -> Cache | None:
    """None where none is asked for."""
    asked = settings.cache
    if asked is None:
        return None
    similar = meaner = None
    max_rows = 0
    if asked.similarity is not None:
        max_rows = asked.similarity.max_questions
        similar = Similar(asked.similarity.threshold, max_rows)
        meaner = Meanings(asked.similarity.maker, Supplies(embeddings=asked.similarity.embeddings))
    store: Store | None = None
    if asked.is_on_disk:
        # Imported where it is asked for, as is the Valkey's: its client's reader is an extra.
        from routewright.caching.disk import Disk

        store = Disk(asked.disk_folder or settings.server.data_dir / FOLDER, asked.max_disk_bytes)
    elif asked.is_shared and settings.valkey is not None:
        from routewright.caching.shared import Shared

        store = Shared(settings.valkey, similar, max_rows)
    return Cache(asked, store, similar=similar, meaner=meaner)
