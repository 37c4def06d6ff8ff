"""Tells a webhook that a budget was crossed. Nothing waits for it: a queue with an end, a thread, and patience.

The object is LiteLLM's, so what listens to its `webhook` alerts understands it.
"""

from __future__ import annotations

import logging
import queue
import threading
import urllib.error
import urllib.request
from typing import Any

import msgspec

from routewright.storage import Crossing

MOST_WAITING = 1000
TIMEOUT_S = 5.0
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 60.0
TRIES = 20
"""Some quarter of an hour; a webhook that is away for longer misses it."""
_ID_FIELDS = {"key": "token", "team": "team_id", "user": "user_id", "customer": "customer_id",
              "organization": "organization_id"}  # fmt: skip
log = logging.getLogger("routewright")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever answers at the configured address can't send us to another one."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Alerts:
    """Sends what it is given, in order."""

    def __init__(self, url: str | None, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        """`url`: None drops everything."""
        self._url = url
        self._first_wait_s = first_wait_s
        self._queue: queue.Queue[Crossing] = queue.Queue(MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._opener = urllib.request.build_opener(_NoRedirect)
        self.tell(url)

    def tell(self, url: str | None) -> None:
        """Send to this address from now on, what waits already too. Not called from two threads at once."""
        self._url = url
        if url is not None and self._thread.ident is None:
            self._thread.start()

    def put(self, crossing: Crossing) -> None:
        """Never waits: where a thousand wait already, this one is dropped, and said so."""
        if self._url is None:
            return
        try:
            self._queue.put_nowait(crossing)
        except queue.Full:
            log.error("alerts: %d wait for the webhook; one of %s %s is dropped", MOST_WAITING, crossing.scope,
                      crossing.event)  # fmt: skip

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                crossing = self._queue.get(timeout=0.5)
            except queue.Empty:
                continue
            self._deliver(crossing)

    def _deliver(self, crossing: Crossing) -> None:
        body = msgspec.json.encode(payload(crossing))
        wait_s = self._first_wait_s
        for _ in range(TRIES):
            url = self._url  # it may change while this waits
            if url is None:
                return
            try:
                request = urllib.request.Request(  # noqa: S310 - the scheme was checked when the configuration was read
                    url, body, {"content-type": "application/json"}, method="POST"
                )
                with self._opener.open(request, timeout=TIMEOUT_S):
                    return
            except (OSError, ValueError) as error:
                log.warning("alerts: the webhook does not take it (%s); trying again", type(error).__name__)
            if self._stop.wait(wait_s):
                return
            wait_s = min(MOST_WAIT_S, wait_s * 2)
        log.error("alerts: the webhook did not take %s of a %s; given up", crossing.event, crossing.scope)


def payload(crossing: Crossing) -> dict[str, Any]:
    """What LiteLLM sends for a budget; amounts in US dollars."""
    spent, cap = crossing.spent_nusd / 1e9, crossing.budget_nusd
    amount = None if cap is None else cap / 1e9
    soft = None if crossing.soft_budget_nusd is None else crossing.soft_budget_nusd / 1e9
    mark = soft if crossing.event == "soft_budget_crossed" else amount
    what = "soft budget" if crossing.event == "soft_budget_crossed" else "budget"
    return {
        "event": crossing.event,
        "event_group": crossing.scope,
        "event_message": f"{crossing.scope} {crossing.owner} has spent {spent:.6g} USD; its {what} is {mark:.6g} USD",
        "spend": spent,
        "max_budget": amount,
        "soft_budget": soft,
        "token": None,
        "team_id": None,
        "user_id": None,
        "customer_id": None,
        "owner": crossing.owner,
        "budget_reset_at_ms": crossing.window_end_ms or None,
        **({_ID_FIELDS[crossing.scope]: crossing.owner} if crossing.scope in _ID_FIELDS else {}),
    }
