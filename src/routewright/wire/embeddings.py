"""OpenAI's embeddings: a client's body to a `Call`. Source: OpenAI API reference, "Create embeddings"."""

from __future__ import annotations

from routewright.errors import InvalidRequest, MissingField
from routewright.types import Call, HttpRequest
from routewright.wire.chat import count_input, parse_shared
from routewright.wire.json import decode_object


def parse_embeddings(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = parse_shared("embeddings", body, request.model_in_path)
    if call.is_stream:
        raise InvalidRequest("embeddings are not streamed", param="stream")
    if "input" not in body:
        raise MissingField("input is required", param="input")
    call.prompt_tokens_estimate = count_input(body["input"], "input")
    encoding = body.get("encoding_format")
    if encoding is not None and encoding not in ("float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64", param="encoding_format")
    return call
