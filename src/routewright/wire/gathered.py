"""The events of a stream as one whole answer, in each client's dialect: what a client that asks for no stream gets.

Nothing is invented: where a stream holds something that the whole form has no known place for, there is no whole
answer. Source: the API references that the dialects' own modules name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from routewright.types import Call, Usage
from routewright.wire import chat_answers
from routewright.wire.json import encode

Object = dict[str, Any]
_decode = msgspec.json.Decoder().decode
_JOINED = ("content", "reasoning_content", "refusal")
_LISTS = ("thinking_blocks", "annotations")


class CannotBeWhole(ValueError):
    """The stream says something that this dialect's whole answers have no known place for."""


def whole_of(stream: bytes, call: Call, usage: Usage) -> bytes | None:
    """A whole answer, or None where there is none to be had. `usage`: for a stream that did not tell its own."""
    gather = _GATHERERS.get(call.endpoint)
    if gather is None:
        return None
    try:
        whole = gather(list(_events(stream)), usage)
    except (CannotBeWhole, msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        return None
    return encode(whole)


def _events(stream: bytes) -> Iterator[Object]:
    for event in stream.split(b"\n\n"):
        data = b"".join([line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]).strip()
        if data and data != b"[DONE]":
            yield _decode(data)


# --- OpenAI ---------------------------------------------------------------------------------------------------------


def _openai(events: list[Object], usage: Usage, add: Callable[[Object, Object], None], kind: str) -> Object:
    first = events[0]
    whole: Object = {name: first[name] for name in ("id", "created", "model") if name in first}
    whole["object"] = kind
    choices: dict[int, Object] = {}
    figures: Any = None
    for event in events:
        if event.get("usage") is not None:
            figures = event["usage"]
        if event.get("system_fingerprint") is not None:
            whole["system_fingerprint"] = event["system_fingerprint"]
        for choice in event["choices"]:
            index = choice.get("index", 0)
            found = choices.setdefault(index, {"index": index})
            if choice.get("finish_reason") is not None:
                found["finish_reason"] = choice["finish_reason"]
            if choice.get("logprobs") is not None:
                _add_lists(found.setdefault("logprobs", {}), choice["logprobs"])
            add(found, choice)
    if not choices or any("finish_reason" not in choice for choice in choices.values()):
        raise CannotBeWhole
    whole["choices"] = [choices[index] for index in sorted(choices)]
    whole["usage"] = figures if figures is not None else chat_answers.usage_object(usage)
    return whole


def _add_lists(found: Object, given: Object) -> None:
    for name, value in given.items():
        if type(value) is list:
            found[name] = [*found.get(name, ()), *value]


def _add_chat(found: Object, choice: Object) -> None:
    message = found.setdefault("message", {"role": "assistant", "content": None})
    for name, value in choice.get("delta", {}).items():
        if value is None or name == "role":
            continue
        if name in _JOINED:
            message[name] = (message.get(name) or "") + value
        elif name in _LISTS:
            message[name] = [*message.get(name, ()), *value]
        elif name == "tool_calls":
            _add_tools(message.setdefault("tool_calls", []), value)
        else:
            raise CannotBeWhole


def _add_tools(calls: list[Object], given: list[Object]) -> None:
    for piece in given:
        index = piece.get("index", len(calls) if piece.get("id") else len(calls) - 1)
        if not 0 <= index <= len(calls):
            raise CannotBeWhole
        if index == len(calls):
            calls.append({"id": piece["id"], "type": "function", "function": {"name": "", "arguments": ""}})
        function, said = calls[index]["function"], piece.get("function") or {}
        function["name"] = function["name"] or said.get("name") or ""
        function["arguments"] += said.get("arguments") or ""


def _chat(events: list[Object], usage: Usage) -> Object:
    whole = _openai(events, usage, _add_chat, "chat.completion")
    for choice in whole["choices"]:
        message = choice["message"]
        if message["content"] == "" and message.get("tool_calls"):
            message["content"] = None
    return whole


def _add_completion(found: Object, choice: Object) -> None:
    found["text"] = found.get("text", "") + (choice.get("text") or "")
    found.setdefault("logprobs", None)


def _completion(events: list[Object], usage: Usage) -> Object:
    return _openai(events, usage, _add_completion, "text_completion")


# --- Anthropic ------------------------------------------------------------------------------------------------------


def _message(events: list[Object], usage: Usage) -> Object:
    whole: Object = {}
    blocks: dict[int, Object] = {}
    arguments: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            whole = event["message"]
        elif kind == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif kind == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            elif delta["type"] == "input_json_delta":
                arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            else:
                raise CannotBeWhole
        elif kind == "message_delta":
            whole.update(event["delta"])
            whole["usage"] = {**whole.get("usage", {}), **event["usage"]}
        elif kind not in ("content_block_stop", "message_stop", "ping"):
            raise CannotBeWhole
    for index, text in arguments.items():
        blocks[index]["input"] = _decode(text) if text else {}
    if whole.get("stop_reason") is None:
        raise CannotBeWhole
    return {**whole, "content": [blocks[index] for index in sorted(blocks)]}


# --- Gemini ---------------------------------------------------------------------------------------------------------


def _generated(events: list[Object], usage: Usage) -> Object:
    whole: Object = {}
    candidates: dict[int, Object] = {}
    for event in events:
        whole.update({name: value for name, value in event.items() if name != "candidates"})
        for candidate in event.get("candidates") or ():
            index = candidate.get("index", 0)
            found = candidates.setdefault(index, {"content": {"parts": [], "role": "model"}})
            found.update({name: value for name, value in candidate.items() if name != "content"})
            for part in (candidate.get("content") or {}).get("parts") or ():
                _add_part(found["content"]["parts"], part)
    if not candidates or any("finishReason" not in candidate for candidate in candidates.values()):
        raise CannotBeWhole
    return {"candidates": [candidates[index] for index in sorted(candidates)], **whole}


def _add_part(parts: list[Object], part: Object) -> None:
    """Text goes on where the last part is text of the same kind; all else is a part of its own."""
    if part == {"text": ""}:
        return
    last = parts[-1] if parts else {}
    is_text = part.keys() <= {"text", "thought"} and "text" in part
    if is_text and last.keys() <= {"text", "thought"} and "text" in last and last.get("thought") == part.get("thought"):
        last["text"] += part["text"]
    else:
        parts.append(dict(part))


# --- Responses ------------------------------------------------------------------------------------------------------


def _response(events: list[Object], usage: Usage) -> Object:
    last = events[-1]
    if last["type"] not in ("response.completed", "response.incomplete"):
        raise CannotBeWhole
    response: Object = last["response"]
    return response


_GATHERERS: dict[str, Callable[[list[Object], Usage], Object]] = {
    "chat": _chat,
    "completions": _completion,
    "messages": _message,
    "generate_content": _generated,
    "responses": _response,
}
