"""OpenAI's embeddings: a client's body to a `Call`."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.errors import GatewayError, InvalidRequest, MissingField, RefusedField
from routewright.wire.chat import prompt_of
from routewright.wire.embeddings import parse_embeddings
from values import call, http_request


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("eight ch", 3),
        (["four", "four"], 4),
        ([1, 2, 3], 3),
        ([[1, 2], [3]], 3),
        ("", 1),
    ],
)
def test_input_is_text_texts_tokens_or_lists_of_tokens(given: Any, tokens: int) -> None:
    parsed = call("embeddings", input=given)
    assert parsed.prompt_tokens_estimate == tokens
    assert parsed.body == {"model": "gpt-4o", "input": given}
    assert (parsed.endpoint, parsed.is_stream) == ("embeddings", False)


REFUSED = {
    "empty list": ([], "input"),
    "empty token list": ([[1], []], "input"),
    "null": (None, "input"),
    "number": (5, "input"),
    "mixed": (["a", 1], "input"),
    "true among tokens": ([1, True], "input"),
    "float": ([1.0], "input"),
    "negative token": ([-1], "input"),
    "huge token": ([1 << 31], "input"),
    "object": ({"text": "a"}, "input"),
    "nested too deep": ([[[1]]], "input"),
}


@pytest.mark.parametrize(("given", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_other_input_is_refused(given: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call("embeddings", input=given)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"encoding_format": "hex"}, InvalidRequest, "encoding_format"),
        ({"encoding_format": 1}, InvalidRequest, "encoding_format"),
        ({"stream": True}, InvalidRequest, "stream"),
        ({"api_base": "http://x"}, RefusedField, "api_base"),
        ({"model": 4}, InvalidRequest, "model"),
    ],
)
def test_field_of_the_wrong_kind_is_named(fields: dict[str, Any], kind: type[GatewayError], param: str) -> None:
    with pytest.raises(kind) as caught:
        call("embeddings", **fields)
    assert caught.value.param == param


def test_input_and_model_are_required() -> None:
    for body, param in (({"model": "m"}, "input"), ({"input": "x"}, "model")):
        with pytest.raises(MissingField) as caught:
            parse_embeddings(http_request(body, "/v1/embeddings"))
        assert caught.value.param == param


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_encoding_format_and_dimensions_go_on(encoding: str) -> None:
    parsed = call("embeddings", encoding_format=encoding, dimensions=256, user="u", tags=["x"])
    assert parsed.body == {
        "model": "gpt-4o", "input": "hi", "encoding_format": encoding, "dimensions": 256, "user": "u",
    }  # fmt: skip
    assert (parsed.user, parsed.metadata_tags) == ("u", ("x",))


@pytest.mark.parametrize(("given", "text"), [("hi", "hi"), (["a", "b"], "b"), ([1, 2], ""), ([[1]], "")])
def test_router_sees_the_text_of_an_input(given: Any, text: str) -> None:
    assert prompt_of(call("embeddings", input=given)).text == text
