"""Sees that the configuration was changed, and tells what differs; and which of it waits for a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from routewright.settings import Settings

AT_START = ("server", "database_url", "valkey", "salt_key", "master_key")
"""Settings that other processes hold too, or that are built into what runs; they are as they were until a restart."""
POLL_S = 2.0
_TOLD_APART = ("deployments", "keys", "routes")
_NOT_TOLD = frozenset({"warnings", "config_path", "config_files"})


@dataclass(frozen=True, slots=True)
class Difference:
    """Names only: a value may be a credential."""

    changed: tuple[str, ...]
    """What is in force now."""
    needs_restart: tuple[str, ...]
    """What the file says and only a restart will do."""

    def __str__(self) -> str:
        parts = [*self.changed, *(f"{name} (needs a restart)" for name in self.needs_restart)]
        return ", ".join(parts) or "nothing"


def difference(old: Settings, new: Settings) -> Difference:
    """In the configuration's own words."""
    changed: list[str] = []
    needs_restart: list[str] = []
    for field in fields(Settings):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or field.name in _NOT_TOLD:
            continue
        if field.name in AT_START:
            needs_restart.append(field.name)
        elif field.name in _TOLD_APART:
            changed += _apart(field.name, before, after)
        else:
            changed.append(field.name)
    if old.upstream.ssl_verify != new.upstream.ssl_verify:
        needs_restart.append("ssl_verify")
    return Difference(tuple(changed), tuple(needs_restart))


_WORDS: Mapping[str, tuple[str, Callable[[Any], str], Callable[[Any], str]]] = {
    "deployments": ("model", lambda each: each.id, lambda each: f"{each.model_name} ({each.id})"),
    "keys": ("key", lambda each: each.key.reveal(), lambda each: each.alias or "without alias"),
    "routes": ("route", lambda each: each.name, lambda each: each.name),
}


def _apart(name: str, before: Iterable[Any], after: Iterable[Any]) -> list[str]:
    word, identity, told = _WORDS[name]
    old, new = {identity(each): each for each in before}, {identity(each): each for each in after}
    found = [f"{word} {told(each)} added" for key, each in new.items() if key not in old]
    found += [f"{word} {told(each)} removed" for key, each in old.items() if key not in new]
    return found + [f"{word} {told(each)} changed" for key, each in new.items() if key in old and old[key] != each]


def in_force(old: Settings, new: Settings) -> Settings:
    """The new settings, as far as they can be had without a restart."""
    return replace(new, **{name: getattr(old, name) for name in AT_START})


class ConfigWatch:
    """Sees that a configuration's files were changed, once they have been left alone for a moment: a file that an
    editor has half written may well be a configuration, of half the models."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._looked_s = 0.0
        self._known = self._settled = self._stamps()

    def has_changed(self, now: float) -> bool:
        """Called at each tick."""
        if now - self._looked_s < POLL_S:
            return False
        self._looked_s = now
        found = self._stamps()
        is_settled, self._settled = found == self._settled, found
        if found == self._known or not is_settled:
            return False
        self._known = found
        return True

    def _stamps(self) -> list[tuple[int, int, int]]:
        return [_stamp(path) for path in self.files]


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written: inode, size and time; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
