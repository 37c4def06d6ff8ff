"""The models that a key may use."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request

from routewright.admin.control import Control, request_of
from routewright.errors import ModelNotFound, clean_text
from routewright.providers.supported import supported_params
from routewright.settings import DeploymentSettings
from routewright.types import HttpRequest

MODEL_CREATED = 1677610602
"""LiteLLM's constant, so that lists compare equal."""


def add_models(app: FastAPI, control: Control, prefix: str) -> None:
    in_schema = bool(prefix)

    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": control.catalog.owner(name)}

    @app.get(prefix + "/models", summary="Models that this key may use", tags=["models"], include_in_schema=in_schema)
    async def models(request: Request) -> Any:
        """What this key may use: routes first, then models."""
        names = control.catalog.names(request_of(request).caller)
        return {"object": "list", "data": [entry(name) for name in names]}

    @app.get(prefix + "/models/{model:path}", summary="One model", tags=["models"], include_in_schema=in_schema)
    async def model(request: Request, model: str) -> Any:
        """One model that this key may use; its name may hold slashes, as they are or as `%2F`."""
        model = unquote(model)
        if not control.catalog.has(model, request_of(request).caller):
            raise ModelNotFound(f'model "{clean_text(model)}" is not served here')
        return entry(model)

    for path in ("/model/info", "/v2/model/info"):

        @app.get(
            prefix + path, summary="Deployments behind the models", tags=["models"], include_in_schema=not in_schema
        )
        async def model_info(request: Request, litellm_model_id: str = "") -> Any:
            """LiteLLM's list of deployments, those of the store among them; credentials are left out."""
            asked = request_of(request)
            wanted = [each for each in _usable(control, asked) if litellm_model_id in ("", each.id)]
            return {"data": [_info(control, each, asked.caller.is_master) for each in wanted]}

    @app.get(
        prefix + "/model_group/info", summary="What each model can do", tags=["models"], include_in_schema=not in_schema
    )
    async def model_group_info(request: Request, model_group: str = "") -> Any:
        """LiteLLM's list of model groups."""
        groups: dict[str, list[DeploymentSettings]] = {}
        for each in _usable(control, request_of(request)):
            if model_group in ("", each.model_name):
                groups.setdefault(each.model_name, []).append(each)
        return {"data": [_group(name, group) for name, group in groups.items()]}


def _usable(control: Control, request: HttpRequest) -> list[DeploymentSettings]:
    return [each for each in control.deployments if control.catalog.has(each.model_name, request.caller)]


OTHER_ABILITIES = (
    "audio_input", "audio_output", "parallel_function_calling", "pdf_input", "prompt_caching", "reasoning",
    "system_messages", "tool_choice", "web_search",
)  # fmt: skip
"""Shown where something is known of the model; the table of `config/abilities.py` has them."""


def _abilities(each: DeploymentSettings) -> dict[str, Any]:
    price = each.price
    most_output = each.max_output_tokens or each.known_max_output_tokens
    return {
        "mode": "responses" if each.by_responses == "all" else each.mode,
        "input_cost_per_token": price.input_usd_per_token,
        "output_cost_per_token": price.output_usd_per_token,
        "cache_read_input_token_cost": price.cached_input_usd_per_token,
        "cache_creation_input_token_cost": price.cache_creation_usd_per_token,
        "max_tokens": most_output,
        "max_input_tokens": each.max_input_tokens,
        "max_output_tokens": most_output,
        "supports_vision": each.supports_vision,
        "supports_function_calling": each.supports_tools,
        "supports_response_schema": each.supports_json,
        **{f"supports_{name}": name in each.abilities if each.abilities else None for name in OTHER_ABILITIES},
    }


def _info(control: Control, each: DeploymentSettings, is_master: bool) -> dict[str, Any]:
    params: dict[str, Any] = {"model": f"{each.provider}/{each.upstream_model}"}
    if is_master:
        params["api_base"] = each.api_base
    for name, value in (("rpm", each.rpm), ("tpm", each.tpm), ("weight", each.weight), ("timeout", each.timeout_s)):
        if value is not None:
            params[name] = value
    about = {"id": each.id, "db_model": each.id in control.stored_ids, **_abilities(each)}
    return {"model_name": each.model_name, "litellm_params": params, "model_info": about}


def _group(name: str, group: list[DeploymentSettings]) -> dict[str, Any]:
    """What any of the deployments can do, and the price of the dearest, as LiteLLM tells it."""
    all_abilities = [_abilities(each) for each in group]
    merged = {name: _most([abilities[name] for abilities in all_abilities]) for name in all_abilities[0]}
    limits = {kind: [value for each in group if (value := getattr(each, kind)) is not None] for kind in ("rpm", "tpm")}
    params = [set(supported_params(each.provider)) for each in group]
    return {
        "model_group": name,
        "providers": list(dict.fromkeys(each.provider for each in group)),
        **merged,
        **{kind: sum(values) if values else None for kind, values in limits.items()},
        "supported_openai_params": sorted(set.union(*params)) if group[0].mode == "chat" else [],
    }


def _most(values: list[Any]) -> Any:
    """The greatest that is known; of words the first."""
    known = [value for value in values if value is not None]
    if not known or type(known[0]) is str:
        return known[0] if known else None
    return max(known)
