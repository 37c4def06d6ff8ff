"""OpenAI's Responses as a client dialect: answers and event streams from any provider, as its clients read them.

Source: OpenAI API reference, "The response object", "Streaming events", as of 2026-11.
"""

from __future__ import annotations

from typing import Any

from routewright.dialect import Chat
from routewright.errors import GatewayError, UpstreamBadResponse
from routewright.types import Call, Usage
from routewright.wire.json import encode
from routewright.wire.responses_chat import sealed

_ECHOED = ("instructions", "max_output_tokens", "metadata", "reasoning", "temperature", "text", "tool_choice", "tools",
           "top_p", "truncation", "user", "parallel_tool_calls")  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "reasoning": {"effort": None, "summary": None},
    "temperature": None, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": None,
    "truncation": "disabled", "user": None, "parallel_tool_calls": True,
}  # fmt: skip


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_creation_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def response_object(
    call: Call, answer_id: str, model: str, created_s: float, output: list[Any], status: str
) -> dict[str, Any]:
    """Still without `usage`. What is kept is told its own `store` and id by `keeping.py`."""
    body = call.body
    echoed = {name: _DEFAULTS[name] if body.get(name) is None else body[name] for name in _ECHOED}
    about = {"background": False, "previous_response_id": None, "store": False, "error": None}
    return {
        "id": f"resp_{answer_id}",
        "object": "response",
        "created_at": int(created_s),
        "status": status,
        "model": model,
        "output": output,
        "incomplete_details": None,
        **echoed,
        **about,
    }


def _incomplete(finish: str | None) -> str | None:
    """Why an answer is not complete, in this dialect's words."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish or "")


def wants_sealed(call: Call) -> bool:
    include = call.body.get("include")
    return type(include) is list and "reasoning.encrypted_content" in include


def _reasoning(answer_id: str, place: int, text: str, blocks: list[dict[str, Any]] | None) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: dict[str, Any] = {"id": f"rs_{answer_id}_{place}", "type": "reasoning", "summary": summary}
    if blocks:
        item["encrypted_content"] = sealed(blocks)
    return item


def _message(answer_id: str, place: int, content: list[Any], status: str = "completed") -> dict[str, Any]:
    about = {"id": f"msg_{answer_id}_{place}", "type": "message", "status": status, "role": "assistant"}
    return {**about, "content": content}


def _text(text: str, annotations: Any = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": []}


def _function_call(answer_id: str, place: int, call_id: str, name: str, arguments: str, status: str) -> dict[str, Any]:
    about = {"id": f"fc_{answer_id}_{place}", "type": "function_call", "status": status}
    return {**about, "call_id": call_id, "name": name, "arguments": arguments}


def answer(chat: Chat, call: Call, usage: Usage) -> bytes:
    """A whole response."""
    choice = chat["choices"][0]
    message, finish = choice["message"], choice.get("finish_reason")
    given = chat.get("id")
    answer_id = given if type(given) is str and given else "unnamed"
    output: list[Any] = []
    blocks = message.get("thinking_blocks")
    if message.get("reasoning_content") or blocks:
        own = blocks if wants_sealed(call) else None
        output.append(_reasoning(answer_id, 0, message.get("reasoning_content") or "", own))
    if message.get("content"):
        notes = [{"type": "url_citation", **note["url_citation"]} for note in message.get("annotations") or ()
                 if note.get("type") == "url_citation"]  # fmt: skip
        output.append(_message(answer_id, len(output), [_text(message["content"], notes)]))
    elif message.get("refusal"):
        output.append(_message(answer_id, len(output), [{"type": "refusal", "refusal": message["refusal"]}]))
    for tool in message.get("tool_calls") or ():
        function = tool["function"]
        place = len(output)
        output.append(
            _function_call(answer_id, place, tool["id"], function["name"], function["arguments"], "completed")
        )
    why = _incomplete(finish)
    whole = response_object(
        call, answer_id, chat["model"], chat["created"], output, "incomplete" if why else "completed"
    )
    if why:
        whole["incomplete_details"] = {"reason": why}
    return encode({**whole, "usage": usage_object(usage)})


class ResponsesPieces:
    """An answer's pieces as typed events, numbered; each item is begun, told and ended before the next."""

    def __init__(self, call: Call, model: str, created_s: float) -> None:
        self._call, self._model, self._created_s = call, model, created_s
        self._seals = wants_sealed(call)
        self._id = ""
        self._number = 0
        self._opening = b""
        self._output: list[Any] = []
        self._kind = ""
        """Of the open item; empty while none is."""
        self._tool = -1
        """The last tool call, counted from 0."""
        self._item: dict[str, Any] = {}
        self._said: list[str] = []
        self._blocks: list[dict[str, Any]] = []
        self._before = b""
        """Of a delta of the open item, up to its number."""
        self._finish: str | None = None

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._number
        self._number += 1
        value = {"type": kind, "sequence_number": number, **fields}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(value))

    def _whole(self, status: str) -> dict[str, Any]:
        return response_object(self._call, self._id, self._model, self._created_s, self._output, status)

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        """Said together with the first item."""
        self._id = answer_id or "unnamed"
        whole = {**self._whole("in_progress"), "usage": None}
        self._opening = self._event("response.created", response=whole)
        self._opening += self._event("response.in_progress", response=whole)
        return b""

    # --- items ---

    def _open(self, kind: str, item: dict[str, Any], delta: str, **place: Any) -> bytes:
        out = self._close()
        self._kind, self._item, self._said = kind, item, []
        where = {"item_id": item["id"], "output_index": len(self._output), **place}
        self._before = b'event: %b\ndata: {"type":"%b",%b,"sequence_number":' % (
            delta.encode(),
            delta.encode(),
            encode(where)[1:-1],
        )
        shown = {**item, "status": "in_progress"} if kind != "reasoning" else item
        return out + self._event("response.output_item.added", output_index=len(self._output), item=shown)

    def _delta(self, text: str, more: bytes = b"") -> bytes:
        self._said.append(text)
        number = self._number
        self._number += 1
        return b'%b%d,"delta":%b%b}\n\n' % (self._before, number, encode(text), more)

    def _close(self) -> bytes:
        opening, self._opening = self._opening, b""
        kind, self._kind = self._kind, ""
        if not kind:
            return opening
        text, item, index = "".join(self._said), self._item, len(self._output)
        where = {"item_id": item["id"], "output_index": index}
        out = opening
        if kind == "text":
            part = _text(text)
            out += self._event("response.output_text.done", **where, content_index=0, text=text, logprobs=[])
            out += self._event("response.content_part.done", **where, content_index=0, part=part)
            item = {**item, "content": [part], "status": "completed"}
        elif kind == "refusal":
            part = {"type": "refusal", "refusal": text}
            out += self._event("response.refusal.done", **where, content_index=0, refusal=text)
            out += self._event("response.content_part.done", **where, content_index=0, part=part)
            item = {**item, "content": [part], "status": "completed"}
        elif kind == "function_call":
            out += self._event("response.function_call_arguments.done", **where, name=item["name"], arguments=text)
            item = {**item, "arguments": text, "status": "completed"}
        else:
            if text:
                part = {"type": "summary_text", "text": text}
                out += self._event("response.reasoning_summary_text.done", **where, summary_index=0, text=text)
                out += self._event("response.reasoning_summary_part.done", **where, summary_index=0, part=part)
            place = int(item["id"].rpartition("_")[2])
            item = _reasoning(self._id, place, text, self._blocks if self._seals else None)
            self._blocks = []
        self._output.append(item)
        return out + self._event("response.output_item.done", output_index=index, item=item)

    # --- pieces ---

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        out = b""
        if self._kind != "text":
            out = self._part("text", "response.output_text.delta", _text(""))
        return out + self._delta(text, b',"logprobs":[]')

    def refusal(self, text: str) -> bytes:
        out = b""
        if self._kind != "refusal":
            out = self._part("refusal", "response.refusal.delta", {"type": "refusal", "refusal": ""})
        return out + self._delta(text)

    def _part(self, kind: str, delta: str, part: dict[str, Any]) -> bytes:
        item = _message(self._id, self._next_place(), [])
        out = self._open(kind, item, delta, content_index=0)
        index = len(self._output)
        return out + self._event(
            "response.content_part.added", item_id=item["id"], output_index=index, content_index=0, part=part
        )

    def _next_place(self) -> int:
        """Of an item that is about to be opened: the open one will be ended before it."""
        return len(self._output) + (1 if self._kind else 0)

    def thinking(self, text: str) -> bytes:
        if not text:
            return b""
        out = b""
        if self._kind != "reasoning":
            out = self._open_reasoning()
        if not self._said:
            out += self._event("response.reasoning_summary_part.added", item_id=self._item["id"], summary_index=0,
                               output_index=len(self._output), part={"type": "summary_text", "text": ""})  # fmt: skip
        return out + self._delta(text)

    def _open_reasoning(self) -> bytes:
        item = _reasoning(self._id, self._next_place(), "", None)
        return self._open("reasoning", item, "response.reasoning_summary_text.delta", summary_index=0)

    def signature(self, signature: str) -> bytes:
        if self._kind == "reasoning":
            block = {"type": "thinking", "thinking": "".join(self._said), "signature": signature}
            self._blocks.append(block)
        return b""

    def redacted_thinking(self, data: str) -> bytes:
        out = b"" if self._kind == "reasoning" else self._open_reasoning()
        self._blocks.append({"type": "redacted_thinking", "data": data})
        return out

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        item = _function_call(self._id, self._next_place(), call_id, name, "", "in_progress")
        self._tool = tool
        return self._open("function_call", item, "response.function_call_arguments.delta")

    def arguments(self, tool: int, text: str) -> bytes:
        if self._kind != "function_call" or tool != self._tool:
            raise UpstreamBadResponse("the upstream went back to an earlier tool call")
        return self._delta(text)

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        self._finish = reason
        return self._close()

    def end(self, usage: Usage) -> bytes:
        out = self._close()
        why = _incomplete(self._finish)
        kind = "incomplete" if why else "completed"
        whole = {**self._whole(kind), "usage": usage_object(usage)}
        if why:
            whole["incomplete_details"] = {"reason": why}
        return out + self._event(f"response.{kind}", response=whole)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        whole = {**self._whole("failed"), "usage": None}
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"  # the words that this dialect has
        whole["error"] = {"code": code, "message": error.message}
        return self._event("response.failed", response=whole)
