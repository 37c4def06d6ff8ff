"""OpenAI's Responses as a client dialect: the same request as a chat completion.

Source: OpenAI API reference, "Create a model response", as of 2026-11.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from routewright.dialect import GATEWAY_SEAL, Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.wire.json import encode

_SAME = frozenset(
    {"temperature", "top_p", "parallel_tool_calls", "user", "service_tier", "safety_identifier", "prompt_cache_key"}
)
_READ_APART = frozenset(
    {"model", "input", "instructions", "max_output_tokens", "metadata", "stream", "stream_options", "store", "include",
     "text", "tools", "tool_choice", "reasoning", "truncation", "prompt_cache_retention", "client_metadata"}
)  # fmt: skip
"""Carried over below, or about what OpenAI itself keeps and shows."""
_NEUTRAL = {"background": False, "top_logprobs": 0}


def as_chat(body: dict[str, Any], *, plain: bool, is_dropped: bool) -> Chat:
    """The request as a chat completion. Raises UnsupportedField for what has no place there, unless `is_dropped`."""
    made = _AsChat(plain=plain, is_dropped=is_dropped)
    chat: Chat = {"model": body["model"], "messages": made.messages(body)}
    for name, value in body.items():
        if value is None or name in _READ_APART:
            continue
        if name in _SAME:
            chat[name] = value
        elif value != _NEUTRAL.get(name):
            made.lost(name)
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("stream"):
        chat["stream"] = True
    made.add_text(chat, body.get("text"))
    made.add_tools(chat, body)
    reasoning = body.get("reasoning")
    if type(reasoning) is dict and reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    return chat


class _AsChat:
    """One request's way into the form of a chat."""

    def __init__(self, *, plain: bool, is_dropped: bool) -> None:
        self.plain, self.is_dropped = plain, is_dropped

    def lost(self, param: str) -> None:
        if not self.is_dropped:
            raise UnsupportedField(f"{param} can't be carried over to this model's provider", param=param)

    def messages(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        if body.get("instructions"):
            made.append({"role": "system", "content": body["instructions"]})
        given = body["input"]
        if type(given) is str:
            return [*made, {"role": "user", "content": given}]
        thinking: list[dict[str, Any]] = []
        seen: list[dict[str, Any]] = []
        """What tools gave beside text, for OpenAI, whose tool messages hold text alone: told after them by the user."""
        for index, item in enumerate(given):
            where = f"input[{index}]"
            kind = item.get("type", "message")
            if kind == "reasoning":
                thinking += unsealed(item.get("encrypted_content"))
            elif kind == "function_call":
                call = {"id": item.get("call_id"), "type": "function",
                        "function": {"name": item.get("name"), "arguments": item.get("arguments") or ""}}  # fmt: skip
                last = made[-1] if made else None
                if last is None or last["role"] != "assistant":
                    last = {"role": "assistant", "content": None}
                    made.append(last)
                last.setdefault("tool_calls", []).append(call)
                thinking = self._attach(last, thinking)
            elif kind == "function_call_output":
                output = item.get("output")
                content = output if type(output) is str else self._content(output, f"{where}.output")
                if self.plain and type(content) is list:
                    content, shown = _without_media(content)
                    seen += (
                        [{"type": "text", "text": f"From the tool call {item.get('call_id')}:"}, *shown]
                        if shown
                        else ()
                    )
                made.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
                if seen and _kind(given, index + 1) != "function_call_output":
                    made.append({"role": "user", "content": seen})
                    seen = []
            elif kind == "message":
                role = item["role"]
                message = {"role": role, "content": self._content(item.get("content"), f"{where}.content")}
                if role == "assistant":
                    thinking = self._attach(message, thinking)
                made.append(message)
            elif kind == "item_reference":
                raise InvalidRequest(
                    "names an item that is not kept here: send it whole, as SDKs do where a request says store: false",
                    param=where,
                )
            else:
                self.lost(f"{where}.type")
        return made

    def _attach(self, message: dict[str, Any], thinking: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if thinking and not self.plain:
            message["thinking_blocks"] = [*message.get("thinking_blocks", ()), *thinking]
        return []

    def _content(self, content: Any, where: str) -> Any:
        if type(content) is str:
            return content
        if type(content) is not list:
            raise InvalidRequest("content must be a string or a list of parts", param=where)
        parts = []
        for index, part in enumerate(content):
            made = self._part(part, f"{where}[{index}]")
            if made is not None:
                parts.append(made)
        if len(parts) == 1 and parts[0]["type"] == "text":
            return parts[0]["text"]
        if parts and all(part["type"] == "text" for part in parts):
            return parts
        return parts or ""

    def _part(self, part: Any, where: str) -> dict[str, Any] | None:
        kind = part.get("type") if type(part) is dict else None
        if kind in ("input_text", "output_text", "text") and type(part.get("text")) is str:
            return {"type": "text", "text": part["text"]}
        if kind == "refusal" and type(part.get("refusal")) is str:
            return {"type": "text", "text": part["refusal"]}
        if kind == "input_image" and type(part.get("image_url")) is str:
            image = {"url": part["image_url"]}
            if part.get("detail") in ("low", "high", "auto"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        if kind == "input_file" and type(part.get("file_data")) is str:
            name = part.get("filename")
            about = {"filename": name if type(name) is str else "document.pdf", "file_data": part["file_data"]}
            return {"type": "file", "file": about}
        if kind == "input_file" and type(part.get("file_id")) is str:
            return {"type": "file", "file": {"file_id": part["file_id"]}}
        self.lost(where)
        return None

    def add_text(self, chat: Chat, text: Any) -> None:
        if type(text) is not dict:
            return
        if text.get("verbosity") not in (None, "medium"):
            chat["verbosity"] = text["verbosity"]
        asked = text.get("format")
        kind = asked.get("type") if type(asked) is dict else None
        if type(asked) is dict and kind == "json_schema":
            chat["response_format"] = {
                "type": "json_schema",
                "json_schema": {name: value for name, value in asked.items() if name != "type" and value is not None},
            }
        elif kind == "json_object":
            chat["response_format"] = {"type": "json_object"}
        elif kind not in (None, "text"):
            raise InvalidRequest("format must be text, json_object or json_schema", param="text.format")

    def add_tools(self, chat: Chat, body: dict[str, Any]) -> None:
        tools = body.get("tools")
        if tools is None:
            return
        if type(tools) is not list or any(type(tool) is not dict for tool in tools):
            raise InvalidRequest("tools must be a list of objects", param="tools")
        made = []
        for index, tool in enumerate(tools):
            kind = tool.get("type")
            if kind == "function":
                function = {name: tool[name] for name in ("name", "description", "parameters", "strict")
                            if tool.get(name) is not None}  # fmt: skip
                made.append({"type": "function", "function": function})
            elif type(kind) is str and kind.startswith("web_search") and not self.plain:
                chat["web_search_options"] = {}
            else:
                self.lost(f"tools[{index}]")
        if not made:
            return
        chat["tools"] = made
        choice = body.get("tool_choice")
        if type(choice) is str:
            chat["tool_choice"] = choice
        elif type(choice) is dict and choice.get("type") == "function":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        elif choice is not None:
            self.lost("tool_choice")


def _kind(items: list[Any], index: int) -> Any:
    return items[index].get("type", "message") if index < len(items) else None


def _without_media(parts: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The texts, and what else there is."""
    texts = [part for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    return (texts if others and texts else "" if others else parts), others


def sealed(blocks: list[dict[str, Any]]) -> str:
    """Blocks of thinking as text that a client gives back without reading it."""
    return GATEWAY_SEAL + base64.b64encode(encode(blocks)).decode()


def unsealed(text: Any) -> list[dict[str, Any]]:
    """What `sealed` was given; nothing of another make."""
    if type(text) is not str or not text.startswith(GATEWAY_SEAL):
        return []
    try:
        blocks = msgspec.json.decode(base64.b64decode(text[len(GATEWAY_SEAL) :], validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return []
    if type(blocks) is not list:
        return []
    return [block for block in blocks if type(block) is dict]
