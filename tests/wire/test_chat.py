"""OpenAI's chat and legacy completions: a client's body to a `Call`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import GatewayError, InvalidRequest, MissingField, RefusedField
from routewright.types import Call
from routewright.wire.chat import (
    EXTENSION_FIELDS,
    REFUSED_FIELDS,
    TOKENS_PER_IMAGE,
    parse_chat,
    parse_completions,
    prompt_of,
    read_headers,
)
from values import HELLO, call, http_request

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def refusal(endpoint: str = "chat", **fields: Any) -> tuple[type[GatewayError], str | None]:
    with pytest.raises(InvalidRequest) as caught:
        call(endpoint, **fields)
    assert caught.value.status == 400
    return type(caught.value), caught.value.param


def messages(**changed: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi", **changed}]}


# --- what is taken -------------------------------------------------------------------------------------------------


def test_smallest_request_has_every_field_set() -> None:
    parsed = call()
    for name in Call.__slots__:
        getattr(parsed, name)
    assert (parsed.endpoint, parsed.model, parsed.is_stream, parsed.wants_usage) == ("chat", "gpt-4o", False, False)
    assert (parsed.max_tokens, parsed.n_choices, parsed.quality, parsed.timeout_s) == (None, 1, None, None)
    assert parsed.body == {"model": "gpt-4o", "messages": HELLO}


PASSED_ON: dict[str, Any] = {
    "temperature": 0.5, "top_p": 1, "seed": 10**24, "stop": ["a"], "logprobs": True, "top_logprobs": 3,
    "logit_bias": {"50256": -100}, "presence_penalty": -2.0, "parallel_tool_calls": False, "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}, "user": "u-1", "n": 2,
    "max_completion_tokens": 5, "reasoning_effort": "low", "modalities": ["text", "audio"], "service_tier": "flex",
    "store": True, "metadata": {"mine": "yes"}, "prediction": None, "provider_extra": {"deep": [1, {"a": None}]},
    "web_search_options": {}, "verbosity": "low", "top_k": 3, "chat_template_kwargs": {"enable_thinking": False},
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED_ON)
def test_field_an_openai_client_may_send_goes_on_as_it_came(name: str) -> None:
    parsed = call(**{name: copy.deepcopy(PASSED_ON[name])})
    assert parsed.body == {"model": "gpt-4o", "messages": HELLO, name: PASSED_ON[name]}


@pytest.mark.parametrize(
    "content",
    ["text", "", [{"type": "text", "text": "a"}], [IMAGE], [{"type": "input_audio", "input_audio": {"data": "AA"}}]],
)
def test_content_is_text_or_parts(content: Any) -> None:
    assert call(**messages(content=content)).body["messages"][0]["content"] == content


def test_content_may_be_null_beside_tool_calls() -> None:
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "assistant", "tool_calls": []},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    assert call(messages=turns).body["messages"] == turns


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", [1, 4096, None])
def test_bound_of_the_answer_is_known(name: str, value: int | None) -> None:
    assert call(**{name: value}).max_tokens == value


def test_abilities_asked_for_are_known() -> None:
    plain = call()
    assert (plain.has_images, plain.has_tools, plain.wants_json) == (False, False, False)
    assert call(**messages(content=[{"type": "text", "text": "a"}, IMAGE])).has_images
    assert call(**messages(content=[{**IMAGE, "text": "caption"}])).has_images
    assert call(tools=[{"type": "function"}]).has_tools
    assert call(functions=[{"name": "f"}]).has_tools
    assert not call(tools=[], functions=None).has_tools
    assert call(response_format={"type": "json_object"}).wants_json
    assert call(response_format={"type": "json_schema"}).wants_json
    assert not call(response_format={"type": "text"}).wants_json


def test_prompt_tokens_grow_with_text_messages_and_images() -> None:
    one = call(**messages(content="x" * 400)).prompt_tokens_estimate
    assert one == 104
    assert call(messages=messages(content="x" * 400)["messages"] * 3).prompt_tokens_estimate == 312
    assert call(**messages(content=[IMAGE, IMAGE])).prompt_tokens_estimate == 2 * TOKENS_PER_IMAGE + 4


def test_prompt_tokens_grow_with_all_that_a_model_reads() -> None:
    """R9: what is not counted is not reserved, and a budget near its end lets it pass many times at once."""
    bare = call(**messages(content="hi")).prompt_tokens_estimate
    long = "x" * 4000
    tool = {"type": "function", "function": {"name": "f", "description": long, "parameters": {}}}
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": long}}]
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": long}}}
    for body in (
        {**messages(content="hi"), "tools": [tool]},
        {**messages(content="hi"), "functions": [tool["function"]]},
        {**messages(content="hi"), "response_format": schema},
        {"messages": [{"role": "assistant", "content": "hi", "tool_calls": calls}]},
        {"messages": [{"role": "user", "content": "hi", "name": long}]},
        messages(content=[{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}]),
    ):
        assert call(**body).prompt_tokens_estimate >= bare + 1000, body.keys()


@pytest.mark.parametrize(("text", "tokens"), [("今天天气怎么样" * 100, 525), ("Привет" * 100, 300), ("🙂" * 100, 100)])
def test_prompt_tokens_of_other_scripts_follow_bytes(text: str, tokens: int) -> None:
    """Four characters of these are far more than a token."""
    assert call(**messages(content=text)).prompt_tokens_estimate == tokens + 4
    assert call(**messages(content=[{"type": "text", "text": text}])).prompt_tokens_estimate == tokens + 4


def test_stream_and_its_options() -> None:
    assert call(stream=True).is_stream
    assert not call(stream=False).is_stream
    assert not call(stream=None).is_stream
    assert not call(stream=True).wants_usage
    assert not call(stream=True, stream_options={}).wants_usage
    assert not call(stream=True, stream_options={"include_usage": False}).wants_usage
    assert call(stream=True, stream_options={"include_usage": True}).wants_usage


@pytest.mark.parametrize("start", ["/engines", "/v1/engines", "/openai/deployments", "/v1/openai/deployments"])
def test_model_in_the_path_counts_and_the_one_in_the_body_does_not(start: str) -> None:
    path = f"{start}/my-model/chat/completions"
    assert parse_chat(http_request({"messages": HELLO}, path)).model == "my-model"
    assert parse_chat(http_request({"messages": HELLO, "model": "other"}, path)).model == "my-model"


def test_model_in_the_path_is_decoded_once() -> None:
    """G2: nothing decoded twice."""
    path = "/v1/engines/openai%2Fgpt%252F4o/chat/completions"
    assert parse_chat(http_request({"messages": HELLO}, path)).model == "openai/gpt%2F4o"


# --- what is refused: 1c -------------------------------------------------------------------------------------------

BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "model is null": ({"model": None}, "model"),
    "model is a number": ({"model": 4}, "model"),
    "model is true": ({"model": True}, "model"),
    "model is empty": ({"model": ""}, "model"),
    "model is long": ({"model": "m" * 257}, "model"),
    "model with NUL": ({"model": "gpt\x00"}, "model"),
    "model with a line end": ({"model": "gpt\r\nX: y"}, "model"),
    "messages is null": ({"messages": None}, "messages"),
    "messages is empty": ({"messages": []}, "messages"),
    "messages is text": ({"messages": "hi"}, "messages"),
    "a message is text": ({"messages": ["hi"]}, "messages[0]"),
    "second message without role": ({"messages": [*HELLO, {"content": "a"}]}, "messages[1].role"),
    "role is a number": (messages(role=1), "messages[0].role"),
    "content is a number": (messages(content=5), "messages[0].content"),
    "content is true": (messages(content=True), "messages[0].content"),
    "content is an object": (messages(content={"type": "text"}), "messages[0].content"),
    "content of a user is null": (messages(content=None), "messages[0].content"),
    "content is an empty list": (messages(content=[]), "messages[0].content"),
    "content is a list of texts": (messages(content=["hi"]), "messages[0].content"),
    "a part without a type": (messages(content=[{"text": "hi"}]), "messages[0].content"),
    "a part whose text is a number": (messages(content=[{"type": "text", "text": 1}]), "messages[0].content"),
    "tools is an object": ({"tools": {}}, "tools"),
    "tools is text": ({"tools": "all"}, "tools"),
    "functions is true": ({"functions": True}, "functions"),
    "stream is text": ({"stream": "true"}, "stream"),
    "stream is 1": ({"stream": 1}, "stream"),
    "stream_options is text": ({"stream": True, "stream_options": "usage"}, "stream_options"),
    "stream_options without stream": ({"stream_options": {"include_usage": True}}, "stream_options"),
    "include_usage is 1": ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    "max_tokens is 0": ({"max_tokens": 0}, "max_tokens"),
    "max_tokens is negative": ({"max_tokens": -1}, "max_tokens"),
    "max_tokens is true": ({"max_tokens": True}, "max_tokens"),
    "max_tokens is text": ({"max_tokens": "5"}, "max_tokens"),
    "max_tokens is 1.0": ({"max_tokens": 1.0}, "max_tokens"),
    "max_tokens has 25 digits": ({"max_tokens": 10**24}, "max_tokens"),
    "max_completion_tokens is 0": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    "n is 0": ({"n": 0}, "n"),
    "n is 129": ({"n": 129}, "n"),
    "n is true": ({"n": True}, "n"),
    "n is 1.0": ({"n": 1.0}, "n"),
    "user is a number": ({"user": 5}, "user"),
    "user with NUL": ({"user": "a\x00b"}, "user"),
    "user is long": ({"user": "u" * 513}, "user"),
    "metadata is text": ({"metadata": "x"}, "metadata"),
    "metadata name with NUL": ({"metadata": {"a\x00": "x"}}, "metadata"),
    "metadata value with NUL": ({"metadata": {"a": "x\x00"}}, "metadata"),
    "metadata tag with NUL": ({"metadata": {"tags": ["\x00"]}}, "metadata.tags"),
    "metadata tag is a number": ({"metadata": {"tags": [1]}}, "metadata.tags"),
    "tags is text": ({"tags": "a"}, "tags"),
    "65 tags": ({"tags": ["a"] * 65}, "tags"),
    "routing is text": ({"routing": "best"}, "routing"),
    "routing with an unknown field": ({"routing": {"model": "x"}}, "routing.model"),
    "quality is 1.1": ({"routing": {"quality": 1.1}}, "routing.quality"),
    "quality is true": ({"routing": {"quality": True}}, "routing.quality"),
    "task with NUL": ({"routing": {"task": "\x00"}}, "routing.task"),
    "timeout is 0": ({"timeout": 0}, "timeout"),
    "timeout is text": ({"timeout": "5"}, "timeout"),
    "timeout has 400 digits": ({"timeout": 10**399}, "timeout"),
    "num_retries is 11": ({"num_retries": 11}, "num_retries"),
    "num_retries is true": ({"num_retries": True}, "num_retries"),
    "fallbacks is text": ({"fallbacks": "gpt-4o"}, "fallbacks"),
    "fallbacks of lists of lists": ({"fallbacks": [{"gpt-4o": [["b"]]}]}, "fallbacks"),
    "context fallbacks is text": ({"context_window_fallbacks": "gpt-4o"}, "context_window_fallbacks"),
    "stream_timeout is 0": ({"stream_timeout": 0}, "stream_timeout"),
    "allowed_model_region is a list": ({"allowed_model_region": ["eu"]}, "allowed_model_region"),
    "mock_response is a number": ({"mock_response": 1}, "mock_response"),
    "mock_testing_fallbacks is text": ({"mock_testing_fallbacks": "yes"}, "mock_testing_fallbacks"),
    "fallbacks of objects": ({"fallbacks": [{"model": "a", "api_key": "b"}]}, "fallbacks"),
    "six fallbacks": ({"fallbacks": ["a"] * 6}, "fallbacks"),
    "disable_fallbacks is 1": ({"disable_fallbacks": 1}, "disable_fallbacks"),
}


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_field_of_the_wrong_kind_is_named(fields: dict[str, Any], param: str) -> None:
    """1c: type rules; the error names the field."""
    kind, named = refusal(**fields)
    assert kind is (MissingField if fields.get(param, ...) is None else InvalidRequest)
    assert named == param


@pytest.mark.parametrize("name", sorted(REFUSED_FIELDS))
@pytest.mark.parametrize("value", ["x", None, {}])
def test_field_that_steers_host_credential_or_gateway_is_refused(name: str, value: Any) -> None:
    """T6, R2: whatever its value, on every endpoint."""
    for endpoint in ("chat", "completions", "embeddings"):
        assert refusal(endpoint, **{name: value}) == (RefusedField, name)


def test_the_fields_named_in_the_rules_are_refused() -> None:
    """T6: the list of RELIABILITY.md and COMPAT.md; `fallbacks` holds only names that the key may use, and of
    `mock_response` the catalog says whether the configuration allows it."""
    assert {
        "api_base", "base_url", "api_key", "extra_headers", "user_config", "litellm_params",
    } <= REFUSED_FIELDS  # fmt: skip
    assert REFUSED_FIELDS.isdisjoint(EXTENSION_FIELDS)


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(REFUSED_FIELDS)), min_size=1, unique=True), st.sampled_from([None, True, "x"]))
def test_any_mix_of_refused_fields_is_refused(names: list[str], value: Any) -> None:
    """T6."""
    assert refusal(**dict.fromkeys(names, value)) == (RefusedField, min(names))


# --- our extensions ------------------------------------------------------------------------------------------------

EXTENSIONS: dict[str, Any] = {
    "routing": {"quality": 1, "task": "sums"},
    "tags": ["a", "b"],
    "fallbacks": ["gpt-4o-mini"],
    "context_window_fallbacks": [{"gpt-4o": ["long"]}, {"a": ["b"]}],
    "content_policy_fallbacks": ["lenient"],
    "disable_fallbacks": True,
    "allowed_model_region": "eu",
    "mock_response": "hello",
    "mock_testing_fallbacks": True,
    "mock_testing_context_fallbacks": False,
    "mock_testing_content_policy_fallbacks": None,
    "num_retries": 0,
    "timeout": 2.5,
    "guardrails": ["g"],
    "cache": {"no-cache": True},
    "caching": True,
    "litellm_session_id": "s",
    "litellm_trace_id": "t",
    "drop_params": True,
    "additional_drop_params": ["seed"],
    "allowed_openai_params": ["x"],
    "max_retries": 2,
    "stream_timeout": 3,
    "ttl": 5,
}


def test_every_extension_is_read_and_none_goes_upstream() -> None:
    assert set(EXTENSIONS) == EXTENSION_FIELDS
    parsed = call(**copy.deepcopy(EXTENSIONS))
    assert parsed.body == {"model": "gpt-4o", "messages": HELLO}
    assert (parsed.quality, parsed.task, parsed.metadata_tags) == (1.0, "sums", ("a", "b"))
    assert (parsed.fallbacks, parsed.without_fallbacks) == (["gpt-4o-mini"], True)
    assert (parsed.num_retries, parsed.timeout_s, parsed.stream_timeout_s) == (0, 2.5, 3.0)
    assert (parsed.context_window_fallbacks, parsed.content_policy_fallbacks) == (["long"], ["lenient"])
    assert (parsed.allowed_region, parsed.session_id) == ("eu", "s")
    assert parsed.mock is not None
    assert (parsed.mock.text, parsed.mock.first_fails_by) == ("hello", "InternalServerError")


def test_session_is_told_in_several_places() -> None:
    assert call(metadata={"session_id": "m"}).session_id == "m"
    assert with_headers(call(), x_litellm_session_id="h").session_id == "h"
    assert (
        with_headers(call(litellm_session_id="b", metadata={"session_id": "m"}), x_litellm_session_id="h").session_id
        == "b"
    )


@pytest.mark.parametrize("name", sorted(EXTENSION_FIELDS))
def test_extension_that_is_null_is_as_if_absent(name: str) -> None:
    parsed = call(**{name: None})
    assert parsed.body == {"model": "gpt-4o", "messages": HELLO}
    assert (parsed.quality, parsed.timeout_s, parsed.num_retries, parsed.fallbacks) == (None, None, None, None)


def test_metadata_for_the_proxy_is_taken_out_and_openai_s_own_goes_on() -> None:
    parsed = call(metadata={"tags": ["x"], "trace_id": "t", "session_id": "s", "mine": "yes"}, tags=["first"])
    assert parsed.body["metadata"] == {"mine": "yes"}
    assert parsed.metadata_tags == ("first", "x")


def test_metadata_for_the_proxy_alone_leaves_none() -> None:
    assert "metadata" not in call(metadata={"generation_name": "g"}).body
    assert call(metadata={}).body["metadata"] == {}
    assert call(metadata=None).body["metadata"] is None


# --- headers -------------------------------------------------------------------------------------------------------


def with_headers(parsed: Call, **headers: str) -> Call:
    read_headers(parsed, {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()})
    return parsed


def test_headers_say_what_the_body_left_open() -> None:
    parsed = with_headers(
        call(),
        x_routewright_quality="0.25",
        x_litellm_timeout="7",
        x_litellm_num_retries="3",
        x_litellm_tags="a, b,,c",
    )
    assert (parsed.quality, parsed.timeout_s, parsed.num_retries) == (0.25, 7.0, 3)
    assert parsed.metadata_tags == ("a", "b", "c")


def test_body_s_word_wins_over_a_header() -> None:
    parsed = with_headers(
        call(routing={"quality": 0}, timeout=1, num_retries=0, tags=["x"]),
        x_routewright_quality="1", x_litellm_timeout="9", x_litellm_num_retries="9", x_litellm_tags="y",
    )  # fmt: skip
    assert (parsed.quality, parsed.timeout_s, parsed.num_retries) == (0.0, 1.0, 0)
    assert parsed.metadata_tags == ("x", "y")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x-routewright-quality", ["high", "", "nan", "-0.1", "1.1", "inf"]),
        ("x-litellm-timeout", ["soon", "0", "-1", "nan", "inf", "1e9"]),
        ("x-litellm-num-retries", ["two", "-1", "11", "nan", "inf"]),
    ],
)
def test_header_that_is_no_number_of_its_range_is_refused(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(InvalidRequest) as caught:
            read_headers(call(), {name.encode(): value.encode()})
        assert caught.value.param == name


# --- legacy completions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "tokens"), [("eight ch", 3), (["four", "four"], 4), ([1, 2], 2), ([[1], [2]], 2)])
def test_prompt_is_text_texts_tokens_or_lists_of_tokens(prompt: Any, tokens: int) -> None:
    parsed = call("completions", prompt=prompt, best_of=2, echo=True)
    assert parsed.prompt_tokens_estimate == tokens
    assert parsed.body == {"model": "gpt-4o", "prompt": prompt, "best_of": 2, "echo": True}


@pytest.mark.parametrize("prompt", [None, 5, [], [[]], ["a", 1], {"a": 1}, [True]])
def test_other_prompts_are_refused(prompt: Any) -> None:
    assert refusal("completions", prompt=prompt) == (InvalidRequest, "prompt")


def test_prompt_is_required() -> None:
    with pytest.raises(MissingField):
        parse_completions(http_request({"model": "m"}, "/v1/completions"))


# --- what a router may know ----------------------------------------------------------------------------------------


def test_router_sees_the_last_user_message_and_the_system_prompt() -> None:
    prompt = prompt_of(
        call(
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "answer"},
                {"role": "user", "content": [{"type": "text", "text": "one"}, IMAGE, {"type": "text", "text": "two"}]},
                {"role": "assistant", "content": None, "tool_calls": []},
            ],
            routing={"task": "t"},
        )
    )
    assert (prompt.text, prompt.system, prompt.task) == ("one\ntwo", "be brief", "t")
    assert (prompt.has_images, prompt.has_tools, prompt.wants_json) == (True, False, False)


def test_without_a_user_message_the_last_one_counts() -> None:
    turns = [{"role": "developer", "content": "rules"}, {"role": "assistant", "content": "so far"}]
    prompt = prompt_of(call(messages=turns))
    assert (prompt.text, prompt.system) == ("so far", "rules")
    assert prompt_of(call(messages=[{"role": "assistant", "content": None}])).text == ""


@pytest.mark.parametrize(("prompt", "text"), [("hi", "hi"), (["a", "b"], "b"), ([1, 2], ""), ([[1]], "")])
def test_router_sees_the_text_of_a_legacy_prompt(prompt: Any, text: str) -> None:
    assert prompt_of(call("completions", prompt=prompt)).text == text


# --- anything at all -----------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.floats(-2, 2) | st.sampled_from(["", "user", "a\x00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "tags", "quality", "include_usage"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "messages", "stream", "stream_options", "max_tokens", "n", "user", "metadata", "tools", "routing", "tags",
     "timeout", "fallbacks", "response_format", "prompt", "input"]
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(FIELDS, ANYTHING, max_size=5), st.sampled_from(["chat", "completions", "embeddings"]))
def test_any_body_is_a_call_or_a_400(fields: dict[str, Any], endpoint: str) -> None:
    """1c: never a 500; and what was taken can be routed."""
    try:
        parsed = call(endpoint, **fields)
    except InvalidRequest:
        return
    prompt_of(parsed)
    assert parsed.prompt_tokens_estimate >= 0
