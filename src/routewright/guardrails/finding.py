"""A guardrail made of finders: each kind of thing is masked, or blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from routewright.guardrails.contract import Blocked, Guardrail, Seen, Window
from routewright.guardrails.disguise import encoded, readings
from routewright.guardrails.finders import Finder, Scanner, holds_any, replaced

ACTIONS = ("MASK", "BLOCK")


class Finding(Guardrail):
    """Masks with the kind's name, `<EMAIL>`, or blocks, by kind."""

    def __init__(self, name: str, finders: Sequence[Finder], actions: Mapping[str, str]) -> None:
        """`actions`: kind -> MASK or BLOCK; kinds without one are not looked for."""
        super().__init__(name, {})
        self._finders = tuple(finder for finder in finders if finder.kind in actions)
        self._blocks = frozenset(kind for kind, action in actions.items() if action == "BLOCK")

    def _mask(self, seen: Seen, finder: Finder, found: str) -> str:
        return f"<{finder.kind.upper()}>"

    def _replacer(self, seen: Seen) -> Any:
        def replace(finder: Finder, found: str) -> str:
            seen.count(finder.kind)
            if finder.kind in self._blocks:
                raise Blocked(f"{finder.kind} found")
            return self._mask(seen, finder, found)

        return replace

    def look(self, seen: Seen) -> None:
        replace = self._replacer(seen)
        texts = [replaced(self._finders, text, replace) for text in seen.texts]
        if not seen.is_answer:  # a stream's window could not tell, and an answer is not written to slip past us
            texts = [self._unmasked(text, replace) for text in texts]
        seen.texts[:] = texts

    def _unmasked(self, text: str, replace: Any) -> str:
        """The text as it is read, where something is found in that; what is encoded in it looked into."""
        for plain in readings(text):
            found = replaced(self._finders, plain, replace)
            if found != plain:
                text = found
                break
        for start, end, inner in reversed(list(encoded(text))):
            if holds_any(self._finders, inner):
                masked: dict[str, None] = {}

                def note(finder: Finder, found: str, masked: dict[str, None] = masked) -> str:
                    masked[replace(finder, found)] = None
                    return ""

                replaced(self._finders, inner, note)
                text = text[:start] + "".join(masked) + text[end:]
        return text

    def follow(self, seen: Seen) -> Window | None:
        return Scanner(self._finders, self._replacer(seen))


def take(params: Mapping[str, Any], name: str, kinds: type | tuple[type, ...], default: Any) -> Any:
    """A parameter of the right type. Raises ValueError."""
    value = params.get(name)
    if value is None:
        return default
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise ValueError(f"{name}: has the wrong type")
    return value


def refuse_others(params: Mapping[str, Any], *known: str) -> None:
    for name in params:
        if name not in known:
            raise ValueError(f"{name}: this guardrail has no such parameter; it has {', '.join(known)}")
