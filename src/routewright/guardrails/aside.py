"""Long texts are looked at beside the event loop: in one thread, a bounded number of them waiting.

Searching holds the interpreter's lock, so a thread alone would not do: what is long is searched in pieces
(`finders.PIECE_CHARS`), between which the loop has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

T = TypeVar("T")
LONG_CHARS: Final = 32 * 1024
"""Of all texts together; so much takes some 10 ms, and 50 where it is made to be slow."""
MAX_WAITING: Final = 64
_waiting: set[asyncio.Future[object]] = set()


class TooManyWait(Exception):
    """The thread has enough to do."""


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="guardrails")


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns or raises. Raises TooManyWait."""
    if len(_waiting) >= MAX_WAITING:
        raise TooManyWait
    loop = asyncio.get_running_loop()

    def run() -> T:
        if loop.is_closed():  # the process ends, and waits for this thread
            raise TooManyWait
        return work()

    future = loop.run_in_executor(_thread(), run)
    _waiting.add(future)  # type: ignore[arg-type]
    future.add_done_callback(_waiting.discard)
    return await future
