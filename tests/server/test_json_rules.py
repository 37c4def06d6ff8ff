"""One strict decoder for all routes: section 1c of RELIABILITY.md, at the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, eventually
from harness.upstream import Upstream
from harness.wire import assert_error

CHAT = "/v1/chat/completions"
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'


def chat(extra: bytes) -> bytes:
    return b'{"model":"gpt-4o",' + MESSAGES + b"," + extra + b"}"


def with_content(text: bytes) -> bytes:
    return b'{"model":"gpt-4o","messages":[{"role":"user","content":' + text + b"}]}"


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


NOT_JSON = {
    "empty": b"",
    "spaces": b"  \r\n ",
    "cut": b'{"model":"gpt-4o"',
    "two documents": chat(b'"n":1') + chat(b'"n":1'),
    "text behind": chat(b'"n":1') + b"x",
    "comment": chat(b'"n":1/* one */'),
    "comma at the end": chat(b'"n":1,'),
    "single quotes": b"{'model':'gpt-4o'}",
    "NaN": chat(b'"temperature":NaN'),
    "Infinity": chat(b'"temperature":Infinity'),
    "-Infinity": chat(b'"temperature":-Infinity'),
    "1e999": chat(b'"temperature":1e999'),
    "leading zero": chat(b'"n":01'),
    "plus": chat(b'"n":+1'),
    "hex": chat(b'"n":0x1'),
    "lone surrogate, escaped": with_content(b'"\\ud800"'),
    "lone low surrogate": with_content(b'"\\udc00 x"'),
    "surrogates the wrong way round": with_content(b'"\\udc00\\ud800"'),
    "lone surrogate, raw": with_content(b'"\xed\xa0\x80"'),
    "lone surrogate in a key": chat(b'"\\ud800":1'),
    "bad UTF-8": with_content(b'"\xff"'),
    "overlong UTF-8": with_content(b'"\xc0\xaf"'),
    "cut UTF-8": with_content(b'"\xe2\x82"'),
    "BOM": b"\xef\xbb\xbf" + chat(b'"n":1'),
    "UTF-16": chat(b'"n":1').decode().encode("utf-16"),
    "UTF-16 without BOM": chat(b'"n":1').decode().encode("utf-16-le"),
    "UTF-32": chat(b'"n":1').decode().encode("utf-32"),
    "control byte in a string": with_content(b'"a\nb"'),
    "NUL byte": with_content(b'"a\x00b"'),
    "bad escape": with_content(b'"\\x41"'),
    "5,000 digits": chat(b'"seed":' + b"9" * 5000),
    "65 levels": chat(b'"x":' + nested(65)),
    "1,000 levels": chat(b'"x":' + nested(1000)),
    "100,000 levels": nested(100_000),
    "200,000 open brackets": b"[" * 200_000,
    "200,000 open objects": b'{"a":' * 200_000,
    "list": b"[]",
    "text": b'"gpt-4o"',
    "number": b"4",
    "null": b"null",
    "257 keys": chat(b",".join(b'"k%d":1' % n for n in range(255))),
    "10,001 keys in all": chat(b'"x":[' + b",".join(b'{"a":1,"b":2}' for _ in range(5001)) + b"]"),
}


@pytest.mark.parametrize("path", [CHAT, "/completions", "/v1/embeddings", "/router/route"])
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_decoders_read_differently_is_refused_on_every_route(body: bytes, path: str, gateway: Gateway) -> None:
    """1c: one decoder, 400 (or 413), never a 500."""
    reply = gateway.request("POST", path, body, key=MASTER_KEY if path == "/router/route" else TEAM_KEY)

    assert_error(reply, (400, 413), type="invalid_request_error")


def fields(**changed: Any) -> dict[str, Any]:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **changed}
    return {name: value for name, value in body.items() if value is not ...}


def message(**changed: Any) -> dict[str, Any]:
    return fields(messages=[{"role": "user", "content": "hi", **changed}])


BAD_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": (fields(model=...), "model"),
    "model is null": (fields(model=None), "model"),
    "model is a number": (fields(model=4), "model"),
    "model is empty": (fields(model=""), "model"),
    "model is a list": (fields(model=["gpt-4o"]), "model"),
    "model with NUL": (fields(model="gpt-4o\x00"), "model"),
    "no messages": (fields(messages=...), "messages"),
    "messages empty": (fields(messages=[]), "messages"),
    "messages is null": (fields(messages=None), "messages"),
    "messages is text": (fields(messages="hi"), "messages"),
    "messages is an object": (fields(messages={"role": "user"}), "messages"),
    "a message is text": (fields(messages=["hi"]), "messages"),
    "role missing": (fields(messages=[{"content": "hi"}]), "messages"),
    "role is a number": (message(role=1), "messages"),
    "content is a number": (message(content=5), "messages"),
    "content is an object": (message(content={"type": "text"}), "messages"),
    "content is null": (message(content=None), "messages"),
    "content is a list of texts": (message(content=["hi"]), "messages"),
    "a part without a type": (message(content=[{"text": "hi"}]), "messages"),
    "stream is text": (fields(stream="true"), "stream"),
    "stream is 1": (fields(stream=1), "stream"),
    "max_tokens is 0": (fields(max_tokens=0), "max_tokens"),
    "max_tokens is negative": (fields(max_tokens=-1), "max_tokens"),
    "max_tokens is true": (fields(max_tokens=True), "max_tokens"),
    "max_tokens is text": (fields(max_tokens="5"), "max_tokens"),
    "max_tokens is 1.0": (fields(max_tokens=1.0), "max_tokens"),
    "max_tokens has 25 digits": (fields(max_tokens=10**24), "max_tokens"),
    "max_completion_tokens is 0": (fields(max_completion_tokens=0), "max_completion_tokens"),
    "n is 0": (fields(n=0), "n"),
    "n is 129": (fields(n=129), "n"),
    "n is true": (fields(n=True), "n"),
    "n is 1.0": (fields(n=1.0), "n"),
    "user with NUL": (fields(user="a\x00b"), "user"),
    "stream_options is text": (fields(stream=True, stream_options="usage"), "stream_options"),
}


@pytest.mark.parametrize(("body", "param"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_field_of_the_wrong_kind_is_named(
    body: dict[str, Any], param: str, gateway: Gateway, upstream: Upstream
) -> None:
    """1c: `true` is no integer, `"5"` no number, `1.0` no count; the error names the field, and nothing is sent on."""
    hits = upstream["gpt-4o"].hits

    reply = gateway.request("POST", CHAT, body)

    assert_error(reply, 400, type="invalid_request_error")
    assert reply.error["code"] in ("invalid_value", "missing_field")
    assert (reply.error["param"] or "").startswith(param)
    assert upstream["gpt-4o"].hits == hits


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "extra_headers", "user_config", "litellm_params", "mock_response"]
)
@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}),
        ("/completions", {"model": "gpt-4o", "prompt": "hi"}),
        ("/embeddings", {"model": "embed", "input": "hi"}),
    ],
)
def test_field_that_would_steer_the_gateway_is_refused(
    name: str, path: str, rest: dict[str, Any], gateway: Gateway, upstream: Upstream
) -> None:
    """T6, R2: no address or credential from a caller; nothing is contacted."""
    made, hits = upstream.connections_made, upstream["gpt-4o"].hits
    address = f"http://127.0.0.1:{upstream.port}/canary/v1"
    value = {"extra_headers": {"Host": "x"}, "user_config": {}, "litellm_params": {"api_base": address}}.get(
        name, address
    )

    reply = gateway.request("POST", path, {**rest, name: value})

    assert_error(reply, 400, type="invalid_request_error", param=name)
    assert upstream["canary"].hits == 0
    assert (upstream.connections_made, upstream["gpt-4o"].hits) == (made, hits)


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-4o",
        "openai/http://127.0.0.1:1/v1",
        "http://127.0.0.1:1/v1",
        "gpt-4",
        "GPT-4O",
        "*",
        "../gpt-4o",
        "one-",
    ],
)
def test_model_is_a_name_of_our_table(model: str, gateway: Gateway) -> None:
    """T6: nothing else."""
    assert_error(gateway.chat(model=model), 404, "model_not_found", type="invalid_request_error", param="model")


def test_duplicate_keys_reach_the_upstream_as_one(gateway: Gateway, upstream: Upstream) -> None:
    """1c: last wins, and only the re-encoded object goes upstream."""
    body = b'{"model":"gpt-4o-mini","api_base":"x","messages":[],' + MESSAGES + b',"seed":1,"seed":2,"model":"gpt-4o"}'
    assert_error(gateway.request("POST", CHAT, body), 400, param="api_base")

    upstream["gpt-4o"].forget()
    body = b'{"model":"gpt-4o-mini","messages":[],' + MESSAGES + b',"seed":1,"seed":2,"model":"gpt-4o"}'
    assert gateway.request("POST", CHAT, body).status == 200

    sent = upstream["gpt-4o"].last.body
    assert sent.count(b'"seed"') == sent.count(b'"model"') == sent.count(b'"messages"') == 1
    assert json.loads(sent)["seed"] == 2


def test_fields_an_openai_client_may_send_arrive_upstream(gateway: Gateway, upstream: Upstream) -> None:
    """Issue 2, part 3: tools, response_format, images, logprobs, n, seed and a provider's extras pass on unchanged."""
    passed = {
        "temperature": 0.7,
        "top_p": 1,
        "n": 2,
        "seed": 42,
        "stop": ["\n", "é\u0000"],
        "logprobs": True,
        "top_logprobs": 3,
        "presence_penalty": -1.5,
        "logit_bias": {"50256": -100},
        "max_completion_tokens": 17,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "user": "someone",
        "reasoning_effort": "low",
        "service_tier": "default",
        "top_k": 40,
        "repetition_penalty": 1.1,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    messages = [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this \u0000 \U0001f600?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    upstream["gpt-4o"].forget()

    reply = gateway.request("POST", CHAT, {"model": "gpt-4o", "messages": messages, **passed})

    assert reply.status == 200, reply.body
    sent = upstream["gpt-4o"].last.json
    assert sent["messages"] == messages
    assert {name: sent[name] for name in passed} == passed
    assert sent["model"] == "gpt-4o"


def test_our_own_fields_stay_here(gateway: Gateway, upstream: Upstream) -> None:
    """COMPAT 4: extensions are acted on and never sent upstream."""
    own = {
        "fallbacks": [],
        "num_retries": 0,
        "timeout": 30,
        "routing": {"quality": 0.5},
        "tags": ["a"],
        "litellm_session_id": "s",
        "litellm_trace_id": "t",
        "cache": {"no-cache": True},
        "disable_fallbacks": True,
    }
    upstream["gpt-4o"].forget()

    assert gateway.chat(**own).status == 200

    assert not set(own) & set(upstream["gpt-4o"].last.json)


def test_caller_s_headers_stay_here(gateway: Gateway, upstream: Upstream) -> None:
    """T6: what goes upstream is ours: its own credential, no cookie, no forwarded header of the caller."""
    upstream["gpt-4o"].forget()
    theirs = {
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "X-Mine": "1",
        "OpenAI-Organization": "org-x",
        "api-key": "k",
    }

    assert gateway.chat(headers=theirs).status == 200

    sent = upstream["gpt-4o"].last.headers
    assert sent["authorization"].startswith("Bearer sk-gpt-4o-")
    assert not {"cookie", "x-forwarded-for", "x-mine", "api-key"} & set(sent)
    assert sent.get("openai-organization") != "org-x"
    assert sent["host"] == f"127.0.0.1:{upstream.port}"
    assert TEAM_KEY not in str(sent)


def test_depth_and_keys_up_to_the_limits_pass(gateway: Gateway) -> None:
    """1c: the limits themselves are allowed."""
    keys = b",".join(b'"k%d":1' % n for n in range(250))
    for body in (chat(b'"x":' + nested(60)), chat(keys), with_content(b'"' + b"[{" * 5000 + b'"')):
        assert gateway.request("POST", CHAT, body).status == 200


def test_memory_returns_after_large_bodies(gateway: Gateway) -> None:
    """T4: RSS after the size cases is at most before + 2 x the limit."""
    mib = 1024 * 1024
    gateway.chat()
    before = sum(process.memory_info().rss for process in gateway.serving_processes())
    for _ in range(8):
        assert gateway.request("POST", CHAT, with_content(b'"' + b"a" * (9 * mib) + b'"')).status == 200
        assert_error(gateway.request("POST", CHAT, b"[" * (9 * mib)), 400)
    eventually(
        lambda: sum(process.memory_info().rss for process in gateway.serving_processes()) <= before + 20 * mib,
        what="memory to come back",
    )
