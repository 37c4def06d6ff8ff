"""A configured guardrail: which requests it looks at, when, and what happens where it fails itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from routewright.errors import GuardrailBlocked, GuardrailUnavailable
from routewright.guardrails.aside import LONG_CHARS, aside
from routewright.guardrails.contract import Blocked, Guardrail, Seen, Window
from routewright.guardrails.personal import Personal

MODES = ("pre_call", "post_call", "during_call", "logging_only")
log = logging.getLogger("routewright")


@dataclass(frozen=True, slots=True)
class Rail:
    """One entry of the section `guardrails`."""

    name: str
    guardrail: Guardrail
    modes: frozenset[str]
    is_default_on: bool
    is_fail_open: bool
    """Where it fails itself, what it should have looked at passes."""

    @property
    def before(self) -> bool:
        """It looks at requests. `during_call` is the same here: a local one is quicker than a call."""
        return self.guardrail.for_requests and bool(self.modes & {"pre_call", "during_call"})

    @property
    def after(self) -> bool:
        return self.guardrail.for_answers and "post_call" in self.modes

    @property
    def restores(self) -> bool:
        """It looks at the answer only to put back what it took out of the request."""
        return isinstance(self.guardrail, Personal) and self.guardrail.restores and self.before

    async def look(self, seen: Seen) -> None:
        """Raises GuardrailBlocked, or GuardrailUnavailable where it fails and must not."""
        texts = list(seen.texts)
        try:
            await self._look(seen)
            _check(seen.texts, len(texts))
        except Blocked as blocked:
            raise self.refusal(blocked, seen) from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            seen.texts = texts
            self.failed(error)

    async def _look(self, seen: Seen) -> None:
        guardrail = self.guardrail
        if not guardrail.is_quick:
            # A task of its own: time-outs need one.
            work = asyncio.wait_for(guardrail.look_slowly(seen), guardrail.timeout_s)
            await asyncio.get_running_loop().create_task(work)
        elif sum(map(len, seen.texts)) <= LONG_CHARS:
            guardrail.look(seen)
        else:
            await aside(lambda: guardrail.look(seen))

    def refusal(self, blocked: Blocked, seen: Seen) -> GuardrailBlocked:
        what = "answer" if seen.is_answer else "request"
        return GuardrailBlocked(f'the {what} was blocked by the guardrail "{self.name}": {blocked.reason}', self.name)

    def failed(self, error: Exception) -> None:
        """Raises GuardrailUnavailable unless it fails open."""
        log.warning("guardrail %s failed: %s", self.name, type(error).__name__)
        if not self.is_fail_open:
            raise GuardrailUnavailable(f'the guardrail "{self.name}" can\'t look at this now') from None

    async def note(self, seen: Seen) -> None:
        """Look, and change nothing: what it finds is on record."""
        copy = Seen(list(seen.texts), seen.is_answer, seen.endpoint, seen.model, found=seen.found)
        try:
            if self.guardrail.is_quick:
                await self._look(copy)
        except Blocked:
            pass
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            log.warning("guardrail %s failed: %s", self.name, type(error).__name__)

    def put_back(self, seen: Seen) -> None:
        """Where it restores, what it took out of the request stands in the answer again."""
        guardrail = self.guardrail
        if self.restores and isinstance(guardrail, Personal):
            seen.texts = [guardrail.restored(seen, text) for text in seen.texts]

    def window_of(self, seen: Seen) -> Window | None:
        """For one text of a stream, whatever it does there; None: it has to see the whole."""
        if self.after:
            return self.follow(seen)
        assert isinstance(self.guardrail, Personal)
        return self.guardrail.restorer(seen)

    def follow(self, seen: Seen) -> Window | None:
        """Its window for one text of a stream; None: it has to see the whole."""
        try:
            window = self.guardrail.follow(seen) if self.after else None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self.failed(error)
            return None
        return None if window is None else _Guarded(self, window, seen)


def _check(texts: object, count: int) -> None:
    """Raises ValueError where a plug-in has left what is no list of as many texts."""
    if type(texts) is not list or len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise ValueError("it left no list of as many texts")


class _Guarded:
    """A guardrail's window, whose faults are as the configuration says."""

    __slots__ = ("_has_failed", "_rail", "_seen", "_window")

    def __init__(self, rail: Rail, window: Window, seen: Seen) -> None:
        self._rail, self._window, self._seen = rail, window, seen
        self._has_failed = False

    def feed(self, text: str) -> str:
        if self._has_failed:
            return text
        try:
            return _text(self._window.feed(text))
        except Blocked as blocked:
            raise self._rail.refusal(blocked, self._seen) from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self._has_failed = True
            self._rail.failed(error)
            return text

    def flush(self) -> str:
        if self._has_failed:
            return ""
        try:
            return _text(self._window.flush())
        except Blocked as blocked:
            raise self._rail.refusal(blocked, self._seen) from None
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self._rail.failed(error)
            return ""


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError("a window gave what is no text")
    return given


class Chain:
    """Several windows, one behind the other."""

    __slots__ = ("_windows",)

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows

    def feed(self, text: str) -> str:
        for window in self._windows:
            text = window.feed(text)
        return text

    def flush(self) -> str:
        out = ""
        for window in self._windows:
            out = (window.feed(out) if out else "") + window.flush()
        return out


class Rails:
    """All that are configured."""

    def __init__(self, rails: Sequence[Rail]) -> None:
        self.rails = tuple(rails)
        self._by_name = {rail.name: rail for rail in rails}
        self._defaults = tuple(rail for rail in rails if rail.is_default_on)

    def get(self, name: str) -> Rail | None:
        return self._by_name.get(name)

    def chosen(self, asked: Collection[str]) -> tuple[Rail, ...]:
        """Those that are always on and those that are named, in the configuration's order.

        Raises KeyError with a name that there is not.
        """
        if not asked:
            return self._defaults
        for name in asked:
            if name not in self._by_name:
                raise KeyError(name)
        return tuple(rail for rail in self.rails if rail.is_default_on or rail.name in asked)
