"""OpenAI's Responses as an upstream: a chat request in OpenAI's form to one of theirs.

Nothing is kept there: what is kept is the gateway's matter, by owner. So what a model thought has to travel: it is
asked for sealed, shown to clients as a block of thinking with a signature, and given back as the item that it was.
Source: OpenAI API reference, "Create a model response"; Azure OpenAI reference, "Responses API", as of 2026-11.
"""

from __future__ import annotations

import re
from typing import Any

from routewright.dialect import OPENAI_SEAL, Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.chats import format_of, functions_of
from routewright.providers.histories import own_id
from routewright.providers.translation import (
    chat_of,
    drops,
    given_address,
    objects,
    refuse_uncarried,
    request_of,
    unsupported,
)
from routewright.types import Call, Deployment

PROVIDER = "OpenAI's Responses"
CARRIED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "tools", "tool_choice", "response_format",
     "reasoning_effort", "thinking", "parallel_tool_calls", "service_tier", "verbosity", "web_search_options",
     "truncation", "prompt_cache_options"}
)  # fmt: skip
_SAME = ("temperature", "top_p", "parallel_tool_calls", "service_tier", "safety_identifier", "prompt_cache_key",
         "prompt_cache_retention", "prompt_cache_options", "user", "truncation")  # fmt: skip
LEAST_OUTPUT_TOKENS = 16
"""A lower bound on an answer's tokens is refused there; chats may ask for one token."""
SEALED_THINKING = "reasoning.encrypted_content"
_REASONS = re.compile(r"(?:^|/)(?:o[1-9]|gpt-[5-9](?!.*-chat)|gpt-oss|codex-mini|computer-use)")


def reasons(model: str) -> bool:
    """Whether a model thinks before it answers, by its name; others refuse to be asked for their thinking."""
    return _REASONS.search(model) is not None


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Responses have no word for."""
    body = responses_body(
        chat_of(call, deployment),
        deployment,
        is_dropped=drops(call, deployment),
        shows=call.client.shows_thinking(call),
    )
    if call.is_stream:
        body["stream"] = True
    return request(body, deployment)


def request(body: dict[str, Any], deployment: Deployment) -> bytes:
    return request_of(deployment.request_heads["responses"], body)


def responses_body(chat: Chat, deployment: Deployment, *, is_dropped: bool, shows: bool = False) -> dict[str, Any]:
    """A chat request as the body of `/responses`. `shows`: the client wants to see what the model thinks."""
    refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    items: list[dict[str, Any]] = []
    for index, message in enumerate(chat["messages"]):
        items += _items(message, f"messages[{index}]")
    body: dict[str, Any] = {"model": deployment.upstream_model, "input": items, "store": False}
    for name in _SAME:
        if chat.get(name) is not None:
            body[name] = chat[name]
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if most is not None:
        body["max_output_tokens"] = max(most, LEAST_OUTPUT_TOKENS)
    if reasons(deployment.upstream_model):
        body["include"] = [SEALED_THINKING]
        _add_reasoning(body, chat, shows=shows)
    _add_text(body, chat)
    _add_tools(body, chat, is_dropped=is_dropped)
    for name in deployment.drop_params:
        body.pop(name, None)
    return body


def _add_reasoning(body: dict[str, Any], chat: Chat, *, shows: bool) -> None:
    given, thinking = chat.get("reasoning_effort"), chat.get("thinking")
    reasoning: dict[str, Any] = {}
    if type(given) is dict:  # LiteLLM's way to say more than how much
        reasoning = {name: given[name] for name in ("effort", "summary") if given.get(name) is not None}
    elif given is not None:
        reasoning["effort"] = given
    elif type(thinking) is dict and thinking.get("type") == "disabled":
        reasoning["effort"] = "none"
    elif type(thinking) is dict and type(budget := thinking.get("budget_tokens")) is int:
        reasoning["effort"] = "high" if budget >= 10_000 else "medium" if budget >= 5000 else "low"
    if shows:
        reasoning.setdefault("summary", "auto")
    if reasoning:
        body["reasoning"] = reasoning


def _add_text(body: dict[str, Any], chat: Chat) -> None:
    text: dict[str, Any] = {}
    if chat.get("verbosity") is not None:
        text["verbosity"] = chat["verbosity"]
    asked = format_of(chat)
    if asked:
        names = ("name", "description", "schema", "strict")
        known = {name: asked[name] for name in names if asked.get(name) is not None}
        text["format"] = {"type": "json_schema", "name": "answer", **known}
    elif asked is not None:
        text["format"] = {"type": "json_object"}
    if text:
        body["text"] = text


# --- tools --------------------------------------------------------------------------------------------------------


def _add_tools(body: dict[str, Any], chat: Chat, *, is_dropped: bool) -> None:
    tools: list[dict[str, Any]] = []
    for _, function, schema in functions_of(chat, PROVIDER, is_dropped=is_dropped):
        made: dict[str, Any] = {"type": "function", "name": function["name"], "parameters": schema}
        if function.get("description"):
            made["description"] = function["description"]
        made["strict"] = function.get("strict") is True  # where nothing is said a chat's are not strict, theirs are
        tools.append(made)
    search = chat.get("web_search_options")
    if type(search) is dict:
        tools.append(_web_search(search))
    if not tools:
        return
    body["tools"] = tools
    choice = _choice(chat.get("tool_choice"))
    if choice is not None:
        body["tool_choice"] = choice
    elif chat.get("tool_choice") is not None and not is_dropped:
        raise unsupported("tool_choice", PROVIDER)


def _web_search(given: dict[str, Any]) -> dict[str, Any]:
    tool: dict[str, Any] = {"type": "web_search"}
    if given.get("search_context_size") is not None:
        tool["search_context_size"] = given["search_context_size"]
    place = given.get("user_location")
    if type(place) is dict:
        near = place.get("approximate")
        tool["user_location"] = {"type": "approximate", **(near if type(near) is dict else place)}
    return tool


def _choice(given: Any) -> Any:
    """Which tools are to be used; None where it can't be said."""
    if given in ("auto", "none", "required"):
        return given
    kind = given.get("type") if type(given) is dict else None
    if kind == "function":
        return _named(given)
    allowed = given.get("allowed_tools") if kind == "allowed_tools" else None
    if type(allowed) is dict and type(allowed.get("tools")) is list:
        named = [_named(tool) for tool in allowed["tools"]]
        if None not in named:
            return {"type": "allowed_tools", "mode": allowed.get("mode") or "auto", "tools": named}
    return None


def _named(given: Any) -> dict[str, Any] | None:
    function = given.get("function") if type(given) is dict else None
    if type(function) is not dict or type(function.get("name")) is not str:
        return None
    return {"type": "function", "name": function["name"]}


# --- messages -----------------------------------------------------------------------------------------------------


def _items(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    role = message["role"]
    if role in ("system", "developer", "user"):
        content = _parts(message.get("content"), f"{where}.content")
        return [{"type": "message", "role": role, "content": content}]
    if role == "tool":
        content = _parts(message.get("content"), f"{where}.content")
        call_id = _call_id(message.get("tool_call_id"), f"{where}.tool_call_id")
        return [{"type": "function_call_output", "call_id": call_id, "output": content}]
    if role == "assistant":
        return _assistant(message, where)
    raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")


def _call_id(given: Any, where: str) -> str:
    if type(given) is not str or not given:
        raise InvalidRequest("a tool call and its result need an id", param=where)
    return own_id(given, "openai")


def _parts(content: Any, where: str) -> Any:
    if type(content) is not list:
        return content or ""
    made: list[dict[str, Any]] = []
    for index, part in enumerate(content):
        at, kind = f"{where}[{index}]", part["type"]
        if kind in ("text", "refusal"):
            made.append({"type": "input_text", "text": part.get(kind) or ""})
        elif kind == "image_url":
            image = {"type": "input_image", "image_url": given_address(part, "image_url", at)}
            given = part["image_url"]
            detail = given.get("detail") if type(given) is dict else None
            made.append({**image, "detail": detail if type(detail) is str else "auto"})
        elif kind == "file":
            file = part.get("file")
            if type(file) is dict and type(file.get("file_id")) is str:
                made.append({"type": "input_file", "file_id": file["file_id"]})
                continue
            if type(file) is not dict or type(file.get("file_data")) is not str:
                raise UnsupportedField("a file has to be sent as file_data or file_id", param=at)
            name = file.get("filename")
            made.append({"type": "input_file", "filename": name if type(name) is str else "document.pdf",
                         "file_data": file["file_data"]})  # fmt: skip
        else:
            raise UnsupportedField(f"{PROVIDER} take no part like this one here", param=at)
    return made


def _assistant(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """What was thought, then what was said, then the tools that were called: the order in which it came."""
    items = [
        item
        for block in objects(message.get("thinking_blocks"), f"{where}.thinking_blocks")
        if (item := unsealed(block)) is not None
    ]
    said: list[dict[str, Any]] = []
    content = message.get("content")
    if type(content) is str and content:
        said.append({"type": "output_text", "text": content})
    elif type(content) is list:
        for index, part in enumerate(content):
            if part["type"] not in ("text", "refusal"):
                raise UnsupportedField(f"{PROVIDER} take only text here", param=f"{where}.content[{index}]")
            kind = "output_text" if part["type"] == "text" else "refusal"
            said.append({"type": kind, part["type"]: part.get(part["type"]) or ""})
    if type(message.get("refusal")) is str:
        said.append({"type": "refusal", "refusal": message["refusal"]})
    if said:
        items.append({"type": "message", "role": "assistant", "content": said})
    for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
        at = f"{where}.tool_calls[{index}]"
        function = call.get("function")
        if type(function) is not dict or type(function.get("name")) is not str:
            raise UnsupportedField(f"{PROVIDER} are told of calls of functions only", param=at)
        items.append({"type": "function_call", "call_id": _call_id(call.get("id"), f"{at}.id"),
                      "name": function["name"], "arguments": function.get("arguments") or "{}"})  # fmt: skip
    return items


# --- thinking -----------------------------------------------------------------------------------------------------


def sealed(item_id: str, encrypted: str) -> str:
    """What OpenAI sealed of its thinking, as a signature that a client gives back without reading it."""
    return f"{OPENAI_SEAL}{item_id}.{encrypted}"


def unsealed(block: dict[str, Any]) -> dict[str, Any] | None:
    """The item of thinking that a block stands for; None where another provider's model thought it."""
    seal = block.get("signature") if block.get("type") == "thinking" else block.get("data")
    if type(seal) is not str or not seal.startswith(OPENAI_SEAL):
        return None
    item_id, dot, encrypted = seal.removeprefix(OPENAI_SEAL).partition(".")
    if not (item_id and dot and encrypted):
        return None
    text = block.get("thinking")
    summary = [{"type": "summary_text", "text": text}] if type(text) is str and text else []
    return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": encrypted}
