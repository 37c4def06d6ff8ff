"""Embeddings by upstreams with a dialect of their own: texts in, vectors out, in the encoding that was asked for."""

from __future__ import annotations

import base64
import struct
from typing import Any

from routewright.errors import UnsupportedField
from routewright.providers.translation import bad_answer, drops, encode, refuse_uncarried
from routewright.types import Call, Deployment, Usage

_OURS = frozenset({"input", "encoding_format"})


def fields_of(call: Call, deployment: Deployment, carried: frozenset[str], provider: str) -> dict[str, Any]:
    """The request, completed and trimmed as the deployment says. Raises UnsupportedField for what would be lost."""
    body = {**deployment.default_params, **call.body}
    body = {name: value for name, value in body.items() if name not in deployment.drop_params}
    refuse_uncarried(body, carried | _OURS, provider, is_dropped=drops(call, deployment))
    return body


def texts_of(body: dict[str, Any], provider: str) -> list[str]:
    """Raises UnsupportedField for token numbers, which mean another text to every model."""
    given = body["input"]
    texts = [given] if type(given) is str else given
    if any(type(text) is not str for text in texts):
        raise UnsupportedField(f"{provider} takes texts only, no token numbers", param="input")
    return list(texts)


def answer_of(vectors: Any, call: Call, deployment: Deployment, prompt_tokens: int | None) -> tuple[bytes, Usage]:
    """What the client gets. `prompt_tokens`: the upstream's figure, if it gave one. Raises UpstreamBadResponse."""
    if type(vectors) is not list or not vectors:
        raise bad_answer()
    is_packed = call.body.get("encoding_format") == "base64"
    data = []
    for index, vector in enumerate(vectors):
        if type(vector) is not list or not vector or any(type(value) not in (float, int) for value in vector):
            raise bad_answer()
        shown = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if is_packed else vector
        data.append({"object": "embedding", "index": index, "embedding": shown})
    if prompt_tokens is None:
        usage = Usage(call.prompt_tokens_estimate, 0, is_estimated=True)
    else:
        usage = Usage(prompt_tokens, 0)
    figures = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    whole = {"object": "list", "data": data, "model": deployment.model_name, "usage": figures}
    return encode(whole), usage
