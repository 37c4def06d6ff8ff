"""The texts of a stream, replaced as it goes: each text has a window of its own, which may keep some of it back.

What a window keeps is sent when its text ends, before the event that says so. Arguments of tools are JSON in pieces:
they are kept until they are whole, since nobody can use them earlier, and sent in one. Events keep their order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from routewright.errors import UpstreamBadResponse
from routewright.wire.json import encode
from routewright.wire.texts import Slots, answer_slots, item_slots

Object = dict[str, Any]
MAX_ARGUMENT_CHARS = 4 * 1024 * 1024
_decode = msgspec.json.Decoder().decode


class Window(Protocol):
    """`guardrails.contract.Window`."""

    def feed(self, text: str) -> str: ...

    def flush(self) -> str: ...


Open = Callable[[], Window]


class EventTexts(ABC):
    """Rewrites events of one dialect. `feed` takes whole events, `end` the last of them."""

    def __init__(self, open_window: Open) -> None:
        self._open = open_window
        self._windows: dict[Any, Window] = {}
        self._arguments: dict[Any, list[str]] = {}
        self._size = 0

    def feed(self, events: bytes) -> bytes:
        """Raises what windows raise, UpstreamBadResponse for what is no event of the dialect."""
        out = []
        for event in events.replace(b"\r\n", b"\n").split(b"\n\n"):
            if not event.strip():
                continue
            data = b"".join([line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]).strip()
            if not data or data == b"[DONE]":
                out.append(event + b"\n\n")
                continue
            try:
                value = _decode(data)
                if value.get("error"):  # the gateway's own word: an upstream's never comes so far
                    out.append(event + b"\n\n")
                    continue
                out += [self._framed(each) for each in self._event(value)]
            except (msgspec.DecodeError, LookupError, TypeError, AttributeError) as error:
                raise UpstreamBadResponse("an event of the stream could not be looked over") from error
        return b"".join(out)

    def _framed(self, event: Object) -> bytes:
        return b"data: %b\n\n" % encode(event)

    @abstractmethod
    def _event(self, event: Object) -> list[Object]:
        """What goes to the client in place of this event."""

    # --- texts ---

    def _feed(self, place: Any, text: str) -> str:
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = self._open()
        return window.feed(text)

    def _flush(self, place: Any) -> str:
        window = self._windows.pop(place, None)
        return "" if window is None else window.flush()

    def _whole(self, text: str) -> str:
        window = self._open()
        return window.feed(text) + window.flush()

    def _put(self, slots: Slots) -> bool:
        return slots.put([self._whole(text) for text in slots.texts])

    def _keep(self, place: Any, text: str) -> None:
        """More of a tool's arguments."""
        self._size += len(text)
        if self._size > MAX_ARGUMENT_CHARS:
            raise UpstreamBadResponse("a tool's arguments are too long to be looked over")
        self._arguments.setdefault(place, []).append(text)

    def _kept(self, place: Any) -> str:
        """All of a tool's arguments, looked over."""
        held = {"arguments": "".join(self._arguments.pop(place, ()))}
        slots = Slots()
        slots.packed(held, "arguments")
        self._put(slots)
        return held["arguments"]


class ChatTexts(EventTexts):
    """Chunks of chat and of legacy completions."""

    def _event(self, event: Object) -> list[Object]:
        before: list[Object] = []
        says = not event["choices"]
        for choice in event["choices"]:
            index, delta = choice.get("index", 0), choice.get("delta")
            if type(choice.get("text")) is str:
                choice["text"] = self._feed((index, "text"), choice["text"])
                says = says or bool(choice["text"])
            if type(delta) is dict:
                self._delta(index, delta)
                says = says or bool(delta)
            if choice.get("finish_reason") is not None:
                says = True
                before += self._tails(event, index, is_chat=type(delta) is dict)
            says = says or bool(choice.get("logprobs"))
        return [*before, event] if says else before

    def _delta(self, index: int, delta: Object) -> None:
        for name in ("content", "reasoning_content", "refusal"):
            if type(delta.get(name)) is str and delta[name]:
                delta[name] = self._feed((index, name), delta[name])
                if not delta[name] and "role" not in delta:
                    del delta[name]
        if delta.get("thinking_blocks"):
            slots = Slots()
            slots.content(delta, "thinking_blocks")
            if self._put(slots):
                for block in delta["thinking_blocks"]:
                    block["signature"] = ""  # it seals other words
        calls = delta.get("tool_calls")
        if type(calls) is list:
            left = []
            for call in calls:
                function = call.get("function")
                if type(function) is dict and type(function.get("arguments")) is str:
                    self._keep((index, call.get("index", 0)), function["arguments"])
                    function["arguments"] = ""
                if call.get("id") or (type(function) is dict and function.get("name")):
                    left.append(call)
            delta["tool_calls"] = left
            if not left:
                del delta["tool_calls"]

    def _tails(self, event: Object, index: int, *, is_chat: bool) -> list[Object]:
        """Events for what was kept back of a choice, of which there is no more to come."""
        about = {name: value for name, value in event.items() if name != "usage" or value is None}
        said = []
        if not is_chat:
            tail = self._flush((index, "text"))
            return [{**about, "choices": [{"index": index, "text": tail, "finish_reason": None}]}] if tail else []
        delta: Object = {}
        for name in ("reasoning_content", "content", "refusal"):
            tail = self._flush((index, name))
            if tail:
                delta[name] = tail
        calls = [place for place in self._arguments if place[0] == index]
        if calls:
            delta["tool_calls"] = [{"index": place[1], "function": {"arguments": self._kept(place)}} for place in calls]
        if delta:
            said.append({**about, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        return said


class MessagesTexts(EventTexts):
    """Anthropic's events."""

    def __init__(self, open_window: Open) -> None:
        super().__init__(open_window)
        self._kinds: dict[int, str] = {}
        self._heard: dict[int, list[str]] = {}
        """Thinking as it came, and as it went: a seal is good only for the words that it was made for."""
        self._told: dict[int, list[str]] = {}

    def _framed(self, event: Object) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encode(event))

    def _event(self, event: Object) -> list[Object]:
        kind = event["type"]
        if kind == "content_block_start":
            block = event["content_block"]
            self._kinds[event["index"]] = block["type"]
            for name in ("text", "thinking"):
                if block.get(name):
                    block[name] = self._feed(event["index"], block[name])
            slots = Slots()
            slots.inside(block, "input")
            slots.inside(block, "content")
            self._put(slots)
        elif kind == "content_block_delta":
            return self._delta(event, event["index"], event["delta"])
        elif kind == "content_block_stop":
            return [*self._tail(event["index"]), event]
        return [event]

    def _delta(self, event: Object, index: int, delta: Object) -> list[Object]:
        for name in ("text", "thinking"):
            if type(delta.get(name)) is str:
                told = self._feed(index, delta[name])
                if name == "thinking":
                    self._heard.setdefault(index, []).append(delta[name])
                    self._told.setdefault(index, []).append(told)
                delta[name] = told
                return [event] if told else []
        if delta["type"] == "input_json_delta":
            self._keep(index, delta["partial_json"])
            return []
        if delta["type"] == "signature_delta":
            tail: list[Object] = self._tail(index)
            spoken = self._told.pop(index, []) + [each["delta"].get("thinking", "") for each in tail]
            is_true = "".join(spoken) == "".join(self._heard.pop(index, []))
            if is_true:
                tail.append(event)
            return tail
        if delta["type"] == "citations_delta":
            slots = Slots()
            slots.inside(delta, "citation")
            self._put(slots)
        return [event]

    def _tail(self, index: int) -> list[Object]:
        out: list[Object] = []
        tail = self._flush(index)
        if tail:
            name = "thinking" if self._kinds.get(index) == "thinking" else "text"
            out.append({"type": f"{name}_delta", name: tail})
        if index in self._arguments:
            out.append({"type": "input_json_delta", "partial_json": self._kept(index)})
        return [{"type": "content_block_delta", "index": index, "delta": delta} for delta in out]


class GeminiTexts(EventTexts):
    """Google's events."""

    def _event(self, event: Object) -> list[Object]:
        for candidate in event.get("candidates") or ():
            index = candidate.get("index", 0)
            content = candidate.get("content") or {}
            parts: list[Object] = []
            for part in content.get("parts") or ():
                is_thought = bool(part.get("thought"))
                if type(part.get("text")) is str:
                    parts += self._tail(index, not is_thought)
                    told = self._feed((index, is_thought), part["text"])
                    if told or part["text"] == "" or part.keys() - {"text", "thought"}:
                        parts.append({**part, "text": told})
                else:
                    parts += self._tail(index, False) + self._tail(index, True)
                    slots = Slots()
                    slots.inside(part.get("functionCall"), "args")
                    self._put(slots)
                    parts.append(part)
            if candidate.get("finishReason") is not None:
                parts += self._tail(index, True) + self._tail(index, False)
            if "content" in candidate or parts:
                candidate["content"] = {**content, "parts": parts or [{"text": ""}]}
        return [event]

    def _tail(self, index: int, is_thought: bool) -> list[Object]:
        tail = self._flush((index, is_thought))
        if not tail:
            return []
        return [{"text": tail, "thought": True}] if is_thought else [{"text": tail}]


_WHOLE = ("text", "refusal", "code", "input", "command")
"""What the end of a text names it by, which came in pieces before: said, or for one of the provider's own tools."""
_WHERE = ("item_id", "output_index", "content_index", "summary_index", "command_index")


class ResponsesTexts(EventTexts):
    """Typed events, numbered anew, since what was kept back comes in events of its own."""

    def __init__(self, open_window: Open) -> None:
        super().__init__(open_window)
        self._number = 0

    def _framed(self, event: Object) -> bytes:
        if "sequence_number" in event:
            event["sequence_number"] = self._number
            self._number += 1
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encode(event))

    def _event(self, event: Object) -> list[Object]:
        kind, item = event["type"], tuple(event.get(name) for name in _WHERE)
        if kind.endswith("arguments.delta"):
            self._keep(item, event["delta"])
            return []
        if kind.endswith(".delta") and type(event.get("delta")) is str:
            event["delta"] = self._feed((item, kind), event["delta"])
            return [event] if event["delta"] else []
        if kind.endswith("arguments.done"):
            event["arguments"] = self._kept(item)
            delta = {name: value for name, value in event.items() if name not in ("arguments", "name")}
            return [{**delta, "type": kind[:-4] + "delta", "delta": event["arguments"]}, event]
        before: list[Object] = []
        if kind.endswith(".done"):
            tail = self._flush((item, kind[:-4] + "delta"))
            if tail:
                delta = {name: value for name, value in event.items() if name not in _WHOLE}
                before.append({**delta, "type": kind[:-4] + "delta", "delta": tail})
        for name in _WHOLE:
            if type(event.get(name)) is str:
                event[name] = self._whole(event[name])
        slots = Slots()
        for name in ("delta", "output"):  # what a shell wrote
            slots.inside(event, name)
        if type(event.get("part")) is dict:
            slots.content({"parts": [event["part"]]}, "parts")
        if type(event.get("item")) is dict:
            item_slots(slots, event["item"])
        self._put(slots)
        if type(event.get("response")) is dict:
            self._put(answer_slots(event["response"]))
        return [*before, event]


KINDS: dict[str, type[EventTexts]] = {
    "chat": ChatTexts,
    "completions": ChatTexts,
    "messages": MessagesTexts,
    "generate_content": GeminiTexts,
    "responses": ResponsesTexts,
}
"""By endpoint."""
