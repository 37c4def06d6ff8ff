"""Independent pieces of work while learning: one after the other here, or spread over the processes of a pool.

A piece is a function of a module and its arguments, and says nothing of where it runs, so the result is the same: what
chance a piece needs comes from a seed and the piece's number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pool(Protocol):
    """Runs pieces of work somewhere else."""

    def map(self, function: Callable[..., Made], items: Iterable[Item], shared: tuple[Any, ...]) -> list[Made]:
        """`function(*shared, item)` for each item, in order."""


_pool: ContextVar[Pool | None] = ContextVar("pool", default=None)


def each(function: Callable[..., Made], items: Iterable[Item], *shared: Any) -> list[Made]:
    """`function(*shared, item)` for each item, in order, by the pool of `spread_over` if there is one."""
    pool = _pool.get()
    if pool is None:
        return [function(*shared, item) for item in items]
    return pool.map(function, items, shared)


@contextmanager
def spread_over(pool: Pool) -> Iterator[None]:
    """Let `each` use this pool."""
    token = _pool.set(pool)
    try:
        yield
    finally:
        _pool.reset(token)
