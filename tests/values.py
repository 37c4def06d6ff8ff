"""Values that unit tests start from: a deployment, a call, a request, with only what a test cares about spelled out."""

from __future__ import annotations

from typing import Any

import msgspec

from routewright import endpoints
from routewright.catalog import make_deployment
from routewright.settings import DeploymentSettings, KeySettings
from routewright.types import Call, Caller, Deployment, Health, HttpRequest, Secret
from routewright.wire.chat import parse_chat, parse_completions
from routewright.wire.embeddings import parse_embeddings
from routewright.wire.gemini import parse_generate
from routewright.wire.messages import parse_count_tokens, parse_messages
from routewright.wire.responses import parse_responses

HELLO = [{"role": "user", "content": "hi"}]
ANYBODY = Caller(key_hash="0" * 64, alias=None, is_master=False, models=None)


def deployment_settings(model_name: str = "gpt-4o", **changed: Any) -> DeploymentSettings:
    values = {
        "id": f"id-of-{model_name}",
        "model_name": model_name,
        "provider": "openai",
        "upstream_model": "upstream-model",
        "api_base": "https://api.example.com/v1",
        "api_key": Secret("sk-upstream-credential"),
    }
    return DeploymentSettings(**{**values, **changed})


def deployment(model_name: str = "gpt-4o", **changed: Any) -> Deployment:
    settings = deployment_settings(model_name, **changed)
    return make_deployment(settings, model_name=model_name, upstream_model=settings.upstream_model, health=Health())


def http_request(body: Any, path: str = "/v1/chat/completions", **headers: str) -> HttpRequest:
    """A request as the front hands it over; `body` as bytes, or a value to encode."""
    request = HttpRequest()
    request.method = "POST"
    request.path = path
    request.query = ""
    request.endpoint, request.model_in_path = endpoints.find(path, "POST")
    request.headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    request.body = body if isinstance(body, bytes) else msgspec.json.encode(body)
    request.caller = ANYBODY
    request.request_id = "request-1"
    request.has_caller_id = False
    return request


def call(endpoint: str = "chat", **fields: Any) -> Call:
    """A parsed call; without fields the smallest that its endpoint takes."""
    if endpoint == "chat":
        return parse_chat(http_request({"model": "gpt-4o", "messages": HELLO, **fields}))
    if endpoint == "completions":
        return parse_completions(http_request({"model": "gpt-4o", "prompt": "hi", **fields}, "/v1/completions"))
    if endpoint in ("messages", "count_tokens"):
        return messages_call(endpoint, **fields)
    return parse_embeddings(http_request({"model": "gpt-4o", "input": "hi", **fields}, "/v1/embeddings"))


def messages_call(endpoint: str = "messages", headers: dict[str, str] | None = None, **fields: Any) -> Call:
    """A parsed call of an Anthropic client; a field given as `...` is left out."""
    body = {"model": "gpt-4o", "max_tokens": 100, "messages": HELLO, **fields}
    body = {name: value for name, value in body.items() if value is not ...}
    path = "/v1/messages" if endpoint == "messages" else "/v1/messages/count_tokens"
    parse = parse_messages if endpoint == "messages" else parse_count_tokens
    return parse(http_request(body, path, **(headers or {})))


def gemini_call(*, is_stream: bool = False, **fields: Any) -> Call:
    """A parsed call of a Google client."""
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **fields}
    path = f"/v1beta/models/gpt-4o:{'streamGenerateContent' if is_stream else 'generateContent'}"
    request = http_request(body, path)
    request.query = "alt=sse" if is_stream else ""
    return parse_generate(request)


def responses_call(**fields: Any) -> Call:
    """A parsed call of OpenAI's Responses."""
    return parse_responses(http_request({"model": "gpt-4o", "input": "hi", **fields}, "/v1/responses"))


def caller(*models: str, **changed: Any) -> Caller:
    """A key's holder, allowed `models`; everything without."""
    values = {"key_hash": "1" * 64, "alias": "team", "is_master": False, "models": frozenset(models) or None}
    return Caller(**{**values, **changed})


def key_settings(key: str, **changed: Any) -> KeySettings:
    return KeySettings(key=Secret(key), **changed)
