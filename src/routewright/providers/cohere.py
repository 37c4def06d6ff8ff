"""Cohere's API v2 as an upstream: a chat request in OpenAI's form to one of theirs.

Source: Cohere API reference v2, "Chat", "Embed"; "Tool use", "Structured outputs", "Reasoning", as of 2026-11.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.chats import format_of, functions_of
from routewright.providers.head import bearer_lines, heads
from routewright.providers.translation import (
    chat_of,
    data_url,
    drops,
    given_address,
    objects,
    refuse_uncarried,
    request_of,
    text_of,
)
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

PROVIDER = "Cohere"
PATHS = {"chat": "/chat", "embed": "/embed"}
CARRIED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "presence_penalty",
     "frequency_penalty", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
     "thinking", "documents", "safety_mode", "citation_options", "strict_tools"}
)  # fmt: skip
EFFORT_BUDGETS = {"minimal": 512, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_SETTINGS = {
    "temperature": "temperature", "top_p": "p", "top_k": "k", "seed": "seed", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "documents": "documents", "safety_mode": "safety_mode",
    "citation_options": "citation_options", "strict_tools": "strict_tools",
}  # fmt: skip


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    base = urlsplit(settings.api_base).path.rstrip("/")
    return heads(base, PATHS, bearer_lines(settings, "application/json, text/event-stream"))


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Cohere has no word for."""
    is_dropped = drops(call, deployment)
    body = chat_body(chat_of(call, deployment), deployment.upstream_model, is_dropped=is_dropped)
    body["stream"] = call.is_stream
    return request_of(deployment.request_heads["chat"], body)


def chat_body(chat: Chat, model: str, *, is_dropped: bool) -> dict[str, Any]:
    """A chat request as the body of `/v2/chat`."""
    refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    messages = [_message(message, f"messages[{index}]") for index, message in enumerate(chat["messages"])]
    body: dict[str, Any] = {"model": model, "messages": messages}
    for name, theirs in _SETTINGS.items():
        if chat.get(name) is not None:
            body[theirs] = chat[name]
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if most is not None:
        body["max_tokens"] = most
    stop = chat.get("stop")
    if stop:
        body["stop_sequences"] = [stop] if type(stop) is str else stop
    if type(chat.get("thinking")) is dict:
        body["thinking"] = _thinking(chat["thinking"])
    elif chat.get("reasoning_effort") == "none":
        body["thinking"] = {"type": "disabled"}
    elif "reasoning" in model and chat.get("reasoning_effort") in EFFORT_BUDGETS:
        body["thinking"] = {"type": "enabled", "token_budget": EFFORT_BUDGETS[chat["reasoning_effort"]]}
    _add_tools(body, chat, is_dropped=is_dropped)
    _add_format(body, chat)
    return body


def _thinking(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("type") == "disabled":
        return {"type": "disabled"}
    budget = given.get("budget_tokens") or given.get("token_budget")
    return {"type": "enabled", **({"token_budget": budget} if type(budget) is int else {})}


def _add_tools(body: dict[str, Any], chat: Chat, *, is_dropped: bool) -> None:
    tools: list[dict[str, Any]] = []
    names: list[str] = []
    for _, function, schema in functions_of(chat, PROVIDER, is_dropped=is_dropped):
        made = {"name": function["name"], "parameters": schema}
        if function.get("description"):
            made["description"] = function["description"]
        tools.append({"type": "function", "function": made})
        names.append(function["name"])
    choice = chat.get("tool_choice")
    if type(choice) is dict:
        # Cohere can be told to call some tool, not which; where only that one is offered it is the same.
        named = choice.get("function")
        name = named.get("name") if type(named) is dict else None
        chosen = [tool for tool, own in zip(tools, names, strict=True) if own == name]
        if not chosen:
            raise InvalidRequest("names no tool of this request", param="tool_choice")
        tools, choice = chosen, "required"
    if tools:
        body["tools"] = tools
        if choice in ("required", "none"):
            body["tool_choice"] = choice.upper()


def _add_format(body: dict[str, Any], chat: Chat) -> None:
    asked = format_of(chat)
    if asked is not None:
        schema = {"json_schema": asked["schema"]} if asked else {}
        body["response_format"] = {"type": "json_object", **schema}


# --- messages -----------------------------------------------------------------------------------------------------


def _message(message: dict[str, Any], where: str) -> dict[str, Any]:
    role = message["role"]
    content = f"{where}.content"
    if role in ("system", "developer"):
        return {"role": "system", "content": text_of(message.get("content"), content, PROVIDER)}
    if role == "user":
        return {"role": "user", "content": _parts(message.get("content"), content)}
    if role == "tool":
        said = text_of(message.get("content"), content, PROVIDER)
        return {"role": "tool", "tool_call_id": message.get("tool_call_id"), "content": said or " "}
    if role == "assistant":
        return _assistant(message, where)
    raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")


def _parts(content: Any, where: str) -> Any:
    if type(content) is str or content is None:
        return content or ""
    made: list[dict[str, Any]] = []
    for index, part in enumerate(content):
        at = f"{where}[{index}]"
        if part["type"] in ("text", "refusal"):
            made.append({"type": "text", "text": text_of([part], at, PROVIDER)})
        elif part["type"] == "image_url":
            url = given_address(part, "image_url", at)
            if data_url(url) is None and not url.startswith("https://"):
                raise InvalidRequest("expected a data: address in base64, or an https address", param=at)
            made.append({"type": "image_url", "image_url": {"url": url}})
        else:
            raise UnsupportedField(f"{PROVIDER} takes no part like this one here", param=at)
    return made


def _assistant(message: dict[str, Any], where: str) -> dict[str, Any]:
    made: dict[str, Any] = {"role": "assistant"}
    said = text_of(message.get("content"), f"{where}.content", PROVIDER)
    calls = []
    for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
        function = call.get("function")
        if type(function) is not dict or type(function.get("name")) is not str or type(call.get("id")) is not str:
            raise InvalidRequest(
                "a tool call needs an id, and a function with a name", param=f"{where}.tool_calls[{index}]"
            )
        about = {"name": function["name"], "arguments": function.get("arguments") or "{}"}
        calls.append({"id": call["id"], "type": "function", "function": about})
    if calls:
        made["tool_calls"] = calls
        if said:
            made["tool_plan"] = said  # what the model says before it calls a tool has a field of its own
    else:
        made["content"] = said
    return made
