"""Anthropic's Messages as a client dialect: the same request in OpenAI's form, for providers of other dialects.

Source: Claude API reference, "Create a Message", as of 2026-11; OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.wire.json import encode

MAX_USER_CHARS = 64

_SILENT = frozenset(
    {"model", "messages", "system", "max_tokens", "metadata", "stream", "stop_sequences", "temperature", "top_p",
     "top_k", "tools", "tool_choice", "thinking", "output_config", "output_format", "service_tier", "cache_control",
     "context_management", "diagnostics", "betas"}
)  # fmt: skip
"""Carried over, or hints about how Anthropic should work: without them the same is asked."""


def format_of(body: dict[str, Any]) -> Any:
    """The JSON format asked for; it stood at the top level while it was a beta."""
    config = body.get("output_config")
    return (config.get("format") if type(config) is dict else None) or body.get("output_format")


def as_chat(body: dict[str, Any], *, plain: bool, is_dropped: bool) -> Chat:
    """The request as OpenAI's. Raises UnsupportedField for what has no place there, unless that `is_dropped`."""
    made = _AsChat(plain=plain, is_dropped=is_dropped)
    for name in body.keys() - _SILENT:
        if body[name] is not None:
            made.lost(name)
    chat: Chat = {"model": body["model"], "messages": made.messages(body)}
    if "max_tokens" in body:
        chat["max_tokens"] = body["max_tokens"]
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is not None:
            chat[name] = body[name]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if body.get("stream"):
        chat["stream"] = True
    tools = made.tools(body.get("tools") or [])
    if tools:
        chat["tools"] = tools
        made.add_choice(chat, body.get("tool_choice"))
    asked = format_of(body)
    if type(asked) is dict and asked.get("type") == "json_schema" and type(asked.get("schema")) is dict:
        schema = {"name": "answer", "schema": asked["schema"], "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    effort = _effort(body)
    if effort is not None:
        chat["reasoning_effort"] = effort
    metadata = body.get("metadata")
    user = metadata.get("user_id") if type(metadata) is dict else None
    if type(user) is str and user:
        # OpenAI takes 64 characters; Claude Code's are longer, and a digest tells users apart as well.
        chat["user"] = user if len(user) <= MAX_USER_CHARS else hashlib.sha256(user.encode()).hexdigest()
    return chat


def _effort(body: dict[str, Any]) -> str | None:
    """`thinking` as `reasoning_effort`, by LiteLLM's steps. None: the client says nothing of it."""
    thinking = body.get("thinking")
    if type(thinking) is not dict:
        return None
    if thinking.get("type") == "disabled":
        return "none"
    budget = thinking.get("budget_tokens")
    if type(budget) is int:
        return "high" if budget >= 10_000 else "medium" if budget >= 5000 else "low" if budget >= 2000 else "minimal"
    config = body.get("output_config")
    effort = config.get("effort") if type(config) is dict else None
    return effort if effort in ("low", "medium", "high") else "high" if effort in ("xhigh", "max") else "medium"


class _AsChat:
    """One request's way into OpenAI's form."""

    def __init__(self, *, plain: bool, is_dropped: bool) -> None:
        self.plain, self.is_dropped = plain, is_dropped

    def lost(self, param: str) -> None:
        if not self.is_dropped:
            raise UnsupportedField(
                f"{param} can't be carried over to this model's provider; with drop_params: true it is left out",
                param=param,
            )

    def messages(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        system = body.get("system")
        if system:
            made.append({"role": "system", "content": self._content(system, "system")})
        for index, message in enumerate(body["messages"]):
            role, content, where = message["role"], message["content"], f"messages.{index}.content"
            if role == "assistant":
                made.append(self._assistant(content, where))
            elif role == "system":
                made.append({"role": "system", "content": self._content(content, where)})
            else:
                made += self._user(content, where)
        return made

    def _user(self, content: Any, where: str) -> Iterator[dict[str, Any]]:
        """A user's turn: results of tools first, each a message of its own, then what the user said."""
        if type(content) is str:
            yield {"role": "user", "content": content}
            return
        said: list[dict[str, Any]] = []
        for index, block in enumerate(content):
            at = f"{where}.{index}"
            if block["type"] != "tool_result":
                said += self._parts(block, at)
                continue
            given = block.get("content")
            parts = [] if given is None else self._parts_of(given, f"{at}.content")
            if self.plain:
                # OpenAI's tool messages hold text alone: pictures come after them, in the user's name.
                seen = [part for part in parts if part["type"] != "text"]
                if seen:
                    said += [{"type": "text", "text": f"From the tool call {block.get('tool_use_id')}:"}, *seen]
                parts = [part for part in parts if part["type"] == "text"]
            result: dict[str, Any] = {"role": "tool", "tool_call_id": block.get("tool_use_id")}
            result["content"] = _shortened(parts)
            if not self.plain:
                if block.get("is_error") is True:
                    result["is_error"] = True
                if block.get("cache_control"):
                    result["cache_control"] = block["cache_control"]
            yield result
        if said:
            yield {"role": "user", "content": _shortened(said)}

    def _assistant(self, content: Any, where: str) -> dict[str, Any]:
        if type(content) is str:
            return {"role": "assistant", "content": content}
        message: dict[str, Any] = {"role": "assistant", "content": None}
        texts: list[dict[str, Any]] = []
        thinking: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(content):
            kind = block["type"]
            if kind == "text":
                texts += self._parts(block, f"{where}.{index}")
            elif kind in ("thinking", "redacted_thinking"):
                thinking.append(block)
            elif kind == "tool_use":
                function = {"name": block.get("name"), "arguments": encode(block.get("input") or {}).decode()}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            else:
                self.lost(f"{where}.{index}")
        if texts or not calls:
            message["content"] = _shortened(texts)
        if calls:
            message["tool_calls"] = calls
        if thinking and not self.plain:
            message["thinking_blocks"] = thinking
        return message

    def _content(self, content: Any, where: str) -> Any:
        return _shortened(self._parts_of(content, where))

    def _parts_of(self, content: Any, where: str) -> list[dict[str, Any]]:
        if type(content) is str:
            return [{"type": "text", "text": content}]
        parts: list[dict[str, Any]] = []
        for index, block in enumerate(content):
            parts += self._parts(block, f"{where}.{index}")
        return parts

    def _parts(self, block: dict[str, Any], where: str) -> list[dict[str, Any]]:
        """One block as parts; none where it is left out."""
        kind = block["type"]
        made: dict[str, Any] | None = None
        if kind == "text":
            made = {"type": "text", "text": block.get("text") or ""}
        elif kind in ("image", "document"):
            source = block.get("source")
            if type(source) is dict:
                inner = source.get("content")
                if kind == "document" and source.get("type") == "content" and type(inner) in (str, list):
                    return self._inner(inner, where)
                made = _image(source) if kind == "image" else _document(source, block.get("title"))
        if made is None:
            self.lost(where)
            return []
        if not self.plain and block.get("cache_control"):
            made["cache_control"] = block["cache_control"]
        return [made]

    def _inner(self, content: Any, where: str) -> list[dict[str, Any]]:
        """A document that is made of blocks itself."""
        if type(content) is list and any(type(block) is not dict or "type" not in block for block in content):
            raise InvalidRequest("each block must be an object with a type", param=f"{where}.source.content")
        if type(content) is list and any(block["type"] == "document" for block in content):
            raise InvalidRequest("a document can't hold another", param=f"{where}.source.content")
        return self._parts_of(content, f"{where}.source.content")

    def tools(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for index, tool in enumerate(tools):
            if tool.get("type") not in (None, "custom"):
                self.lost(f"tools.{index}")  # Anthropic's own: no other provider runs or knows it
                continue
            schema = tool.get("input_schema")
            if type(schema) is dict and schema.get("type") == "object" and "properties" not in schema:
                schema = {**schema, "properties": {}}  # OpenAI refuses an object without
            function: dict[str, Any] = {"name": tool.get("name"), "parameters": schema}
            if type(tool.get("description")) is str:
                function["description"] = tool["description"]
            if tool.get("strict") is True:
                function["strict"] = True
            entry: dict[str, Any] = {"type": "function", "function": function}
            if not self.plain and tool.get("cache_control"):
                entry["cache_control"] = tool["cache_control"]
            made.append(entry)
        return made

    def add_choice(self, chat: Chat, choice: Any) -> None:
        if choice is None:
            return
        kind = choice.get("type") if type(choice) is dict else None
        if kind in ("auto", "none"):
            chat["tool_choice"] = kind
        elif kind == "any":
            chat["tool_choice"] = "required"
        elif kind == "tool":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        else:
            raise InvalidRequest("tool_choice must be auto, any, tool or none", param="tool_choice")
        if choice.get("disable_parallel_tool_use") is True:
            chat["parallel_tool_calls"] = False


def _shortened(parts: list[dict[str, Any]]) -> Any:
    """Text alone as a string, which every server takes."""
    if not parts:
        return ""
    if len(parts) == 1 and len(parts[0]) == 2 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _image(source: dict[str, Any]) -> dict[str, Any] | None:
    if source.get("type") == "base64":
        return {
            "type": "image_url",
            "image_url": {"url": f"data:{source.get('media_type')};base64,{source.get('data')}"},
        }
    if source.get("type") == "url" and type(source.get("url")) is str:
        return {"type": "image_url", "image_url": {"url": source["url"]}}
    return None  # a file in Anthropic's store


def _document(source: dict[str, Any], title: Any) -> dict[str, Any] | None:
    if source.get("type") == "text" and type(source.get("data")) is str:
        return {"type": "text", "text": source["data"]}
    if source.get("type") == "base64":
        data = f"data:{source.get('media_type')};base64,{source.get('data')}"
        name = title if type(title) is str and title else "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": data}}
    return None
