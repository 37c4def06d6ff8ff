"""Every client's dialect: how it asks, what it reads of an answer, whole and streamed, and what it sends back.

Answers and events are judged by the types of the clients' own SDKs, so that nothing is told that they would not read.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic as anthropic_sdk
import openai
import pydantic
from google import genai
from openai.types.responses import Response, ResponseStreamEvent

from routewright.types import Call
from values import call, gemini_call, messages_call, responses_call

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMES = ("weather", "now")
_RESPONSE_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
_MESSAGE_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic_sdk.types.RawMessageStreamEvent)


@dataclass(frozen=True)
class Heard:
    """What a client reads of an answer."""

    text: str
    thought: str
    tools: list[tuple[str, Any]]
    """(name, arguments) in order."""
    finish: str
    """In OpenAI's words, as far as this dialect tells them apart."""
    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True)
class Ear:
    """A client's dialect."""

    ask: Callable[..., Call]
    """`is_stream`, and `history`, what `answer_tools` gave."""
    hear: Callable[[Any], Heard]
    gather: Callable[[bytes], Any]
    """A stream's events as the whole answer that they say."""
    answer_tools: Callable[[Any, list[str]], list[Any]]
    """The conversation after an answer (whole) and what its tools gave, in order."""
    tells_tools: bool = True
    """Whether its finish says that tools are called."""
    has_ended: Callable[[bytes], bool] = lambda body: False


# --- OpenAI's chat --------------------------------------------------------------------------------------------------

USER = {"role": "user", "content": "weather?"}


def _ask_chat(*, is_stream: bool = False, history: list[Any] | None = None, **fields: Any) -> Call:
    tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES]
    streamed = {"stream": True, "stream_options": {"include_usage": True}} if is_stream else {}
    return call("chat", messages=history or [USER], **{"tools": tools, **streamed, **fields})


def _hear_chat(body: Any) -> Heard:
    openai.types.chat.ChatCompletion.model_validate(body)
    choice, usage = body["choices"][0], body["usage"]
    message = choice["message"]
    tools = [(one["function"]["name"], json.loads(one["function"]["arguments"]))
             for one in message.get("tool_calls") or ()]  # fmt: skip
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Heard(message.get("content") or "", message.get("reasoning_content") or "", tools, choice["finish_reason"],
                 usage["prompt_tokens"], cached, usage["completion_tokens"])  # fmt: skip


def _gather_chat(stream: bytes) -> Any:
    *events, done, end = stream.decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    message: dict[str, Any] = {"role": "assistant", "content": None}
    finish, usage, whole = None, None, {}
    for event in events:
        chunk = json.loads(event.removeprefix("data: "))
        openai.types.chat.ChatCompletionChunk.model_validate(chunk)
        whole = whole or chunk
        assert (chunk["id"], chunk["created"]) == (whole["id"], whole["created"])
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            assert finish is None, "something is said after the finish"
            finish = choice.get("finish_reason")
            _add_delta(message, choice["delta"])
    choice = {"index": 0, "message": message, "finish_reason": finish}
    about = {name: whole[name] for name in ("id", "created", "model")}
    return {**about, "object": "chat.completion", "choices": [choice], "usage": usage}


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("content", "reasoning_content"):
        if delta.get(name) is not None:
            message[name] = (message.get(name) or "") + delta[name]
    if delta.get("thinking_blocks"):
        message["thinking_blocks"] = [*message.get("thinking_blocks", ()), *delta["thinking_blocks"]]
    for piece in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if piece["index"] == len(calls):
            calls.append({"id": piece["id"], "type": "function", "function": {"name": "", "arguments": ""}})
        function = calls[piece["index"]]["function"]
        function["name"] += piece["function"].get("name") or ""
        function["arguments"] += piece["function"].get("arguments") or ""


def _answer_chat(body: Any, results: list[str]) -> list[Any]:
    message = body["choices"][0]["message"]
    told = [{"role": "tool", "tool_call_id": one["id"], "content": result}
            for one, result in zip(message["tool_calls"], results, strict=True)]  # fmt: skip
    return [USER, message, *told]


# --- Anthropic's Messages -------------------------------------------------------------------------------------------

_FINISHES = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}


def _ask_messages(*, is_stream: bool = False, history: list[Any] | None = None, **fields: Any) -> Call:
    tools = [{"name": name, "input_schema": SCHEMA} for name in NAMES]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    usual = {"tools": tools, "thinking": thinking, "max_tokens": 4000, **({"stream": True} if is_stream else {})}
    return messages_call(messages=history or [USER], **{**usual, **fields})


def _hear_messages(body: Any) -> Heard:
    anthropic_sdk.types.Message.model_validate(body)
    blocks, usage = body["content"], body["usage"]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    tools = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    cached = usage.get("cache_read_input_tokens") or 0
    return Heard(text, thought, tools, _FINISHES[body["stop_reason"]], usage["input_tokens"] + cached, cached,
                 usage["output_tokens"])  # fmt: skip


def _gather_messages(stream: bytes) -> Any:
    *events, end = stream.decode().split("\n\n")
    assert end == ""
    message: dict[str, Any] = {}
    arguments = ""
    for event in events:
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name.removeprefix("event: ") == value["type"]
        if value["type"] == "ping":
            continue
        _MESSAGE_EVENT.validate_python(value)
        kind = value["type"]
        if kind == "message_start":
            message = value["message"]
        elif kind == "content_block_start":
            assert value["index"] == len(message["content"])
            message["content"].append(value["content_block"])
            arguments = ""
        elif kind == "content_block_delta":
            assert value["index"] == len(message["content"]) - 1
            block, delta = message["content"][-1], value["delta"]
            if delta["type"] == "input_json_delta":
                arguments += delta["partial_json"]
            else:
                [field] = delta.keys() - {"type"}
                block[field] += delta[field]
        elif kind == "content_block_stop" and arguments:
            message["content"][-1]["input"] = json.loads(arguments)
        elif kind == "message_delta":
            message |= value["delta"]
            message["usage"] |= {name: figure for name, figure in value["usage"].items() if figure is not None}
    assert kind == "message_stop"
    return message


def _answer_messages(body: Any, results: list[str]) -> list[Any]:
    uses = [block for block in body["content"] if block["type"] == "tool_use"]
    told = [{"type": "tool_result", "tool_use_id": use["id"], "content": result}
            for use, result in zip(uses, results, strict=True)]  # fmt: skip
    return [USER, {"role": "assistant", "content": body["content"]}, {"role": "user", "content": told}]


# --- Gemini ---------------------------------------------------------------------------------------------------------

_GEMINI_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
GEMINI_USER = {"role": "user", "parts": [{"text": "weather?"}]}


def _ask_gemini(*, is_stream: bool = False, history: list[Any] | None = None, **fields: Any) -> Call:
    tools = [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in NAMES]}]
    usual = {"tools": tools, "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
    return gemini_call(is_stream=is_stream, contents=history or [GEMINI_USER], **{**usual, **fields})


def _hear_gemini(body: Any) -> Heard:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        genai.types.GenerateContentResponse.model_validate(body)
    candidate, usage = body["candidates"][0], body["usageMetadata"]
    parts = candidate["content"]["parts"]
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    thought = "".join(part["text"] for part in parts if part.get("thought"))
    tools = [(part["functionCall"]["name"], part["functionCall"].get("args") or {})
             for part in parts if "functionCall" in part]  # fmt: skip
    completion = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    return Heard(text, thought, tools, _GEMINI_FINISHES[candidate["finishReason"]], usage["promptTokenCount"],
                 usage.get("cachedContentTokenCount") or 0, completion)  # fmt: skip


def _gather_gemini(stream: bytes) -> Any:
    *events, end = stream.decode().replace("\r\n", "\n").split("\n\n")
    assert end == ""
    parts: list[Any] = []
    whole: dict[str, Any] = {}
    for event in events:
        value = json.loads(event.removeprefix("data: "))
        whole |= value
        parts += value["candidates"][0]["content"]["parts"]
    whole["candidates"][0]["content"]["parts"] = [part for part in parts if part != {"text": ""}]
    return whole


def _answer_gemini(body: Any, results: list[str]) -> list[Any]:
    content = body["candidates"][0]["content"]
    calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    told = [{"functionResponse": {**({"id": one["id"]} if "id" in one else {}), "name": one["name"],
             "response": {"result": result}}} for one, result in zip(calls, results, strict=True)]  # fmt: skip
    return [GEMINI_USER, content, {"role": "user", "parts": told}]


# --- OpenAI's Responses ---------------------------------------------------------------------------------------------


def _ask_responses(*, is_stream: bool = False, history: list[Any] | None = None, **fields: Any) -> Call:
    tools = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in NAMES]
    usual = {"tools": tools, "include": ["reasoning.encrypted_content"], **({"stream": True} if is_stream else {})}
    return responses_call(input=history or [USER], **{**usual, **fields})


def _hear_responses(body: Any) -> Heard:
    Response.model_validate(body)
    text = thought = ""
    tools = []
    for item in body["output"]:
        if item["type"] == "message":
            text += "".join(part.get("text", "") for part in item["content"])
        elif item["type"] == "reasoning":
            thought += "".join(part["text"] for part in item["summary"])
        elif item["type"] == "function_call":
            tools.append((item["name"], json.loads(item["arguments"])))
    finish = "tool_calls" if tools else "stop"
    if body["status"] == "incomplete":
        finish = {"max_output_tokens": "length"}.get(body["incomplete_details"]["reason"], "content_filter")
    usage = body["usage"]
    return Heard(text, thought, tools, finish, usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"],
                 usage["output_tokens"])  # fmt: skip


def _gather_responses(stream: bytes) -> Any:
    """The last event has the whole answer, which has to be what the others said bit by bit."""
    *events, end = stream.decode().split("\n\n")
    assert end == ""
    said: dict[str, str] = {}
    done: list[Any] = []
    for place, event in enumerate(events):
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name.removeprefix("event: ") == value["type"]
        assert value["sequence_number"] == place
        _RESPONSE_EVENT.validate_python(value)
        if value["type"].endswith(".delta"):
            said[value["item_id"]] = said.get(value["item_id"], "") + value["delta"]
        elif value["type"] == "response.output_item.done":
            assert value["output_index"] == len(done)
            done.append(value["item"])
    whole = value["response"]
    assert whole["output"] == done
    for item in done:
        words = item.get("arguments") or "".join(
            part["text"] for name in ("content", "summary") for part in item.get(name, ()) if "text" in part
        )
        assert said.get(item["id"], "") == words
    return whole


def _answer_responses(body: Any, results: list[str]) -> list[Any]:
    calls = [item for item in body["output"] if item["type"] == "function_call"]
    told = [{"type": "function_call_output", "call_id": one["call_id"], "output": result}
            for one, result in zip(calls, results, strict=True)]  # fmt: skip
    return [USER, *body["output"], *told]


EARS = {
    "chat": Ear(_ask_chat, _hear_chat, _gather_chat, _answer_chat,
                has_ended=lambda body: b'"finish_reason":"' in body and b'data: {"error":' not in body),
    "messages": Ear(_ask_messages, _hear_messages, _gather_messages, _answer_messages,
                    has_ended=lambda body: b"event: message_stop" in body),
    "generate_content": Ear(_ask_gemini, _hear_gemini, _gather_gemini, _answer_gemini, tells_tools=False,
                            has_ended=lambda body: b'"finishReason":"' in body),
    "responses": Ear(_ask_responses, _hear_responses, _gather_responses, _answer_responses,
                     has_ended=lambda body: b"event: response.completed" in body
                     or b"event: response.incomplete" in body),
}  # fmt: skip
