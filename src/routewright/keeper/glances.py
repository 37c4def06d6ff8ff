"""What pages ask of the ledger, in threads that stand back; some answers serve all who ask in the same seconds."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, Final

import msgspec

from routewright.management.glance import QUESTIONS
from routewright.store.database import Database

THREADS: Final = 2
NICE: Final = 10
"""Low enough that requests hardly feel a page, and high enough that what a thread holds here is not held for long."""
KEPT_S: Final = {"overview": 1.0, "latencies": 2.0, "failures": 1.0, "choices": 10.0}
"""Questions that everybody asks alike, and how old an answer may be."""
MAX_KEPT: Final = 100


class Glances:
    """Answers questions of pages. Several threads call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[float, Any]] = {}

    def answer(self, database: Database, body: msgspec.Raw) -> Any:
        """Raises StorageUnavailable."""
        name, parameters = msgspec.msgpack.decode(body, type=tuple[str, dict[str, Any]])
        kept_s = KEPT_S.get(name)
        if kept_s is None:
            return database.read(lambda connection: QUESTIONS[name](connection, **parameters))
        asked = bytes(body)
        with self._lock:
            known = self._kept.get(asked)
        if known is not None and time.monotonic() - known[0] < kept_s:
            return known[1]
        found = database.read(lambda connection: QUESTIONS[name](connection, **parameters))
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[asked] = (time.monotonic(), found)
        return found


def stand_back() -> None:
    """This thread alone, where threads have a niceness of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
