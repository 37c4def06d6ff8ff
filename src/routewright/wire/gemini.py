"""Gemini's `generateContent` as a client dialect: a client's body to a `Call`, and all that its clients are told.

Source: Gemini API reference, "Generating content", "Count tokens", as of 2026-11.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import msgspec

from routewright.dialect import Chat, Clock, Pieces
from routewright.errors import GatewayError, InvalidRequest, MissingField, UpstreamBadResponse, error_body
from routewright.types import Call, HttpRequest, Usage
from routewright.wire.chat import TOKENS_PER_FILE, estimated_tokens, parse_shared, size_of
from routewright.wire.gemini_chat import as_chat, mapping, parts_of
from routewright.wire.json import decode_object, encode

STREAMING = ":streamGenerateContent"
_SNAKE = re.compile(rb'"[a-z]+_[a-z_]+"\s*:')
_SPELLED = ("contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings")
_OWN_WORDS = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"}
)  # fmt: skip
"""What stands in these has names that are not Google's."""
FINISH_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


# --- a client's body to a call ------------------------------------------------------------------------------------


def parse_generate(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = _parse("generate_content", body, request)
    call.is_stream = request.path.endswith(STREAMING)
    if call.is_stream and parse_qs(request.query).get("alt") != ["sse"]:
        raise InvalidRequest("a stream is served as server-sent events only: ask with alt=sse", param="alt")
    return call


def _spell(body: dict[str, Any]) -> None:
    """Google reads each of its names as `inlineData` and as `inline_data`; from here on there is the first alone."""
    for name in _SPELLED:
        snake = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
        if snake in body:
            body[name] = body.pop(snake)
        if name in body:
            body[name] = _spelled(body[name])


def _spelled(value: Any) -> Any:
    if type(value) is list:
        return [_spelled(item) for item in value]
    if type(value) is not dict:
        return value
    made = {}
    for name, inner in value.items():
        head, *rest = name.split("_")
        known = head + "".join([word[:1].upper() + word[1:] for word in rest])
        made[known] = inner if known in _OWN_WORDS else _spelled(inner)
    return made


def parse_count(request: HttpRequest) -> Call:
    """`countTokens`, whose request may stand inside `generateContentRequest`."""
    body = decode_object(request.body)
    inner = body.get("generateContentRequest")
    call = _parse("count_content", inner if type(inner) is dict else body, request)
    call.max_tokens = 1  # what admission has to expect of an answer
    return call


def _parse(endpoint: str, body: dict[str, Any], request: HttpRequest) -> Call:
    if _SNAKE.search(request.body):
        _spell(body)
    call = parse_shared(endpoint, body, request.model_in_path)
    body["model"] = call.model
    call.client = GEMINI
    contents = body.get("contents")
    if contents is None:
        raise MissingField("contents is required", param="contents")
    if type(contents) is dict:
        contents = body["contents"] = [contents]
    if type(contents) is not list or not contents:
        raise InvalidRequest("contents must be a non-empty list", param="contents")
    chars = images = 0
    for index, content in enumerate(contents):
        for part in parts_of(content, f"contents[{index}]"):
            text, inline = part.get("text"), part.get("inlineData") or part.get("fileData")
            if type(text) is str:
                chars += size_of(text)
            elif type(inline) is dict and str(inline.get("mimeType")).startswith("image/"):
                images += 1
            elif inline is not None:
                chars += TOKENS_PER_FILE * 4
            else:
                chars += len(encode(part))
    if body.get("systemInstruction") is not None:
        chars += sum(
            size_of(str(part.get("text"))) for part in parts_of(body["systemInstruction"], "systemInstruction")
        )
    if body.get("tools"):
        call.has_tools = True
        chars += len(encode(body["tools"]))
    config = mapping(body.get("generationConfig"), "generationConfig")
    most = config.get("maxOutputTokens")
    if most is not None:
        if type(most) is not int or not 1 <= most <= 1 << 31:
            raise InvalidRequest("maxOutputTokens must be an integer from 1", param="generationConfig.maxOutputTokens")
        call.max_tokens = most
    call.has_images = images > 0
    call.wants_json = config.get("responseMimeType") == "application/json"
    call.prompt_tokens_estimate = estimated_tokens(chars, n_messages=len(contents), n_images=images)
    return call


# --- what its clients are told ------------------------------------------------------------------------------------


def usage_object(usage: Usage) -> dict[str, int]:
    """Gemini counts thoughts apart from what the candidates say."""
    figures = {
        "promptTokenCount": usage.prompt_tokens,
        "candidatesTokenCount": usage.completion_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens:
        figures["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        figures["thoughtsTokenCount"] = usage.reasoning_tokens
    return figures


def shows_thoughts(call: Call) -> bool:
    config = call.body.get("generationConfig")
    thinking = config.get("thinkingConfig") if type(config) is dict else None
    return type(thinking) is dict and thinking.get("includeThoughts") is True


def _function_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    try:
        args = msgspec.json.decode(arguments) if arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamBadResponse("the upstream called a tool with arguments that are not JSON") from error
    if type(args) is not dict:
        raise UpstreamBadResponse("the upstream called a tool with arguments that are no object")
    return {"functionCall": {"id": call_id, "name": name, "args": args}}


class GeminiDialect:
    """Google's clients."""

    name = "gemini"
    ping = b""
    """Nothing: Google's client for Python takes a comment for an event."""

    def prompt(self, call: Call) -> tuple[str, str]:
        system = call.body.get("systemInstruction")
        for content in reversed(call.body["contents"]):
            if content.get("role") != "model" and (text := _text(content)):
                return text, _text(system)
        return _text(call.body["contents"][-1]), _text(system)

    def shows_thinking(self, call: Call) -> bool:
        return shows_thoughts(call)

    def as_chat(self, call: Call, *, plain: bool, is_dropped: bool) -> Chat:
        return as_chat(call.body, is_stream=call.is_stream, plain=plain, is_dropped=is_dropped)

    def answer(self, chat: Chat, call: Call, usage: Usage) -> bytes:
        choice = chat["choices"][0]
        message = choice["message"]
        parts: list[dict[str, Any]] = []
        if message.get("reasoning_content") and shows_thoughts(call):
            parts.append({"text": message["reasoning_content"], "thought": True})
        text = message.get("content") or message.get("refusal")
        if text:
            parts.append({"text": text})
        for tool in message.get("tool_calls") or ():
            parts.append(_function_call(tool["id"], tool["function"]["name"], tool["function"]["arguments"]))
        candidate = {
            "content": {"parts": parts, "role": "model"},
            "finishReason": FINISH_REASONS.get(choice.get("finish_reason"), "STOP"),
            "index": 0,
        }
        response = {"candidates": [candidate], "usageMetadata": usage_object(usage), "modelVersion": chat["model"]}
        return encode({**response, "responseId": chat.get("id") or ""})

    def pieces(self, call: Call, model: str, clock: Clock) -> Pieces:
        return GeminiPieces(model, shows_thoughts=shows_thoughts(call))

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        return b"data: %b\n\n" % error_body(error, "gemini")


GEMINI = GeminiDialect()


def _text(content: Any) -> str:
    parts = content.get("parts") if type(content) is dict else None
    if type(parts) is not list:
        return ""
    return "\n".join([part["text"] for part in parts if type(part) is dict and type(part.get("text")) is str])


class GeminiPieces:
    """An answer's pieces as events. A function call is told whole, since this dialect knows no pieces of one."""

    def __init__(self, model: str, *, shows_thoughts: bool) -> None:
        self._model, self._shows_thoughts = model, shows_thoughts
        self._id = ""
        self._after = b""
        self._call: tuple[str, str] | None = None
        """(id, name) of the call whose arguments are coming in."""
        self._arguments: list[str] = []
        self._tool = -1
        self._reason = "STOP"

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        self._id = answer_id
        about = encode({"modelVersion": self._model, "responseId": answer_id})
        self._after = b'],"role":"model"},"index":0}],%b\n\n' % about[1:]
        return b""

    def _part(self, part: bytes) -> bytes:
        return b'data: {"candidates":[{"content":{"parts":[%b%b' % (part, self._after)

    def _whole_call(self) -> bytes:
        if self._call is None:
            return b""
        call_id, name = self._call
        self._call = None
        return self._part(encode(_function_call(call_id, name, "".join(self._arguments))))

    def text(self, text: str) -> bytes:
        return self._whole_call() + self._part(b'{"text":%b}' % encode(text)) if text else b""

    refusal = text

    def thinking(self, text: str) -> bytes:
        if not self._shows_thoughts or not text:
            return b""
        return self._whole_call() + self._part(b'{"text":%b,"thought":true}' % encode(text))

    def signature(self, signature: str) -> bytes:
        return b""

    def redacted_thinking(self, data: str) -> bytes:
        return b""

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        out = self._whole_call()
        self._call = call_id, name
        self._tool, self._arguments = tool, []
        return out

    def arguments(self, tool: int, text: str) -> bytes:
        if self._call is None or tool != self._tool:
            raise UpstreamBadResponse("the upstream went back to an earlier tool call")
        self._arguments.append(text)
        return b""

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        """Said at the end, with the figures."""
        self._reason = FINISH_REASONS.get(reason, "STOP")
        return self._whole_call()

    def end(self, usage: Usage) -> bytes:
        content = {"parts": [{"text": ""}], "role": "model"}
        whole = {
            "candidates": [{"content": content, "finishReason": self._reason, "index": 0}],
            "usageMetadata": usage_object(usage),
            "modelVersion": self._model,
            "responseId": self._id,
        }
        return b"data: %b\n\n" % encode(whole)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return GEMINI.error_event(error, request_id)
