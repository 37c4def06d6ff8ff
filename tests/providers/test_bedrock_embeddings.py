"""Embeddings at Bedrock: bodies of Cohere's and of Titan's models, signed as all of Bedrock's requests are."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from harness import bedrock, dialect
from harness.relay import Relayed, head_lines, request_json
from routewright.errors import UnsupportedField, UpstreamBadResponse
from routewright.settings import AwsCredentials
from routewright.types import Deployment, Price, Secret
from values import call, deployment

EXAMPLE = AwsCredentials(key_id="AKIDEXAMPLE", secret_key=Secret("x" * 40), region="us-east-1")
PRICE = Price(input_usd_per_token=2e-8, output_usd_per_token=0.0, source="config")


def at(model: str, **changed: Any) -> Deployment:
    return deployment("public/embed", provider="bedrock", upstream_model=model, api_key=None, aws=EXAMPLE, price=PRICE,
                      api_base="https://bedrock-runtime.us-east-1.amazonaws.com", **changed)  # fmt: skip


COHERE, TITAN = at("us.cohere.embed-v4:0"), at("amazon.titan-embed-text-v2:0")


def sent(upstream: Deployment, **fields: Any) -> dict[str, Any]:
    return request_json(upstream.exchanges["embeddings"].request_bytes(call("embeddings", **fields), upstream))


def test_request_to_cohere_s_is_signed() -> None:
    asked = call("embeddings", input=["a", "b"], dimensions=512)
    request = COHERE.exchanges["embeddings"].request_bytes(asked, COHERE)
    lines = head_lines(request)
    assert lines[0] == "POST /model/us.cohere.embed-v4%3A0/invoke HTTP/1.1"
    assert "accept: application/json" in lines
    assert any(line.startswith("authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") for line in lines)
    assert request_json(request) == {
        "texts": ["a", "b"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 512
    }  # fmt: skip
    assert sent(at("cohere.embed-english-v3", default_params={"input_type": "search_query"}))["input_type"] == (
        "search_query"
    )


def test_requests_to_titan_s() -> None:
    assert sent(TITAN, input=["a"], dimensions=256, normalize=True) == {
        "inputText": "a", "dimensions": 256, "normalize": True
    }  # fmt: skip
    picture = at("amazon.titan-embed-image-v1")
    assert sent(picture, dimensions=384) == {"inputText": "hi", "embeddingConfig": {"outputEmbeddingLength": 384}}
    assert sent(at("amazon.titan-embed-text-v1", drops_unsupported=True), dimensions=9) == {"inputText": "hi"}


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": ["a", "b"]}, "input"),
        ("amazon.titan-embed-text-v2:0", {"input": [1, 2]}, "input"),
        ("amazon.titan-embed-text-v1", {"dimensions": 9}, "dimensions"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", {}, "model"),
    ],
)
def test_what_can_t_be_said_is_refused_by_name(model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        sent(at(model), **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("own", [COHERE, TITAN], ids=["cohere", "titan"])
def test_answers(own: Deployment) -> None:
    asked = call("embeddings", input=["a"])
    request = own.exchanges["embeddings"].request_bytes(asked, own)
    relayed = Relayed(asked, own, [dialect.to_json(bedrock.invoked(request_json(request)))])
    assert relayed.json["data"] == [{"object": "embedding", "index": 0, "embedding": dialect.vector(0)}]
    assert relayed.json["model"] == "public/embed"
    assert (relayed.usage.is_estimated, relayed.usage.prompt_tokens) == ((False, 4) if own is TITAN else (True, 1))
    assert relayed.outcome.cost_nusd == relayed.usage.prompt_tokens * 20


def test_packed_vectors_and_the_older_shape_of_cohere_s() -> None:
    body = dialect.to_json({"embeddings": [dialect.vector(0), dialect.vector(1)], "response_type": "embeddings_floats"})
    relayed = Relayed(call("embeddings", input=["a", "b"], encoding_format="base64"), COHERE, [body])
    packed = [struct.unpack("<8f", base64.b64decode(row["embedding"])) for row in relayed.json["data"]]
    assert packed == [tuple(dialect.vector(0)), tuple(dialect.vector(1))]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embedding":[]}', b'{"embeddings":{"float":"x"}}', b"<html>"])
def test_rubbish_is_a_bad_response(body: bytes) -> None:
    """F8."""
    assert type(Relayed(call("embeddings"), COHERE, [body]).error) is UpstreamBadResponse
