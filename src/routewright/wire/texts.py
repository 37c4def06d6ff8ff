"""Where the texts stand in a request and in a whole answer, in each client's dialect: to be read, to be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from routewright.wire.json import encode

_decode = msgspec.json.Decoder().decode


class Slots:
    """Places of texts inside a decoded body. What is put back where a JSON text held several is encoded again."""

    def __init__(self) -> None:
        self._places: list[tuple[Any, Any]] = []
        self._packed: list[tuple[Any, Any, Any, int, int]] = []
        """(container, key, what its JSON text holds, first place, place after the last)."""

    @property
    def texts(self) -> list[str]:
        return [container[key] for container, key in self._places]

    def put(self, texts: list[str]) -> bool:
        """Replace them all; whether any changed."""
        changed = set()
        for at, ((container, key), text) in enumerate(zip(self._places, texts, strict=True)):
            if container[key] != text:
                container[key] = text
                changed.add(at)
        for container, key, value, first, end in self._packed:
            if any(first <= at < end for at in changed):
                container[key] = encode(value).decode()
        return bool(changed)

    def text(self, container: Any, key: Any) -> None:
        """One text, if it is one."""
        value = container.get(key) if type(container) is dict else container[key]
        if type(value) is str and value:
            self._places.append((container, key))

    def content(self, container: Any, key: str) -> None:
        """A text, or a list of parts that hold some; what parts hold inside, as a tool's result, too."""
        value = container.get(key)
        if type(value) is not list:
            self.text(container, key)
            return
        for place, part in enumerate(value):
            if type(part) is str:
                self.text(value, place)
            elif type(part) is dict:
                for name in ("text", "refusal", "thinking", "context", "title"):
                    self.text(part, name)
                if type(part.get("content")) in (str, list):
                    self.content(part, "content")
                self.inside(part, "input")
                source = part.get("source")
                if type(source) is dict:  # a document of Anthropic's: a text, or made of blocks
                    if source.get("type") == "text":
                        self.text(source, "data")
                    self.content(source, "content")

    def inside(self, container: Any, key: str) -> None:
        """Every text in a value: arguments of a tool, or its result."""
        value = container.get(key) if type(container) is dict else None
        if type(value) in (dict, list):
            self._walk(value)

    def packed(self, container: Any, key: str) -> None:
        """Every text in a value that stands as a JSON text; one that is no JSON is a text itself."""
        value = container.get(key) if type(container) is dict else None
        if type(value) is not str or not value:
            return
        try:
            inner = _decode(value)
        except (msgspec.DecodeError, RecursionError):
            inner = None
        if type(inner) not in (dict, list):
            self.text(container, key)
            return
        first = len(self._places)
        self._walk(inner)
        self._packed.append((container, key, inner, first, len(self._places)))

    def _walk(self, value: Any) -> None:
        todo = [value]
        while todo:
            item = todo.pop()
            entries = item.items() if type(item) is dict else enumerate(item)
            for key, entry in entries:
                if type(entry) is str and entry:
                    self._places.append((item, key))
                elif type(entry) in (dict, list):
                    todo.append(entry)


def request_slots(body: dict[str, Any]) -> Slots:
    """What a client says: messages, instructions, prompts, results of tools; not what it says of its tools."""
    slots = Slots()
    for name in ("messages", "input"):
        items = body.get(name)
        if type(items) is not list:
            continue
        for place, item in enumerate(items):
            if type(item) is str:
                slots.text(items, place)
            elif type(item) is dict:
                _message(slots, item)
    for name in ("prompt", "input", "instructions", "system", "query", "text", "documents", "suffix"):
        if type(body.get(name)) is str or name not in ("input",):
            slots.content(body, name)
    prediction = body.get("prediction")
    if type(prediction) is dict:
        slots.content(prediction, "content")
    contents = body.get("contents")
    for content in [*(contents if type(contents) is list else ()), body.get("systemInstruction")]:
        _gemini(slots, content)
    return slots


def tokens_in(body: dict[str, Any]) -> str | None:
    """The field in which a request says something in tokens, which nobody can read here; None: in none."""
    for name in ("input", "prompt"):
        value = body.get(name)
        if type(value) is list and any(type(item) in (int, list) for item in value):
            return name
    return None


_PASSED_TEXTS = ("message", "preamble", "texts", "inputs", "inputText", "search_query")
_KNOWN_REQUEST = frozenset({"messages", "input", "prompt", "contents", "query", "documents", "text", *_PASSED_TEXTS})
_KNOWN_ANSWER = frozenset({"choices", "content", "output", "candidates"})


def passed_slots(body: dict[str, Any], paths: Sequence[str] = ()) -> Slots | None:
    """Texts of a request that passes through: by the configuration's paths, or by the shape of a known dialect.

    None where neither says anything of it.
    """
    if paths:
        return slots_at(body, paths)
    if _KNOWN_REQUEST.isdisjoint(body) or tokens_in(body) is not None:
        return None
    slots = request_slots(body)
    for name in _PASSED_TEXTS:
        slots.content(body, name)
    history = body.get("chat_history")
    for turn in history if type(history) is list else ():
        if type(turn) is dict:
            slots.text(turn, "message")
    batch = body.get("requests")  # of Gemini's batchEmbedContents
    for each in batch if type(batch) is list else ():
        if type(each) is dict:
            _gemini(slots, each.get("content"))
    _gemini(slots, body.get("content"))
    for name in _KNOWN_REQUEST:  # of a shape that no dialect has for it: all that is in there
        value = body.get(name)
        slots.inside({"": value} if type(value) is dict else None, "")
        if name in ("messages", "contents"):
            slots.text(body, name)
        for place, item in enumerate(value if type(value) is list else ()):
            if type(item) is list:
                slots.inside({"": item}, "")
            elif name == "contents":
                slots.text(value, place)
    return slots


def passed_answer_slots(answer: dict[str, Any], paths: Sequence[str] = (), *, is_known: bool = False) -> Slots:
    """Of the answer: by paths, by its dialect's shape where that is known, else every text that is in it."""
    if paths:
        return slots_at(answer, paths)
    if is_known and not _KNOWN_ANSWER.isdisjoint(answer):
        with suppress(TypeError, AttributeError, LookupError):
            return answer_slots(answer)
    slots = Slots()
    slots.inside({"": answer}, "")
    return slots


def slots_at(value: Any, paths: Sequence[str]) -> Slots:
    """Texts at paths such as `query` or `documents[*].text`; a list or an object at one of them is taken whole."""
    slots = Slots()
    for path in paths:
        _at(slots, value, path.replace("[*]", ".*").split("."))
    return slots


def _at(slots: Slots, value: Any, steps: Sequence[str]) -> None:
    step, *rest = steps
    if type(value) is list and step == "*":
        keys: list[Any] = list(range(len(value)))
    elif type(value) is dict and step in value:
        keys = [step]
    else:
        return
    for key in keys:
        if rest and rest != ["*"]:
            _at(slots, value[key], rest)
        elif type(value[key]) is str:
            slots.text(value, key)
        elif type(value[key]) in (list, dict):
            slots.inside({"": value[key]}, "")


def _message(slots: Slots, message: dict[str, Any]) -> None:
    slots.content(message, "content")
    slots.content(message, "summary")
    for name in ("reasoning_content", "refusal", "input", "code", "text"):
        slots.text(message, name)
    slots.packed(message, "arguments")
    slots.packed(message.get("function_call"), "arguments")
    if type(message.get("output")) in (str, list):
        slots.content(message, "output")
    calls = message.get("tool_calls")
    for call in calls if type(calls) is list else ():
        if type(call) is dict:
            slots.packed(call.get("function"), "arguments")
            custom = call.get("custom")
            if type(custom) is dict:
                slots.text(custom, "input")


_GEMINI_INSIDE = (
    ("functionCall", "args"), ("functionResponse", "response"), ("executableCode", "code"),
    ("codeExecutionResult", "output"),
)  # fmt: skip
_SNAKE = {"functionCall": "function_call", "functionResponse": "function_response", "executableCode": "executable_code",
          "codeExecutionResult": "code_execution_result"}  # fmt: skip
"""Google takes either spelling."""


def _gemini(slots: Slots, content: Any) -> None:
    parts = content.get("parts") if type(content) is dict else None
    for part in parts if type(parts) is list else ():
        if type(part) is dict:
            slots.text(part, "text")
            for name, key in _GEMINI_INSIDE:
                for held in (part.get(name), part.get(_SNAKE[name])):
                    slots.inside(held, key)
                    if type(held) is dict:
                        slots.text(held, key)


def answer_slots(answer: dict[str, Any]) -> Slots:
    """What a model says, thinks and would have tools do."""
    slots = Slots()
    for choice in answer.get("choices") or ():
        slots.text(choice, "text")
        message = choice.get("message")
        if type(message) is dict:
            for name in ("content", "reasoning_content", "refusal"):
                slots.content(message, name)
            slots.content(message, "thinking_blocks")
            _message_calls(slots, message)
    slots.content(answer, "content")
    for item in answer.get("output") or ():
        item_slots(slots, item)
    for candidate in answer.get("candidates") or ():
        _gemini(slots, candidate.get("content"))
    return slots


def _message_calls(slots: Slots, message: dict[str, Any]) -> None:
    for call in message.get("tool_calls") or ():
        slots.packed(call.get("function"), "arguments")


def item_slots(slots: Slots, item: dict[str, Any]) -> None:
    """Of an item of a Responses answer, those of the provider's own tools among them."""
    for name in ("content", "summary", "output"):
        slots.content(item, name)
    for name in ("code", "input"):
        slots.text(item, name)
    for name in ("action", "operation", "queries", "results", "outputs"):
        slots.inside(item, name)
    slots.packed(item, "arguments")


def said(answer: dict[str, Any]) -> list[str]:
    """What a model says to its user: without thoughts and tools."""
    texts = []
    for choice in answer.get("choices") or ():
        texts.append(choice.get("text") or (choice.get("message") or {}).get("content"))
    if type(answer.get("content")) is list:
        texts.append("".join(block.get("text", "") for block in answer["content"] if block.get("type") == "text"))
    if type(answer.get("output")) is list:
        spoken = [part for item in answer["output"] if item.get("type") == "message" for part in item["content"]]
        texts.append("".join(part.get("text", "") for part in spoken))
    for candidate in answer.get("candidates") or ():
        parts = (candidate.get("content") or {}).get("parts") or ()
        texts.append("".join(part.get("text", "") for part in parts if not part.get("thought")))
    return [text for text in texts if type(text) is str and text]
