"""What was asked of embedding endpoints: counted by the threads that ask, until somebody puts it on record."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from routewright.settings import EmbeddingsSettings


@dataclass(slots=True)
class Used:
    """At one endpoint, since it was taken last."""

    tokens: int = 0
    calls: int = 0
    is_estimated: bool = False


class Tally:
    """One process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[EmbeddingsSettings, Used] = {}

    def add(self, settings: EmbeddingsSettings, tokens: int, *, is_estimated: bool) -> None:
        """One call has been answered."""
        with self._lock:
            used = self._used.setdefault(settings, Used())
            used.tokens += tokens
            used.calls += 1
            used.is_estimated |= is_estimated

    def take(self) -> dict[EmbeddingsSettings, Used]:
        """All of it, once."""
        if not self._used:
            return {}
        with self._lock:
            taken, self._used = self._used, {}
        return taken


TALLY = Tally()
"""Encoders live as long as the process does, whichever router or cache they are for."""
