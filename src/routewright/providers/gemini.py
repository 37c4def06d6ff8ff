"""Google's Gemini as an upstream: a chat request in OpenAI's form to a `generateContent` request.

Source: Gemini API reference, "Generating content", "Function calling", "Structured outputs", "Thinking", "Thought
signatures", as of 2026-11; LiteLLM's rules for budgets of `reasoning_effort` and for signatures in tool call ids.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.chats import format_of
from routewright.providers.head import field_lines, head
from routewright.providers.translation import (
    arguments_object,
    chat_of,
    data_url,
    drops,
    given_address,
    objects,
    refuse_uncarried,
    request_of,
    unsupported,
)
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

PROVIDER = "Gemini"
CARRIED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "presence_penalty",
     "frequency_penalty", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
     "thinking", "web_search_options", "safety_settings"}
)  # fmt: skip
EFFORT_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
EFFORT_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}
"""Of models from 3 on; whatever is more is `high`."""

SIGNATURE_MARK = "__thought__"
"""Between a tool call's id and the signature that Gemini wants back with it: an id is what every client gives back."""
NO_SIGNATURE = "skip_thought_signature_validator"
"""What Gemini takes for a call that another provider's model made."""
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_TYPES = {"png": "image/png", "webp": "image/webp", "gif": "image/gif", "pdf": "application/pdf", "mp4": "video/mp4",
          "heic": "image/heic", "mp3": "audio/mpeg", "wav": "audio/wav"}  # fmt: skip
_SETTINGS = {
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty",
}  # fmt: skip


@lru_cache(1024)  # of names in configurations
def model_version(model: str) -> tuple[int, int]:
    """(2, 5) of `gemini-2.5-flash`; (99, 0) for names without a number, which stand for the newest."""
    found = _VERSION.search(model)
    return (99, 0) if found is None else (int(found.group(1)), int(found.group(2) or 0))


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    base = urlsplit(settings.api_base).path.rstrip("/")
    accept = "accept: application/json, text/event-stream"
    key = settings.api_key.reveal() if settings.api_key is not None else ""
    fields = field_lines(settings, [accept, f"x-goog-api-key: {key}"] if key else [accept])
    bearer = field_lines(settings, [accept, f"authorization: Bearer {key}"] if key else [accept])
    model = f"{base}/models/{quote(upstream_model, safe='')}"
    return {
        "generate": head(f"{model}:generateContent", fields),
        "stream": head(f"{model}:streamGenerateContent?alt=sse", fields),
        "count": head(f"{model}:countTokens", fields),
        # Google's own door for OpenAI's dialect, which says all there is to say of embeddings.
        "embeddings": head(f"{base}/openai/embeddings", bearer),
    }


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Gemini has no word for."""
    body = generate_body(chat_of(call, deployment), deployment.upstream_model, is_dropped=drops(call, deployment))
    endpoint = "stream" if call.is_stream else "generate"
    return request_of(deployment.request_heads[endpoint], body)


def generate_body(chat: Chat, model: str, *, is_dropped: bool) -> dict[str, Any]:
    """A chat request as the body of `generateContent`."""
    version = model_version(model)
    refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    system, contents = _contents(chat["messages"], version)
    body: dict[str, Any] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    config = _config(chat, version, is_dropped=is_dropped)
    if config:
        body["generationConfig"] = config
    _add_tools(body, chat, is_dropped=is_dropped)
    if chat.get("safety_settings") is not None:
        body["safetySettings"] = objects(chat["safety_settings"], "safety_settings")
    return body


def _config(chat: Chat, version: tuple[int, int], *, is_dropped: bool) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name, theirs in _SETTINGS.items():
        if chat.get(name) is not None:
            config[theirs] = chat[name]
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if most is not None:
        config["maxOutputTokens"] = most
    stop = chat.get("stop")
    if stop:
        config["stopSequences"] = [stop] if type(stop) is str else stop
    thinking = _thinking(chat, version)
    if thinking:
        config["thinkingConfig"] = thinking
    asked = format_of(chat)
    if asked is not None:
        config["responseMimeType"] = "application/json"
        if asked:
            config["responseJsonSchema"] = asked["schema"]
    return config


def _thinking(chat: Chat, version: tuple[int, int]) -> dict[str, Any]:
    """`thinkingConfig`; what is thought is shown where thinking was asked for. Older models don't think."""
    if version < (2, 5):
        return {}
    thinking, effort = chat.get("thinking"), chat.get("reasoning_effort")
    if type(thinking) is dict:
        if thinking.get("type") == "disabled":
            return {"thinkingLevel": "minimal"} if version >= (3, 0) else {"thinkingBudget": 0}
        budget = thinking.get("budget_tokens")
        return {"includeThoughts": True, **({"thinkingBudget": budget} if type(budget) is int else {})}
    if type(effort) is not str or effort not in EFFORT_BUDGETS:
        return {}
    shown = {"includeThoughts": True} if effort != "none" else {}
    if version >= (3, 0):
        return {"thinkingLevel": EFFORT_LEVELS.get(effort, "high"), **shown}
    return {"thinkingBudget": EFFORT_BUDGETS[effort], **shown}


# --- tools --------------------------------------------------------------------------------------------------------


def _add_tools(body: dict[str, Any], chat: Chat, *, is_dropped: bool) -> None:
    declarations: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(objects(chat.get("tools"), "tools")):
        where = f"tools[{index}]"
        if tool.get("type") == "function":
            declarations.append(_declaration(tool, where))
        elif len(tool) == 1 and next(iter(tool)) in ("googleSearch", "urlContext", "codeExecution", "google_search"):
            tools.append(tool)  # one of Gemini's own, as LiteLLM's clients write it
        elif not is_dropped:
            raise unsupported(f"{where}.type", PROVIDER)
    if declarations:
        tools.insert(0, {"functionDeclarations": declarations})
    if type(chat.get("web_search_options")) is dict:
        tools.append({"googleSearch": {}})
    if tools:
        body["tools"] = tools
    choice = chat.get("tool_choice")
    if choice is None or not declarations:
        return
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    if type(choice) is str and choice in modes:
        body["toolConfig"] = {"functionCallingConfig": {"mode": modes[choice]}}
        return
    function = choice.get("function") if type(choice) is dict else None
    if type(function) is dict and type(function.get("name")) is str:
        forced = {"mode": "ANY", "allowedFunctionNames": [function["name"]]}
        body["toolConfig"] = {"functionCallingConfig": forced}
    elif not is_dropped:
        raise unsupported("tool_choice", PROVIDER)


def _declaration(tool: dict[str, Any], where: str) -> dict[str, Any]:
    function = tool.get("function")
    if type(function) is not dict or type(function.get("name")) is not str:
        raise InvalidRequest("a tool needs a function with a name", param=f"{where}.function")
    made: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("parameters"):
        made["parametersJsonSchema"] = function["parameters"]
    return made


# --- messages -----------------------------------------------------------------------------------------------------


def _contents(
    messages: list[dict[str, Any]], version: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(parts of the system instruction, contents): no two turns of one side in a row."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        role, where = message["role"], f"messages[{index}]"
        if role in ("system", "developer"):
            system += _parts(message.get("content"), f"{where}.content", only_text=True)
            continue
        if role == "user":
            side, parts = "user", _parts(message.get("content"), f"{where}.content")
        elif role == "assistant":
            side, parts = "model", _model_parts(message, where, names, version)
        elif role == "tool":
            side, parts = "user", _tool_result(message, where, names)
        else:
            raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")
        if not parts:
            continue
        if turns and turns[-1]["role"] == side:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": side, "parts": parts})
    if not turns and system:
        turns.append({"role": "user", "parts": [{"text": " "}]})  # instructions alone, which Gemini refuses
    return system, turns


def _parts(content: Any, where: str, *, only_text: bool = False) -> list[dict[str, Any]]:
    if type(content) is str:
        return [{"text": content}] if content else []
    made = []
    for index, part in enumerate(content or ()):
        one = _part(part, f"{where}[{index}]", only_text=only_text)
        if one is not None:
            made.append(one)
    return made


def _part(part: dict[str, Any], where: str, *, only_text: bool) -> dict[str, Any] | None:
    kind = part["type"]
    if kind in ("text", "refusal"):
        text = part.get(kind) or part.get("text")
        if type(text) is not str and text is not None:
            raise InvalidRequest("text must be a string", param=where)
        return {"text": text} if text else None
    if not only_text:
        if kind in ("image_url", "video_url"):
            return _media(given_address(part, kind, where), where)
        if kind == "input_audio":
            audio = part.get("input_audio")
            if type(audio) is dict and type(audio.get("data")) is str:
                return {"inlineData": {"mimeType": f"audio/{audio.get('format') or 'wav'}", "data": audio["data"]}}
        if kind == "file":
            file = part.get("file")
            if type(file) is dict and type(file.get("file_data")) is str:
                return _media(file["file_data"], where)
    raise UnsupportedField(f"{PROVIDER} takes no part like this one here", param=where)


def _media(url: str, where: str) -> dict[str, Any]:
    """Inline data, or an address that Google fetches; the gateway itself fetches nothing."""
    inline = data_url(url)
    if inline is not None:
        return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
    if url.startswith("https://"):
        ending = urlsplit(url).path.rpartition(".")[2].lower()
        return {"fileData": {"mimeType": _TYPES.get(ending, "image/jpeg"), "fileUri": url}}
    raise InvalidRequest("expected a data: address in base64, or an https address", param=where)


def _model_parts(
    message: dict[str, Any], where: str, names: dict[str, str], version: tuple[int, int]
) -> list[dict[str, Any]]:
    parts = _parts(message.get("content"), f"{where}.content", only_text=True)
    for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
        at = f"{where}.tool_calls[{index}]"
        function, call_id = call.get("function"), call.get("id")
        if type(function) is not dict or type(function.get("name")) is not str or type(call_id) is not str:
            raise InvalidRequest("a tool call needs an id, and a function with a name", param=at)
        names[call_id] = function["name"]
        arguments = arguments_object(function.get("arguments"), f"{at}.function.arguments")
        part: dict[str, Any] = {"functionCall": {"name": function["name"], "args": arguments}}
        _, _, signature = call_id.partition(SIGNATURE_MARK)
        if signature:
            part["thoughtSignature"] = signature
        elif version >= (3, 0) and index == 0:
            part["thoughtSignature"] = NO_SIGNATURE
        parts.append(part)
    return parts


def _tool_result(message: dict[str, Any], where: str, names: dict[str, str]) -> list[dict[str, Any]]:
    call_id = message.get("tool_call_id")
    name = names.get(call_id) if type(call_id) is str else None
    if name is None:
        raise InvalidRequest("answers no tool call before it", param=f"{where}.tool_call_id")
    parts = _parts(message.get("content"), f"{where}.content")
    text = "".join([part["text"] for part in parts if "text" in part])
    said = {"error" if message.get("is_error") is True else "result": text}
    media = [part for part in parts if "text" not in part]
    return [{"functionResponse": {"name": name, "response": said}}, *media]
