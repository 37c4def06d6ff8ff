"""The JSON schema that a request asks its answer to keep, in each client's dialect."""

from __future__ import annotations

from typing import Any

from routewright.types import Call
from routewright.wire.messages_chat import format_of


def schema_of(call: Call) -> Any:
    """None where none is asked for."""
    body = call.body
    if call.endpoint == "chat":
        asked = body.get("response_format")
        inner = asked.get("json_schema") if type(asked) is dict else None
        return inner.get("schema") if type(inner) is dict else None
    if call.endpoint == "messages":
        asked = format_of(body)
        return asked.get("schema") if type(asked) is dict else None
    if call.endpoint == "responses":
        text = body.get("text")
        asked = text.get("format") if type(text) is dict else None
        return asked.get("schema") if type(asked) is dict else None
    if call.endpoint == "generate_content":
        config = body.get("generationConfig")
        return config.get("responseJsonSchema") if type(config) is dict else None
    return None
