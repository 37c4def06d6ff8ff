"""Ollama's own API as an upstream: a chat request in OpenAI's form to one of theirs.

Their door for OpenAI's dialect knows no context length, no `keep_alive` and no thinking; this one does.
Source: Ollama's API documentation, "Generate a chat completion", "Generate embeddings", "Thinking", "Structured
outputs", as of 2026-11.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.chats import format_of
from routewright.providers.head import bearer_lines, heads
from routewright.providers.translation import (
    arguments_object,
    chat_of,
    data_url,
    drops,
    given_address,
    objects,
    refuse_uncarried,
    request_of,
    text_of,
    unsupported,
)
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

PROVIDER = "Ollama"
PATHS = {"chat": "/api/chat", "embed": "/api/embed", "completions": "/v1/completions"}
OPTIONS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "seed": "seed", "min_p": "min_p",
    "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty", "num_ctx": "num_ctx",
    "repetition_penalty": "repeat_penalty", "typical_p": "typical_p", "mirostat": "mirostat",
    "mirostat_eta": "mirostat_eta", "mirostat_tau": "mirostat_tau", "num_gpu": "num_gpu", "num_thread": "num_thread",
    "repeat_last_n": "repeat_last_n", "tfs_z": "tfs_z",
}  # fmt: skip
CARRIED = frozenset(OPTIONS) | {
    "max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice", "parallel_tool_calls", "response_format",
    "reasoning_effort", "thinking", "keep_alive", "format", "options",
}  # fmt: skip


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    base = urlsplit(settings.api_base).path.rstrip("/").removesuffix("/api")
    return heads(base, PATHS, bearer_lines(settings, "application/json, application/x-ndjson"))


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Ollama has no word for."""
    is_dropped = drops(call, deployment)
    body = chat_body(chat_of(call, deployment), deployment.upstream_model, is_dropped=is_dropped)
    body["stream"] = call.is_stream
    return request_of(deployment.request_heads["chat"], body)


def chat_body(chat: Chat, model: str, *, is_dropped: bool) -> dict[str, Any]:
    """A chat request as the body of `/api/chat`."""
    refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    names: dict[str, str] = {}
    messages = [_message(message, f"messages[{index}]", names) for index, message in enumerate(chat["messages"])]
    body: dict[str, Any] = {"model": model, "messages": messages}
    options = dict(chat["options"]) if type(chat.get("options")) is dict else {}
    for name, theirs in OPTIONS.items():
        if chat.get(name) is not None:
            options[theirs] = chat[name]
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if most is not None:
        options["num_predict"] = most
    stop = chat.get("stop")
    if stop:
        options["stop"] = [stop] if type(stop) is str else stop
    if options:
        body["options"] = options
    if chat.get("keep_alive") is not None:
        body["keep_alive"] = chat["keep_alive"]
    think = _think(chat)
    if think is not None:
        body["think"] = think
    _add_format(body, chat)
    _add_tools(body, chat, is_dropped=is_dropped)
    return body


def _think(chat: Chat) -> bool | str | None:
    """None where nobody asked: a model that can't think refuses to be told to."""
    thinking, effort = chat.get("thinking"), chat.get("reasoning_effort")
    if type(thinking) is dict:
        return thinking.get("type") != "disabled"
    if effort == "none":
        return False
    if effort in ("minimal", "low", "medium", "high"):
        return "low" if effort == "minimal" else str(effort)
    return "high" if effort in ("xhigh", "max") else None


def _add_tools(body: dict[str, Any], chat: Chat, *, is_dropped: bool) -> None:
    tools = objects(chat.get("tools"), "tools")
    for index, tool in enumerate(tools):
        if tool.get("type") != "function" or type(tool.get("function")) is not dict:
            raise unsupported(f"tools[{index}].type", PROVIDER)
    choice = chat.get("tool_choice")
    forced = forced_tool(chat)
    if forced is not None and chat.get("response_format") is None:
        tools = [forced]
        body["format"] = forced["function"].get("parameters") or {"type": "object"}
    elif choice not in (None, "auto", "none") and not is_dropped:
        raise unsupported("tool_choice", PROVIDER)
    if tools and choice != "none":
        body["tools"] = tools


def forced_tool(chat: Chat) -> dict[str, Any] | None:
    """The one tool that has to be called. Ollama can't be told so: it is given the schema of the tool's arguments for
    its answer, which is told as the call."""
    tools, choice = chat.get("tools"), chat.get("tool_choice")
    if type(tools) is not list or choice in (None, "auto", "none"):
        return None
    if choice == "required":
        return tools[0] if len(tools) == 1 else None
    named = choice.get("function") if type(choice) is dict else None
    name = named.get("name") if type(named) is dict else None
    return next((tool for tool in tools if tool["function"].get("name") == name), None)


def forced_name(call: Call, deployment: Deployment) -> str | None:
    """The name of that tool, for those who read the answer."""
    if "tool_choice" not in call.body and "toolConfig" not in call.body:
        return None
    chat = chat_of(call, deployment)
    tool = forced_tool(chat) if chat.get("response_format") is None else None
    return None if tool is None else str(tool["function"].get("name"))


def _add_format(body: dict[str, Any], chat: Chat) -> None:
    asked = format_of(chat)
    if asked is not None:
        body["format"] = asked["schema"] if asked else "json"
    elif chat.get("format") is not None:
        body["format"] = chat["format"]


def _message(message: dict[str, Any], where: str, names: dict[str, str]) -> dict[str, Any]:
    """`names`: which function each call's id stands for, since a result names the function here."""
    role = message["role"]
    if role == "developer":
        role = "system"
    if role not in ("system", "user", "assistant", "tool"):
        raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")
    content, images = _content(message.get("content"), f"{where}.content", has_images=role == "user")
    made: dict[str, Any] = {"role": role, "content": content}
    if images:
        made["images"] = images
    if role == "assistant":
        calls = []
        for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
            at = f"{where}.tool_calls[{index}]"
            function = call.get("function")
            if type(function) is not dict or type(function.get("name")) is not str:
                raise InvalidRequest("a tool call needs a function with a name", param=at)
            if type(call.get("id")) is str:
                names[call["id"]] = function["name"]
            arguments = arguments_object(function.get("arguments"), f"{at}.function.arguments")
            calls.append({"function": {"name": function["name"], "arguments": arguments}})
        if calls:
            made["tool_calls"] = calls
        if type(message.get("reasoning_content")) is str:
            made["thinking"] = message["reasoning_content"]
    elif role == "tool":
        call_id = message.get("tool_call_id")
        name = names.get(call_id) if type(call_id) is str else None
        if name is None:
            raise InvalidRequest("answers no tool call before it", param=f"{where}.tool_call_id")
        made["tool_name"] = name
    return made


def _content(content: Any, where: str, *, has_images: bool) -> tuple[str, list[str]]:
    if type(content) is not list:
        return text_of(content, where, PROVIDER), []
    texts, images = [], []
    for index, part in enumerate(content):
        at = f"{where}[{index}]"
        if has_images and part["type"] == "image_url":
            inline = data_url(given_address(part, "image_url", at))
            if inline is None:
                raise UnsupportedField(f"{PROVIDER} takes pictures inline only, in base64", param=at)
            images.append(inline[1])
        else:
            texts.append(text_of([part], at, PROVIDER))
    return "\n".join(texts), images
