"""What all translated pairs share: which fields can't be carried over, how events are read, small conversions."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

import msgspec

from routewright.dialect import OPENAI_SEAL, Chat, Clock, Pieces
from routewright.errors import GatewayError, InvalidRequest, UnsupportedField, UpstreamBadResponse
from routewright.providers.one_call import FirstCall, wants_one_call
from routewright.types import CHARS_PER_TOKEN, Call, Deployment, Usage

MAX_TOKENS_BELIEVED = 100_000_000
"""A usage figure above this is no usage figure."""

Answer = TypeVar("Answer")
encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# --- requests -----------------------------------------------------------------------------------------------------

NEUTRAL: Mapping[str, Any] = {
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False, "top_logprobs": 0, "logit_bias": {},
    "modalities": ["text"], "parallel_tool_calls": True, "service_tier": "auto", "verbosity": "medium",
    "response_format": {"type": "text"}, "store": False, "tools": [], "stop": [],
}  # fmt: skip
"""With this value a field asks for nothing that would not happen without it."""

WITHOUT_MEANING = frozenset(
    {"model", "messages", "stream", "stream_options", "metadata", "store", "prompt_cache_key",
     "prompt_cache_retention", "safety_identifier", "user", "allowed_openai_params"}
)  # fmt: skip
"""Said elsewhere in the request, or about what OpenAI itself keeps: nothing is lost where they are not said."""


def chat_of(call: Call, deployment: Deployment) -> Chat:
    """The request in OpenAI's form, completed and trimmed as the deployment's configuration says."""
    body = call.client.as_chat(call, plain=False, is_dropped=drops(call, deployment))
    if deployment.default_params:
        body = {**deployment.default_params, **body}
    if deployment.drop_params:
        body = {name: value for name, value in body.items() if name not in deployment.drop_params}
    return body


def drops(call: Call, deployment: Deployment) -> bool:
    """Whether what can't be carried over is left out rather than refused."""
    return deployment.drops_unsupported if call.drop_params is None else call.drop_params


def refuse_uncarried(body: Mapping[str, Any], carried: frozenset[str], provider: str, *, is_dropped: bool) -> None:
    """Raises UnsupportedField for the first field that would be lost, unless what is lost may be."""
    if is_dropped:
        return
    for name in body.keys() - carried - WITHOUT_MEANING:
        value = body[name]
        if value is not None and value != NEUTRAL.get(name):
            raise unsupported(name, provider)


def request_of(head: bytes, body: Any) -> bytes:
    """A whole request: `head` up to and with `content-length: `, and the body as JSON."""
    encoded = encode(body)
    return b"%b%d\r\n\r\n%b" % (head, len(encoded), encoded)


def unsupported(param: str, provider: str, why: str = "") -> UnsupportedField:
    reason = f": {why}" if why else ""
    return UnsupportedField(
        f"{param} can't be carried over to {provider}{reason}; with drop_params: true it is left out", param=param
    )


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects, or nothing. Raises InvalidRequest."""
    if value is None:
        return []
    if type(value) is not list:
        raise InvalidRequest("expected a list of objects", param=where)
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise InvalidRequest("expected an object", param=f"{where}[{index}]")
    return value


def text_of(content: Any, where: str, provider: str) -> str:
    """A message's content where nothing but text has a place."""
    if type(content) is str:
        return content
    if content is None:
        return ""
    texts = []
    for index, part in enumerate(content):
        if part.get("type") not in ("text", "refusal"):
            raise UnsupportedField(f"{provider} takes only text here", param=f"{where}[{index}]")
        texts.append(part.get("text") or part.get("refusal") or "")
    return "\n".join(texts)


def is_foreign(block: Mapping[str, Any]) -> bool:
    """Whether a block of thinking is one that OpenAI sealed, which every other provider refuses."""
    seal = block.get("signature") or block.get("data")
    return type(seal) is str and seal.startswith(OPENAI_SEAL)


def arguments_object(text: Any, where: str) -> dict[str, Any]:
    """A tool call's arguments as the object that other dialects want. Raises InvalidRequest."""
    if type(text) is str and not text.strip():
        return {}
    try:
        value = _decode(text) if type(text) is str else text
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest("a tool call's arguments must be a JSON object", param=where) from error
    if type(value) is not dict:
        raise InvalidRequest("a tool call's arguments must be a JSON object", param=where)
    return value


_DATA_URL = re.compile(r"data:([a-zA-Z0-9.+-]{1,64}/[a-zA-Z0-9.+-]{1,64})(?:;[a-z-]+=[^;,]{0,64})*;base64,")


def data_url(url: str) -> tuple[str, str] | None:
    """(media type, base64) of a `data:` address, else None."""
    found = _DATA_URL.match(url)
    return None if found is None else (found.group(1).lower(), url[found.end() :])


def given_address(part: Mapping[str, Any], name: str, where: str) -> str:
    """The address in `{"type": name, name: {"url": ...}}`, which some clients shorten to a string."""
    given = part.get(name)
    url = given.get("url") if type(given) is dict else given
    if type(url) is not str or not url:
        raise InvalidRequest(f"{name} needs a url", param=where)
    return url


# --- answers ------------------------------------------------------------------------------------------------------


def raw_arguments(given: msgspec.Raw) -> str:
    """A tool call's arguments as the text that OpenAI has of them; some servers write null for none."""
    text = bytes(given).decode()
    return "{}" if text == "null" else text


def is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED


def count(value: Any) -> int:
    """A figure that can be believed, else 0."""
    return value if type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED else 0


def own_count(call: Call, chars: int) -> Usage:
    """For an answer without figures that can be believed."""
    return Usage(call.prompt_tokens_estimate, -(-chars // CHARS_PER_TOKEN), is_estimated=True)


def chars_in(message: Mapping[str, Any]) -> int:
    """How much an answer's message says, for `own_count`."""
    said = len(message.get("content") or "") + len(message.get("reasoning_content") or "")
    return said + sum(len(call["function"]["arguments"]) for call in message.get("tool_calls") or ())


def message_with(
    texts: list[str],
    calls: list[dict[str, Any]],
    *,
    thoughts: str = "",
    blocks: list[dict[str, Any]] | None = None,
    notes: list[dict[str, Any]] | None = None,
    refusal: str = "",
) -> dict[str, Any]:
    """An answer as a chat's message. `blocks`: thinking as its provider wants it back; `notes`: citations."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not (calls or refusal) else None,
    }
    if refusal:
        message["refusal"] = refusal
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = thoughts
    if blocks:
        message["thinking_blocks"] = blocks
    if notes:
        message["annotations"] = notes
    return message


def completion(
    answer_id: str, model: str, created_s: float, message: dict[str, Any], finish_reason: str
) -> dict[str, Any]:
    """A chat completion, still without `usage`."""
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": int(created_s),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }


def bad_answer(cause: Exception | None = None) -> UpstreamBadResponse:
    error = UpstreamBadResponse("the upstream's answer is not this endpoint's JSON")
    error.__cause__ = cause
    return error


def bad_event(cause: Exception | None = None) -> UpstreamBadResponse:
    error = UpstreamBadResponse("the upstream sent an event that is not a chunk of this endpoint")
    error.__cause__ = cause
    return error


DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class CountedStream:
    """What every stream keeps of its answer, as `dialect.Stream` asks for it. A subclass reads the events."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.usage: Usage | None = None
        self.output_chars = 0
        self.finish_seen = False
        self.is_done = False
        self.last = b""

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        return self._call.client.error_event(error, request_id)

    def counted_usage(self, call: Call) -> Usage:
        return self.usage if self.usage is not None else own_count(call, self.output_chars)


class NativeStream(CountedStream, ABC):
    """An upstream's events on their way to a client of the same dialect: each passes as it came."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call)
        self._deployment = deployment

    def feed(self, events: bytes) -> bytes:
        return b"".join([self._event(event + b"\n\n") for event in events.split(b"\n\n") if event])

    @abstractmethod
    def _event(self, event: bytes) -> bytes:
        """What the client gets of one event. Raises UpstreamBadResponse, UpstreamError."""


class TranslatedStream(CountedStream, ABC):
    """An upstream's events on their way to a client of another dialect.

    A subclass reads one event's data at a time in `_event`, keeps the counters, and tells `_pieces` what it found.
    """

    def __init__(self, call: Call, pieces: Pieces) -> None:
        super().__init__(call)
        self._pieces = pieces

    def feed(self, events: bytes) -> bytes:
        # One event whose last line is its only data: what nearly every packet of a stream is.
        start = 0 if events.startswith(b"data:") else events.find(b"\ndata:") + 1
        if (start or events.startswith(b"data:")) and events.find(b"\n", start) == len(events) - 2:
            return self._event(events[start + 5 : -2])
        return b"".join([self._event(data_of(event)) for event in events.split(b"\n\n") if event])

    @abstractmethod
    def _event(self, data: bytes) -> bytes:
        """The same, told by `_pieces`."""

    def finish(self) -> None:
        self.is_done = True
        self.last = self._pieces.end(self.counted_usage(self._call))

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        return self._pieces.fail(error, request_id)


class TranslatedExchange:
    """How an upstream of another dialect than the client's is asked and heard: the part that all of them share."""

    stream_type = b"text/event-stream"
    unframe: Callable[[bytes], tuple[bytes, bytes]] | None = None
    can_be_told_one_call = False
    """Whether the dialect has a word for `parallel_tool_calls: false`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def _answered(
        self, call: Call, deployment: Deployment, answer_id: str, message: dict[str, Any], reason: str,
        usage: Usage | None, stop_sequence: str | None = None,
    ) -> tuple[bytes, Usage]:  # fmt: skip
        """What the client gets of a whole answer. `usage`: the upstream's figures, None where it gave none."""
        if usage is None:
            usage = own_count(call, chars_in(message))
        if not self.can_be_told_one_call and len(message.get("tool_calls", ())) > 1 and wants_one_call(call):
            message["tool_calls"] = message["tool_calls"][:1]
        chat = completion(answer_id, deployment.model_name, self._clock(), message, reason)
        if stop_sequence is not None:
            chat["choices"][0]["stop_sequence"] = stop_sequence
        return call.client.answer(chat, call, usage), usage

    def _pieces(self, call: Call, deployment: Deployment) -> Pieces:
        pieces = call.client.pieces(call, deployment.model_name, self._clock)
        return pieces if self.can_be_told_one_call or not wants_one_call(call) else FirstCall(pieces)

    def _new_id(self) -> str:
        """For upstreams that name no id."""
        return f"{int(self._clock() * 1e6):x}"


def decoded(decode: Callable[[bytes], Answer], body: bytes) -> Answer:
    """A whole answer, read by `decode`. Raises UpstreamBadResponse."""
    try:
        answer = decode(body)
        if not body.isascii():
            body.decode()  # a typed decoder looks only at what it takes out
    except DECODE_ERRORS as error:
        raise bad_answer(error) from error
    return answer


def data_of(event: bytes) -> bytes:
    """The data of an event; empty where it has none. A line end in it stands between JSON's tokens. Source: WHATWG."""
    lines: Iterable[bytes] = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    return b" ".join(lines)
