"""Deletes single calls that are older than anybody wants, a few at a time; their hourly and daily sums stay."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection

from routewright.store.database import Database, now_ms
from routewright.store.reports import delete_before, delete_texts_before

BATCH = 2000
EVERY_S = 600.0
BREATH_S = 0.05
"""Between two batches, so that those who write need not wait."""
log = logging.getLogger("routewright")


class Retention:
    """A thread that looks now and then. Nothing is ever loaded: the database deletes by itself."""

    def __init__(
        self, database: Database, kept_ms: int | None, texts_kept_ms: int | None = None, *, every_s: float = EVERY_S
    ) -> None:
        """`kept_ms`: None keeps every call; `texts_kept_ms`: what was said in them, never longer than the calls."""
        self._database = database
        self._every_s = every_s
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._may_start = False
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

        self.keep(kept_ms, texts_kept_ms)

    def keep(self, kept_ms: int | None, texts_kept_ms: int | None) -> None:
        """Keep them for so long from now on."""
        with self._lock:
            self._kept_ms = kept_ms
            self._texts_kept_ms = min([each for each in (kept_ms, texts_kept_ms) if each is not None], default=None)
            self._start_if_needed()
        self._wake.set()

    def start(self) -> None:
        """The database is there."""
        with self._lock:
            self._may_start = True
            self._start_if_needed()

    def _start_if_needed(self) -> None:
        if self._may_start and self._texts_kept_ms is not None and self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stop.is_set():  # said just before, so that the call to wake was cleared with the one before it
                return
            try:
                count = self.prune(now_ms())
                if count:
                    log.info("%d calls older than the retention were deleted; their sums stay", count)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the next look may do
                log.warning("old calls could not be deleted (%s); trying again later", type(error).__name__)
            self._wake.wait(self._every_s)

    def prune(self, now: int) -> int:
        """Delete all that is too old at `now` (ms); how many calls that were."""
        with self._lock:
            kept_ms, texts_kept_ms = self._kept_ms, self._texts_kept_ms
        if texts_kept_ms is not None:
            self._delete(delete_texts_before, now - texts_kept_ms)
        return 0 if kept_ms is None else self._delete(delete_before, now - kept_ms)

    def _delete(self, delete: Callable[[Connection, int, int], int], before: int) -> int:
        total = 0
        while not self._stop.is_set():
            count = self._database.write(lambda connection: delete(connection, before, BATCH))
            total += count
            if count < BATCH:
                break
            self._stop.wait(BREATH_S)
        return total
