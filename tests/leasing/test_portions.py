"""Whole calls fit where whole calls fit: no rest of a portion that is of no use here is missing on another machine.

Two machines' doors in one process, each with its own connection to a real Valkey, paused while questions queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.valkey import ValkeyServer
from routewright.admission.counters import Counters
from routewright.admission.leases import Leases
from routewright.admission.limits import Admission
from routewright.admission.meters import Reservation
from routewright.errors import RateLimited
from routewright.flow import Flow
from routewright.leasing.worker import Leasing
from routewright.settings import ValkeySettings
from routewright.types import Allowance, Caller, Candidates, Group
from values import call, caller, deployment

MODEL = Candidates((Group("m", "chat", [deployment("m")]),))
OUTPUT = 480
RESERVED = call().prompt_tokens_estimate + OUTPUT
USED = RESERVED + 5
"""A prompt may be longer than it was taken for."""
SIX_CALLS = 3000
assert 6 * USED < SIX_CALLS < 7 * RESERVED


class Machine:
    """One worker on a machine of its own, with one key."""

    def __init__(self, server: ValkeyServer, owner: str) -> None:
        counters = Counters(1)
        leases = Leases(counters)
        settings = ValkeySettings(host="127.0.0.1", port=server.port, timeout_s=5.0, namespace="portions")
        self.leasing = Leasing(settings, counters, leases, "one")
        self.admission = Admission(counters, 0, leases=leases)
        self.admission.ask_for = self.leasing.ask_for
        self.leasing.start()
        self._caller, self._other = (
            caller(limits=self.admission.meters_of([Allowance(scope="key", owner=name, tpm=SIX_CALLS)]))
            for name in (owner, f"{owner}, before")
        )
        self._under_way: list[Reservation] = []
        self.waiting = self.passed = self.refused = 0

    def calls(self, times: int) -> None:
        """All of one moment, so that they are one question."""
        for _ in range(times):
            Flow(self._call(self._caller), crash)

    def connect(self) -> None:
        """A call of somebody else, which waits until there is a connection."""
        Flow(self._call(self._other), crash)

    async def _call(self, owner: Caller) -> None:
        self.waiting += 1
        try:
            while (held := self.admission.admit(owner, call(max_tokens=OUTPUT), MODEL)) is None:
                await self.admission.learn()
        except RateLimited:
            self.refused += 1
        else:
            self.passed += 1
            self._under_way.append(held)
        finally:
            self.waiting -= 1

    def answer(self) -> None:
        """The calls under way end, with what they really used."""
        while self._under_way:
            self.admission.settle(self._under_way.pop(), USED)


def crash(error: BaseException) -> None:
    raise error


@asynccontextmanager
async def machines(server: ValkeyServer, owner: str) -> AsyncIterator[tuple[Machine, Machine]]:
    both = Machine(server, owner), Machine(server, owner)
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
    async with asyncio.timeout(10):
        while any(machine.waiting for machine in machines):  # noqa: ASYNC110 - calls end in callbacks
            await asyncio.sleep(0.001)


def test_what_is_too_little_for_a_call_is_left_to_who_lacks_as_little(valkey_server: ValkeyServer) -> None:
    """R23. The call that ran while the question was asked used more than it reserved, so the last of the four lacks
    that; the other machine, which asked for more than there is, must not have been given it for nothing."""

    async def run() -> int:
        async with machines(valkey_server, "lacks-little") as (one, other):
            one.calls(1)
            await nobody_waits(one)
            valkey_server.pause()
            try:
                one.calls(4)
                await asyncio.sleep(0.05)  # its question lies at the server, before the other's
                other.calls(5)
                await asyncio.sleep(0.05)
                one.answer()
            finally:
                valkey_server.resume()
            await nobody_waits(one, other)
            return one.passed + other.passed

    assert asyncio.run(run()) == 6


def test_machine_that_was_given_less_than_it_wanted_asks_for_what_is_left(valkey_server: ValkeyServer) -> None:
    """R23. It knows how much is left, so it need not take a short answer for the end of the limit."""

    async def run() -> int:
        async with machines(valkey_server, "asks-again") as (one, _):
            one.calls(1)
            await nobody_waits(one)
            valkey_server.pause()
            try:
                one.calls(8)
                await asyncio.sleep(0.05)
                one.answer()
            finally:
                valkey_server.resume()
            await nobody_waits(one)
            return one.passed

    assert asyncio.run(run()) == 6
