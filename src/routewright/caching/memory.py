"""Answers in one worker's memory: a bound in bytes, a time for each, the one used longest ago forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from routewright.caching.entry import Entry


class Memory:
    """Key -> entry. Every operation is a look-up in a dictionary; nothing waits."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        """`clock`: wall clock, seconds since 1970."""
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at_s <= self._clock():
            self.delete([key])
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Takes the place of what is there; what is larger than all of the memory is not kept."""
        self.delete([key])
        if entry.size > self._max_bytes:
            return
        self._entries[key] = entry
        self.bytes += entry.size
        while self.bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= oldest.size

    def delete(self, keys: Iterable[str]) -> int:
        """How many there were."""
        found = 0
        for key in keys:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self.bytes -= entry.size
                found += 1
        return found

    def flush(self) -> None:
        self._entries.clear()
        self.bytes = 0
