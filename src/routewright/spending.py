"""Admission's questions about earlier spend, put to the store's process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from routewright.errors import GatewayError, InternalError
from routewright.storage import Storage
from routewright.types import Allowance

TIMEOUT_S = 20.0
"""Once per owner and start, or after a clock that was set back: the request that asks waits. The process may have to
start first; one that runs and has no database says so at once."""
log = logging.getLogger("routewright")


class SpendOfStore:
    """A `SpendSource`: the ledger, every record on disk brought in first."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, allowance: Allowance, from_ms: int, to_ms: int, then: Callable[[int | GatewayError], None]) -> None:
        """`then` is called from the loop, later; with a StorageUnavailable where nobody can say."""
        task = asyncio.get_running_loop().create_task(self._ask(allowance, from_ms, to_ms, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, allowance: Allowance, from_ms: int, to_ms: int, then: Callable[[int | GatewayError], None]
    ) -> None:
        spent: int | GatewayError
        try:
            question = (allowance.scope, allowance.owner, from_ms, to_ms)
            answer = await self._storage.ask("spent", question, timeout_s=TIMEOUT_S)
            spent = msgspec.msgpack.decode(answer, type=int)
        except GatewayError as error:
            spent = error
        except Exception:
            log.exception("what a budget has spent could not be asked")
            spent = InternalError("internal error; the log says more")
        then(spent)
