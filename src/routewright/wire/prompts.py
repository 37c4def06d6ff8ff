"""The text in a request that a router may look at. Only text parts count."""

from __future__ import annotations

from typing import Any


def text_of(content: Any) -> str:
    """The text of a message's content; empty where it has none."""
    if type(content) is str:
        return content
    if type(content) is list:
        return "\n".join([part["text"] for part in content if type(part.get("text")) is str])
    return ""


def last_question(messages: list[dict[str, Any]]) -> str:
    """What the user said last; the last message's text where no user spoke.

    A turn that only hands back a tool's results asks nothing, so the one before it counts.
    """
    for message in reversed(messages):
        if message["role"] == "user" and (text := text_of(message.get("content"))):
            return text
    return text_of(messages[-1].get("content"))
