"""Rankings at Cohere, Jina, Voyage, vLLM and whoever serves one of their shapes; one shape for all clients.

Source: Cohere API reference, "Rerank" v2; Jina's reranker API; Voyage's; vLLM's OpenAI-compatible server.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routewright.errors import UpstreamBadResponse, UpstreamError
from routewright.metered import MeteredUsage, Units
from routewright.providers.media import MAX_TOKENS_BELIEVED, Json, encode, estimated
from routewright.types import Call, Deployment, Usage

MAX_SEARCHES_BELIEVED = 100_000
_decode = msgspec.json.Decoder().decode


class Rerank(Json):
    """The documents of a request, best first."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = {**deployment.default_params, **call.body, "model": deployment.upstream_model}
        for name in deployment.drop_params:
            body.pop(name, None)
        if deployment.provider in ("cohere", "voyage"):
            body.pop("return_documents", None)  # theirs are ours to give back
        if deployment.provider == "voyage" and "top_n" in body:
            body["top_k"] = body.pop("top_n")
        encoded = encode(body)
        return b"%b%d\r\n\r\n%b" % (deployment.request_heads["rerank"], len(encoded), encoded)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        try:
            whole = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamBadResponse("the upstream's answer is not this endpoint's JSON") from error
        if type(whole) is not dict:
            raise UpstreamBadResponse("the upstream's answer is not an object")
        if whole.get("error"):
            raise UpstreamError("the upstream answered with an error")
        given = whole.get("results", whole.get("data"))
        if type(given) is not list:
            raise UpstreamBadResponse("the upstream's answer has no results")
        documents, wants = call.body["documents"], call.body.get("return_documents")
        results = [_result(entry, documents, wants) for entry in given]
        usage, billed = usage_of(whole, call)
        meta = whole.get("meta") if type(whole.get("meta")) is dict else {}
        answer = {
            "id": whole.get("id") if type(whole.get("id")) is str else f"rerank-{deployment.id}",
            "model": deployment.model_name,
            "results": results,
            "meta": {"api_version": {"version": "2"}, **(meta or {}), "billed_units": billed},
        }
        if usage.prompt_tokens and not usage.is_estimated:
            answer["usage"] = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
        return encode(answer), usage


def _result(entry: Any, documents: list[Any], wants: bool | None) -> dict[str, Any]:
    if type(entry) is not dict:
        raise UpstreamBadResponse("the upstream's answer has a result that is none")
    index, score = entry.get("index"), entry.get("relevance_score", entry.get("score"))
    if type(index) is not int or not 0 <= index < len(documents) or type(score) not in (int, float):
        raise UpstreamBadResponse("the upstream's answer has a result that is none")
    result: dict[str, Any] = {"index": index, "relevance_score": score}
    if wants:
        document = documents[index]
        result["document"] = document if type(document) is dict else {"text": document}
    elif wants is None and entry.get("document") is not None:
        document = entry["document"]
        result["document"] = document if type(document) is dict else {"text": document}
    return result


def usage_of(whole: dict[str, Any], call: Call) -> tuple[MeteredUsage, dict[str, Any]]:
    """What was used, and Cohere's words for it."""
    usage = estimated(call)
    meta = whole.get("meta")
    billed = meta.get("billed_units") if type(meta) is dict else None
    searches = billed.get("search_units") if type(billed) is dict else None
    if isinstance(searches, int | float) and 0 < searches <= MAX_SEARCHES_BELIEVED:
        usage.units = Units(queries=int(searches))
    told = whole.get("usage")
    tokens = told.get("total_tokens", told.get("prompt_tokens")) if type(told) is dict else None
    if type(tokens) is int and 0 < tokens <= MAX_TOKENS_BELIEVED:
        usage.prompt_tokens, usage.is_estimated = tokens, False
        return usage, {"search_units": usage.units.queries, "total_tokens": tokens}
    return usage, {"search_units": usage.units.queries}
