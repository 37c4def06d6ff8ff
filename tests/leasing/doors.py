"""Machines' doors in one process: admission with its own connection to a real Valkey, and no HTTP before it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from harness.valkey import ValkeyServer
from routewright.admission.counters import Counters
from routewright.admission.leases import Leases
from routewright.admission.limits import Admission
from routewright.admission.meters import Reservation
from routewright.errors import BudgetExceeded, RateLimited
from routewright.flow import Flow
from routewright.leasing.worker import Leasing
from routewright.settings import ValkeySettings
from routewright.types import Allowance, Caller, Candidates, Group, Price
from values import call, caller, deployment

OUTPUT = 480
RESERVED = call().prompt_tokens_estimate + OUTPUT
USED = RESERVED + 5
"""A prompt may be longer than it was taken for."""
SIX_CALLS = 3000
assert 6 * USED < SIX_CALLS < 7 * RESERVED
PATIENCE_S = 5
"""Half of what a dead worker's question keeps its row."""
TOKEN_NUSD = 1000
PRICED = Candidates(
    (Group("m", "chat", [deployment("m", price=Price(input_usd_per_token=0.0, output_usd_per_token=1e-6))]),)
)


def six_calls(owner: str) -> Allowance:
    return Allowance(scope="key", owner=owner, tpm=SIX_CALLS)


class NothingSpent:
    """A ledger that nobody has spent anything by."""

    def ask(self, questions: Sequence[Any], then: Callable[[Sequence[int]], None]) -> None:
        then([0] * len(questions))


class Machine:
    """One worker with one key: on a machine of its own, or beside another in the same rows."""

    def __init__(
        self,
        server: ValkeyServer,
        owner: str,
        counters: Counters,
        worker: int,
        allowance: Callable[[str], Allowance] = six_calls,
        settings: ValkeySettings | None = None,
    ) -> None:
        leases = Leases(counters)
        settings = settings or ValkeySettings(host="127.0.0.1", port=server.port, namespace="portions")
        settings = dataclasses.replace(settings, timeout_s=5.0)
        self.leasing = Leasing(settings, counters, leases, "one")
        self.admission = Admission(counters, worker, source=NothingSpent(), leases=leases)
        self.admission.ask_for = self.leasing.ask_for
        self.leasing.start()
        self._caller, self._other = (
            caller(limits=self.admission.meters_of([allowance(name)])) for name in (owner, f"{owner}, before")
        )
        self._under_way: list[Reservation] = []
        self.waiting = self.passed = self.refused = 0

    def calls(self, times: int, output: int = OUTPUT) -> None:
        """All of one moment, so that they are one question."""
        for _ in range(times):
            Flow(self._call(self._caller, output), crash)

    def connect(self) -> None:
        """A call of somebody else, which waits until there is a connection."""
        Flow(self._call(self._other, OUTPUT), crash)

    async def _call(self, owner: Caller, output: int) -> None:
        self.waiting += 1
        try:
            while (held := self.admission.admit(owner, call(max_tokens=output), PRICED)) is None:
                await self.admission.learn()
        except (RateLimited, BudgetExceeded):
            self.refused += 1
        else:
            self.passed += 1
            self._under_way.append(held)
        finally:
            self.waiting -= 1

    def answer(self, used: int = USED, output: int = OUTPUT) -> None:
        """The calls under way end, with what they really used."""
        while self._under_way:
            self.admission.settle(self._under_way.pop(), used, output * TOKEN_NUSD)

    def tick(self) -> None:
        """What a worker's loop does four times a second."""
        self.leasing.on_tick(time.monotonic())


def crash(error: BaseException) -> None:
    raise error


@asynccontextmanager
async def machines(
    server: ValkeyServer,
    owner: str,
    *,
    share_rows: bool = False,
    allowance: Callable[[str], Allowance] = six_calls,
    settings: ValkeySettings | None = None,
) -> AsyncIterator[tuple[Machine, Machine]]:
    rows = Counters(2)
    both = (
        Machine(server, owner, rows, 0, allowance, settings),
        Machine(server, owner, rows if share_rows else Counters(2), 1, allowance, settings),
    )
    for machine in both:
        machine.connect()
    try:
        await nobody_waits(*both)
        for machine in both:
            machine.answer()
            machine.passed = 0
        yield both
    finally:
        for machine in both:
            await machine.leasing.close()


async def nobody_waits(*machines: Machine) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while any(machine.waiting for machine in machines):  # noqa: ASYNC110 - calls end in callbacks
            await asyncio.sleep(0.001)
