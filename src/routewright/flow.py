"""A coroutine driven without a task: a request that need not wait costs no trip through the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Signal(msgspec.Struct, Generic[T], eq=False):
    """One value, set once by a callback and awaited by one coroutine that a `Flow` drives.

    Setting it resumes the coroutine at once, inside the call to `set`. A second `set` is ignored: the first of
    "answered", "timed out" and "client gone" wins.
    """

    is_set: bool = False
    """Only `set` sets it."""
    _value: T | None = None
    _resume: Callable[[Any], None] | None = None

    def set(self, value: T) -> None:
        if self.is_set:
            return
        self.is_set = True
        self._value = value
        resume = self._resume
        if resume is not None:
            self._resume = None
            resume(None)

    def __await__(self) -> Generator[Signal[T], None, T]:
        if not self.is_set:
            yield self
        return self._value  # type: ignore[return-value]


class Flow(msgspec.Struct, eq=False):
    """Runs one coroutine from the calling stack, and from then on from whatever callback wakes it.

    The coroutine may await `Signal`s and asyncio futures or tasks. What needs `asyncio.current_task()` (timeouts,
    task groups) goes into a task of its own, which is then awaited. `on_crash` gets an exception that escapes.
    """

    coroutine: Coroutine[Any, Any, None]
    on_crash: Callable[[BaseException], None]

    def __post_init__(self) -> None:
        self._step(None)

    def _step(self, error: BaseException | None) -> None:
        try:
            awaited = self.coroutine.send(None) if error is None else self.coroutine.throw(error)
        except StopIteration:
            return
        except BaseException as crash:  # noqa: BLE001 - the outermost edge of a request
            self.on_crash(crash)
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
