"""The OpenAI dialect, which most upstreams speak: requests, answers, event streams and errors.

Source: OpenAI API reference (chat completions, completions, embeddings, errors); Azure OpenAI REST reference for its
paths. The bytes of an answer are passed on as they came; only `model` is replaced, and `usage` is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import quote, urlsplit

import msgspec

from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.providers.failures import cleaned, error_for
from routewright.providers.head import field_lines, head
from routewright.providers.histories import own_history
from routewright.providers.names import rerank_path
from routewright.settings import DeploymentSettings
from routewright.types import CHARS_PER_TOKEN, Call, Deployment, Usage

PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "images": "/images/generations",
    "speech": "/audio/speech",
    "moderations": "/moderations",
}
CARRIED_PATHS = {
    "transcriptions": "/audio/transcriptions",
    "translations": "/audio/translations",
    "image_edits": "/images/edits",
    "image_variations": "/images/variations",
}
"""Their heads say nothing of the body, and have no empty line."""
FIRST_AZURE_RESPONSES = "2025-03-01"
"""Before this version Azure's dated addresses have no Responses; its address without a date has."""
MAX_TOKENS_BELIEVED = 100_000_000
"""A usage figure above this is no usage figure."""
stream_type = b"text/event-stream"
unframe = None
DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


# --- requests -----------------------------------------------------------------------------------------------------


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `."""
    base = urlsplit(settings.api_base).path.rstrip("/")
    own = ["accept: application/json, text/event-stream"]
    is_azure = settings.provider == "azure"
    if settings.api_key is not None:
        key = settings.api_key.reveal()
        own.append(f"api-key: {key}" if is_azure and not settings.is_bearer else f"authorization: Bearer {key}")
    if settings.organization:
        own.append(f"openai-organization: {settings.organization}")
    fields = field_lines(settings, own)
    heads = {}
    for endpoint, path in PATHS.items():
        if is_azure and "/openai/v1" not in base:
            version = quote(settings.api_version or "2024-10-21", safe="")
            prefix = base if base.endswith("/openai") else base + "/openai"
            target = f"{prefix}/deployments/{quote(upstream_model, safe='')}{path}?api-version={version}"
        else:
            target = base + path
        heads[endpoint] = head(target, fields)
    heads["responses"] = head(responses_target(settings), fields)
    for endpoint, path in CARRIED_PATHS.items():
        heads[endpoint] = carried_head(heads["chat"], path)
    heads["rerank"] = head(rerank_path(settings.provider, settings.api_base), fields)
    return heads


def responses_target(settings: DeploymentSettings) -> str:
    """Path and query of Responses; Azure's stand beside its deployments."""
    base = urlsplit(settings.api_base).path.rstrip("/")
    if settings.provider != "azure" or "/openai/v1" in base:
        return f"{base}/responses"
    base = base if base.endswith("/openai") else f"{base}/openai"
    version = settings.api_version or ""
    if version < FIRST_AZURE_RESPONSES or not version[:1].isdigit():
        return f"{base}/v1/responses"
    return f"{base}/responses?api-version={quote(version, safe='')}"


def carried_head(chat_head: bytes, path: str) -> bytes:
    """The head of a chat with another path, up to where the body's own lines begin."""
    head = chat_head.replace(PATHS["chat"].encode(), path.encode(), 1)
    return head.replace(b"content-type: application/json\r\n", b"", 1).removesuffix(b"content-length: ")


def request_bytes(call: Call, deployment: Deployment) -> bytes:
    """The whole upstream request, from the decoded body: the raw bytes of a client never go on."""
    body = call.body
    if deployment.default_params:
        body = {**deployment.default_params, **body}
    if deployment.drop_params:
        body = {name: value for name, value in body.items() if name not in deployment.drop_params}
    body["model"] = deployment.upstream_model
    if call.endpoint == "chat" and len(messages := body["messages"]) > 1:
        own = own_history(messages, deployment.provider)
        if own is not messages:
            body = {**body, "messages": own}  # the call's own stay as they are: the next candidate may read them
    if call.is_stream:
        options = body.get("stream_options")
        if options is None:
            if "stream_options" not in deployment.drop_params:
                body["stream_options"] = {"include_usage": True}
        elif options.get("include_usage") is not True:
            body["stream_options"] = {**options, "include_usage": True}
    encoded = _encode(body)
    return b"%b%d\r\n\r\n%b" % (deployment.request_heads[call.endpoint], len(encoded), encoded)


# --- answers ------------------------------------------------------------------------------------------------------


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    audio_tokens: int | None = None
    cache_creation_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Figures(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    cache_creation_input_tokens: int | None = None
    """Not OpenAI's: gateways that pass Anthropic's figures on put it here."""


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw()
    tool_calls: msgspec.Raw = msgspec.Raw()
    reasoning_content: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None


class _Datum(msgspec.Struct):
    embedding: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct):
    model: Any = None
    choices: list[_Choice] | None = None
    data: list[_Datum] | None = None
    usage: _Figures | None = None
    error: Any = None


class _AnswerWithOddUsage(_Answer):
    """The answer may be good although its figures have a shape of their own."""

    usage: Any = None


_decode_usual_answer = msgspec.json.Decoder(_Answer).decode
_decode_odd_answer = msgspec.json.Decoder(_AnswerWithOddUsage).decode
_MODEL_FIELD = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


def read_answer(body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
    """An answer that is not streamed: its bytes with our `model`, and its usage.

    Raises UpstreamBadResponse for anything that is not the endpoint's JSON, UpstreamError for an error under a 200.
    """
    try:
        try:
            answer = _decode_usual_answer(body)
        except msgspec.ValidationError:
            answer = _decode_odd_answer(body)
        if not body.isascii():
            body.decode()  # the decoder above looks only at what it takes out
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON") from error
    if answer.error:
        raise UpstreamError("the upstream answered with an error")
    if call.endpoint == "embeddings":
        if not answer.data:
            raise UpstreamBadResponse("the upstream's answer has no data")
    else:
        is_chat = call.endpoint == "chat"
        if not answer.choices:
            raise UpstreamBadResponse("the upstream's answer has no choices")
        for choice in answer.choices:
            if (choice.message if is_chat else choice.text) is None:
                raise UpstreamBadResponse("the upstream's answer has a choice without content")
    usage = usage_of(answer.usage)
    if usage is None:
        return _with_own_count(body, answer, call, deployment)
    if type(answer.model) is str and body.count(_MODEL_NAME) == 1:
        name = _encode(answer.model)
        for theirs in (b'"model":' + name, b'"model": ' + name):
            if theirs in body:
                return body.replace(theirs, b'"model":' + deployment.model_field), usage
        found = _MODEL_FIELD.search(body)
        if found is not None:
            return b'%b"model":%b%b' % (body[: found.start()], deployment.model_field, body[found.end() :]), usage
    whole = _whole(body)
    whole["model"] = deployment.model_name
    return _encode(whole), usage


def _with_own_count(body: bytes, answer: _Answer, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
    """An answer without figures that can be believed gets ours, for the client as for the record."""
    chars = 0
    for choice in answer.choices or ():
        message = choice.message
        if message is not None:
            given = (message.content, message.reasoning_content, message.tool_calls)
            chars += sum(len(bytes(part)) for part in given if bytes(part) != b"null")
        elif choice.text is not None:
            chars += len(choice.text)
    usage = Usage(call.prompt_tokens_estimate, -(-chars // CHARS_PER_TOKEN), is_estimated=True)
    whole = _whole(body)
    whole["model"] = deployment.model_name
    whole["usage"] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    return _encode(whole), usage


def _whole(text: bytes) -> dict[str, Any]:
    """All of an upstream's object. Raises UpstreamBadResponse: the typed decoders pass over what they don't take."""
    try:
        whole: dict[str, Any] = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON") from error
    return whole


def usage_of(given: Any) -> Usage | None:
    """Figures that can be believed, else None: whole numbers from 0 to a hundred million."""
    if type(given) is _Figures:
        return _usual_usage(given)
    if type(given) is not dict:
        return None
    prompt, completion = given.get("prompt_tokens"), given.get("completion_tokens")
    if completion is None:
        completion = 0
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    usage = Usage(prompt, completion)
    details = given.get("prompt_tokens_details")
    if type(details) is dict:
        usage.cached_tokens = min(_count(details.get("cached_tokens")), prompt)
        usage.audio_input_tokens = _count(details.get("audio_tokens"))
        usage.cache_creation_tokens = _count(details.get("cache_creation_tokens"))
    if "cache_creation_input_tokens" in given:
        usage.cache_creation_tokens = _count(given["cache_creation_input_tokens"])
    details = given.get("completion_tokens_details")
    if type(details) is dict:
        usage.reasoning_tokens = _count(details.get("reasoning_tokens"))
        usage.audio_output_tokens = _count(details.get("audio_tokens"))
    return usage


def _usual_usage(given: _Figures) -> Usage | None:
    """`usage_of` for figures that the decoder has found to be whole numbers."""
    prompt, completion = given.prompt_tokens, given.completion_tokens or 0
    if not (0 <= prompt <= MAX_TOKENS_BELIEVED and 0 <= completion <= MAX_TOKENS_BELIEVED):
        return None
    usage = Usage(prompt, completion)
    details = given.prompt_tokens_details
    if details is not None:
        if details.cached_tokens and 0 < details.cached_tokens <= prompt:
            usage.cached_tokens = details.cached_tokens
        if details.audio_tokens:
            usage.audio_input_tokens = _count(details.audio_tokens)
        if details.cache_creation_tokens:
            usage.cache_creation_tokens = _count(details.cache_creation_tokens)
    if given.cache_creation_input_tokens:
        usage.cache_creation_tokens = _count(given.cache_creation_input_tokens)
    reasoned = given.completion_tokens_details
    if reasoned is not None:
        if reasoned.reasoning_tokens and 0 < reasoned.reasoning_tokens <= MAX_TOKENS_BELIEVED:
            usage.reasoning_tokens = reasoned.reasoning_tokens
        if reasoned.audio_tokens:
            usage.audio_output_tokens = _count(reasoned.audio_tokens)
    return usage


def _count(value: Any) -> int:
    """A figure that can be believed; anything else counts as none."""
    return value if _is_count(value) else 0


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_TOKENS_BELIEVED


# --- event streams ------------------------------------------------------------------------------------------------


_NOTHING = msgspec.Raw(b"null")


class _Delta(msgspec.Struct):
    content: Any = None
    tool_calls: msgspec.Raw = _NOTHING  # `Raw | None` would take nothing but null
    reasoning_content: Any = None


class _StreamChoice(msgspec.Struct):
    delta: _Delta | None = None
    text: Any = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct):
    model: Any = None
    choices: list[_StreamChoice] | None = None
    usage: Any = msgspec.UNSET
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_NULL_USAGE = re.compile(rb',\s*"usage"\s*:\s*null|"usage"\s*:\s*null\s*,\s*')
_MODEL_NAME = b'"model"'


class EventStream:
    """One upstream event stream on its way to a client that speaks the same dialect.

    `feed` takes whole events (up to a blank line) and returns what the client gets of them. After each call the
    attributes say what has been seen; `last` holds the bytes that must not be sent before the answer is recorded.
    """

    __slots__ = ("_call", "_figures", "_model", "_our_field", "_template", "_their_field", "_wants_usage",
                 "finish_seen", "is_done", "last", "output_chars", "usage")  # fmt: skip

    def __init__(self, call: Call, deployment: Deployment) -> None:
        self._wants_usage = call.wants_usage
        self._model = deployment.model_name
        self._our_field = b'"model":' + deployment.model_field
        self._their_field = b"\n\n\n"
        """As it stood in the last chunk; before the first what stands in none."""
        self._call = call
        self._template: dict[str, Any] | None = None
        self._figures: dict[str, Any] | None = None
        self.usage: Usage | None = None
        self.output_chars = 0
        self.finish_seen = False
        self.is_done = False
        self.last = b""

    def feed(self, events: bytes) -> bytes:
        """Raises UpstreamError for an error event, UpstreamBadResponse for data that is no chunk."""
        if events.find(b"\n") == len(events) - 2 and events.startswith(b"data: ") and not self.is_done:
            return self._chunk(events)
        return b"".join([self._event(event + b"\n\n") for event in events.split(b"\n\n") if event])

    def _event(self, event: bytes) -> bytes:
        if self.is_done:
            return b""
        if not event.startswith(b"data: ") or event.find(b"\n") != len(event) - 2:
            event = _canonical(event)
            if not event:
                return b""
        return self._chunk(event)

    def _chunk(self, event: bytes) -> bytes:
        """One event in its one form, `data: ...`."""
        if event == DONE:
            self.finish()
            return b""
        try:
            chunk = _decode_chunk(event[6:-2])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the upstream sent an event that is not a chunk of this endpoint") from error
        if chunk.error:
            raise UpstreamError("the upstream reported an error")
        choices = chunk.choices
        if choices is None:
            raise UpstreamBadResponse("the upstream sent an event that is not a chunk of this endpoint")
        for choice in choices:
            delta = choice.delta
            if delta is not None:
                if type(delta.content) is str:
                    self.output_chars += len(delta.content)
                if delta.tool_calls is not _NOTHING:
                    self.output_chars += len(delta.tool_calls) // 2
                if type(delta.reasoning_content) is str:
                    self.output_chars += len(delta.reasoning_content)
            elif type(choice.text) is str:
                self.output_chars += len(choice.text)
            if choice.finish_reason is not None:
                self.finish_seen = True
        usage = chunk.usage
        if usage is not None and usage is not msgspec.UNSET:
            return self._with_usage(event, chunk)
        if type(chunk.model) is not str or event.count(_MODEL_NAME) != 1:
            return self._rewritten(_whole(event[6:-2]))  # none of its own, or another deeper inside
        before, theirs, after = event.partition(self._their_field)
        if not theirs:
            found = _MODEL_FIELD.search(event)
            if found is None:
                return self._rewritten(_whole(event[6:-2]))
            self._their_field = found.group()
            before, _, after = event.partition(self._their_field)
        event = b"%b%b%b" % (before, self._our_field, after)
        if self._wants_usage:
            if self._template is None:
                self._template = _whole(event[6:-2])
            if usage is msgspec.UNSET:
                event = event[:-2].rstrip()[:-1] + b',"usage":null}\n\n'
        elif usage is None:
            event = _NULL_USAGE.sub(b"", event, count=1)
        return event

    def finish(self) -> None:
        """The upstream has said all: `last` is what the client still lacks, the figures it asked for among them."""
        self.is_done = True
        self.last = DONE
        if self._wants_usage and self._template is not None:
            figures = self._figures
            if figures is None:
                usage = self.counted_usage(self._call)
                figures = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
                figures["total_tokens"] = usage.prompt_tokens + usage.completion_tokens
            whole = {**self._template, "model": self._model, "choices": [], "usage": figures}
            self.last = b"data: %b\n\n%b" % (_encode(whole), DONE)

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        return self._call.client.error_event(error, request_id)

    def _rewritten(self, whole: dict[str, Any]) -> bytes:
        """A chunk that can't be mended in place, without figures."""
        whole["model"] = self._model
        if self._wants_usage:
            self._template = self._template or whole
            whole["usage"] = None
        else:
            whole.pop("usage", None)
        return b"data: %b\n\n" % _encode(whole)

    def _with_usage(self, event: bytes, chunk: _Chunk) -> bytes:
        """A chunk with figures. OpenAI sends them alone and last; others with the last choice, or with every chunk.

        They are kept for `finish`, which sends them by OpenAI's rule. What else the chunk says goes on now.
        """
        usage = usage_of(chunk.usage)
        whole = _whole(event[6:-2])
        if usage is not None:
            self.usage = usage
            self._figures = whole["usage"]
        if not whole["choices"] or (self.finish_seen and not any(map(_says_something, whole["choices"]))):
            return b""
        return self._rewritten(whole)

    def counted_usage(self, call: Call) -> Usage:
        """The upstream's figures, else our own count of what went by, marked as an estimate."""
        if self.usage is not None:
            return self.usage
        return Usage(call.prompt_tokens_estimate, -(-self.output_chars // CHARS_PER_TOKEN), is_estimated=True)


open_stream = EventStream


def _says_something(choice: dict[str, Any]) -> bool:
    """Whether a choice has anything for the client beside its place and role."""
    delta = choice.get("delta")
    says = type(delta) is dict and any(value for name, value in delta.items() if name != "role")
    return says or bool(choice.get("text")) or choice.get("finish_reason") is not None


def _canonical(event: bytes) -> bytes:
    """An event in the one form `data: ...`; comments and other fields are left out. Source: WHATWG HTML, SSE.

    The line ends in its data can only stand between JSON's tokens, where a space means the same.
    """
    data = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
    return b"data: %b\n\n" % b" ".join(data) if data else b""


# --- errors -------------------------------------------------------------------------------------------------------


def error_of(
    status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
) -> GatewayError:
    """What an upstream's failure means for the caller. `now_s` is the wall clock, for dates in Retry-After."""
    try:
        error = _decode(body)["error"]
        message = error.get("message")
        code = error.get("code") or error.get("type")
        param = error.get("param")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, AttributeError, ValueError):
        message, code, param = "", None, None
    message, code, param = cleaned(message, code, param, deployment)
    return error_for(status, headers, now_s, message=message, code=code, param=param)
