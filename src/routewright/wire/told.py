"""A whole answer as the events of a stream, in each client's dialect: what a client that asks for a stream gets.

Each comes in two parts: what may be sent at once, and the end, which has to wait until the answer is on record.
Source: the API references that the dialects' own modules name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routewright.types import Call
from routewright.wire.json import encode
from routewright.wire.messages_answers import event as message_event
from routewright.wire.whole import events_of

Object = dict[str, Any]
_decode = msgspec.json.Decoder().decode


def stream_of(body: bytes, call: Call) -> tuple[bytes, bytes] | None:
    """(events, the last of them), or None where the answer has no form as a stream."""
    try:
        whole = _decode(body)
        if call.endpoint in ("chat", "completions"):
            return events_of(whole, call.endpoint, call.wants_usage)
        if call.endpoint == "messages":
            return _message(whole)
        if call.endpoint == "generate_content":
            return b"", b"data: %b\n\n" % encode(whole)
        if call.endpoint == "responses":
            return _response(whole)
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        pass
    return None


def split_end(stream: bytes) -> tuple[bytes, bytes]:
    """A stream's bytes as (all events but the last, the last)."""
    cut = stream.rfind(b"\n\n", 0, len(stream) - 2) + 2
    return (stream[:cut], stream[cut:]) if cut > 1 else (b"", stream)


# --- Anthropic ------------------------------------------------------------------------------------------------------


def _message(whole: Object) -> tuple[bytes, bytes]:
    usage = whole["usage"]
    start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": min(1, usage.get("output_tokens", 0))}
    out = [message_event({"type": "message_start", "message": start})]
    for index, block in enumerate(whole["content"]):
        empty, deltas = _pieces(block)
        out.append(message_event({"type": "content_block_start", "index": index, "content_block": empty}))
        for delta in deltas:
            out.append(message_event({"type": "content_block_delta", "index": index, "delta": delta}))
        out.append(message_event({"type": "content_block_stop", "index": index}))
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": whole.get("stop_sequence")}
    out.append(message_event({"type": "message_delta", "delta": ended, "usage": usage}))
    return b"".join(out), message_event({"type": "message_stop"})


def _pieces(block: Object) -> tuple[Object, list[Object]]:
    """A block as it is begun, and what is then said of it."""
    kind = block["type"]
    if kind == "text":
        empty = {**block, "text": ""}
        citations = empty.pop("citations", None) or ()
        cited = [{"type": "citations_delta", "citation": citation} for citation in citations]
        return empty, [{"type": "text_delta", "text": block["text"]}, *cited]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    if kind in ("tool_use", "server_tool_use"):
        arguments = {"type": "input_json_delta", "partial_json": encode(block["input"]).decode()}
        return {**block, "input": {}}, [arguments]
    return block, []


# --- Responses ------------------------------------------------------------------------------------------------------


class _Numbered:
    """Typed events with their numbers."""

    def __init__(self) -> None:
        self.out: list[bytes] = []

    def say(self, kind: str, **fields: Any) -> None:
        value = {"type": kind, "sequence_number": len(self.out), **fields}
        self.out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(value)))


def _response(whole: Object) -> tuple[bytes, bytes]:
    status = whole["status"]
    if status not in ("completed", "incomplete"):
        raise LookupError(status)
    told = _Numbered()
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    told.say("response.created", response=begun)
    told.say("response.in_progress", response=begun)
    for index, item in enumerate(whole["output"]):
        _say_item(told, index, item)
    told.say(f"response.{status}", response=whole)
    return b"".join(told.out[:-1]), told.out[-1]


def _say_item(told: _Numbered, index: int, item: Object) -> None:
    where = {"item_id": item.get("id"), "output_index": index}
    shown = {**item, "status": "in_progress"} if "status" in item else item
    if item["type"] == "message":
        told.say("response.output_item.added", output_index=index, item={**shown, "content": []})
        for place, part in enumerate(item["content"]):
            at = {**where, "content_index": place}
            name, word = ("refusal", "refusal") if part["type"] == "refusal" else ("text", "output_text")
            text = part[name]
            more: Object = {"logprobs": []} if name == "text" else {}
            empty = {**part, name: ""}
            if "annotations" in empty:
                empty["annotations"] = []
            told.say("response.content_part.added", **at, part=empty)
            told.say(f"response.{word}.delta", **at, delta=text, **more)
            told.say(f"response.{word}.done", **at, **{name: text}, **more)
            told.say("response.content_part.done", **at, part=part)
    elif item["type"] == "function_call":
        told.say("response.output_item.added", output_index=index, item={**shown, "arguments": ""})
        told.say("response.function_call_arguments.delta", **where, delta=item["arguments"])
        told.say("response.function_call_arguments.done", **where, name=item["name"], arguments=item["arguments"])
    elif item["type"] == "reasoning":
        told.say("response.output_item.added", output_index=index, item={**shown, "summary": []})
        for place, part in enumerate(item.get("summary") or ()):
            at = {**where, "summary_index": place}
            told.say("response.reasoning_summary_part.added", **at, part={**part, "text": ""})
            told.say("response.reasoning_summary_text.delta", **at, delta=part["text"])
            told.say("response.reasoning_summary_text.done", **at, text=part["text"])
            told.say("response.reasoning_summary_part.done", **at, part=part)
    else:
        told.say("response.output_item.added", output_index=index, item=shown)
    told.say("response.output_item.done", output_index=index, item=item)
