"""What a call costs or has cost, by the prices that serve."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request

from routewright.admin.control import Control, request_of
from routewright.catalog import Catalog
from routewright.errors import InvalidRequest, MissingField, ModelNotFound, clean_text
from routewright.providers.openai import usage_of
from routewright.types import NUSD_PER_USD, Caller, HttpRequest, Usage
from routewright.wire.chat import parse_chat
from routewright.wire.json import decode_object


def add_spend(app: FastAPI, control: Control, prefix: str) -> None:
    """`/spend/calculate`; what was spent is the store's to tell."""

    @app.post(prefix + "/spend/calculate", summary="What a call costs", tags=["spend"], include_in_schema=not prefix)
    async def spend_calculate(request: Request) -> Any:
        """Of `messages` the prompt alone; of `completion_response` what its usage says."""
        return {"cost": cost_usd(control.catalog, request_of(request))}


def cost_usd(catalog: Catalog, request: HttpRequest) -> float:
    """LiteLLM's question. Raises InvalidRequest or ModelNotFound."""
    body = decode_object(request.body)
    response = body.get("completion_response")
    if response is None:
        call = parse_chat(request)
        return _price(catalog, call.model, request.caller, Usage(call.prompt_tokens_estimate, 0))
    if type(response) is not dict:
        raise InvalidRequest("completion_response must be an object", param="completion_response")
    usage = usage_of(response.get("usage"))
    if usage is None:
        raise InvalidRequest("completion_response.usage must hold token counts", param="completion_response.usage")
    model = body.get("model") or response.get("model")
    if type(model) is not str:
        raise MissingField("model is required", param="model")
    return _price(catalog, model, request.caller, usage)


def _price(catalog: Catalog, model: str, caller: Caller, usage: Usage) -> float:
    if not catalog.has(model, caller):
        raise ModelNotFound(f'model "{clean_text(model)}" is not served here')
    group = catalog.group(model)
    priced = [deployment for deployment in group.deployments if deployment.is_priced] if group is not None else []
    if not priced:
        raise InvalidRequest(f'no price is known for "{clean_text(model)}"', param="model")
    return priced[0].cost_nusd(usage) / NUSD_PER_USD
