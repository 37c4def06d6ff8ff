"""What a guardrail is: the contract for ours and for plug-ins, version 1.

A plug-in is a package with an entry point in the group `routewright.guardrails`, whose name is the word that stands in
the configuration as `guardrail:` and whose object is a subclass of `Guardrail`:

    class Shouting(Guardrail):
        def look(self, seen: Seen) -> None:
            if any(text.isupper() for text in seen.texts):
                raise Blocked("shouting")

It must not block the event loop: what has to wait sets `is_quick = False` and implements `look_slowly`. Long texts are
looked at in a thread, so `look` may run there and on the loop at the same time: it keeps nothing between two calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

CONTRACT = 1
GROUP = "routewright.guardrails"


class Blocked(Exception):
    """The request or the answer must not pass. `reason` is told to the caller: never what was found, only its kind."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Seen:
    """What a guardrail is shown. Texts may be replaced in the list; their number stays."""

    texts: list[str]
    is_answer: bool
    endpoint: str
    model: str
    """As the client wrote it."""
    key_alias: str | None = None
    team_id: str | None = None
    user: str | None = None
    request_id: str = ""
    prompt_tokens: int = 0
    """An estimate."""
    max_tokens: int | None = None
    """What the request allows the answer."""
    schema: Any = None
    """The JSON schema that the request asks the answer to keep; None without one."""
    wants_json: bool = False
    found: dict[str, int] = field(default_factory=dict)
    """What was found or masked so far, by kind; a guardrail may add to it."""
    kept: dict[str, Any] = field(default_factory=dict)
    """A guardrail's own, by its name, from the request to its answer."""

    def count(self, kind: str, times: int = 1) -> None:
        self.found[kind] = self.found.get(kind, 0) + times


class Window(Protocol):
    """Follows one text of a stream. Together, what `feed` and `flush` return is what `look` makes of the whole."""

    def feed(self, text: str) -> str:
        """More of the text; what may go on to the client by now. Raises Blocked."""

    def flush(self) -> str:
        """The text has ended; what is left of it. Raises Blocked."""


class Guardrail:
    """Looks at texts. One object serves all requests of a worker, one after the other and in between."""

    contract: ClassVar[int] = CONTRACT
    is_quick: ClassVar[bool] = True
    """`look` returns at once; else `look_slowly` is awaited."""
    timeout_s: ClassVar[float] = 60.0
    """How long; then it has failed."""
    for_requests: ClassVar[bool] = True
    for_answers: ClassVar[bool] = True
    """Which of the two it can look at."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        """`params`: what the configuration says beside `guardrail`, `mode`, `default_on` and `fail_open`.

        Raises ValueError, whose text names the parameter.
        """
        self.name = name
        if params:
            raise ValueError(f"{sorted(params)[0]}: this guardrail takes no such parameter")

    def look(self, seen: Seen) -> None:
        """Change texts, count findings, or raise Blocked. What is quick has one of its own."""
        raise AssertionError("this guardrail can't look at once")

    async def look_slowly(self, seen: Seen) -> None:
        """The same where it has to wait."""
        self.look(seen)

    def follow(self, seen: Seen) -> Window | None:
        """For one text of a stream; None: the answer has to be seen whole."""
        return None
