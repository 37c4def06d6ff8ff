"""An operator's own words and patterns: what must not be said, or the only things that may be.

A pattern is searched in time linear in the text, whatever it is, because only those are taken whose work at one place
is bounded: every repetition has an end, none stands inside another, and their choices multiply to little. `\\d{1,40}`
is taken where `\\d+` is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from routewright.guardrails.contract import Blocked, Seen, Window
from routewright.guardrails.finders import Finder, holds_any
from routewright.guardrails.finding import ACTIONS, Finding, refuse_others, take

MAX_CHARS = 1000
"""Of one match."""
MAX_CHOICES = 4096
"""Ways in which a pattern can go on from one place."""
MAX_PATTERNS = 1000


class Unbounded(ValueError):
    """The pattern could take longer than its text is long."""


def checked(pattern: str) -> int:
    """How long a match can be. Raises Unbounded, or ValueError for what is no pattern."""
    try:
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    most = int(min(tree.getwidth()[1], 1 << 30))
    if most > MAX_CHARS:
        raise Unbounded(f"a match could be longer than {MAX_CHARS} characters; write {{0,40}} for *, {{1,40}} for +")
    if _choices(tree, is_repeated=False) > MAX_CHOICES:
        raise Unbounded("its repetitions multiply to more than can be tried at each place")
    return most


def _choices(tree: Any, *, is_repeated: bool) -> int:
    total = 1
    for operator, argument in tree:
        name = str(operator)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = argument
            if is_repeated and most != least:
                raise Unbounded("a repetition stands inside another")
            inside = _choices(inner, is_repeated=True)
            # Each time round chooses anew: `(?:a|b|ab){1,20}` has 3**20 ways.
            total *= (most - least + 1) * (1 if inside == 1 else inside ** min(int(most), 64))
        elif name == "BRANCH":
            total *= sum(_choices(branch, is_repeated=is_repeated) for branch in argument[1])
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            inner = argument[-1] if name == "SUBPATTERN" else argument
            total *= _choices(inner, is_repeated=is_repeated)
        elif name in ("ASSERT", "ASSERT_NOT"):
            direction, inner = argument
            if direction > 0 or inner.getwidth()[1] > 1:
                raise Unbounded("it looks ahead, or back by more than one character")
        elif name in ("GROUPREF", "GROUPREF_EXISTS", "GROUPREF_IGNORE"):
            raise Unbounded("it refers back to what it matched")
        elif name == "AT" and str(argument) not in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
            raise Unbounded("it asks for the begin or end of the text, which a stream's window does not know")
        if total > MAX_CHOICES:
            return total
    return total


class Denied(Finding):
    """`deny`: `words` (whole words, in any case) and `patterns`; `action: BLOCK` (default) or `MASK`."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "words", "patterns", "action")
        action = take(params, "action", str, "BLOCK").upper()
        if action not in ACTIONS:
            raise ValueError("action: expected MASK or BLOCK")
        words, patterns = take(params, "words", list, []), take(params, "patterns", list, [])
        if not words and not patterns:
            raise ValueError("words: neither words nor patterns are given")
        if len(words) + len(patterns) > MAX_PATTERNS:
            raise ValueError(f"words: more than {MAX_PATTERNS} words and patterns")
        if not all(isinstance(word, str) and 0 < len(word) <= MAX_CHARS for word in words + patterns):
            raise ValueError("words: each must be text")
        finders = []
        if words:
            any_word = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
            longest = max(map(len, words))
            finders.append(Finder("denied", rf"(?<!\w)(?:{any_word})(?!\w)", None, longest, flags=re.IGNORECASE))
        for place, pattern in enumerate(patterns):
            try:
                longest = checked(pattern)
            except ValueError as error:
                raise ValueError(f"patterns[{place}]: {error}") from error
            finders.append(Finder("denied", pattern, None, longest + 1))
        super().__init__(name, finders, {"denied": action})


class Allowed(Denied):
    """`allow`: the request must hold one of the `words` or `patterns`; for gateways with a single purpose."""

    for_answers = False

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "words", "patterns")
        super().__init__(name, params)

    def look(self, seen: Seen) -> None:
        if not any(holds_any(self._finders, text) for text in seen.texts):
            raise Blocked("nothing that is allowed here was asked for")

    def follow(self, seen: Seen) -> Window | None:
        return None
