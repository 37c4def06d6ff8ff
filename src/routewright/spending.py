"""What admission asks and tells the store's process: earlier spend, and budgets that were crossed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from routewright.admission.spent import Question
from routewright.errors import GatewayError, InternalError
from routewright.storage import Crossing, Storage
from routewright.types import Allowance

TIMEOUT_S = 20.0
"""Once per owner and start, or after a clock that was set back: the request that asks waits. The process may have to
start first; one that runs and has no database says so at once."""
RETRY_S = 1.0
MOST_WAITING = 1000
log = logging.getLogger("routewright")


class CrossedBudgets:
    """Passes crossed budgets on to the store's process, which tells the webhook; keeps them while it is away."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: deque[Crossing] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._tried_s = 0.0

    def tell(self, event: str, allowance: Allowance, spent_nusd: int, window_end_ms: int) -> None:
        """Called under the lock of the counters, so it only notes."""
        self._waiting.append(
            Crossing(
                event=event,
                scope=allowance.scope,
                owner=allowance.owner,
                spent_nusd=spent_nusd,
                budget_nusd=allowance.budget_nusd,
                soft_budget_nusd=allowance.soft_budget_nusd,
                window_end_ms=window_end_ms,
            )
        )

    def on_tick(self, now: float) -> None:
        if self._waiting and now - self._tried_s >= RETRY_S and (self._task is None or self._task.done()):
            self._tried_s = now
            self._task = asyncio.get_running_loop().create_task(self._pass_on())

    async def _pass_on(self) -> None:
        while self._waiting:
            try:
                await self._storage.ask("alert", self._waiting[0])
            except GatewayError:
                return  # at a later tick
            self._waiting.popleft()


class SpendOfStore:
    """A `SpendSource`: the ledger, every record on disk brought in first."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, questions: Sequence[Question], then: Callable[[Sequence[int | GatewayError]], None]) -> None:
        """`then` is called from the loop, later; with a StorageUnavailable where nobody can say."""
        task = asyncio.get_running_loop().create_task(self._ask(questions, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, questions: Sequence[Question], then: Callable[[Sequence[int | GatewayError]], None]) -> None:
        found: Sequence[int | GatewayError]
        try:
            asked = [(allowance.scope, allowance.owner, start, end) for allowance, start, end in questions]
            answer = await self._storage.ask("spent", asked, timeout_s=TIMEOUT_S)
            found = msgspec.msgpack.decode(answer, type=list[int])
        except GatewayError as error:
            found = [error] * len(questions)
        except Exception:
            log.exception("what a budget has spent could not be asked")
            found = [InternalError("internal error; the log says more")] * len(questions)
        then(found)
