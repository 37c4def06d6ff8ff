"""One answer in the words of every upstream's dialect, whole and streamed; and how each reads what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness import anthropic, bedrock, cohere, dialect, gemini, ollama, responses
from harness.dialect import to_json


@dataclass(frozen=True)
class Tool:
    """A tool that the model calls."""

    id: str
    name: str
    arguments: str
    """JSON of an object."""


@dataclass(frozen=True)
class Said:
    """What a model says, in pieces as a stream brings them."""

    texts: tuple[str, ...] = ()
    thinking: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    finish: str = "stop"
    """In OpenAI's words."""
    prompt: int = 129
    """Of these `cached`."""
    cached: int = 100
    completion: int = 40

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def thought(self) -> str:
        return "".join(self.thinking)


SIGNATURE = "EqQBCgIYAhIM=="
ID = "answer-1"


@dataclass(frozen=True)
class Asked:
    """What an upstream reads of the conversation so far: which tools were called, and what they gave."""

    calls: list[tuple[str, Any]]
    """(name, arguments) in order."""
    results: list[tuple[str, str]]
    """(name of the tool that was called, what it gave) in order."""


@dataclass(frozen=True)
class Tongue:
    """An upstream's dialect."""

    whole: Callable[[Said], Any]
    stream: Callable[[Said], list[bytes]]
    read: Callable[[Mapping[str, Any]], Asked]
    can_say: Callable[[Said], Said] = lambda said: said
    """The same without what this dialect has no word for."""


def halves(text: str) -> list[str]:
    """Pieces of a tool's arguments."""
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def _pairs(calls: list[tuple[str, str, Any]], results: list[tuple[str, str]]) -> Asked:
    """By the ids that bind a result to its call."""
    names = {call_id: name for call_id, name, _ in calls}
    assert len(names) == len(calls), "two calls by one id"
    return Asked([(name, arguments) for _, name, arguments in calls], [(names[key], text) for key, text in results])


# --- OpenAI's chat --------------------------------------------------------------------------------------------------


def _openai_usage(said: Said) -> dict[str, Any]:
    return {**dialect.usage(said.prompt, said.completion), "prompt_tokens_details": {"cached_tokens": said.cached}}


def _openai_whole(said: Said) -> dict[str, Any]:
    calls = [{"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
             for tool in said.tools]  # fmt: skip
    more = {"tool_calls": calls} if calls else {}
    body = dialect.chat_completion(said.text or (None if calls else ""), usage=_openai_usage(said), id=ID, **more)
    if said.thinking:
        body["choices"][0]["message"]["reasoning_content"] = said.thought
    body["choices"][0]["finish_reason"] = said.finish
    return body


def _openai_stream(said: Said) -> list[bytes]:
    chunk = dialect.chunk
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"reasoning_content": piece}) for piece in said.thinking]
    chunks += [chunk({"content": piece}) for piece in said.texts]
    for place, tool in enumerate(said.tools):
        head = {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}
        chunks.append(chunk({"tool_calls": [{"index": place, **head}]}))
        chunks += [chunk({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
                   for piece in halves(tool.arguments)]  # fmt: skip
    chunks += [chunk({}, said.finish), chunk(None, usage=_openai_usage(said))]
    return [*(dialect.event({**value, "id": ID}) for value in chunks), dialect.DONE]


def _openai_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            function = call["function"]
            calls.append((call["id"], function["name"], json.loads(function["arguments"])))
        if message["role"] == "tool":
            results.append((message["tool_call_id"], _text(message["content"])))
    return _pairs(calls, results)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


# --- Anthropic's Messages -------------------------------------------------------------------------------------------

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def _anthropic_whole(said: Said) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": SIGNATURE})
    if said.text:
        blocks.append(anthropic.text(said.text))
    blocks += [{"type": "tool_use", "id": tool.id, "name": tool.name, "input": json.loads(tool.arguments)}
               for tool in said.tools]  # fmt: skip
    figures = anthropic.usage(said.prompt - said.cached, said.completion, cache_read_input_tokens=said.cached)
    stop = _STOPS[said.finish]
    return {**anthropic.message(stop_reason=stop, usage=figures, id=f"msg_{ID}"), "content": blocks}


def _anthropic_stream(said: Said) -> list[bytes]:
    start = json.loads(anthropic.start().partition(b"data: ")[2])
    start["message"].update(
        id=f"msg_{ID}",
        usage=anthropic.usage(said.prompt - said.cached, 1, cache_read_input_tokens=said.cached),
    )
    events, block = [anthropic.event(start), anthropic.PING], 0
    if said.thinking:
        events += anthropic.thinking_block(block, said.thinking, SIGNATURE)
        block += 1
    if said.texts:
        events += anthropic.text_block(block, said.texts)
        block += 1
    for tool in said.tools:
        events += anthropic.tool_block(block, tool.name, ["", *halves(tool.arguments)], tool.id)
        block += 1
    return [*events, anthropic.end(_STOPS[said.finish], said.completion), anthropic.STOP]


def _anthropic_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                calls.append((block["id"], block["name"], block["input"]))
            elif block["type"] == "tool_result":
                results.append((block["tool_use_id"], _text(block["content"])))
    return _pairs(calls, results)


# --- Gemini ---------------------------------------------------------------------------------------------------------

_GEMINI_FINISHES = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def _gemini_usage(said: Said) -> dict[str, Any]:
    thoughts = said.completion // 2 if said.thinking else 0
    more = {"thoughtsTokenCount": thoughts} if thoughts else {}
    return gemini.usage(said.prompt, said.completion - thoughts, cachedContentTokenCount=said.cached, **more)


def _gemini_part(tool: Tool) -> dict[str, Any]:
    return {"functionCall": {"name": tool.name, "args": json.loads(tool.arguments)}}


def _gemini_whole(said: Said) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": said.thought, "thought": True}] if said.thinking else []
    parts += [{"text": said.text}] if said.text else []
    parts += [_gemini_part(tool) for tool in said.tools]
    finish = _GEMINI_FINISHES[said.finish]
    return gemini.response(*parts, finish=finish, usageMetadata=_gemini_usage(said), responseId=ID)


def _gemini_stream(said: Said) -> list[bytes]:
    parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in said.thinking]
    parts += [{"text": piece} for piece in said.texts]
    parts += [_gemini_part(tool) for tool in said.tools]
    events = [gemini.response(part, finish=None, responseId=ID) for part in parts]
    finish = _GEMINI_FINISHES[said.finish]
    last = gemini.response({"text": ""}, finish=finish, usageMetadata=_gemini_usage(said), responseId=ID)
    return [gemini.event(value) for value in (*events, last)]


def _gemini_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for content in body["contents"]:
        for part in content["parts"]:
            if "functionCall" in part:
                calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
            elif "functionResponse" in part:
                given = part["functionResponse"]
                *_, said = given["response"].values()  # `result`, `return_value`; `content` after `name`
                results.append((given["name"], str(said)))
    return Asked(calls, results)


# --- Bedrock's Converse ---------------------------------------------------------------------------------------------

_CONVERSE_STOPS = {**_STOPS, "content_filter": "content_filtered"}


def _bedrock_usage(said: Said) -> dict[str, Any]:
    return {"fresh": said.prompt - said.cached, "out": said.completion, "cacheReadInputTokens": said.cached}


def _bedrock_whole(said: Said) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    if said.thinking:
        blocks.append({"reasoningContent": {"reasoningText": {"text": said.thought, "signature": SIGNATURE}}})
    if said.text:
        blocks.append({"text": said.text})
    blocks += [{"toolUse": {"toolUseId": tool.id, "name": tool.name, "input": json.loads(tool.arguments)}}
               for tool in said.tools]  # fmt: skip
    stop = _CONVERSE_STOPS[said.finish]
    return bedrock.response(*blocks, stop=stop, usage=bedrock.usage(**_bedrock_usage(said)))


def _bedrock_stream(said: Said) -> list[bytes]:
    events, block = [bedrock.START], 0
    if said.thinking:
        events += [bedrock.delta(block, reasoningContent={"text": piece}) for piece in said.thinking]
        events += [bedrock.delta(block, reasoningContent={"signature": SIGNATURE}), bedrock.block_stop(block)]
        block += 1
    if said.texts:
        events += [*(bedrock.delta(block, text=piece) for piece in said.texts), bedrock.block_stop(block)]
        block += 1
    for tool in said.tools:
        deltas = [bedrock.delta(block, toolUse={"input": piece}) for piece in halves(tool.arguments)]
        events += [bedrock.tool_start(block, tool.id, tool.name), *deltas, bedrock.block_stop(block)]
        block += 1
    return [*events, *bedrock.end(_CONVERSE_STOPS[said.finish], **_bedrock_usage(said))]


def _bedrock_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for message in body["messages"]:
        for block in message["content"]:
            if "toolUse" in block:
                use = block["toolUse"]
                calls.append((use["toolUseId"], use["name"], use["input"]))
            elif "toolResult" in block:
                result = block["toolResult"]
                results.append((result["toolUseId"], _text(result["content"])))
    return _pairs(calls, results)


# --- Cohere ---------------------------------------------------------------------------------------------------------

_COHERE_FINISHES = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}


def _cohere_usage(said: Said) -> dict[str, Any]:
    return {**cohere.usage(said.prompt, said.completion), "cached_tokens": float(said.cached)}


def _cohere_call(tool: Tool, arguments: str) -> dict[str, Any]:
    return {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": arguments}}


def _cohere_whole(said: Said) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "thinking", "thinking": said.thought}] if said.thinking else []
    more: dict[str, Any] = {}
    if said.tools:
        more["tool_calls"] = [_cohere_call(tool, tool.arguments) for tool in said.tools]
        more["tool_plan"] = said.text
    elif said.text:
        parts.append(cohere.text(said.text))
    body = cohere.response(*parts, finish=_COHERE_FINISHES[said.finish], **more)
    return {**body, "id": ID, "usage": _cohere_usage(said)}


def _cohere_stream(said: Said) -> list[bytes]:
    start = json.loads(cohere.START.partition(b"data: ")[2])
    events = [cohere.event("message-start", **{name: value for name, value in start.items() if name != "type"})]
    if said.thinking:
        events.append(cohere.piece("content-start", content={"type": "thinking", "thinking": ""}))
        events += [cohere.piece("content-delta", content={"thinking": piece}) for piece in said.thinking]
        events.append(cohere.event("content-end", index=0))
    if said.tools:
        events += [cohere.piece("tool-plan-delta", tool_plan=piece) for piece in said.texts]
    elif said.texts:
        events.append(cohere.piece("content-start", 1, content=cohere.text("")))
        events += [cohere.piece("content-delta", 1, content={"text": piece}) for piece in said.texts]
        events.append(cohere.event("content-end", index=1))
    for place, tool in enumerate(said.tools):
        events.append(cohere.piece("tool-call-start", place, tool_calls=_cohere_call(tool, "")))
        events += [cohere.piece("tool-call-delta", place, tool_calls={"function": {"arguments": piece}})
                   for piece in halves(tool.arguments)]  # fmt: skip
        events.append(cohere.event("tool-call-end", index=place))
    delta = {"finish_reason": _COHERE_FINISHES[said.finish], "usage": _cohere_usage(said)}
    return [*events, cohere.event("message-end", delta=delta)]


def _cohere_can_say(said: Said) -> Said:
    return replace(said, finish="stop") if said.finish == "content_filter" else said


# --- Ollama ---------------------------------------------------------------------------------------------------------


def _ollama_calls(tools: tuple[Tool, ...]) -> list[dict[str, Any]]:
    return [{"function": {"name": tool.name, "arguments": json.loads(tool.arguments)}} for tool in tools]


def _ollama_end(said: Said) -> dict[str, Any]:
    reason = "length" if said.finish == "length" else "stop"
    return {"done_reason": reason, "prompt_eval_count": said.prompt, "eval_count": said.completion}


def _ollama_whole(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"thinking": said.thought} if said.thinking else {}
    if said.tools:
        message["tool_calls"] = _ollama_calls(said.tools)
    return ollama.response(said.text, message=message, **_ollama_end(said))


def _ollama_stream(said: Said) -> list[bytes]:
    lines = [ollama.response("", done=False, message={"thinking": piece}) for piece in said.thinking]
    lines += [ollama.response(piece, done=False) for piece in said.texts]
    lines += [ollama.response("", done=False, message={"tool_calls": [call]}) for call in _ollama_calls(said.tools)]
    return [ollama.line(value) for value in (*lines, ollama.response("", **_ollama_end(said)))]


def _ollama_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for message in body["messages"]:
        calls += [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]
        if message["role"] == "tool":
            results.append((message["tool_name"], message["content"]))
    return Asked(calls, results)


def _ollama_can_say(said: Said) -> Said:
    return replace(_cohere_can_say(said), cached=0)


# --- OpenAI's Responses ---------------------------------------------------------------------------------------------


def _responses_usage(said: Said) -> dict[str, Any]:
    return responses.usage(said.prompt, said.completion, cached=said.cached)


def _responses_end(said: Said) -> dict[str, Any]:
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.finish)
    status = {"status": "incomplete", "incomplete_details": {"reason": why}} if why else {}
    return {"usage": _responses_usage(said), "id": f"resp_{ID}", **status}


def _responses_told(said: Said) -> responses.Told:
    told = responses.Told()
    told.begin(id=f"resp_{ID}")
    if said.thinking:
        told.thinking(said.thinking)
    if said.texts:
        told.text(*said.texts)
    for place, tool in enumerate(said.tools):
        told.call(*halves(tool.arguments), name=tool.name, number=place + 1, call_id=tool.id)
    return told


def _responses_whole(said: Said) -> dict[str, Any]:
    return responses.response(*_responses_told(said).output, **_responses_end(said))


def _responses_stream(said: Said) -> list[bytes]:
    told, end = _responses_told(said), _responses_end(said)
    return told.end(end.pop("status", "completed"), **end)


def _responses_read(body: Mapping[str, Any]) -> Asked:
    calls, results = [], []
    for item in body["input"] if isinstance(body["input"], list) else ():
        if item.get("type") == "function_call":
            calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        elif item.get("type") == "function_call_output":
            results.append((item["call_id"], _text(item["output"])))
    return _pairs(calls, results)


TONGUES = {
    "openai": Tongue(_openai_whole, _openai_stream, _openai_read),
    "anthropic": Tongue(_anthropic_whole, _anthropic_stream, _anthropic_read),
    "gemini": Tongue(_gemini_whole, _gemini_stream, _gemini_read),
    "bedrock": Tongue(_bedrock_whole, _bedrock_stream, _bedrock_read),
    "cohere": Tongue(_cohere_whole, _cohere_stream, _openai_read, _cohere_can_say),
    "ollama": Tongue(_ollama_whole, _ollama_stream, _ollama_read, _ollama_can_say),
    "responses": Tongue(_responses_whole, _responses_stream, _responses_read),
}


def whole_bytes(tongue: Tongue, said: Said) -> bytes:
    return to_json(tongue.whole(said))
