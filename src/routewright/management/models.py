"""`/model/*`: models that are added to the configuration's while the gateway serves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from routewright.errors import InvalidRequest, MissingField, NotFound
from routewright.management import fields, views
from routewright.management.fields import MODEL_FIELDS, read_fields
from routewright.management.request import Request, new_id
from routewright.management.seal import Seal
from routewright.store import schema
from routewright.store.rows import Row, find, get

Reply = dict[str, Any]
VARIABLE = "os.environ/"
_SEALED = ("api_key", "secret", "password", "token", "credential", "headers")
_NOT_SEALED = ("cost_per_token", "max_tokens", "max_completion_tokens", "token_cost", "credential_name")


def _is_credential(name: str, value: Any) -> bool:
    lower = name.lower()
    if isinstance(value, str) and value.startswith(VARIABLE):
        return False  # the name of a variable is no secret
    return any(word in lower for word in _SEALED) and not any(word in lower for word in _NOT_SEALED)


def split(seal: Seal, params: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """(what may be read back, the credentials as sealed text)."""
    model = params.get("model")
    if not isinstance(model, str) or not model:
        raise MissingField("litellm_params.model is required", param="litellm_params")
    hidden = {name: value for name, value in params.items() if _is_credential(name, value)}
    plain = {name: value for name, value in params.items() if name not in hidden}
    return plain, seal.close(hidden) if hidden else None


def new(request: Request) -> Reply:
    """`/model/new`."""
    written = read_fields(MODEL_FIELDS, request.body, frozenset({request.actor.role}))
    name = fields.required(request.body, "model_name")
    plain, sealed = split(request.seal, fields.required(request.body, "litellm_params", fields.mapping))
    info = dict(written.get("info") or {})
    given = info.pop("id", None)
    model_id = new_id() if given is None else fields.identity(given, "model_info")
    row = {"model_id": model_id, "model_name": name, "params": plain, "sealed": sealed, "info": info}
    _check(request, row)
    return _view(request.writer.add(schema.models, row))


def update(request: Request) -> Reply:
    """`/model/update`: LiteLLM names the model in `model_info.id`; params given are laid over those there are."""
    info = request.body.get("model_info")
    model_id = info.get("id") if isinstance(info, dict) else None
    if model_id is None:
        raise MissingField("model_info.id is required", param="model_info")
    return _update(request, fields.identity(model_id, "model_info"))


def patch(request: Request) -> Reply:
    """`PATCH /model/{id}/update`."""
    assert request.named is not None
    return _update(request, request.named)


def _update(request: Request, model_id: str) -> Reply:
    before = _get(request, model_id)
    written = read_fields(MODEL_FIELDS, request.body, frozenset({request.actor.role}))
    changes: dict[str, Any] = {}
    if "model_name" in written:
        changes["model_name"] = written["model_name"]
    if "info" in written:
        info = {**(before["info"] or {}), **written["info"]}
        info.pop("id", None)
        changes["info"] = info
    params = written.given.get("litellm_params")
    if params is not None:
        hidden = request.seal.open(before["sealed"])
        if hidden is None:
            raise InvalidRequest("this model's credentials were sealed with another key; give them again",
                                 param="litellm_params")  # fmt: skip
        whole = {**(before["params"] or {}), **hidden, **params}
        whole = {name: value for name, value in whole.items() if value is not None}
        changes["params"], changes["sealed"] = split(request.seal, whole)
    _check(request, {**before, **changes})
    return _view(request.writer.change(schema.models, before, changes))


def _check(request: Request, row: Mapping[str, Any]) -> None:
    """Refuse what no worker would serve. Raises InvalidRequest with the reason."""
    # All that reads a configuration: 4 MB that the store's process pays with the first model.
    from routewright.config.stored import read_stored

    usable, reasons = read_stored([_entry(row, request.seal)], os.environ)
    if not usable:
        raise InvalidRequest("; ".join(reasons) or "no deployment can be made of this", param="litellm_params")


def delete(request: Request) -> Reply:
    """`/model/delete`: by `id`."""
    row = _get(request, fields.required(request.body, "id", fields.identity))
    request.writer.remove(schema.models, row)
    return {"message": f"Model: {row['model_id']} deleted successfully", "id": row["model_id"]}


def _get(request: Request, model_id: str) -> Row:
    found = get(request.connection, schema.models, model_id)
    if found is None:
        raise NotFound("no stored model has this id; those of the configuration are changed there", param="id")
    return found


def _view(row: Row) -> Reply:
    """A stored model without its credentials."""
    return {
        "model_id": row["model_id"],
        "model_name": row["model_name"],
        "litellm_params": row["params"],
        "model_info": {**(row["info"] or {}), "id": row["model_id"], "db_model": True},
        "created_at": views.iso(row["created_at_ms"]),
        "created_by": row["created_by"],
        "updated_at": views.iso(row["updated_at_ms"]),
        "updated_by": row["updated_by"],
    }


def stored_models(connection: Connection, seal: Seal) -> list[dict[str, Any]]:
    """Every stored model with its credentials, as entries of `model_list`; for the workers alone.

    `unsealed` is false where the credentials were sealed with another key than today's.
    """
    return [_entry(row, seal) for row in find(connection, schema.models)]


def _entry(row: Mapping[str, Any], seal: Seal) -> dict[str, Any]:
    hidden = seal.open(row["sealed"])
    return {
        "model_name": row["model_name"],
        "litellm_params": {**(row["params"] or {}), **(hidden or {})},
        "model_info": {**(row["info"] or {}), "id": row["model_id"]},
        "unsealed": hidden is not None,
    }
