"""Rerank, as the clients of Cohere, Jina and vLLM ask for it: a client's body to a `Call`.

Source: Cohere API reference, "Rerank" (v1 and v2); Jina's reranker API; vLLM's OpenAI-compatible server.
"""

from __future__ import annotations

from typing import Any

from routewright.errors import InvalidRequest, MissingField
from routewright.metered import Units
from routewright.types import CHARS_PER_TOKEN, Call, HttpRequest
from routewright.wire.chat import size_of
from routewright.wire.json import decode_object, encode
from routewright.wire.media import metered

MAX_DOCUMENTS = 10_000
DOCUMENTS_PER_SEARCH = 100
"""Cohere bills each hundred as one search."""


def parse_rerank(request: HttpRequest) -> Call:
    """Raises InvalidRequest and its kin, with `param` naming the field."""
    body = decode_object(request.body)
    call = metered("rerank", body, request.model_in_path)
    if call.is_stream:
        raise InvalidRequest("a ranking is not streamed", param="stream")
    query, documents = body.get("query"), body.get("documents")
    if query is None:
        raise MissingField("query is required", param="query")
    if type(query) is not str or not query:
        raise InvalidRequest("query must be a non-empty string", param="query")
    if documents is None:
        raise MissingField("documents is required", param="documents")
    if type(documents) is not list or not 0 < len(documents) <= MAX_DOCUMENTS:
        raise InvalidRequest(f"documents must be a list of 1 to {MAX_DOCUMENTS}", param="documents")
    top_n = body.get("top_n")
    if top_n is not None and (type(top_n) is not int or top_n < 1):
        raise InvalidRequest("top_n must be a whole number from 1", param="top_n")
    if type(body.get("return_documents")) not in (bool, type(None)):
        raise InvalidRequest("return_documents must be true or false", param="return_documents")
    chars = sum([_length(document, index) for index, document in enumerate(documents)])
    call.prompt_tokens_estimate = (size_of(query) * len(documents) + chars) // CHARS_PER_TOKEN + 1
    call.max_tokens = 0
    call.units = Units(queries=-(-len(documents) // DOCUMENTS_PER_SEARCH))
    return call


def _length(document: Any, index: int) -> int:
    if type(document) is str:
        return size_of(document)
    if type(document) is dict:
        return len(encode(document))
    raise InvalidRequest("a document is a string or an object", param=f"documents[{index}]")
