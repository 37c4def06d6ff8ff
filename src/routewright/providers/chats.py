"""What a chat asks for beside its messages: read once for all dialects, each of which says it in words of its own."""

from __future__ import annotations

from typing import Any

from routewright.dialect import Chat
from routewright.errors import InvalidRequest
from routewright.providers.translation import objects, unsupported


def function_of(tool: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(function, schema of its parameters) of a tool that is one. Raises InvalidRequest."""
    function = tool.get("function")
    if type(function) is not dict or type(function.get("name")) is not str:
        raise InvalidRequest("a tool needs a function with a name", param=f"{where}.function")
    return function, function.get("parameters") or {"type": "object", "properties": {}}


def functions_of(
    chat: Chat, provider: str, *, is_dropped: bool
) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(tool, function, schema of its parameters) of each. Raises UnsupportedField for tools of other kinds."""
    found = []
    for index, tool in enumerate(objects(chat.get("tools"), "tools")):
        where = f"tools[{index}]"
        if tool.get("type") == "function":
            found.append((tool, *function_of(tool, where)))
        elif not is_dropped:
            raise unsupported(f"{where}.type", provider)
    return found


def format_of(chat: Chat) -> dict[str, Any] | None:
    """None: text; with `schema`, and what else is said of it: an answer by it; empty: any object in JSON."""
    asked = chat.get("response_format")
    kind = asked.get("type") if type(asked) is dict else None
    if asked is None or kind == "text":
        return None
    if kind == "json_object":
        return {}
    if type(asked) is not dict or kind != "json_schema":
        raise InvalidRequest("response_format must be text, json_object or json_schema", param="response_format")
    about = asked.get("json_schema")
    if type(about) is not dict or type(about.get("schema")) is not dict:
        raise InvalidRequest("json_schema needs a schema", param="response_format.json_schema")
    return about
