"""The OpenAI dialect: requests to bytes, answers, event streams and errors to values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
    UpstreamTimeout,
)
from routewright.providers.failures import retry_after_s
from routewright.providers.head import origin_of
from routewright.providers.openai import (
    DONE,
    MAX_TOKENS_BELIEVED,
    EventStream,
    error_of,
    read_answer,
    request_bytes,
    request_heads,
    usage_of,
)
from routewright.types import Call, Secret, Usage
from routewright.wire.chat import parse_chat
from values import call, deployment, deployment_settings, http_request

OURS = "public/my model é"
NOW_S = 1_700_000_000.0


# --- requests ------------------------------------------------------------------------------------------------------


def sent(parsed: Call, **settings: Any) -> tuple[list[str], dict[str, Any]]:
    """Head lines and JSON body of what goes upstream."""
    head, _, body = request_bytes(parsed, deployment(**settings)).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert f"content-length: {len(body)}" in lines
    return lines, json.loads(body)


def test_request_carries_our_credential_and_the_provider_s_name_of_the_model() -> None:
    lines, body = sent(call(temperature=0.5), api_base="http://10.0.0.1:8000/base/v1")
    assert lines[0] == "POST /base/v1/chat/completions HTTP/1.1"
    assert "host: 10.0.0.1:8000" in lines
    assert "authorization: Bearer sk-upstream-credential" in lines
    assert body == {"model": "upstream-model", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("chat", "/chat/completions"), ("completions", "/completions"), ("embeddings", "/embeddings")],
)
def test_each_endpoint_has_its_path(endpoint: str, path: str) -> None:
    assert sent(call(endpoint))[0][0] == f"POST /v1{path} HTTP/1.1"


def test_only_the_re_encoded_object_goes_on() -> None:
    """1c: of a doubled name only the value that we checked."""
    raw = b'{"model":"gpt-4o","max_tokens":0,"max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
    request = request_bytes(parse_chat(http_request(raw)), deployment())
    assert request.count(b"max_tokens") == 1
    assert b'"max_tokens":1' in request


def test_default_params_fill_what_is_left_out_and_dropped_ones_go() -> None:
    _, body = sent(
        call(temperature=0.1, seed=4),
        default_params={"temperature": 0.9, "top_p": 0.5},
        drop_params=("seed", "model", "messages_not_there"),
    )
    assert (body["temperature"], body["top_p"], body["model"]) == (0.1, 0.5, "upstream-model")
    assert "seed" not in body


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}, {"other": 1}])
def test_stream_always_asks_the_upstream_for_usage(options: dict[str, Any] | None) -> None:
    fields = {} if options is None else {"stream_options": options}
    _, body = sent(call(stream=True, **fields))
    assert body["stream_options"] == {**(options or {}), "include_usage": True}


def test_stream_options_dropped_by_the_configuration_are_not_sent() -> None:
    assert "stream_options" not in sent(call(stream=True), drop_params=("stream_options",))[1]
    assert "stream_options" not in sent(call())[1]


def test_call_sent_to_one_deployment_can_be_sent_to_the_next() -> None:
    parsed = call(stream=True)
    first = sent(parsed, upstream_model="a", default_params={"top_p": 1})[1]
    second = sent(parsed, upstream_model="b")[1]
    assert first == {**second, "model": "a", "top_p": 1}
    assert second["model"] == "b"


def azure(**changed: Any) -> bytes:
    values: dict[str, Any] = {"provider": "azure", "api_base": "https://mine.openai.azure.com", **changed}
    return request_heads(deployment_settings(**values), "gpt-4o")["chat"]


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ({"api_version": "preview"}, "/openai/deployments/gpt-4o/chat/completions?api-version=preview"),
        ({"api_base": "https://a.b/openai"}, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ({"api_base": "https://a.b/x"}, "/x/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ({"api_base": "https://a.b/openai/v1"}, "/openai/v1/chat/completions"),
        ({"api_version": "x&y=z"}, "/openai/deployments/gpt-4o/chat/completions?api-version=x%26y%3Dz"),
    ],
)  # fmt: skip
def test_azure_has_the_deployment_in_its_path_and_the_key_in_its_own_header(
    settings: dict[str, Any], target: str
) -> None:
    lines = azure(**settings).decode().split("\r\n")
    assert lines[0] == f"POST {target} HTTP/1.1"
    assert "api-key: sk-upstream-credential" in lines
    assert not any(line.lower().startswith("authorization") for line in lines)


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_model_in_azure_s_path_can_t_leave_its_place(model: str) -> None:
    """T6, T8: no slash, query, space or line end of a name reaches the request line."""
    try:
        head = request_heads(deployment_settings(provider="azure", api_base="https://a.b"), model)["chat"]
    except UnicodeEncodeError:
        return  # lone surrogates are no name
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.split(b" ")
    assert (method, version) == (b"POST", b"HTTP/1.1")
    assert target.startswith(b"/openai/deployments/")
    assert target.endswith(b"/chat/completions?api-version=2024-10-21")
    assert target.count(b"/") == 5
    assert rest.startswith(b"host: a.b\r\n")


def test_extra_headers_and_organization_go_along() -> None:
    heads = request_heads(
        deployment_settings(organization="org-1", extra_headers=(("x-team", "a"), ("x-token", Secret("hidden")))), "m"
    )
    for head in heads.values():
        assert b"\r\nopenai-organization: org-1\r\nx-team: a\r\nx-token: hidden\r\n" in head


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\r"])
def test_header_with_a_line_break_stops_the_start(value: str) -> None:
    """G19, T8."""
    with pytest.raises(ValueError, match="line break"):
        request_heads(deployment_settings(extra_headers=(("x", value),)), "m")


@pytest.mark.parametrize(
    ("api_base", "origin"),
    [
        ("https://a.example/v1", ("https", "a.example", 443)),
        ("http://a.example", ("http", "a.example", 80)),
        ("http://127.0.0.1:8000/v1", ("http", "127.0.0.1", 8000)),
        ("https://[::1]:8443/v1", ("https", "::1", 8443)),
    ],
)
def test_origin_is_scheme_host_and_port(api_base: str, origin: tuple[str, str, int]) -> None:
    assert origin_of(deployment_settings(api_base=api_base)) == origin


@pytest.mark.parametrize("api_base", ["ftp://a/v1", "a.example/v1", "https://", "file:///etc/passwd"])
def test_address_that_is_not_http_stops_the_start(api_base: str) -> None:
    with pytest.raises(ValueError, match="api_base"):
        origin_of(deployment_settings(api_base=api_base))


# --- answers -------------------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}


def answer(**changed: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": 'Hé "model":"x" \\'}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "upstream-model",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE, "system_fingerprint": "fp", **changed,
    }  # fmt: skip


def read(value: Any, parsed: Call | None = None) -> tuple[dict[str, Any], Usage]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    out, usage = read_answer(body, parsed or call(), deployment(OURS))
    return json.loads(out), usage


@pytest.mark.parametrize("indent", [None, 2])
def test_answer_comes_out_as_it_came_with_our_model(indent: int | None) -> None:
    text = json.dumps(answer(), indent=indent).encode()
    out, usage = read_answer(text, call(), deployment(OURS))
    assert json.loads(out) == answer(model=OURS)
    theirs = b'"model": "upstream-model"'
    assert out == text.replace(theirs, b'"model":' + json.dumps(OURS, ensure_ascii=False).encode())
    assert usage == Usage(9, 12)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": None},
        {"model": 4},
        {"model": 'quote " in it'},
        {"first": {"model": "inner"}},
        {"model": None, "extra": {"model": "inner"}},
        {"choices": [{"message": {"content": "x", "model": "inner"}}]},
    ],
)
def test_only_the_answer_s_own_model_is_replaced(changed: dict[str, Any]) -> None:
    ordered = {**{name: changed[name] for name in changed if name == "first"}, **answer(**changed)}
    assert read(ordered)[0] == {**ordered, "model": OURS}


def test_answer_without_a_model_gets_ours() -> None:
    bare = answer()
    del bare["model"]
    assert read(bare)[0] == {**bare, "model": OURS}
    inner = {**bare, "extra": {"model": "inner"}}
    assert read(inner)[0] == {**inner, "model": OURS}


NOT_AN_ANSWER = {
    "empty": b"",
    "HTML": b"<html><body>502</body></html>",
    "cut": json.dumps(answer()).encode()[:-1],
    "list": b"[]",
    "text": b'"ok"',
    "null": b"null",
    "no choices": b'{"id":"x"}',
    "empty choices": b'{"choices":[]}',
    "choices is text": b'{"choices":"x"}',
    "choices is null": b'{"choices":null}',
    "NaN": b'{"choices":[{"a":NaN}]}',
    "bad UTF-8": b'{"model":"m","choices":[{"message":{"content":"\xff"}}]}',
    "lone surrogate": b'{"model":"m","choices":[{"message":{"content":"\\ud800"}}]}',
    "deep": b'{"model":"m","choices":[' + b"[" * 5000 + b"]" * 5000 + b"]}",
    "long number where the model is not": b'{"x":' + b"9" * 5000 + b',"choices":[{}]}',
    "two documents": b'{"choices":[{}]}{"choices":[{}]}',
}


@pytest.mark.parametrize("body", NOT_AN_ANSWER.values(), ids=NOT_AN_ANSWER.keys())
def test_what_is_not_the_endpoint_s_json_is_a_bad_response(body: bytes) -> None:
    """F8."""
    with pytest.raises(UpstreamBadResponse):
        read(body)


def test_error_under_a_200_is_an_upstream_error() -> None:
    with pytest.raises(UpstreamError):
        read({"error": {"message": "overloaded"}, "choices": [{}]})
    assert read(answer(error=None))[0]["error"] is None


def test_embeddings_have_data() -> None:
    value = {"object": "list", "model": "m", "data": [{"embedding": [0.1], "index": 0}], "usage": {"prompt_tokens": 3}}
    out, usage = read(value, call("embeddings"))
    assert out == {**value, "model": OURS}
    assert usage == Usage(3, 0)
    with pytest.raises(UpstreamBadResponse):
        read(answer(), call("embeddings"))


HOSTILE: list[Any] = [
    None, "lots", 5, [], {}, {"prompt_tokens": None}, {**USAGE, "prompt_tokens": -1},
    {**USAGE, "prompt_tokens": 10**18},
    {**USAGE, "completion_tokens": MAX_TOKENS_BELIEVED + 1}, {**USAGE, "completion_tokens": "12"},
    {**USAGE, "completion_tokens": 12.0}, {**USAGE, "prompt_tokens": True}, {**USAGE, "prompt_tokens": [1]},
    {"completion_tokens": 5},
]  # fmt: skip


@pytest.mark.parametrize("usage", HOSTILE, ids=repr)
def test_figures_that_can_t_be_believed_are_counted_here(usage: Any) -> None:
    """T15, F8: negative, enormous, of the wrong kind or absent: our own count, marked as one."""
    assert usage_of(usage) is None
    _, counted = read(answer(usage=usage))
    assert counted.is_estimated
    assert counted.prompt_tokens == call().prompt_tokens_estimate
    assert 0 < counted.completion_tokens < 100


def test_details_are_read_and_never_exceed_their_whole() -> None:
    """R28."""
    details = {
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    assert usage_of({**USAGE, **details}) == Usage(9, 12, cached_tokens=4, reasoning_tokens=7)
    details = {
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 3, "cache_creation_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 5},
    }
    read_all = Usage(9, 12, 2, 7, cache_creation_tokens=1, audio_input_tokens=3, audio_output_tokens=5)
    assert usage_of({**USAGE, **details}) == read_all
    assert read(answer(usage={**USAGE, **details}))[1] == read_all
    written = {**USAGE, "cache_creation_input_tokens": 6}
    assert usage_of(written) == read(answer(usage=written))[1] == Usage(9, 12, cache_creation_tokens=6)
    assert usage_of({**USAGE, "prompt_tokens_details": {"cached_tokens": 400}}) == Usage(9, 12, cached_tokens=9)
    for nonsense in (
        None,
        "x",
        [],
        {"cached_tokens": -1},
        {"audio_tokens": -1},
        {"cached_tokens": "4"},
        {"reasoning_tokens": True},
    ):
        hostile = {**USAGE, "prompt_tokens_details": nonsense, "completion_tokens_details": nonsense}
        assert usage_of(hostile) == Usage(9, 12)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["model", "choices", "usage", "error", "data", "id"])


@settings(deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_any_answer_is_read_or_is_an_upstream_s_fault(changed: dict[str, Any]) -> None:
    """F8, T15: good answers spoiled at random."""
    value = answer(**changed)
    try:
        out, usage = read(value)
    except UpstreamError:
        return
    expected = {**value, "model": OURS}
    if usage.is_estimated:
        counted = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        expected["usage"] = {**counted, "total_tokens": usage.prompt_tokens + usage.completion_tokens}
    assert out == expected
    assert 0 <= usage.prompt_tokens <= MAX_TOKENS_BELIEVED
    assert 0 <= usage.completion_tokens <= MAX_TOKENS_BELIEVED


# --- event streams -------------------------------------------------------------------------------------------------


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **changed: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "upstream-model", "choices": choices,
            **changed}  # fmt: skip


def event(value: Any, **spelling: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value, ensure_ascii=False, **spelling).encode()


def tool(**changed: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, **changed}]}


COMPACT = {"separators": (",", ":")}
CHUNKS = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Grüezi "}),
    chunk({"content": 'a "model":"upstream-model" \\ 🐕‍🦺\n\n'}),
    chunk(tool(id="call_1", type="function", function={"name": "f", "arguments": ""})),
    chunk(tool(function={"arguments": '{"ci'})),
    chunk(tool(function={"arguments": 'ty":"Zü"}'})),
    chunk({}, "tool_calls"),
]
GOLDEN = b"".join([event(value, **COMPACT) for value in CHUNKS])
FIGURES = event(chunk(None, usage=USAGE), **COMPACT)


class Fed:
    """What a client got of a stream that came in packets, and what was seen in it."""

    def __init__(self, packets: Iterable[bytes], parsed: Call | None = None) -> None:
        """Feeds whole events, as an attempt does."""
        self.stream = EventStream(parsed or call(stream=True), deployment(OURS))
        self.out = b""
        pending = b""
        for packet in packets:
            pending += packet
            end = pending.rfind(b"\n\n") + 2
            if end > 1:
                self.out += self.stream.feed(pending[:end])
                pending = pending[end:]
        self.pending = pending
        self.usage = self.stream.counted_usage(parsed or call(stream=True))

    @property
    def events(self) -> list[Any]:
        return [json.loads(text.removeprefix("data: ")) for text in self.out.decode().split("\n\n")[:-1]]

    @property
    def last(self) -> list[Any]:
        *figures, done, end = self.stream.last.decode().split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        return [json.loads(text.removeprefix("data: ")) for text in figures]


def asking(**options: Any) -> Call:
    return call(stream=True, stream_options={"include_usage": True}, **options)


def test_same_bytes_cut_at_every_place_give_the_same_stream() -> None:
    """R29: a character or an event split between packets comes out whole."""
    raw = GOLDEN + FIGURES + DONE
    ours = b'"model":' + json.dumps(OURS, ensure_ascii=False).encode()
    expected = GOLDEN.replace(b'"model":"upstream-model","choices"', ours + b',"choices"')
    for place in range(len(raw) + 1):
        fed = Fed([raw[:place], raw[place:]])
        assert fed.out == expected, place
        assert (fed.stream.is_done, fed.stream.finish_seen, fed.stream.last) == (True, True, DONE)
        assert fed.usage == Usage(9, 12)
    assert Fed([raw[at : at + 1] for at in range(len(raw))]).out == expected


def test_golden_stream_keeps_all_but_the_model() -> None:
    assert Fed([GOLDEN]).events == [{**value, "model": OURS} for value in CHUNKS]


def test_tool_calls_go_on_byte_by_byte() -> None:
    """R29: what a client joins to arguments is what the upstream sent."""
    raw = [event(chunk(tool(function={"arguments": piece})), **COMPACT) for piece in ('{"a":', '"\\u00e9', '\\"', '"}')]
    out = Fed(raw).out
    for packet in raw:
        arguments = packet[packet.index(b'"tool_calls"') :]
        assert arguments in out


SPELLINGS = {
    "spaces": b"".join([event(value) for value in CHUNKS]),
    "no space after the colon": GOLDEN.replace(b"data: ", b"data:"),
    "comments between": b": ping\n\n" + GOLDEN.replace(b"data: ", b": ping\n\ndata: "),
    "comment in the event": GOLDEN.replace(b"data: ", b": note\ndata: "),
    "event and id before": GOLDEN.replace(b"data: ", b"event: message\nid: 5\ndata: "),
    "id behind": GOLDEN.replace(b"\n\n", b"\nid: 5\nretry: 10\n\n"),
    "comment behind": GOLDEN.replace(b"\n\n", b"\n: note\n\n"),
    "three line ends": GOLDEN.replace(b"\n\n", b"\n\n\n"),
    "four line ends": GOLDEN.replace(b"\n\n", b"\n\n\n\n"),
    "JSON over several data lines": b"".join(
        [event(value, indent=1).replace(b"\n", b"\ndata: ").replace(b"\ndata: \ndata: ", b"\n\n") for value in CHUNKS]
    ),
    "escaped text": b"".join([b"data: %b\n\n" % json.dumps(value).encode() for value in CHUNKS]),
}


@pytest.mark.parametrize("raw", SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("end", [DONE, b"data:[DONE]\n\n", b"data: [DONE]\n\n\n", b": x\ndata: [DONE]\n\n"])
def test_every_spelling_of_server_sent_events_is_read(raw: bytes, end: bytes) -> None:
    """Source: WHATWG HTML, server-sent events. Whole, and one event at a time."""
    expected = [{**value, "model": OURS} for value in CHUNKS]
    for packets in ([raw + end], [*[part + b"\n\n" for part in raw.split(b"\n\n") if part], end]):
        fed = Fed(packets)
        assert fed.events == expected
        assert fed.stream.is_done
        assert all(line.startswith(b"data: ") for line in fed.out.split(b"\n") if line)


def test_nothing_follows_the_end() -> None:
    fed = Fed([event(CHUNKS[1]) + DONE + event(CHUNKS[1]) + DONE, event(CHUNKS[1])])
    assert len(fed.events) == 1


@pytest.mark.parametrize(
    "value",
    [
        {**CHUNKS[1], "model": "another"},
        {**CHUNKS[1], "model": None},
        {**CHUNKS[1], "model": 'with " quote'},
        {"extra": {"model": "upstream-model"}, **CHUNKS[1]},
        {name: given for name, given in CHUNKS[1].items() if name != "model"},
        {**{name: given for name, given in CHUNKS[1].items() if name != "model"}, "extra": {"model": "upstream-model"}},
        chunk({"content": "x", "model": "upstream-model"}),
    ],
)
@pytest.mark.parametrize("spelling", [{}, COMPACT])
def test_model_is_ours_in_every_chunk(value: dict[str, Any], spelling: dict[str, Any]) -> None:
    """COMPAT, section 4; wherever it stands, changing on the way, and beside other models deeper inside."""
    for asked in (None, asking()):
        fed = Fed([event(CHUNKS[0], **spelling), event(value, **spelling), event(CHUNKS[2], **spelling)], asked)
        expected = [{**each, "model": OURS} for each in (CHUNKS[0], value, CHUNKS[2])]
        assert [{**each, "usage": 0} for each in fed.events] == [{**each, "usage": 0} for each in expected]


NULL = {"usage": None}
BY_OPENAI = [*[{**value, **NULL} for value in CHUNKS], chunk(None, usage=USAGE)]
WAYS = {
    "as OpenAI": BY_OPENAI,
    "without null before": [*CHUNKS, chunk(None, usage=USAGE)],
    "a last chunk with one empty choice": [*CHUNKS, chunk({}, usage=USAGE)],
    "a last chunk with a role and no text": [*CHUNKS, chunk({"role": "assistant", "content": ""}, usage=USAGE)],
    "with the last choice": [*CHUNKS[:-1], {**CHUNKS[-1], "usage": USAGE}],
    "a running total": [*[{**value, "usage": {**USAGE, "completion_tokens": n}} for n, value in enumerate(CHUNKS)],
                        chunk(None, usage=USAGE)],
    "null figures in the middle": [{**CHUNKS[0], **NULL}, *CHUNKS[1:], chunk(None, usage=USAGE)],
}  # fmt: skip


@pytest.mark.parametrize("values", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("spelling", [{}, COMPACT])
def test_usage_that_was_asked_for_comes_by_openai_s_rule(values: list[Any], spelling: dict[str, Any]) -> None:
    """One more chunk before the end with no choice and the figures; in all others `usage` is null."""
    fed = Fed([*[event(value, **spelling) for value in values], DONE], asking())
    assert fed.events == [{**value, "model": OURS, **NULL} for value in CHUNKS]
    assert fed.last == [{**chunk(None), "model": OURS, "usage": USAGE}]
    assert fed.usage == Usage(9, 12)


@pytest.mark.parametrize("values", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("spelling", [{}, COMPACT])
def test_usage_that_was_not_asked_for_is_taken_out_and_known(values: list[Any], spelling: dict[str, Any]) -> None:
    """We ask for it always; the client sees no chunk without a choice and no `usage`."""
    fed = Fed([*[event(value, **spelling) for value in values], DONE])
    assert fed.events == [{**value, "model": OURS} for value in CHUNKS]
    assert fed.last == []
    assert fed.usage == Usage(9, 12)


def test_azure_s_first_chunk_without_a_choice_passes() -> None:
    first = chunk(None, prompt_filter_results=[{"prompt_index": 0}])
    assert Fed([event(first), GOLDEN]).events[0] == {**first, "model": OURS}


@pytest.mark.parametrize("usage", [given for given in HOSTILE if given is not None], ids=repr)
def test_hostile_figures_in_a_stream_are_counted_here(usage: Any) -> None:
    """T15."""
    fed = Fed([GOLDEN, event(chunk(None, usage=usage)), DONE], asking())
    assert fed.usage.is_estimated
    (told,) = fed.last
    assert told["usage"]["completion_tokens"] == fed.usage.completion_tokens
    assert told["usage"]["total_tokens"] == fed.usage.prompt_tokens + fed.usage.completion_tokens


def test_what_went_by_is_counted_where_nobody_gives_figures() -> None:
    """R12: text, tool arguments, reasoning and legacy text alike."""
    pieces = [chunk({"content": "x" * 40}), chunk({"reasoning_content": "y" * 40})]
    fed = Fed([event(piece) for piece in pieces])
    assert fed.usage == Usage(call().prompt_tokens_estimate, 20, is_estimated=True)
    legacy = {"choices": [{"text": "z" * 10, "index": 0, "finish_reason": None}], "model": "m"}
    assert Fed([event(legacy)]).usage.completion_tokens == 3
    assert Fed([event(CHUNKS[4])]).usage.completion_tokens > 0
    assert Fed([]).usage.completion_tokens == 0


def test_stream_is_not_done_before_the_end_nor_finished_before_a_reason() -> None:
    """R15: nothing but the upstream's own words ends a stream well."""
    fed = Fed([event(value) for value in CHUNKS[:-1]])
    assert (fed.stream.is_done, fed.stream.finish_seen, fed.stream.last) == (False, False, b"")


@pytest.mark.parametrize("text", ['{"error":{"message":"x"}}', '{"error":"x","choices":[]}', '{"error":{"code":1}}'])
def test_error_event_is_an_upstream_error(text: str) -> None:
    with pytest.raises(UpstreamError):
        Fed([GOLDEN, f"data: {text}\n\n".encode()])


RUBBISH = {
    "not JSON": b"data: hello\n\n",
    "HTML": b"data: <html>\n\n",
    "list": b"data: []\n\n",
    "no choices": b'data: {"id":"x"}\n\n',
    "choices is text": b'data: {"choices":"x"}\n\n',
    "a choice is text": b'data: {"choices":["x"]}\n\n',
    "a delta is text": b'data: {"choices":[{"delta":"x"}]}\n\n',
    "cut": b'data: {"choices":[{"delta":{"content":"x\n\n',
    "bad UTF-8": b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n',
    "bad UTF-8 beside the figures": b'data: {"choices":[],"x":"\xff","usage":{"prompt_tokens":1}}\n\n',
    "long number beside the figures": b'data: {"choices":[],"x":' + b"9" * 5000 + b',"usage":{"prompt_tokens":1}}\n\n',
    "bad UTF-8 without a model": b'data: {"choices":[{"delta":{}}],"x":"\xff"}\n\n',
    "deep": b'data: {"choices":[],"x":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n",
}


@pytest.mark.parametrize("raw", RUBBISH.values(), ids=RUBBISH.keys())
def test_event_that_is_no_chunk_is_a_bad_response(raw: bytes) -> None:
    """F8: never anything but an error of the upstream's."""
    with pytest.raises(UpstreamBadResponse):
        Fed([raw])


@settings(deadline=None)
@given(st.lists(st.dictionaries(NAMES, JSON, max_size=3), max_size=4), st.booleans())
def test_any_chunk_is_passed_on_or_is_an_upstream_s_fault(changes: list[dict[str, Any]], is_asked: bool) -> None:
    """T15: good streams spoiled at random."""
    packets = [event({**CHUNKS[1], **changed}) for changed in changes]
    try:
        fed = Fed([*packets, DONE], asking() if is_asked else None)
    except UpstreamError:
        return
    assert all(value["model"] == OURS for value in [*fed.events, *fed.last])
    assert 0 <= fed.usage.completion_tokens <= MAX_TOKENS_BELIEVED


# --- errors --------------------------------------------------------------------------------------------------------


def fault(status: int, error: Any = None, **headers: str) -> GatewayError:
    body = b"" if error is None else json.dumps({"error": error}).encode()
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return error_of(status, named, body, deployment(extra_headers=(("x-token", Secret("HiddenToken")),)), NOW_S)


# COMPAT.md, section 6.
STATUSES: dict[int, tuple[type[GatewayError], int]] = {
    201: (UpstreamBadResponse, 502), 204: (UpstreamBadResponse, 502),
    301: (UpstreamBadResponse, 502), 302: (UpstreamBadResponse, 502), 307: (UpstreamBadResponse, 502),
    400: (UpstreamRefusedRequest, 400), 401: (UpstreamAuthError, 502), 402: (UpstreamAuthError, 502),
    403: (UpstreamAuthError, 502), 404: (UpstreamRefusedRequest, 404), 405: (UpstreamRefusedRequest, 400),
    408: (UpstreamTimeout, 504), 409: (UpstreamRefusedRequest, 400), 413: (UpstreamRefusedRequest, 400),
    418: (UpstreamRefusedRequest, 400), 422: (UpstreamRefusedRequest, 422), 429: (UpstreamRateLimited, 429),
    500: (UpstreamError, 502), 502: (UpstreamError, 502), 503: (UpstreamError, 502), 504: (UpstreamError, 502),
    529: (UpstreamError, 502), 599: (UpstreamError, 502),
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "error", [None, "text", {"message": "m", "code": "c", "param": "p"}, {"message": 5, "code": []}]
)
def test_upstream_s_status_has_its_documented_class(status: int, error: Any) -> None:
    """F4-F7, F12: whatever the body; a 401 of the upstream never blames the caller's key."""
    kind, ours = STATUSES[status]
    found = fault(status, error)
    assert (type(found), found.status) == (kind, ours)
    assert found.message


def test_refusal_of_the_caller_s_making_keeps_its_words() -> None:
    """F7: same class, cleaned."""
    words = {"message": "temperature must be at most 2", "code": "invalid_value", "param": "temperature", "type": "x"}
    for status in (400, 404, 422):
        found = fault(status, words)
        assert (found.message, found.code, found.param) == (words["message"], "invalid_value", "temperature")
    assert fault(400, {"message": "m", "code": None, "type": "bad_thing"}).code == "bad_thing"
    for odd in ("Bad Code!", "x" * 65, 5, ["a"], "sk-secretsecret"):
        assert fault(400, {"message": "m", "code": odd}).code == "invalid_value"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "code": "context_length_exceeded"},
        {"message": "x", "type": "context_length_exceeded"},
        {"message": "This model's maximum context length is 8192 tokens. However, you requested 9000", "code": None},
        {"message": "prompt is too long: 210000 tokens > 200000 maximum", "type": "invalid_request_error"},
        {"message": "the request exceeds the available context window size", "code": 400},
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_prompt_that_is_too_long_may_be_tried_elsewhere(status: int, error: dict[str, Any]) -> None:
    found = fault(status, error)
    assert type(found) is ContextLengthExceeded
    assert (found.status, found.code, found.try_next) == (400, "context_length_exceeded", True)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "code": "content_policy_violation"},
        {"message": "x", "code": "content_filter"},
        {"message": "The response was filtered due to Azure OpenAI's content management policy.", "code": "400"},
        {"message": "Your request was rejected as a result of our safety system.", "code": None},
    ],
)
def test_refused_content_may_be_tried_elsewhere(error: dict[str, Any]) -> None:
    found = fault(400, error)
    assert (type(found), found.status, found.code) == (ContentPolicyViolation, 400, "content_policy_violation")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
def test_no_credential_of_ours_is_in_the_caller_s_error(status: int) -> None:
    """T16, F6, K: the key, a secret header's value and addresses, in message, code and param."""
    words = "sk-upstream-credential HiddenToken http://10.0.0.9/x"
    found = fault(status, {"message": words, "code": words, "param": words, "type": words})
    told = f"{found.message} {found.code} {found.param}"
    for canary in ("sk-upstream", "HiddenToken", "10.0.0.9"):
        assert canary not in told


@settings(deadline=None)
@given(st.integers(100, 999), st.binary(max_size=40) | JSON.map(lambda value: json.dumps({"error": value}).encode()))
def test_any_failure_has_a_class(status: int, body: bytes) -> None:
    found = error_of(status, {}, body, deployment(), NOW_S)
    assert found.status in (400, 404, 422, 429, 502, 504)


RETRY_AFTER = [
    (None, 1), ("5", 5), ("0", 1), ("1.2", 2), (" 7 ", 7), ("60", 60), ("61", 60), ("1000000000", 60), ("1" * 50, 60),
    ("-5", 1), ("soon", 1), ("", 1), ("nan", 1), ("inf", 1), ("-inf", 1), ("1e400", 1),
    (format_datetime(datetime.fromtimestamp(NOW_S + 30, UTC), usegmt=True), 30),
    (format_datetime(datetime.fromtimestamp(NOW_S + 30, UTC)), 30),
    (format_datetime(datetime.fromtimestamp(NOW_S + 30, UTC)).replace("+0000", "-0000"), 30),
    (format_datetime(datetime.fromtimestamp(NOW_S + 9999, UTC), usegmt=True), 60),
    (format_datetime(datetime.fromtimestamp(NOW_S - 30, UTC), usegmt=True), 1),
    ("Wed, 99 Foo 2026 99:99:99 GMT", 1), ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
]  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER, ids=repr)
def test_retry_after_is_a_second_to_a_minute_in_every_form(value: str | None, seconds: int) -> None:
    """F5: seconds, date, garbage, enormous, negative."""
    assert retry_after_s(None if value is None else value.encode(), NOW_S) == seconds
    if value is not None:
        assert fault(429, None, retry_after=value).retry_after_s == seconds


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_retry_after_is_a_second_to_a_minute(value: bytes) -> None:
    assert 1 <= retry_after_s(value, NOW_S) <= 60
