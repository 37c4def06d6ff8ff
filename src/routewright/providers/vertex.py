"""Google's Vertex AI: Gemini and Claude at addresses of a project's own, by a token instead of a key.

Bodies and answers are those of the Gemini API and of Anthropic's Messages; what differs stands here. Models of other
publishers have OpenAI's dialect there (`endpoints/openapi`).
Source: Vertex AI REST reference, "publishers.models" (v1beta1); "Use Claude models"; "Text embeddings API", as of
2026-11.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from routewright.credentials import Credential
from routewright.dialect import Exchange, Spoken, Stream
from routewright.errors import InvalidRequest
from routewright.providers import anthropic, anthropic_answers, anthropic_native, gemini_native, openai, openai_served
from routewright.providers.anthropic_native import beta_line, completed
from routewright.providers.embeddings import answer_of, fields_of, texts_of
from routewright.providers.gemini_answers import error_of as google_error_of
from routewright.providers.head import field_lines, head
from routewright.providers.translation import bad_answer, chat_of, count, decoded, drops, request_of
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

PROVIDER = "Vertex AI"
CLAUDE_VERSION = "vertex-2023-10-16"
_DIGITS = re.compile(r"\d{5,32}\Z")
_decode = msgspec.json.Decoder().decode


def kind_of(model: str) -> str:
    """`claude`, `openai` for other publishers' models, or `gemini`."""
    if model.startswith("claude"):
        return "claude"
    return "openai" if "/" in model and not model.startswith("gemini/") else "gemini"


def request_heads(settings: DeploymentSettings, upstream_model: str) -> dict[str, bytes]:
    """Per endpoint, the request's head up to and with `content-length: `. `api_base` ends with the location."""
    base = urlsplit(settings.api_base).path.rstrip("/")
    fields = field_lines(settings, ["accept: application/json, text/event-stream"])
    name = upstream_model.removeprefix("gemini/")
    if kind_of(upstream_model) == "openai":
        return {endpoint: head(f"{base}/endpoints/openapi{path}", fields) for endpoint, path in openai.PATHS.items()}
    if kind_of(upstream_model) == "claude":
        claude = f"{base}/publishers/anthropic/models/{quote(name, safe='@')}"
        return {
            "messages": head(f"{claude}:rawPredict", fields),
            "stream": head(f"{claude}:streamRawPredict", fields),
            "count_tokens": head(f"{base}/publishers/anthropic/models/count-tokens:rawPredict", fields),
        }
    kind = "endpoints" if _DIGITS.match(name) else "publishers/google/models"
    model = f"{base}/{kind}/{quote(name, safe='@')}"
    return {
        "generate": head(f"{model}:generateContent", fields),
        "stream": head(f"{model}:streamGenerateContent?alt=sse", fields),
        "count": head(f"{model}:countTokens", fields),
        "predict": head(f"{model}:predict", fields),
    }


# --- Claude -------------------------------------------------------------------------------------------------------


def _claude_request(call: Call, deployment: Deployment, body: dict[str, Any], betas: str = "") -> bytes:
    """The model's name stands in the address, the version in the body."""
    said = {"anthropic_version": CLAUDE_VERSION, **{name: value for name, value in body.items() if name != "model"}}
    if call.is_stream:
        said["stream"] = True
    encoded = anthropic_native.encoded_body(said)
    start = deployment.request_heads["stream" if call.is_stream else "messages"]
    return b"%b%d\r\n%b\r\n%b" % (start, len(encoded), betas.encode("ascii"), encoded)


class Claude(anthropic_answers.Translated):
    """Serves our clients of other dialects by Claude on Vertex AI."""

    @staticmethod
    def request_bytes(call: Call, deployment: Deployment) -> bytes:
        chat = chat_of(call, deployment)
        return _claude_request(
            call, deployment, anthropic.messages_body(chat, deployment, is_dropped=drops(call, deployment))
        )


class ClaudeNative(anthropic_native.Messages):
    """Anthropic's clients at Claude on Vertex AI."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return _claude_request(call, deployment, completed(dict(call.body), deployment), beta_line(call))


# --- Gemini -------------------------------------------------------------------------------------------------------


def _with_roles(contents: Any) -> Any:
    """Vertex AI insists on a role, which the Gemini API takes for the user's where it is left out."""
    if type(contents) is not list:
        return contents
    return [{"role": "user", **turn} if type(turn) is dict else turn for turn in contents]


class Generate(gemini_native.Generate):
    """Google's clients at Gemini on Vertex AI."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = self.body_of(call, deployment)
        return gemini_native.request(
            call, deployment, "stream" if call.is_stream else "generate",
            {**body, "contents": _with_roles(body.get("contents"))},
        )  # fmt: skip


class Count(gemini_native.Count):
    """`countTokens`, which takes the request's parts by themselves here."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body: dict[str, Any] = {
            name: call.body[name]
            for name in ("contents", "systemInstruction", "tools", "generationConfig")
            if name in call.body
        }
        if not body.get("contents"):
            raise InvalidRequest("contents must not be empty", param="contents")
        return gemini_native.request(call, deployment, "count", {**body, "contents": _with_roles(body["contents"])})


_EMBEDDING_FIELDS = frozenset({"dimensions", "task_type", "title", "auto_truncate"})


class Embeddings:
    """OpenAI's embeddings by `predict`."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(google_error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        body = fields_of(call, deployment, _EMBEDDING_FIELDS, PROVIDER)
        about = {name: body[name] for name in ("task_type", "title") if body.get(name) is not None}
        said: dict[str, Any] = {"instances": [{"content": text, **about} for text in texts_of(body, PROVIDER)]}
        parameters: dict[str, Any] = {}
        if body.get("dimensions") is not None:
            parameters["outputDimensionality"] = body["dimensions"]
        if body.get("auto_truncate") is not None:
            parameters["autoTruncate"] = body["auto_truncate"]
        if parameters:
            said["parameters"] = parameters
        return request_of(deployment.request_heads["predict"], said)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        try:
            found = [prediction["embeddings"] for prediction in decoded(_decode, body)["predictions"]]
            vectors = [one["values"] for one in found]
            figures = [(one.get("statistics") or {}).get("token_count") for one in found]
        except (KeyError, TypeError, AttributeError) as error:
            raise bad_answer(error) from error
        known = [count(int(figure)) for figure in figures if isinstance(figure, int | float)]
        return answer_of(vectors, call, deployment, sum(known) if len(known) == len(vectors) else None)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("embeddings are not streamed")


_CLAUDE = Claude(time.time)
_EXCHANGES: Mapping[str, Mapping[str, Exchange]] = {
    "openai": openai_served.EXCHANGES,
    "claude": talking(_CLAUDE, messages=ClaudeNative(), count_tokens=anthropic_native.CountTokens()),
    "gemini": {
        **gemini_native.EXCHANGES,
        "embeddings": Embeddings(),
        "generate_content": Generate(),
        "count_content": Count(),
    },
}
"""By `kind_of` the model."""


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    return _EXCHANGES[kind_of(upstream_model)], request_heads(settings, upstream_model)
