"""Anthropic's Messages as an upstream: a chat request in OpenAI's form to a request of theirs.

Source: Claude API reference, "Create a Message", "Tool use", "Structured outputs", "Extended and adaptive thinking",
"Prompt caching", as of 2026-11; LiteLLM's rules for what OpenAI's form leaves open (budgets of `reasoning_effort`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.chats import format_of, function_of
from routewright.providers.head import field_lines, head
from routewright.providers.translation import (
    WITHOUT_MEANING,
    arguments_object,
    chat_of,
    data_url,
    drops,
    given_address,
    is_foreign,
    objects,
    refuse_uncarried,
    request_of,
    unsupported,
)
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

PROVIDER = "Anthropic"
VERSION = "2023-06-01"
PATHS = {"messages": "/messages", "count_tokens": "/messages/count_tokens"}

CARRIED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools", "tool_choice",
     "parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "web_search_options", "service_tier"}
)  # fmt: skip
_USUAL = WITHOUT_MEANING | {"max_tokens", "max_completion_tokens"}
"""Most requests say no more than these."""
JSON_TOOL = "json_answer"
"""A tool that nobody has: its input is the answer, where the model has no output format of its own."""

EFFORT_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
LEAST_BUDGET = 1024
_SEARCHES = {"low": 1, "medium": 5, "high": 10}

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")
_TOOL_ID = re.compile(r"[^a-zA-Z0-9_-]")
_SERVER_TOOL = re.compile(r"[a-z_]+_20\d{6}")


@lru_cache(1024)  # of names in configurations
def model_version(model: str) -> tuple[int, int]:
    """(4, 5) of `claude-opus-4-5-20251101`; (0, 0) for a model of others that speaks this dialect."""
    found = _VERSION.search(model)
    if found is None:
        return (99, 0) if "claude" in model else (0, 0)
    return int(found.group(1)), int(found.group(2) or 0)


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    own = ["accept: application/json, text/event-stream"]
    if not any(name.lower() == "anthropic-version" for name, _ in settings.extra_headers):
        own.append(f"anthropic-version: {VERSION}")
    if settings.api_key is not None:
        own.append(f"x-api-key: {settings.api_key.reveal()}")
    fields = field_lines(settings, own)
    base = urlsplit(settings.api_base).path.rstrip("/")
    return {endpoint: head(base + path, fields) for endpoint, path in PATHS.items()}


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Anthropic has no word for."""
    body = messages_body(chat_of(call, deployment), deployment, is_dropped=drops(call, deployment))
    if call.is_stream:
        body["stream"] = True
    return request_of(deployment.request_heads["messages"], body)


def messages_body(chat: Chat, deployment: Deployment, *, is_dropped: bool) -> dict[str, Any]:
    """A chat request as the body of `/v1/messages`."""
    model = deployment.upstream_model
    version = model_version(model)
    says_more = not chat.keys() <= _USUAL
    if says_more:
        refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    system, messages = _messages(chat["messages"])
    body: dict[str, Any] = {"model": model, "max_tokens": 0, "messages": messages}
    if system:
        body["system"] = system
    given_max = chat.get("max_completion_tokens") or chat.get("max_tokens")
    body["max_tokens"] = given_max or deployment.max_output_tokens or _usual_max_tokens(version)
    if says_more:
        add_thinking(body, chat, version, has_own_max=given_max is not None, is_dropped=is_dropped)
        if body.get("thinking", {}).get("type") == "enabled" and _lacks_thinking(messages):
            del body["thinking"]
        _add_sampling(body, chat, version, is_dropped=is_dropped)
        _add_tools(body, chat, version, is_dropped=is_dropped)
        _add_format(body, chat, version, is_dropped=is_dropped)
        _add_tier(body, chat, is_dropped=is_dropped)
    user = chat.get("user") or chat.get("safety_identifier")
    if type(user) is str and len(user) <= 256:
        body["metadata"] = {"user_id": user}
    return body


def _add_tier(body: dict[str, Any], chat: Chat, *, is_dropped: bool) -> None:
    tier = chat.get("service_tier")
    if tier == "default":
        body["service_tier"] = "standard_only"
    elif tier in ("auto", "standard_only"):
        body["service_tier"] = tier
    elif tier is not None and not is_dropped:
        raise unsupported("service_tier", PROVIDER)


def _lacks_thinking(turns: list[dict[str, Any]]) -> bool:
    """Whether the last assistant's turn calls tools without the thinking before them, because the client did not give
    it back or another model wrote it: Anthropic refuses to think on from there."""
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            blocks = turn["content"]
            is_thought = blocks[0]["type"] in ("thinking", "redacted_thinking")
            return not is_thought and any(block["type"] == "tool_use" for block in blocks)
    return False


def _usual_max_tokens(version: tuple[int, int]) -> int:
    """Anthropic asks for a bound, OpenAI's clients give none: the most that every model of that age can write."""
    if version >= (3, 7):
        return 32_000
    return 8192 if version >= (3, 5) else 4096


def add_thinking(
    body: dict[str, Any], chat: Chat, version: tuple[int, int], *, has_own_max: bool, is_dropped: bool
) -> None:
    """`thinking` as it was given, or what `reasoning_effort` means to this model; needs `max_tokens` in the body."""
    thinking, effort = chat.get("thinking"), chat.get("reasoning_effort")
    if type(thinking) is dict:
        body["thinking"] = thinking
        budget = thinking.get("budget_tokens")
        if type(budget) is int and not has_own_max and body["max_tokens"] <= budget:
            body["max_tokens"] = budget + _usual_max_tokens(version)
        return
    if type(effort) is dict:
        effort = effort.get("effort")
    if effort is None:
        return
    if effort == "none":
        if version >= (4, 6):
            body["thinking"] = {"type": "disabled"}
        return
    if type(effort) is not str or effort not in EFFORTS or version < (3, 7):
        if is_dropped:
            return
        raise unsupported("reasoning_effort", PROVIDER, "this model has no such effort")
    if version >= (4, 6):
        # What is shown of the thinking is the client's `reasoning_content`; newer models hide it unless asked.
        body["thinking"] = {"type": "adaptive", "display": "summarized"} if version >= (4, 7) else {"type": "adaptive"}
        word = EFFORTS[effort]
        body["output_config"] = {"effort": "max" if word == "xhigh" and version < (4, 7) else word}
        return
    budget = min(EFFORT_BUDGETS[effort], body["max_tokens"] - 1)
    if budget >= LEAST_BUDGET:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _add_sampling(body: dict[str, Any], chat: Chat, version: tuple[int, int], *, is_dropped: bool) -> None:
    is_thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    for name, usual in (("temperature", 1), ("top_p", 1), ("top_k", None)):
        value = chat.get(name)
        if value is None or (value == usual and name != "top_k"):
            continue
        why = ""
        if version >= (4, 7):
            why = "this model samples by itself"
        elif is_thinking and name in ("temperature", "top_k"):
            why = "not together with thinking"
        elif name == "temperature" and (type(value) not in (int, float) or not 0 <= value <= 1):
            why = "it lies in 0..1 there"
        if not why:
            body[name] = value
        elif not is_dropped:
            raise unsupported(name, PROVIDER, why)
    stop = chat.get("stop")
    if stop:
        sequences = [stop] if type(stop) is str else stop
        if type(sequences) is not list or any(type(sequence) is not str for sequence in sequences):
            raise InvalidRequest("stop must be a string or a list of strings", param="stop")
        kept = [sequence for sequence in sequences if sequence.strip()]
        if len(kept) != len(sequences) and not is_dropped:
            raise unsupported("stop", PROVIDER, "a stop sequence can't be white space alone")
        if kept:
            body["stop_sequences"] = kept


# --- tools and formats --------------------------------------------------------------------------------------------


def _add_tools(body: dict[str, Any], chat: Chat, version: tuple[int, int], *, is_dropped: bool) -> None:
    tools = []
    for index, tool in enumerate(objects(chat.get("tools"), "tools")):
        where = f"tools[{index}]"
        kind = tool.get("type")
        if kind == "function":
            tools.append(_tool(tool, where, version))
        elif type(kind) is str and _SERVER_TOOL.fullmatch(kind):
            tools.append(tool)  # one of Anthropic's own, as LiteLLM's clients write it
        elif not is_dropped:
            raise unsupported(f"{where}.type", PROVIDER)
    search = chat.get("web_search_options")
    if type(search) is dict:
        own: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
        size = search.get("search_context_size")
        own["max_uses"] = _SEARCHES[size] if type(size) is str and size in _SEARCHES else _SEARCHES["medium"]
        place = search.get("user_location")
        if type(place) is dict and type(place.get("approximate")) is dict:
            own["user_location"] = {"type": "approximate", **place["approximate"]}
        tools.append(own)
    if not tools:
        return
    body["tools"] = tools
    choice = _tool_choice(chat.get("tool_choice"), is_dropped=is_dropped)
    if chat.get("parallel_tool_calls") is False:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        if choice["type"] == "none":
            del choice["disable_parallel_tool_use"]
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: dict[str, Any], where: str, version: tuple[int, int]) -> dict[str, Any]:
    function, schema = function_of(tool, where)
    if type(schema) is not dict:
        raise InvalidRequest("parameters must be a JSON schema", param=f"{where}.function.parameters")
    made: dict[str, Any] = {
        "name": function["name"],
        "input_schema": schema if schema.get("type") == "object" else {"properties": {}, **schema, "type": "object"},
    }
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("strict") is True and version >= (4, 5) and _is_native_schema(schema):
        made["strict"] = True
    cache_control = tool.get("cache_control") or function.get("cache_control")
    if cache_control:
        made["cache_control"] = cache_control
    return made


def _tool_choice(choice: Any, *, is_dropped: bool) -> dict[str, Any] | None:
    if choice is None:
        return None
    if type(choice) is str and choice in ("auto", "none"):
        return {"type": choice}
    if choice == "required":
        return {"type": "any"}
    if type(choice) is dict:
        function = choice.get("function")
        if choice.get("type") == "function" and type(function) is dict and type(function.get("name")) is str:
            return {"type": "tool", "name": function["name"]}
    if is_dropped:
        return None
    raise unsupported("tool_choice", PROVIDER)


def _add_format(body: dict[str, Any], chat: Chat, version: tuple[int, int], *, is_dropped: bool) -> None:
    """JSON as the answer: by the model's own output format, else as the input of a tool that it has to use."""
    asked = format_of(chat)
    if asked is None:
        return
    schema: dict[str, Any] = asked["schema"] if asked else {"type": "object", "additionalProperties": True}
    if asked and version >= (4, 5) and _is_native_schema(schema):
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
        return
    if schema.get("type") != "object":
        if is_dropped:
            return
        raise unsupported("response_format", PROVIDER, "the schema's top level must be an object")
    own_tools = body.get("tools", [])
    tool = {"name": JSON_TOOL, "description": "Give the whole answer as this object.", "input_schema": schema}
    body["tools"] = [*own_tools, tool]
    if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        return  # a tool can't be forced then; the model is told what the tool is for
    choice = body.get("tool_choice", {}).get("type", "auto")
    if not own_tools or choice == "none":
        body["tool_choice"] = {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}
    elif choice == "auto":
        body["tool_choice"] = {"type": "any"}


_NATIVE_WORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "allOf", "$ref",
     "$defs", "definitions", "description", "title", "default", "$schema"}
)  # fmt: skip
"""Of JSON Schema, what the structured outputs take."""


def _is_native_schema(schema: Any) -> bool:
    """Whether the structured outputs take this schema: closed objects, and no bounds on what values may be."""
    todo = [schema]
    while todo:
        item = todo.pop()
        if type(item) is bool:
            continue
        if type(item) is not dict or not item.keys() <= _NATIVE_WORDS:
            return False
        if (item.get("type") == "object" or "properties" in item) and item.get("additionalProperties") is not False:
            return False
        for name in ("properties", "$defs", "definitions"):
            inner = item.get(name)
            if inner is not None:
                if type(inner) is not dict:
                    return False
                todo.extend(inner.values())
        for name in ("anyOf", "allOf"):
            inner = item.get(name)
            if inner is not None:
                if type(inner) is not list:
                    return False
                todo.extend(inner)
        if "items" in item:
            todo.append(item["items"])
    return True


# --- messages -----------------------------------------------------------------------------------------------------


def _messages(messages: list[dict[str, Any]]) -> tuple[str | list[dict[str, Any]], list[dict[str, Any]]]:
    """(system, messages): instructions apart, tool results in the user's turn, no two turns of one side in a row."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        role, where = message["role"], f"messages[{index}]"
        if role in ("system", "developer"):
            system += _blocks(message, where, only_text=True)
            continue
        if role == "user":
            side, blocks = "user", _blocks(message, where)
        elif role == "assistant":
            side, blocks = "assistant", _assistant_blocks(message, where)
        elif role == "tool":
            side, blocks = "user", [_tool_result(message, where)]
        else:
            raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")
        if not blocks:
            continue  # an empty turn, which Anthropic refuses
        if turns and turns[-1]["role"] == side:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": side, "content": blocks})
    if turns and turns[-1]["role"] == "assistant":
        last = turns[-1]["content"][-1]
        if last["type"] == "text":  # a beginning that the model is to go on from; it must not end in white space
            last["text"] = last["text"].rstrip() or "."
    if len(system) == 1 and len(system[0]) == 2:
        return system[0]["text"], turns
    return system, turns


def _blocks(message: dict[str, Any], where: str, *, only_text: bool = False) -> list[dict[str, Any]]:
    content = message.get("content")
    if type(content) is str:
        if not content:
            return []
        block: dict[str, Any] = {"type": "text", "text": content}
        if "cache_control" in message:
            block["cache_control"] = message["cache_control"]
        return [block]
    blocks = []
    for index, part in enumerate(content or ()):
        made = _block(part, f"{where}.content[{index}]", only_text=only_text)
        if made is not None:
            if part.get("cache_control"):
                made["cache_control"] = part["cache_control"]
            blocks.append(made)
    return blocks


def _block(part: dict[str, Any], where: str, *, only_text: bool) -> dict[str, Any] | None:
    kind = part["type"]
    if kind in ("text", "refusal"):
        text = part.get(kind) or part.get("text")
        if type(text) is not str and text is not None:
            raise InvalidRequest("text must be a string", param=where)
        return {"type": "text", "text": text} if text else None
    if not only_text:
        if kind == "image_url":
            url = given_address(part, "image_url", where)
            return {"type": "image", "source": _source(url, where)}
        if kind == "file":
            return _document(part, where)
        if kind in ("document", "search_result") and len(part) > 1:
            return dict(part)  # Anthropic's own, as LiteLLM's clients write it
    raise UnsupportedField(f"{PROVIDER} takes no part like this one here", param=where)


def _source(url: str, where: str) -> dict[str, Any]:
    """Inline data, or an address that Anthropic fetches; the gateway itself fetches nothing."""
    inline = data_url(url)
    if inline is not None:
        return {"type": "base64", "media_type": inline[0], "data": inline[1]}
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    raise InvalidRequest("expected a data: address in base64, or an https address", param=where)


def _document(part: dict[str, Any], where: str) -> dict[str, Any]:
    file = part.get("file")
    given = file.get("file_data") if type(file) is dict else None
    if type(file) is not dict or type(given) is not str:
        raise UnsupportedField(f"a file has to be sent to {PROVIDER} as file_data", param=where)
    source = _source(given, where)
    if source.get("media_type") == "text/plain":
        raise UnsupportedField(f"text goes to {PROVIDER} as a text part", param=where)
    block: dict[str, Any] = {"type": "document", "source": source}
    if type(file.get("filename")) is str:
        block["title"] = file["filename"]
    return block


def _assistant_blocks(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Thinking first, as Anthropic wants it back, then what was said, then the tools that were called."""
    blocks: list[dict[str, Any]] = []
    for block in objects(message.get("thinking_blocks"), f"{where}.thinking_blocks"):
        if block.get("type") in ("thinking", "redacted_thinking") and not is_foreign(block):
            blocks.append(block)
    blocks += _blocks(message, where, only_text=True)
    for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
        at = f"{where}.tool_calls[{index}]"
        function = call.get("function")
        if type(function) is not dict or type(function.get("name")) is not str:
            raise UnsupportedField(f"{PROVIDER} knows calls of functions only", param=at)
        blocks.append(
            {
                "type": "tool_use",
                "id": tool_id(call.get("id"), at),
                "name": function["name"],
                "input": arguments_object(function.get("arguments"), f"{at}.function.arguments"),
            }
        )
    return blocks


def _tool_result(message: dict[str, Any], where: str) -> dict[str, Any]:
    content = message.get("content")
    result: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": tool_id(message.get("tool_call_id"), f"{where}.tool_call_id"),
        "content": content if type(content) is str else _blocks(message, where),
    }
    if message.get("is_error") is True:
        result["is_error"] = True
    if message.get("cache_control"):
        result["cache_control"] = message["cache_control"]
    return result


def tool_id(given: Any, where: str) -> str:
    """Ids of other providers may hold what Anthropic's may not; both sides of a pair are changed alike."""
    if type(given) is not str or not given:
        raise InvalidRequest("a tool call and its result need an id", param=where)
    return _TOOL_ID.sub("_", given)
