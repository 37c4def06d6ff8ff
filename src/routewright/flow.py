"""A coroutine driven without a task: a request that need not wait costs no trip through the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Signal(Generic[T]):
    """One value, set once by a callback and awaited by one coroutine that a `Flow` drives.

    Setting it resumes the coroutine at once, inside the call to `set`. A second `set` is ignored: the first of
    "answered", "timed out" and "client gone" wins.
    """

    __slots__ = ("_is_set", "_resume", "_value")

    def __init__(self) -> None:
        self._is_set = False
        self._value: T | None = None
        self._resume: Callable[[Any], None] | None = None

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self, value: T) -> None:
        if self._is_set:
            return
        self._is_set = True
        self._value = value
        resume = self._resume
        if resume is not None:
            self._resume = None
            resume(None)

    def __await__(self) -> Generator[Signal[T], None, T]:
        if not self._is_set:
            yield self
        return self._value  # type: ignore[return-value]


class Flow:
    """Runs one coroutine from the calling stack, and from then on from whatever callback wakes it.

    The coroutine may await `Signal`s and asyncio futures or tasks. What needs `asyncio.current_task()` (timeouts,
    task groups) goes into a task of its own, which is then awaited. `on_crash` gets an exception that escapes.
    """

    __slots__ = ("_coroutine", "_on_crash")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_crash: Callable[[BaseException], None]) -> None:
        self._coroutine = coroutine
        self._on_crash = on_crash
        self._step(None)

    def _step(self, error: BaseException | None) -> None:
        try:
            awaited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration:
            return
        except BaseException as crash:  # noqa: BLE001 - the outermost edge of a request
            self._on_crash(crash)
            return
        if type(awaited) is Signal:
            if awaited.is_set:  # set between the check and the yield: impossible in one thread, cheap to keep true
                self._step(None)
            else:
                awaited._resume = self._step
        elif awaited is None:  # a bare yield, as asyncio.sleep(0) does
            asyncio.get_running_loop().call_soon(self._step, None)
        else:
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._wake)

    def _wake(self, future: asyncio.Future[Any]) -> None:
        # The future's own __await__ raises its exception when it is resumed.
        self._step(None)
