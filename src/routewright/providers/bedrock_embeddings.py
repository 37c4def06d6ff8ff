"""Embeddings at Amazon Bedrock, by `invoke`: each maker of models has a body of its own there, and Converse has none.

Source: Amazon Bedrock user guide, "Amazon Titan Text Embeddings models", "Amazon Titan Multimodal Embeddings G1",
"Cohere Embed models" (v3, v4), as of 2026-11.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from routewright.credentials import Credential
from routewright.dialect import Spoken, Stream
from routewright.errors import UnsupportedField
from routewright.providers.bedrock import PROVIDER, Signer
from routewright.providers.bedrock_answers import Translated, error_of
from routewright.providers.embeddings import answer_of, fields_of, texts_of
from routewright.providers.translation import bad_answer, decoded, drops, encode, is_count, unsupported
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

_FIELDS = {
    "cohere": frozenset({"dimensions", "input_type", "truncate"}),
    "titan": frozenset({"dimensions", "normalize"}),
}
_decode = msgspec.json.Decoder().decode


def maker_of(model: str) -> str | None:
    """Whose body a model's request has, by its name; an inference profile of one's own may not say."""
    return next((maker for maker in _FIELDS if maker in model), None)


class Embeddings:
    """OpenAI's embeddings by Titan's or Cohere's. One for each deployment, since each signs for itself."""

    stream_type = b""
    unframe = None
    error_of = staticmethod(error_of)

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        maker = maker_of(deployment.upstream_model)
        if maker is None:
            raise UnsupportedField(
                "which body this model of Bedrock's takes can't be told from its name: Titan and Cohere are served",
                param="model",
            )
        body = fields_of(call, deployment, _FIELDS[maker], PROVIDER)
        texts = texts_of(body, PROVIDER)
        made = _cohere(body, texts) if maker == "cohere" else self._titan(body, texts, call, deployment)
        return self._signer.request("invoke", encode(made))

    @staticmethod
    def _titan(body: dict[str, Any], texts: list[str], call: Call, deployment: Deployment) -> dict[str, Any]:
        if len(texts) != 1:
            raise UnsupportedField("Titan embeds one text a request", param="input")
        made: dict[str, Any] = {"inputText": texts[0]}
        model = deployment.upstream_model
        size = body.get("dimensions")
        if size is not None and "embed-image" in model:
            made["embeddingConfig"] = {"outputEmbeddingLength": size}
        elif size is not None and "text-v1" not in model:
            made["dimensions"] = size
        elif size is not None and not drops(call, deployment):
            raise unsupported("dimensions", PROVIDER, "this model has one size")
        if body.get("normalize") is not None:
            made["normalize"] = body["normalize"]
        return made

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        whole = decoded(_decode, body)
        if type(whole) is not dict:
            raise bad_answer()
        vectors, figure = whole.get("embeddings"), whole.get("inputTextTokenCount")
        if type(vectors) is dict:
            vectors = vectors.get("float")
        elif vectors is None and type(whole.get("embedding")) is list:
            vectors = [whole["embedding"]]
        return answer_of(vectors, call, deployment, figure if is_count(figure) else None)

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("embeddings are not streamed")


def _cohere(body: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "texts": texts, "input_type": body.get("input_type") or "search_document", "embedding_types": ["float"]
    }  # fmt: skip
    if body.get("dimensions") is not None:
        made["output_dimension"] = body["dimensions"]
    if body.get("truncate") is not None:
        made["truncate"] = body["truncate"]
    return made


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    """All of Bedrock's. Each request has a head of its own, since each is signed."""
    signer = Signer(settings, upstream_model, time.time, credential)
    plain = Signer(settings, upstream_model, time.time, credential, accept="application/json")
    return talking(Translated(signer, time.time), embeddings=Embeddings(plain)), {}
