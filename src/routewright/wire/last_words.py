"""The last thing that a user said, and the request with a gap in its place, in each dialect that is a conversation."""

from __future__ import annotations

from typing import Any

from routewright.types import Call

_PLACES = {"chat": "messages", "messages": "messages", "responses": "input", "generate_content": "contents"}
_TEXTS = frozenset({"text", "input_text", None})
_TOOLS = ("tools", "functions", "tool_choice", "function_call", "toolConfig", "tool_config")


def last_words(call: Call) -> tuple[str, dict[str, Any]] | None:
    """(what the user said last, the body without it); None where that is no plain text of its own.

    None too where tools or pictures are about: what they make of a question hangs on more than its meaning.
    """
    name = _PLACES.get(call.endpoint)
    body = call.body
    if name is None or call.has_tools or call.has_images or any(body.get(tool) for tool in _TOOLS):
        return None
    items = body.get(name)
    if type(items) is str:
        return items, {**body, name: None}
    if type(items) is not list or not items:
        return None
    last = items[-1]
    if type(last) is not dict or last.get("role", "user") != "user" or last.get("type", "message") != "message":
        return None
    key = "parts" if name == "contents" else "content"
    said = last.get(key)
    gap: Any
    if type(said) is list:
        part: Any = said[0] if len(said) == 1 else None
        if type(part) is not dict or part.get("type") not in _TEXTS or type(part.get("text")) is not str:
            return None
        text, gap = part["text"], [{**part, "text": None}]
    elif type(said) is str:
        text, gap = said, None
    else:
        return None
    return text, {**body, name: [*items[:-1], {**last, key: gap}]}
