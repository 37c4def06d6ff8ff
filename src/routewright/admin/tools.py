"""LiteLLM's `/utils`: what a prompt comes to in tokens, and which of OpenAI's fields a model's provider can be told."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request

from routewright.admin.control import Control, request_of
from routewright.admin.tokens import TokenCounter
from routewright.catalog import Catalog
from routewright.errors import InvalidRequest, MissingField, ModelNotFound, clean_text
from routewright.providers.names import PROVIDERS, split_model
from routewright.providers.supported import supported_params
from routewright.types import Caller
from routewright.wire.json import decode_object


def add_tools(app: FastAPI, control: Control, prefix: str) -> None:
    counter = TokenCounter()

    @app.post(prefix + "/utils/token_counter", summary="Tokens of a prompt", tags=["models"],
              include_in_schema=not prefix)  # fmt: skip
    async def token_counter(request: Request) -> Any:
        """Of `messages` or `prompt`, for a `model` that this key may use; `tokenizer_type` says whether it was counted
        by the model's own tokenizer or estimated. Nobody is asked."""
        asked = request_of(request)
        body = decode_object(asked.body)
        model = _model_of(body.get("model"))
        known_as = _upstream_model(control.catalog, model, asked.caller)
        # A thread: the front goes on while a long text is counted.
        total, kind = await asyncio.to_thread(counter.count, body, known_as)
        return {"total_tokens": total, "request_model": model, "model_used": known_as, "tokenizer_type": kind}

    @app.get(prefix + "/utils/supported_openai_params", summary="Fields that a model can be told", tags=["models"],
             include_in_schema=not prefix)  # fmt: skip
    async def supported_openai_params(request: Request, model: str = "") -> Any:
        """A model that is served here, or `provider/name`."""
        model = _model_of(model)
        group = control.catalog.group(model)
        if group is not None and control.catalog.has(model, request_of(request).caller):
            return {"supported_openai_params": supported_params(group.deployments[0].provider)}
        provider, _ = split_model(model)
        if provider is None or provider not in PROVIDERS:
            raise ModelNotFound(f'model "{clean_text(model)}" is not served here, and names no provider')
        return {"supported_openai_params": supported_params(PROVIDERS[provider].name)}


def _model_of(given: Any) -> str:
    if not given:
        raise MissingField("model is required", param="model")
    if type(given) is not str or len(given) > 256 or not given.isprintable():
        raise InvalidRequest("model must be a name of 1 to 256 printable characters", param="model")
    return given


def _upstream_model(catalog: Catalog, model: str, caller: Caller) -> str:
    """The provider's name for a model that the key may use; a route's own name, whose models may count otherwise."""
    if not catalog.has(model, caller):
        raise ModelNotFound(f'model "{clean_text(model)}" is not served here')
    group = catalog.group(model)
    return group.deployments[0].upstream_model if group is not None else model
