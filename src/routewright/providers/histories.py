"""A conversation that began with one provider and goes on with another: what the second would refuse of the first's.

A route may answer each turn by another model, so a client sends back what any of them said: blocks of thinking, ids of
tool calls. Source: OpenAI API reference (ids of at most 40 characters, no unknown fields); Mistral API (ids of nine
letters and digits).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

MAX_OPENAI_ID = 40
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}\Z")
_FOREIGN = frozenset({"thinking_blocks", "reasoning_content", "provider_specific_fields", "images"})
STRICT = frozenset({"openai", "azure", "mistral"})
"""Providers that refuse a field they don't know, or an id that is not like theirs."""


def own_history(messages: list[Any], provider: str) -> list[Any]:
    """The messages as `provider` takes them; the very same list where nothing had to change."""
    if provider not in STRICT:
        return messages
    changed = False
    made = []
    for message in messages:
        role = message["role"]
        if role == "assistant":
            own = _assistant(message, provider)
        elif role == "tool" and type(call_id := message.get("tool_call_id")) is str:
            known = own_id(call_id, provider)
            own = message if known == call_id else {**message, "tool_call_id": known}
        else:
            own = message
        changed = changed or own is not message
        made.append(own)
    return made if changed else messages


def _assistant(message: dict[str, Any], provider: str) -> dict[str, Any]:
    own = message
    if not _FOREIGN.isdisjoint(message):
        own = {name: value for name, value in message.items() if name not in _FOREIGN}
    calls = message.get("tool_calls")
    if type(calls) is list:
        known = [_call(call, provider) for call in calls]
        if any(one is not other for one, other in zip(known, calls, strict=True)):
            own = {**own, "tool_calls": known}
    return own


def _call(call: Any, provider: str) -> Any:
    if type(call) is not dict or type(call.get("id")) is not str:
        return call
    known = own_id(call["id"], provider)
    if known == call["id"] and "provider_specific_fields" not in call:
        return call
    return {**{name: value for name, value in call.items() if name != "provider_specific_fields"}, "id": known}


def own_id(call_id: str, provider: str) -> str:
    """The id itself where the provider takes it, else a digest: a call and its result get the same."""
    if provider == "mistral":
        return call_id if _MISTRAL_ID.match(call_id) else hashlib.sha256(call_id.encode()).hexdigest()[:9]
    if len(call_id) <= MAX_OPENAI_ID:
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:24]}"
