"""Near a budget's end no machine sits on what another lacks: what is not used goes back at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from harness.valkey import ValkeyServer
from leasing.doors import OUTPUT, TOKEN_NUSD, Machine, machines, nobody_waits
from routewright.types import Allowance

CALL_NUSD = OUTPUT * TOKEN_NUSD


def calls_for(count: float) -> Callable[[str], Allowance]:
    def allowance(owner: str) -> Allowance:
        return Allowance(scope="key", owner=owner, budget_nusd=int(count * CALL_NUSD))

    return allowance


async def heard(*machines: Machine) -> None:
    """What was said last has arrived."""
    for machine in machines:
        machine.tick()
    await asyncio.sleep(0.05)


def test_what_a_call_did_not_cost_is_anothers_at_once(valkey_server: ValkeyServer) -> None:
    """R23. Answers are shorter than they may become; the difference lies unused where nobody asks for it."""

    async def run() -> int:
        async with machines(valkey_server, "shorter", allowance=calls_for(4)) as (one, other):
            one.calls(4)
            await nobody_waits(one)
            other.calls(1)
            await nobody_waits(other)
            assert (one.passed, other.passed) == (4, 0)
            one.answer(output=OUTPUT // 2)
            await asyncio.sleep(0.1)
            other.calls(3)
            await nobody_waits(other)
            return other.passed

    assert asyncio.run(run()) == 2


def test_what_is_too_little_for_a_call_here_is_left_for_a_cheaper_one_there(valkey_server: ValkeyServer) -> None:
    """R23. Three and a half calls fit: the half is a call of half the price elsewhere, with no second's wait."""

    async def run() -> tuple[int, int]:
        async with machines(valkey_server, "half", allowance=calls_for(3.5)) as (one, other):
            one.calls(5)
            await nobody_waits(one)
            other.calls(2, output=OUTPUT // 2)
            await nobody_waits(other)
            return one.passed, other.passed

    assert asyncio.run(run()) == (3, 1)


def test_portion_taken_in_a_busy_second_is_not_kept_through_slow_ones(valkey_server: ValkeyServer) -> None:
    """R23. One machine has taken ahead and goes on with little; the other wants all the rest, and gets it."""
    budget = 2000

    async def run() -> tuple[int, int]:
        async with machines(valkey_server, "slow", allowance=calls_for(budget)) as (one, other):
            for _ in range(10):
                one.calls(50)
                await nobody_waits(one)
                one.answer()
            ends_s = time.monotonic() + 60
            hoard = 0
            while one.passed + other.passed < budget and time.monotonic() < ends_s:
                other.calls(100)
                await nobody_waits(other)
                other.answer()
                if one.passed + other.passed == budget:
                    break
                hoard = max(hoard, budget - one.passed - other.passed) if other.refused else hoard
                one.calls(1)
                await nobody_waits(one)
                one.answer()
                await heard(one, other)
                await asyncio.sleep(0.2)
            return one.passed + other.passed, hoard

    passed, hoard = asyncio.run(run())
    print("refused with so many calls left:", hoard)
    assert passed == budget
