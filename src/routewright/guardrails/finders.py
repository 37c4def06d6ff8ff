"""Finding things in text that may still be coming: patterns with a bound, so that a window can say what is settled.

A match of a finder consists of its `chars` alone and is at most `max_chars` long. So a place in a text is settled once
a character that is none of these stands after it, or enough of them do: whatever comes then changes nothing there.
Every pattern repeats within bounds, so a search takes time linear in the text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property

Accept = Callable[[str, int, int], int]
"""(text, start, end of the pattern's match) -> the end that is accepted, or 0."""
UPPER, LOWER, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
WORD = UPPER + LOWER + DIGITS


PIECE_CHARS = 8 * 1024
"""What is searched at once: a few milliseconds for all that is looked for here."""
MAX_SEARCH_S = 10.0
"""Of one text, however long: a megabyte takes a third of a second."""


class Finder:
    """One kind of thing."""

    def __init__(
        self, kind: str, pattern: str, chars: str | None, max_chars: int, accept: Accept | None = None, flags: int = 0
    ) -> None:
        """`chars`: all that a match can consist of; None: anything."""
        self.kind = kind
        self.pattern = pattern
        self.max_chars = max_chars
        self._flags = flags
        self._chars = chars
        self._accept = accept

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        """Compiled when it is first used: most gateways have no guardrail."""
        return re.compile(self.pattern, self._flags)

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """The first at or after `start`, as (start, end); what stands before `start` is looked back at."""
        search = self._compiled.search
        while True:
            found = search(text, start)
            if found is None:
                return None
            at, end = found.span()
            if self._accept is not None:
                end = self._accept(text, at, end)
            if end > at:
                return at, end
            start = at + 1

    def unsettled(self, text: str, start: int) -> int:
        """The first place at which something may begin that more text could make, or change."""
        most = max(start, len(text) - self.max_chars - 1)
        if self._chars is None:
            return most
        return max(most, len(text.rstrip(self._chars)))


class Email(Finder):
    """Found by its sign, and read from there to both sides: a search from its first letter on tries every letter."""

    _LOCAL = frozenset(WORD + "._%+-")
    _MOST = 64

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """As `Finder.find`."""
        at = text.find("@", start)
        while at >= 0:
            domain = self._compiled.match(text, at + 1)
            if domain is not None:
                first = at
                least = max(start, at - self._MOST)
                while first > least and text[first - 1] in self._LOCAL:
                    first -= 1
                if first < at:
                    return first, domain.end()
            at = text.find("@", at + 1)
        return None


class Block(Finder):
    """Something between two marks, such as a private key: kept back from its first mark on."""

    def __init__(self, kind: str, first: str, pattern: str, max_chars: int, last_mark_chars: int) -> None:
        super().__init__(kind, pattern, None, max_chars)
        self._first = first
        self._last_mark_chars = last_mark_chars

    def unsettled(self, text: str, start: int) -> int:
        least = max(start, len(text) - self.max_chars - 1)
        at = text.find(self._first, start)
        while at >= 0:
            found = self._compiled.match(text, at)
            is_partial = found is None and len(text) - at <= self._last_mark_chars + 40
            if is_partial or (found is not None and found.end() > len(text) - self._last_mark_chars):
                return max(at, least)
            at = text.find(self._first, at + 1)
        for length in range(min(len(self._first) - 1, len(text) - start), 0, -1):
            if text.endswith(self._first[:length]):
                return len(text) - length
        return len(text)


Replace = Callable[[Finder, str], str]
"""(what found it, what was found) -> what stands there instead. Raises Blocked."""


class TooLong(Exception):
    """Looking at it takes longer than a request may take here."""


def replaced(finders: Sequence[Finder], text: str, replace: Replace) -> str:
    """The text with everything that is found replaced: the earliest first, of those the longest.

    A long one goes in pieces, so that nobody waits for a search to end. Raises TooLong.
    """
    scanner = Scanner(finders, replace)
    if len(text) <= PIECE_CHARS:
        return scanner.feed(text) + scanner.flush()
    until_s = time.monotonic() + MAX_SEARCH_S
    out = []
    for at in range(0, len(text), PIECE_CHARS):
        out.append(scanner.feed(text[at : at + PIECE_CHARS]))
        if time.monotonic() > until_s:
            raise TooLong
    return "".join(out) + scanner.flush()


def holds_any(finders: Sequence[Finder], text: str) -> bool:
    """Whether anything is found, in pieces too. Raises TooLong."""
    until_s = time.monotonic() + MAX_SEARCH_S
    overlap = max((finder.max_chars for finder in finders), default=0) + 2
    for at in range(0, max(1, len(text)), PIECE_CHARS):
        before = min(at, 1)
        piece = text[at - before : at + PIECE_CHARS + overlap]
        if any(finder.find(piece, before) for finder in finders):
            return True
        if time.monotonic() > until_s:
            raise TooLong
    return False


class Scanner:
    """Replaces as the text comes: a `Window`. The result is the same wherever the text was cut."""

    __slots__ = ("_before", "_finders", "_replace", "_text")

    def __init__(self, finders: Sequence[Finder], replace: Replace) -> None:
        self._finders = finders
        self._replace = replace
        self._text = ""
        """What has not gone on, after `_before` characters that have and are looked back at."""
        self._before = 0

    def feed(self, text: str) -> str:
        self._text += text
        start = self._before
        limit = len(self._text)
        for finder in self._finders:
            limit = min(limit, finder.unsettled(self._text, start))
        return self._settle(limit)

    def flush(self) -> str:
        out = self._settle(len(self._text))
        self._text, self._before = "", 0
        return out

    def _settle(self, limit: int) -> str:
        """Replace what begins before `limit`, and let go of all before it."""
        text, at = self._text, self._before
        out: list[str] = []
        nexts: list[tuple[int, int] | None] = [finder.find(text, at) for finder in self._finders]
        while True:
            best = None
            for place, span in enumerate(nexts):
                if span is not None and span[0] < at:
                    span = nexts[place] = self._finders[place].find(text, at)
                if span is not None and (best is None or (span[0], -span[1]) < (nexts[best][0], -nexts[best][1])):  # type: ignore[index]
                    best = place
            if best is None:
                break
            span = nexts[best]
            assert span is not None
            if span[0] >= limit:
                break
            out.append(text[at : span[0]])
            out.append(self._replace(self._finders[best], text[span[0] : span[1]]))
            at = span[1]
        if at < limit:
            out.append(text[at:limit])
            at = limit
        keep = max(0, at - 1)
        self._text, self._before = text[keep:], at - keep
        return "".join(out)
