"""Calls over the Valkey: whoever has changed something tells the stores' processes of other machines to look at once.

Beside Postgres's own LISTEN, which poolers of connections between do not pass on. A call that gets lost costs what
looking at the database from time to time costs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from routewright.settings import ValkeySettings
from routewright.types import Secret
from routewright.valkey.connection import Valkey, ValkeyLost
from routewright.valkey.whereabouts import connect

RETRY_S = 1.0
log = logging.getLogger("routewright")


class Calls:
    """Hears and makes them; without a server it does neither."""

    def __init__(self, settings: ValkeySettings, on_call: Callable[[], None]) -> None:
        self._settings = settings
        self._on_call = on_call
        self._channel = f"{settings.namespace}:changed"
        self._speaker: Valkey | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            broken = asyncio.Event()
            listener = speaker = None
            try:
                listener = await connect(self._settings, broken.set)
                speaker = await connect(self._settings, broken.set)
                await listener.subscribe(self._channel, lambda _: self._on_call())
                self._speaker = speaker
                self._on_call()  # what was missed until now
                await broken.wait()
            except ValkeyLost as error:
                log.debug("changes are not told over the Valkey: %s", error)
            finally:
                self._speaker = None
                for connection in (listener, speaker):
                    if connection is not None:
                        connection.close()
            await asyncio.sleep(RETRY_S)

    def call(self) -> None:
        """Something was changed."""
        if self._speaker is not None:
            self._speaker.send([("PUBLISH", self._channel, b"1")], lambda _: None)


def valkey_of(given: dict[str, Any]) -> ValkeySettings:
    """Settings as a worker hands them over, in which passwords are plain text and tuples are lists."""
    secrets = {name: Secret(given[name]) if given.get(name) else None for name in ("password", "sentinel_password")}
    nodes = {name: tuple([(host, port) for host, port in given.get(name, ())]) for name in ("sentinels", "cluster")}
    return ValkeySettings(**{**given, **secrets, **nodes})
