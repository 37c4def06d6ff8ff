"""What is tried after a model's own deployments, worked out of the configuration once.

A fallback that fails is followed by its own fallbacks, and then by the next of the list, as in LiteLLM: so a name's
list is a walk through the lists of those it names, each model once, at most `max_fallbacks` of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routewright.settings import AttemptSettings

Table = Mapping[str, tuple[str, ...]]


MAX_KNOWN = 4096
"""Names whose list is kept: behind a wildcard the caller chooses them."""


class Fallbacks:
    """Lists of names by the name that was asked for."""

    def __init__(self, settings: AttemptSettings) -> None:
        most = settings.max_fallbacks
        self._any = _Kind(settings.fallbacks, settings.default_fallbacks, most)
        self._context = _Kind(settings.context_window_fallbacks, (), most)
        self._policy = _Kind(settings.content_policy_fallbacks, (), most)

    @staticmethod
    def of(settings: AttemptSettings) -> Fallbacks | None:
        """None where nothing has any."""
        has_any = settings.fallbacks or settings.default_fallbacks
        has_any = has_any or settings.context_window_fallbacks or settings.content_policy_fallbacks
        return Fallbacks(settings) if has_any else None

    def general(self, asked: str, name: str) -> Sequence[str]:
        """`asked` may be another name of `name`, with a list of its own."""
        return self._any.of(asked, name)

    def context_window(self, asked: str, name: str) -> Sequence[str]:
        return self._context.of(asked, name)

    def content_policy(self, asked: str, name: str) -> Sequence[str]:
        return self._policy.of(asked, name)


class _Kind:
    def __init__(self, table: Table, defaults: tuple[str, ...], most: int) -> None:
        self._table = table
        self._defaults = defaults
        self._most = most
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, asked: str, name: str) -> tuple[str, ...]:
        start = asked if asked in self._table else name
        found = self._known.get(start)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[start] = self._walk(start)
        return found

    def _walk(self, start: str) -> tuple[str, ...]:
        found: list[str] = []

        def follow(name: str) -> None:
            for other in self._table.get(name, self._defaults):
                if other != start and other not in found and len(found) < self._most:
                    found.append(other)
                    follow(other)

        follow(start)
        return tuple(found)
