"""A coroutine driven without a task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from routewright.flow import Flow, Signal


def driven(coroutine: Any) -> list[BaseException]:
    """Drive it as far as it goes now; the list gets what escapes it, now or later."""
    crashes: list[BaseException] = []
    Flow(coroutine, crashes.append)
    return crashes


def test_coroutine_that_need_not_wait_is_done_when_its_flow_is_made() -> None:
    seen = []

    async def straight() -> None:
        seen.append("ran")

    assert driven(straight()) == []
    assert seen == ["ran"]


def test_coroutine_goes_on_inside_the_call_that_sets_its_signal() -> None:
    signal: Signal[str] = Signal()
    seen = []

    async def waits() -> None:
        seen.append("before")
        seen.append(await signal)

    driven(waits())
    assert seen == ["before"]
    signal.set("answer")
    assert seen == ["before", "answer"]


def test_signal_set_beforehand_is_not_waited_for() -> None:
    signal: Signal[int] = Signal()
    signal.set(7)
    seen = []

    async def reads() -> None:
        seen.append(await signal)

    driven(reads())
    assert seen == [7]


def test_first_value_of_a_signal_wins() -> None:
    signal: Signal[str] = Signal()
    seen = []

    async def reads_twice() -> None:
        seen.append(await signal)
        seen.append(await signal)

    driven(reads_twice())
    signal.set("answered")
    signal.set("timed out")
    assert seen == ["answered", "answered"]
    assert signal.is_set


def test_none_is_a_value() -> None:
    signal: Signal[None] = Signal()
    seen = []

    async def reads() -> None:
        seen.append(await signal)

    driven(reads())
    assert not signal.is_set
    signal.set(None)
    assert seen == [None]
    assert signal.is_set


def test_thousands_of_signals_one_after_the_other_need_no_deep_stack() -> None:
    signals: list[Signal[int]] = [Signal() for _ in range(5000)]
    seen = []

    async def reads_all() -> None:
        for signal in signals:
            seen.append(await signal)

    driven(reads_all())
    for number, signal in enumerate(signals):
        signal.set(number)
    assert seen == list(range(5000))


def test_coroutine_that_sets_the_signal_of_another_resumes_it() -> None:
    first: Signal[str] = Signal()
    second: Signal[str] = Signal()
    seen = []

    async def passes_on() -> None:
        second.set(await first + "!")
        seen.append("passed on")

    async def receives() -> None:
        seen.append(await second)

    driven(receives())
    driven(passes_on())
    first.set("hello")
    assert seen == ["hello!", "passed on"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_what_escapes_is_handed_to_on_crash(error: BaseException) -> None:
    signal: Signal[None] = Signal()

    async def fails() -> None:
        await signal
        raise error

    crashes = driven(fails())
    assert crashes == []
    signal.set(None)
    assert crashes == [error]


def test_futures_tasks_and_bare_yields_may_be_awaited() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        ended = loop.create_future()
        seen: list[Any] = []

        async def in_a_task() -> str:
            await asyncio.sleep(0)
            assert asyncio.current_task() is not None
            return "task"

        async def waits() -> None:
            seen.append(await future)
            await asyncio.sleep(0)
            seen.append(await loop.create_task(in_a_task()))
            ended.set_result(None)

        crashes = driven(waits())
        assert seen == []
        future.set_result("future")
        await ended
        return seen + crashes

    assert asyncio.run(main()) == ["future", "task"]


def test_failure_or_cancelling_of_a_future_is_raised_where_it_is_awaited() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        cancelled: asyncio.Future[None] = loop.create_future()
        ended = loop.create_future()
        seen = []

        async def waits() -> None:
            for future in (broken, cancelled):
                try:
                    await future
                except (OSError, asyncio.CancelledError) as error:
                    seen.append(type(error).__name__)
            ended.set_result(None)

        driven(waits())
        broken.set_exception(OSError())
        cancelled.cancel()
        await ended
        return seen

    assert asyncio.run(main()) == ["OSError", "CancelledError"]
