"""OpenAI's chat and legacy completions: a client's body to a `Call`.

Source: OpenAI API reference, "Create chat completion" and "Create completion"; our extensions in the README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import NoneType
from typing import Any
from urllib.parse import unquote

from routewright.account_names import files_in
from routewright.errors import InvalidRequest, MissingField, RefusedField
from routewright.types import CHARS_PER_TOKEN, Call, Caps, HttpRequest, Mock, Prompt
from routewright.wire.chat_answers import CHAT
from routewright.wire.json import decode_object, encode

# Each of these would let a caller choose a host, a credential or what the gateway does for others.
REFUSED_FIELDS = frozenset(
    {
        "api_key", "api_base", "base_url", "api_version", "api_type", "extra_headers", "headers", "user_config",
        "litellm_params", "litellm_metadata", "litellm_credential_name", "custom_llm_provider", "model_list",
        "organization", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_region_name",
        "aws_role_name", "aws_profile_name", "aws_bedrock_runtime_endpoint", "vertex_credentials", "vertex_project",
        "vertex_location", "azure_ad_token", "azure_ad_token_provider", "azure_endpoint", "region_name", "proxy",
        "http_client", "client", "ssl_verify", "mock_tool_calls", "mock_delay", "mock_timeout",
        "proxy_server_request", "secret_fields", "model_info", "deployment_id", "input_cost_per_token",
        "output_cost_per_token", "custom_prompt_dict",
    }
)  # fmt: skip

# Read here and never sent upstream.
EXTENSION_FIELDS = frozenset(
    {
        "routing", "tags", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "disable_fallbacks",
        "num_retries", "timeout", "allowed_model_region", "mock_response", "mock_testing_fallbacks",
        "mock_testing_context_fallbacks", "mock_testing_content_policy_fallbacks",
        "guardrails", "cache", "caching", "litellm_session_id", "litellm_trace_id", "drop_params", "ttl",
        "additional_drop_params", "allowed_openai_params", "max_retries", "stream_timeout",
    }
)  # fmt: skip
_WISHES = ("cache", "caching", "guardrails")
_READ_FIRST = REFUSED_FIELDS | EXTENSION_FIELDS
_READ_FIELDS = frozenset(
    {"stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "user", "metadata"}
)

_READ_HEADERS = frozenset(
    {b"x-routewright-quality", b"x-litellm-timeout", b"x-litellm-stream-timeout", b"x-litellm-num-retries",
     b"x-litellm-session-id", b"x-litellm-tags"}
)  # fmt: skip

# Of `metadata`, what LiteLLM's clients put there for the proxy itself; all else is OpenAI's own and goes on.
_PROXY_METADATA = frozenset(
    {"tags", "generation_name", "generation_id", "trace_id", "trace_name", "session_id", "trace_user_id",
     "spend_logs_metadata", "requester_metadata", "version", "release", "existing_trace_id"}
)  # fmt: skip

_ROUTING_FIELDS = frozenset({"quality", "task", "max_cost_usd", "max_latency_ms"})
_MOCK_FAILURES = {
    "mock_testing_fallbacks": "InternalServerError",
    "mock_testing_context_fallbacks": "ContextWindow",
    "mock_testing_content_policy_fallbacks": "ContentPolicyViolationError",
}
_MOCK_FIELDS = frozenset({"mock_response", *_MOCK_FAILURES})

_SAID = frozenset({"role", "content"})
_ASKED_BESIDE = frozenset({"tools", "functions", "response_format"})
_FILES = frozenset({"file", "input_audio"})
TOKENS_PER_IMAGE = 800
TOKENS_PER_FILE = 1500
TOKENS_PER_MESSAGE = 4
MAX_CHOICES = 128
MAX_MODEL_CHARS = 256
MAX_TIMEOUT_S = 6000.0
MAX_FALLBACKS = 5


def parse_chat(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = parse_shared("chat", body, request.model_in_path)
    messages = body.get("messages")
    if messages is None:
        raise MissingField("messages is required", param="messages")
    if type(messages) is not list or not messages:
        raise InvalidRequest("messages must be a non-empty list", param="messages")
    chars, images = 0, 0
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise InvalidRequest("each message must be an object", param=f"messages[{index}]")
        if type(message.get("role")) is not str:
            raise InvalidRequest("each message needs a role", param=f"messages[{index}].role")
        content = message.get("content")
        if len(message) > 2:
            # Calls of tools and whatever else it holds are read by the model too.
            chars += len(encode({name: value for name, value in message.items() if name not in _SAID}))
        if type(content) is str:
            chars += len(content) if content.isascii() else size_of(content)
        elif type(content) is list:
            part_chars, part_images = _measure_parts(content, index, call)
            chars += part_chars
            images += part_images
        elif content is None:
            if message["role"] not in ("assistant", "function", "tool"):
                raise InvalidRequest("content must be a string or a list of parts", param=f"messages[{index}].content")
        else:
            raise InvalidRequest("content must be a string or a list of parts", param=f"messages[{index}].content")
    if images:
        call.has_images = True
    if not _ASKED_BESIDE.isdisjoint(body):
        chars += _read_beside(call, body)
    call.prompt_tokens_estimate = estimated_tokens(chars, n_messages=len(messages), n_images=images)
    return call


def _read_beside(call: Call, body: dict[str, Any]) -> int:
    """What a chat asks beside its messages; the characters that the model reads of it."""
    chars = 0
    for name in ("tools", "functions"):
        given = body.get(name)
        if type(given) not in (list, NoneType):
            raise InvalidRequest(f"{name} must be a list", param=name)
        if given:
            call.has_tools = True
            chars += len(encode(given))
    response_format = body.get("response_format")
    if type(response_format) is dict:
        call.wants_json = response_format.get("type") in ("json_schema", "json_object")
        chars += len(encode(response_format))
    return chars


def parse_completions(request: HttpRequest) -> Call:
    """The legacy endpoint: `prompt` is a string, a list of strings, a token list or a list of token lists."""
    body = decode_object(request.body)
    call = parse_shared("completions", body, request.model_in_path)
    if "prompt" not in body:
        raise MissingField("prompt is required", param="prompt")
    call.prompt_tokens_estimate = count_input(body["prompt"], "prompt")
    return call


def read_headers(call: Call, headers: Mapping[bytes, bytes]) -> None:
    """What LiteLLM's clients and ours say in headers; the body's word wins. Raises InvalidRequest."""
    if _READ_HEADERS.isdisjoint(headers):
        return
    if call.quality is None and b"x-routewright-quality" in headers:
        call.quality = number(_header_number(headers, b"x-routewright-quality"), "x-routewright-quality", 0.0, 1.0)
    if call.timeout_s is None and b"x-litellm-timeout" in headers:
        call.timeout_s = number(
            _header_number(headers, b"x-litellm-timeout"), "x-litellm-timeout", 0.001, MAX_TIMEOUT_S
        )
    if call.stream_timeout_s is None and b"x-litellm-stream-timeout" in headers:
        call.stream_timeout_s = number(
            _header_number(headers, b"x-litellm-stream-timeout"), "x-litellm-stream-timeout", 0.001, MAX_TIMEOUT_S
        )
    if call.num_retries is None and b"x-litellm-num-retries" in headers:
        retries = _header_number(headers, b"x-litellm-num-retries")
        call.num_retries = int(number(retries, "x-litellm-num-retries", 0.0, 10.0))
    if call.session_id is None and b"x-litellm-session-id" in headers:
        call.session_id = checked_name(headers[b"x-litellm-session-id"].decode("latin-1"), "x-litellm-session-id")
    if b"x-litellm-tags" in headers:
        tags = headers[b"x-litellm-tags"].decode("latin-1").split(",")
        call.metadata_tags += _tags([tag.strip() for tag in tags if tag.strip()], "x-litellm-tags")


def _header_number(headers: Mapping[bytes, bytes], name: bytes) -> float:
    try:
        return float(headers[name])
    except ValueError:
        raise InvalidRequest(f"{name.decode('ascii')} must be a number", param=name.decode("ascii")) from None


def prompt_of(call: Call) -> Prompt:
    """What a router may know: the last user message, the system prompt, and which abilities are asked for."""
    prompt = Prompt("", "", call.has_tools, call.has_images, call.wants_json, call.task)
    prompt.text, prompt.system = call.client.prompt(call)
    return prompt


def size_of(text: str) -> int:
    """Bytes in UTF-8: tokens follow them better than characters. Four are about one, in Chinese as in English."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def estimated_tokens(chars: int, *, n_messages: int, n_images: int = 0) -> int:
    """Prompt tokens of a chat, from the characters in it."""
    return chars // CHARS_PER_TOKEN + n_images * TOKENS_PER_IMAGE + n_messages * TOKENS_PER_MESSAGE


def count_input(given: Any, param: str) -> int:
    """Estimated tokens of a string, list of strings, token list or list of token lists. Raises InvalidRequest."""
    if type(given) is str:
        return size_of(given) // CHARS_PER_TOKEN + 1
    if type(given) is not list or not given:
        raise InvalidRequest(f"{param} must be a string, or a non-empty list of strings or tokens", param=param)
    kind = type(given[0])
    if kind not in (str, int, list) or any(type(item) is not kind for item in given):
        raise InvalidRequest(f"{param} must hold only strings, only tokens or only token lists", param=param)
    if kind is str:
        return sum(map(size_of, given)) // CHARS_PER_TOKEN + len(given)
    if kind is int:
        _check_tokens(given, param)
        return len(given)
    for item in given:
        if not item:
            raise InvalidRequest(f"{param} holds an empty token list", param=param)
        _check_tokens(item, param)
    return sum(len(item) for item in given)


def _check_tokens(tokens: list[Any], param: str) -> None:
    if any(type(token) is not int or not 0 <= token < 1 << 31 for token in tokens):
        raise InvalidRequest(f"{param}: a token is an integer from 0", param=param)


def parse_shared(endpoint: str, body: dict[str, Any], model_in_path: str | None, kind: type[Call] = Call) -> Call:
    """The fields that all inference endpoints have in common; takes our extensions out of `body`."""
    model = body.get("model") if model_in_path is None else unquote(model_in_path)
    if model is None:
        raise MissingField("model is required", param="model")
    if type(model) is not str or not 0 < len(model) <= MAX_MODEL_CHARS or not model.isprintable():
        raise InvalidRequest("model must be a name of 1 to 256 printable characters", param="model")
    call = kind(endpoint, CHAT, model, body)
    if not _READ_FIRST.isdisjoint(body):
        refused = REFUSED_FIELDS.intersection(body)
        if refused:
            name = min(refused)
            raise RefusedField(f"{name} can't be set by a request; the gateway's configuration sets it", param=name)
        _take_extensions(call, body)
    if not _READ_FIELDS.isdisjoint(body):
        _read_fields(call, body)
    return call


def _read_fields(call: Call, body: dict[str, Any]) -> None:
    """OpenAI's own fields that the gateway acts on; they stay in `body`."""
    stream = body.get("stream")
    if stream is not None:
        if type(stream) is not bool:
            raise InvalidRequest("stream must be true or false", param="stream")
        call.is_stream = stream
    options = body.get("stream_options")
    if options is not None:
        if type(options) is not dict:
            raise InvalidRequest("stream_options must be an object", param="stream_options")
        if not call.is_stream:
            raise InvalidRequest("stream_options goes with stream: true only", param="stream_options")
        include = options.get("include_usage")
        if include is not None and type(include) is not bool:
            raise InvalidRequest("include_usage must be true or false", param="stream_options.include_usage")
        call.wants_usage = include is True
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if name in body and body[name] is not None:
            call.max_tokens = _integer(body[name], name, 1, 1 << 31)
    n_choices = body.get("n")
    if n_choices is not None:
        call.n_choices = _integer(n_choices, "n", 1, MAX_CHOICES)
    user = body.get("user")
    if user is not None:
        call.user = checked_name(user, "user")
    metadata = body.get("metadata")
    if metadata is not None:
        _take_metadata(call, metadata)


def caps_of(routing: dict[str, Any], prefix: str = "routing.") -> Caps:
    """`max_cost_usd` and `max_latency_ms` of a request. Raises InvalidRequest."""
    cost, latency_ms = routing.get("max_cost_usd"), routing.get("max_latency_ms")
    return Caps(
        None if cost is None else number(cost, f"{prefix}max_cost_usd", 0.0, 1e6),
        None if latency_ms is None else number(latency_ms, f"{prefix}max_latency_ms", 1.0, 1e9) / 1000,
    )


def _take_extensions(call: Call, body: dict[str, Any]) -> None:
    """Read our own fields and take them out of what goes upstream."""
    routing = body.get("routing")
    if routing is not None:
        if type(routing) is not dict:
            raise InvalidRequest("routing must be an object", param="routing")
        unknown = set(routing) - _ROUTING_FIELDS
        if unknown:
            known = ", ".join(sorted(_ROUTING_FIELDS))
            raise InvalidRequest(f"routing knows {known}", param=f"routing.{min(unknown)}")
        if "quality" in routing:
            call.quality = number(routing["quality"], "routing.quality", 0.0, 1.0)
        if "task" in routing:
            call.task = checked_name(routing["task"], "routing.task")
        if "max_cost_usd" in routing or "max_latency_ms" in routing:
            call.caps = caps_of(routing)
    if body.get("timeout") is not None:
        call.timeout_s = number(body["timeout"], "timeout", 0.001, MAX_TIMEOUT_S)
    if body.get("stream_timeout") is not None:
        call.stream_timeout_s = number(body["stream_timeout"], "stream_timeout", 0.001, MAX_TIMEOUT_S)
    for name in ("max_retries", "num_retries"):
        if body.get(name) is not None:
            call.num_retries = _integer(body[name], name, 0, 10)
    call.fallbacks = _fallbacks(body, "fallbacks", call.model)
    call.context_window_fallbacks = _fallbacks(body, "context_window_fallbacks", call.model)
    call.content_policy_fallbacks = _fallbacks(body, "content_policy_fallbacks", call.model)
    region = body.get("allowed_model_region")
    if region is not None:
        call.allowed_region = checked_name(region, "allowed_model_region")
    session = body.get("litellm_session_id")
    if session is not None:
        call.session_id = checked_name(session, "litellm_session_id")
    if not _MOCK_FIELDS.isdisjoint(body):
        _take_mock(call, body)
    disable = body.get("disable_fallbacks")
    if disable is not None:
        if type(disable) is not bool:
            raise InvalidRequest("disable_fallbacks must be true or false", param="disable_fallbacks")
        call.without_fallbacks = disable
    drop = body.get("drop_params")
    if drop is not None:
        if type(drop) is not bool:
            raise InvalidRequest("drop_params must be true or false", param="drop_params")
        call.drop_params = drop
    tags = body.get("tags")
    if tags is not None:
        call.metadata_tags = _tags(tags, "tags")
    wishes = {name: body[name] for name in _WISHES if body.get(name) is not None}
    if wishes:
        call.wishes = wishes
    for name in EXTENSION_FIELDS.intersection(body):
        del body[name]


def _fallbacks(body: dict[str, Any], field: str, model: str) -> list[str] | None:
    """A list of names; or of LiteLLM's mappings from a model to such a list, of which those of `model` count."""
    given = body.get(field)
    if given is None:
        return None
    names: list[Any] = []
    is_list = type(given) is list
    for entry in given if is_list else ():
        if type(entry) is dict:
            for name, others in entry.items():
                if type(others) is not list:
                    raise InvalidRequest(f"{field}: expected a list of model names by model", param=field)
                names += others if name == model else ()
        else:
            names.append(entry)
    if not is_list or any(type(name) is not str for name in names) or len(names) > MAX_FALLBACKS:
        raise InvalidRequest(f"{field} must be a list of at most {MAX_FALLBACKS} model names", param=field)
    return names


def _take_mock(call: Call, body: dict[str, Any]) -> None:
    for name in sorted(_MOCK_FIELDS.intersection(body)):
        value = body[name]
        if value is None or value is False:
            continue
        before = call.mock or Mock(field=name)
        if name == "mock_response" and type(value) is str and value:
            call.mock = replace(before, text=value)
        elif name in _MOCK_FAILURES and value is True:
            call.mock = replace(before, first_fails_by=_MOCK_FAILURES[name])
        else:
            wanted = "text" if name == "mock_response" else "true or false"
            raise InvalidRequest(f"{name} must be {wanted}", param=name)


def _take_metadata(call: Call, metadata: Any) -> None:
    if type(metadata) is not dict:
        raise InvalidRequest("metadata must be an object", param="metadata")
    for name, value in metadata.items():
        if "\x00" in name or (type(value) is str and "\x00" in value):
            raise InvalidRequest("metadata can't hold U+0000", param="metadata")
    if "tags" in metadata and type(metadata["tags"]) is list:
        call.metadata_tags += _tags(metadata["tags"], "metadata.tags")
    session = metadata.get("session_id")
    if type(session) is str and call.session_id is None:
        call.session_id = checked_name(session, "metadata.session_id")
    if not _PROXY_METADATA.isdisjoint(metadata):
        kept = {name: value for name, value in metadata.items() if name not in _PROXY_METADATA}
        if kept:
            call.body["metadata"] = kept
        else:
            del call.body["metadata"]


def _measure_parts(parts: list[Any], index: int, call: Call) -> tuple[int, int]:
    chars, images = 0, 0
    if not parts:
        raise InvalidRequest("content must not be an empty list", param=f"messages[{index}].content")
    for part in parts:
        if type(part) is not dict or type(part.get("type")) is not str:
            raise InvalidRequest("each part must be an object with a type", param=f"messages[{index}].content")
        text = part.get("text")
        if text is not None:
            if type(text) is not str:
                raise InvalidRequest("text must be a string", param=f"messages[{index}].content")
            chars += size_of(text)
        kind = part["type"]
        if kind == "image_url":
            images += 1
        elif kind in _FILES:
            chars += TOKENS_PER_FILE * CHARS_PER_TOKEN
        if kind != "text":
            call.files += files_in(part, f"messages[{index}].content")
    return chars, images


def _integer(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"{name} must be an integer from {low} to {high}", param=name)
    return value


def number(value: Any, name: str, low: float, high: float) -> float:
    """A finite number in a range; true and false are none. Raises InvalidRequest."""
    if type(value) not in (int, float) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a number from {low:g} to {high:g}", param=name)
    return float(value)


def checked_name(value: Any, name: str) -> str:
    """Text that may be stored as a name. Raises InvalidRequest."""
    if type(value) is not str or len(value) > 512 or "\x00" in value:
        raise InvalidRequest(f"{name} must be a string of at most 512 characters, without U+0000", param=name)
    return value


def _tags(value: Any, name: str) -> tuple[str, ...]:
    if type(value) is not list or len(value) > 64:
        raise InvalidRequest(f"{name} must be a list of at most 64 strings", param=name)
    return tuple([checked_name(tag, name) for tag in value])
