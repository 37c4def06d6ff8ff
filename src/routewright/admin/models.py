"""The models that a key may use."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request

from routewright.admin.control import Control, request_of
from routewright.errors import ModelNotFound, clean_text

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
