"""What a configuration that is read again changes in the store's process, without a restart of it."""

from __future__ import annotations

import threading

from routewright.keeper.alerts import Alerts
from routewright.storage import Adjustable
from routewright.store.retention import Retention


class Adjusting:
    """Passes the newest of what workers say on to those who work by it."""

    def __init__(self, now: Adjustable, alerts: Alerts, retention: Retention) -> None:
        """`now`: what both were made with."""
        self._now = now
        self._alerts = alerts
        self._retention = retention
        self._lock = threading.Lock()

    def take(self, told: Adjustable) -> None:
        """Called from any thread. What was read before what is in force changes nothing."""
        with self._lock:
            if told.read_at_ms < self._now.read_at_ms or told == self._now:
                return
            before, self._now = self._now, told
            self._alerts.tell(told.alert_url)
            if (told.spend_kept_ms, told.prompts_kept_ms) != (before.spend_kept_ms, before.prompts_kept_ms):
                self._retention.keep(told.spend_kept_ms, told.prompts_kept_ms)
