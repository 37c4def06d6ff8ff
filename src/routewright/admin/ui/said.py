"""What was asked and answered, as it is kept, in pieces that a page can show as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """One message: whose it is, what it says, and a class of style."""

    role: str
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Said:
    """`settings`: what the request held beside its messages, as JSON; `is_cut`: one of both is kept in part."""

    pieces: Sequence[Piece]
    settings: str
    is_cut: bool


def read(texts: Sequence[str] | None) -> Said | None:
    """None where nothing is kept. What is in no known form is shown as it lies there."""
    if texts is None:
        return None
    asked, answered = _decoded(texts[0]), _decoded(texts[1])
    settings: dict[str, Any] = {}
    pieces: list[Piece] = []
    if type(asked) is dict and not asked.get("truncated"):
        settings = {name: value for name, value in asked.items() if name not in ("messages", "input", "prompt")}
        for name in ("messages", "input", "prompt"):
            if name in asked:
                pieces += _messages(asked[name], "user")
    if not pieces:
        settings = {}
        pieces = [Piece("request", _plain(asked), "user")]
    choices = answered.get("choices") if type(answered) is dict else None
    replies: list[Piece] = []
    for choice in choices if type(choices) is list else ():
        if type(choice) is dict:
            replies += _messages([choice.get("message") or {"content": choice.get("text")}], "assistant")
    if not replies and texts[1]:
        replies = [Piece("answer", _plain(answered), "assistant")]
    is_cut = any(type(each) is dict and each.get("truncated") is True for each in (asked, answered))
    return Said([*pieces, *replies], json.dumps(settings, indent=2, ensure_ascii=False) if settings else "", is_cut)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _messages(value: Any, role: str) -> Iterator[Piece]:
    if type(value) is not list or not all(type(each) is dict for each in value):
        yield Piece(role, _plain(value), "assistant" if role == "assistant" else "user")
        return
    for message in value:
        whose = message.get("role")
        whose = whose if type(whose) is str else role
        text = _text(message.get("content"))
        more = {name: part for name, part in message.items() if name not in ("role", "content", "index") and part}
        if more:
            text += ("\n\n" if text else "") + json.dumps(more, indent=2, ensure_ascii=False)
        yield Piece(whose, text, "assistant" if whose == "assistant" else "user")


def _text(content: Any) -> str:
    """The parts that are text as they are, the others as JSON."""
    if content is None or type(content) is str:
        return content or ""
    if type(content) is list:
        return "\n".join(
            part["text"] if type(part) is dict and type(part.get("text")) is str else _plain(part) for part in content
        )
    return _plain(content)


def _plain(value: Any) -> str:
    if type(value) is dict and value.get("truncated") is True and type(value.get("text")) is str:
        return str(value["text"])
    return value if type(value) is str else json.dumps(value, indent=2, ensure_ascii=False)
