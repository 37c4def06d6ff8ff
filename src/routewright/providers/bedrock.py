"""Amazon Bedrock's Converse as an upstream: a chat request in OpenAI's form to one of theirs, signed.

Source: Amazon Bedrock API reference, "Converse", "ConverseStream"; user guide, "Prompt caching", as of 2026-11.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote, urlsplit

from routewright.credentials import Credential
from routewright.dialect import Chat, Clock
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.providers.anthropic import JSON_TOOL, add_thinking, model_version, tool_id
from routewright.providers.chats import format_of, functions_of
from routewright.providers.head import bearer_lines
from routewright.providers.sigv4 import signed_headers
from routewright.providers.translation import (
    arguments_object,
    chat_of,
    data_url,
    drops,
    encode,
    given_address,
    is_foreign,
    objects,
    refuse_uncarried,
    unsupported,
)
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment

PROVIDER = "Bedrock"
SERVICE = "bedrock"
MAX_TOOL_ID = 64
CARRIED = frozenset(
    {"max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools", "tool_choice",
     "parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "guardrailConfig"}
)  # fmt: skip
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf", "text/csv": "csv", "text/html": "html", "text/plain": "txt", "text/markdown": "md",
    "application/msword": "doc", "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}  # fmt: skip
_NAME = re.compile(r"[^a-zA-Z0-9\s\-()\[\]]")
CACHE_POINT = {"cachePoint": {"type": "default"}}


class Signer:
    """Makes the heads of a deployment's requests: by signature, or by a bearer token where there is one."""

    def __init__(
        self,
        settings: DeploymentSettings,
        upstream_model: str,
        clock: Clock,
        credential: Credential | None = None,
        accept: str = "application/json, application/vnd.amazon.eventstream",
    ) -> None:
        self._credential = credential
        self._aws = None if settings.api_key is not None else settings.aws
        self._clock = clock
        parts = urlsplit(settings.api_base)
        self._host = parts.netloc
        base = parts.path.rstrip("/")
        self._path = f"{base}/model/{quote(upstream_model, safe='')}"
        self._fields = bearer_lines(settings, accept)

    def request(self, operation: str, body: bytes) -> bytes:
        """The whole request; `operation` is `converse`, `converse-stream` or `invoke`. Raises CredentialMissing."""
        path = f"{self._path}/{operation}"
        lines = [f"POST {path} HTTP/1.1", self._fields]
        keys = self._aws if self._credential is None else self._credential.keys()
        if keys is not None:
            own = {"host": self._host, "content-type": "application/json"}
            signed = signed_headers("POST", path, own, body, keys, SERVICE, self._clock())
            lines += [f"{name}: {value}" for name, value in signed.items() if name not in own]
        head = "\r\n".join(lines).encode("latin-1")
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def request_bytes(call: Call, deployment: Deployment, signer: Signer) -> bytes:
    """The whole upstream request. Raises UnsupportedField for what Converse has no word for."""
    body = converse_body(chat_of(call, deployment), deployment, is_dropped=drops(call, deployment))
    return signer.request("converse-stream" if call.is_stream else "converse", encode(body))


def converse_body(chat: Chat, deployment: Deployment, *, is_dropped: bool) -> dict[str, Any]:
    """A chat request as the body of Converse."""
    model = deployment.upstream_model
    refuse_uncarried(chat, CARRIED, PROVIDER, is_dropped=is_dropped)
    made = _Conversation(caches="claude" in model or "nova" in model)
    system, messages = made.read(chat["messages"])
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    more: dict[str, Any] = {}
    config = _config(chat, model, more, is_dropped=is_dropped)
    if config:
        body["inferenceConfig"] = config
    _add_tools(body, chat, made, is_dropped=is_dropped)
    _add_format(body, chat, is_thinking=more.get("thinking", {}).get("type") in ("enabled", "adaptive"))
    if more:
        body["additionalModelRequestFields"] = more
    if type(chat.get("guardrailConfig")) is dict:
        body["guardrailConfig"] = chat["guardrailConfig"]
    return body


def _config(chat: Chat, model: str, more: dict[str, Any], *, is_dropped: bool) -> dict[str, Any]:
    config: dict[str, Any] = {}
    most = chat.get("max_completion_tokens") or chat.get("max_tokens")
    if "claude" in model:
        bounds: dict[str, Any] = {"max_tokens": most or 32_000}
        add_thinking(bounds, chat, model_version(model), has_own_max=most is not None, is_dropped=is_dropped)
        if "thinking" in bounds and (most is not None or bounds["max_tokens"] != 32_000):
            most = bounds["max_tokens"]
        more.update({name: value for name, value in bounds.items() if name != "max_tokens"})
    if most is not None:
        config["maxTokens"] = most
    for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
        if chat.get(name) is not None:
            config[theirs] = chat[name]
    stop = chat.get("stop")
    if stop:
        config["stopSequences"] = [stop] if type(stop) is str else stop
    if chat.get("top_k") is not None:
        if "claude" in model:
            more["top_k"] = chat["top_k"]
        elif "nova" in model:
            more["inferenceConfig"] = {"topK": chat["top_k"]}
        elif not is_dropped:
            raise unsupported("top_k", PROVIDER)
    return config


def _add_tools(body: dict[str, Any], chat: Chat, made: _Conversation, *, is_dropped: bool) -> None:
    tools: list[dict[str, Any]] = []
    for tool, function, schema in functions_of(chat, PROVIDER, is_dropped=is_dropped):
        spec: dict[str, Any] = {"name": function["name"], "inputSchema": {"json": schema}}
        if function.get("description"):
            spec["description"] = function["description"]
        tools.append({"toolSpec": spec})
        if made.caches and tool.get("cache_control"):
            tools.append(CACHE_POINT)
    if not tools or chat.get("tool_choice") == "none":
        if made.has_tools and not tools and not is_dropped:
            raise unsupported("messages", PROVIDER, "tool calls in the history need their tools beside them")
        if not made.has_tools:
            return
    body["toolConfig"] = {"tools": tools}
    choice = chat.get("tool_choice")
    if choice in ("auto", "required"):
        body["toolConfig"]["toolChoice"] = {"auto" if choice == "auto" else "any": {}}
    elif choice not in (None, "none"):
        named = choice.get("function") if type(choice) is dict else None
        if type(named) is dict and type(named.get("name")) is str:
            body["toolConfig"]["toolChoice"] = {"tool": {"name": named["name"]}}
        elif not is_dropped:
            raise unsupported("tool_choice", PROVIDER)


def _add_format(body: dict[str, Any], chat: Chat, *, is_thinking: bool) -> None:
    """JSON as the answer: the input of a tool that the model has to use."""
    asked = format_of(chat)
    if asked is None:
        return
    schema = asked["schema"] if asked else {"type": "object", "additionalProperties": True}
    spec = {"name": JSON_TOOL, "description": "Give the whole answer as this object.", "inputSchema": {"json": schema}}
    config = body.setdefault("toolConfig", {"tools": []})
    has_own = bool(config["tools"])
    config["tools"] = [*config["tools"], {"toolSpec": spec}]
    if not is_thinking:
        config.setdefault("toolChoice", {"any": {}} if has_own else {"tool": {"name": JSON_TOOL}})


# --- messages -----------------------------------------------------------------------------------------------------


class _Conversation:
    """Messages in Converse's form: instructions apart, tool results in the user's turn, caches by points."""

    def __init__(self, *, caches: bool) -> None:
        self.caches = caches
        self.has_tools = False
        self._documents = 0

    def read(self, messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        system: list[dict[str, Any]] = []
        turns: list[dict[str, Any]] = []
        for index, message in enumerate(messages):
            role, where = message["role"], f"messages[{index}]"
            if role in ("system", "developer"):
                system += self._blocks(message, where, only_text=True)
                continue
            if role == "user":
                side, blocks = "user", self._blocks(message, where)
            elif role == "assistant":
                side, blocks = "assistant", self._assistant(message, where)
            elif role == "tool":
                side, blocks = "user", self._result(message, where)
            else:
                raise UnsupportedField(f"{PROVIDER} knows no role like this one", param=f"{where}.role")
            if not blocks:
                continue
            if turns and turns[-1]["role"] == side:
                turns[-1]["content"] += blocks
            else:
                turns.append({"role": side, "content": blocks})
        if turns and turns[-1]["role"] == "assistant" and "text" in turns[-1]["content"][-1]:
            last = turns[-1]["content"][
                -1
            ]  # a beginning that the model is to go on from; it must not end in white space
            last["text"] = last["text"].rstrip()
        return system, turns

    def _blocks(self, message: dict[str, Any], where: str, *, only_text: bool = False) -> list[dict[str, Any]]:
        content = message.get("content")
        if type(content) is str:
            blocks: list[dict[str, Any]] = [{"text": content}] if content.strip() else []
            if blocks and self.caches and message.get("cache_control"):
                blocks.append(CACHE_POINT)
            return blocks
        made: list[dict[str, Any]] = []
        for index, part in enumerate(content or ()):
            block = self._block(part, f"{where}.content[{index}]", only_text=only_text)
            if block is not None:
                made.append(block)
                if self.caches and part.get("cache_control"):
                    made.append(CACHE_POINT)
        return made

    def _block(self, part: dict[str, Any], where: str, *, only_text: bool) -> dict[str, Any] | None:
        kind = part["type"]
        if kind in ("text", "refusal"):
            text = part.get(kind) or part.get("text")
            if type(text) is not str and text is not None:
                raise InvalidRequest("text must be a string", param=where)
            return {"text": text} if text and text.strip() else None
        if not only_text and kind == "image_url":
            inline = data_url(given_address(part, "image_url", where))
            if inline is not None and inline[0] in _IMAGES:
                return {"image": {"format": _IMAGES[inline[0]], "source": {"bytes": inline[1]}}}
            raise UnsupportedField(f"{PROVIDER} takes pictures inline only, in base64", param=where)
        if not only_text and kind == "file":
            file = part.get("file")
            given = file.get("file_data") if type(file) is dict else None
            inline = data_url(given) if type(given) is str else None
            if type(file) is dict and inline is not None and inline[0] in _DOCUMENTS:
                self._documents += 1
                name = _NAME.sub(" ", str(file.get("filename") or "document"))[:150].strip()
                source = {"bytes": inline[1]}
                about = {"format": _DOCUMENTS[inline[0]], "name": f"{name} {self._documents}", "source": source}
                return {"document": about}
        raise UnsupportedField(f"{PROVIDER} takes no part like this one here", param=where)

    def _assistant(self, message: dict[str, Any], where: str) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        for block in objects(message.get("thinking_blocks"), f"{where}.thinking_blocks"):
            if is_foreign(block):
                continue
            if block.get("type") == "thinking":
                said = {"text": block.get("thinking") or "", "signature": block.get("signature") or ""}
                blocks.append({"reasoningContent": {"reasoningText": said}})
            elif block.get("type") == "redacted_thinking":
                blocks.append({"reasoningContent": {"redactedContent": block.get("data")}})
        blocks += self._blocks(message, where, only_text=True)
        for index, call in enumerate(objects(message.get("tool_calls"), f"{where}.tool_calls")):
            at = f"{where}.tool_calls[{index}]"
            function = call.get("function")
            if type(function) is not dict or type(function.get("name")) is not str:
                raise UnsupportedField(f"{PROVIDER} knows calls of functions only", param=at)
            self.has_tools = True
            arguments = arguments_object(function.get("arguments"), f"{at}.function.arguments")
            use = {"toolUseId": _id(call.get("id"), at), "name": function["name"], "input": arguments}
            blocks.append({"toolUse": use})
        return blocks

    def _result(self, message: dict[str, Any], where: str) -> list[dict[str, Any]]:
        content = [block for block in self._blocks(message, where) if block is not CACHE_POINT]
        result: dict[str, Any] = {
            "toolUseId": _id(message.get("tool_call_id"), f"{where}.tool_call_id"),
            "content": content or [{"text": " "}],
        }
        if message.get("is_error") is True:
            result["status"] = "error"
        self.has_tools = True
        cached = self.caches and message.get("cache_control")
        return [{"toolResult": result}, CACHE_POINT] if cached else [{"toolResult": result}]


def _id(given: Any, where: str) -> str:
    known = tool_id(given, where)
    return known if len(known) <= MAX_TOOL_ID else f"call_{hashlib.sha256(known.encode()).hexdigest()[:24]}"
