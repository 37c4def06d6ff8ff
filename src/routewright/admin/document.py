"""The OpenAPI document: the control plane's own endpoints, and those that FastAPI never sees."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from routewright import endpoints
from routewright.admin.objects import object_paths
from routewright.management.about import ABOUT, About
from routewright.types import Access, Endpoint

_REFUSED: dict[str, Any] = {
    "description": "Error",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}


def described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: the control plane's own, and the proxied endpoints, which FastAPI never sees."""
    document = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "master key": {"type": "http", "scheme": "bearer"},
    }
    for path, summary, required in (
        ("/v1/chat/completions", "Chat completion, plain or streamed", ("model", "messages")),
        ("/v1/completions", "Legacy completion, plain or streamed", ("model", "prompt")),
        ("/v1/embeddings", "Embeddings", ("model", "input")),
        ("/v1/responses", "OpenAI's Responses, plain or streamed; kept with store: true", ("model", "input")),
        ("/v1/images/generations", "Pictures, whole or in the making", ("model", "prompt")),
        ("/v1/audio/speech", "Speech", ("model", "input")),
        ("/v1/images/edits", "Pictures from pictures, by a form", ("model", "image", "prompt")),
        ("/v1/images/variations", "Pictures like a picture, by a form", ("model", "image")),
        ("/v1/audio/transcriptions", "What was said, by a form with sound", ("model", "file")),
        ("/v1/audio/translations", "The same in English", ("model", "file")),
        ("/v1/moderations", "Moderation", ("input",)),
        ("/v1/rerank", "A ranking of documents", ("model", "query", "documents")),
        ("/v2/rerank", "The same, at Cohere's path", ("model", "query", "documents")),
        ("/v1/messages", "Anthropic's Messages, plain or streamed", ("model", "max_tokens", "messages")),
        ("/v1/messages/count_tokens", "Tokens of a prompt, as Anthropic's clients ask", ("model", "messages")),
        ("/v1beta/models/{model}:generateContent", "Gemini's generateContent", ("contents",)),
        ("/v1beta/models/{model}:streamGenerateContent", "Gemini's generateContent, streamed", ("contents",)),
        ("/v1beta/models/{model}:countTokens", "Tokens of a prompt, as Google's clients ask", ("contents",)),
    ):
        document["paths"][path] = {"post": _proxied_operation(summary, required)}
        if "{model}" in path:
            named = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
            document["paths"][path]["post"] |= {"parameters": [named], "security": [{"key": []}]}
    for path, endpoint in endpoints.every():
        if endpoint.is_stored:
            document["paths"][path.replace("{}", "{name}")] = _stored_operations(path, endpoint)
    document["paths"] |= object_paths(_REFUSED)
    named_ones = [("/v1/models/{model}", endpoints.MODEL), ("/fallback/{model}", endpoints.FALLBACK)]
    for path, endpoint in [*endpoints.paths(), *named_ones]:
        for operation in document["paths"].get(path, {}).values():
            if endpoint.access != Access.OPEN:
                operation["security"] = [{"master key" if endpoint.access == Access.MASTER else "key": []}]
    return document


def _proxied_operation(summary: str, required: tuple[str, ...]) -> dict[str, Any]:
    fields = {
        "model": {"type": "string", "description": "A model, or a route such as `auto`, `auto:best`, `auto:cheap`"},
        "messages": {"type": "array", "items": {"type": "object"}, "description": "The conversation"},
        "max_tokens": {"type": "integer", "description": "Most tokens of the answer"},
        "contents": {"type": "array", "items": {"type": "object"}, "description": "The conversation"},
        "prompt": {"description": "A string, strings, tokens or token lists"},
        "input": {"description": "A string, strings, tokens or token lists"},
        "file": {"type": "string", "format": "binary"},
        "image": {"type": "string", "format": "binary"},
        "query": {"type": "string", "description": "What the documents are compared with"},
        "documents": {"type": "array", "items": {}, "description": "Strings, or objects with a text"},
        "stream": {"type": "boolean", "description": "Answer with server-sent events"},
        "routing": {"type": "object", "description": "Ours: `quality` 0..1 and `task`, a label of your own"},
    }
    chosen = {name: fields[name] for name in (*required, "stream", "routing")}
    if summary in ("Embeddings", "Speech", "Moderation") or {"contents", "query"}.intersection(required):
        del chosen["stream"]
    return {
        "tags": ["inference"],
        "summary": summary,
        "description": "The request and response of the API whose path this is, whatever the provider of the model; "
        "what a provider can't be told is refused by name.",
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data" if {"file", "image"}.intersection(required) else "application/json": {
                    "schema": {
                        "type": "object",
                        "required": list(required),
                        "properties": chosen,
                        "additionalProperties": True,
                    }
                }
            },
        },
        "responses": {
            "200": {"description": "The API's object, or its event stream"},
            "4XX": _REFUSED,
        },
    }


def _stored_operations(path: str, endpoint: Endpoint) -> dict[str, Any]:
    """One endpoint of the management API, by each of its methods that has a body of its own."""
    about = ABOUT[endpoint.name]
    operation: dict[str, Any] = {
        "tags": [path.split("/")[1].replace("end_user", "customer")],
        "summary": about.summary,
        "description": "As LiteLLM's: fields that are not set are null. What a role may not do is a 403.",
        "security": [{"key": []}],
        "responses": {
            "200": {"description": "Done"},
            "4XX": _REFUSED,
        },
    }
    parameters: list[dict[str, Any]] = []
    for name in about.query:
        parameters.append({"name": name, "in": "query", "schema": {"type": "string"}})
    if "{}" in path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.takes_body and endpoint.methods[0] != "GET":
        operation["requestBody"] = {"content": {"application/json": {"schema": _schema(about)}}}
    return {endpoint.methods[0].lower(): operation}


def _schema(about: About) -> dict[str, Any]:
    properties: dict[str, Any] = {name: {} for name in (*about.required, *about.own)}
    for name, field in (about.table or {}).items():
        properties[name] = {
            "description": f"{field.about}; may be set by {', '.join(sorted(field.writers))}".lstrip("; ")
        }
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if about.required:
        found["required"] = list(about.required)
    return found
