"""How far a long command is: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import rich.progress
from rich.console import Console
from rich.markup import escape


class Progress:
    """Counts steps; used as a context. steps: how many are expected."""

    def __init__(self, console: Console, title: str, *, steps: int) -> None:
        self._console, self._title, self._steps, self._done = console, title, steps, 0
        self._bar: rich.progress.Progress | None = None
        if console.is_terminal:
            self._bar = rich.progress.Progress(
                rich.progress.SpinnerColumn(),
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task(escape(title), total=steps)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str) -> None:
        """The next step has begun."""
        if self._bar is not None:
            self._bar.update(
                self._task, completed=min(self._done, self._steps), description=escape(f"{self._title}: {text}")
            )
        else:
            self._console.print(f"{self._title}: {text}", highlight=False, markup=False, soft_wrap=True)
        self._done += 1
