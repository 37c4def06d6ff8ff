"""What a request about objects says: which of them it means, where they are to lie, and how much it wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from routewright.errors import InvalidRequest, RefusedField
from routewright.objects.rows import BATCH_KIND, FILE_KIND, TUNING_KIND
from routewright.objects.upload import WHERE_FIELDS, listed_names
from routewright.types import HttpRequest
from routewright.wire.chat import EXTENSION_FIELDS, REFUSED_FIELDS
from routewright.wire.json import decode_object

_DROPPED = EXTENSION_FIELDS.union(WHERE_FIELDS)


def asked_of(request: HttpRequest) -> tuple[str, str]:
    """(kind of object, what of it is asked for: the end of its path)."""
    name = request.endpoint.name
    kind = FILE_KIND if name == "file" else BATCH_KIND if name.startswith("batch") else TUNING_KIND
    return kind, "" if name in ("file", "batch", "fine_tuning_job") else "/" + request.path.rpartition("/")[2]


def asked_body(request: HttpRequest) -> dict[str, Any]:
    """A body as it goes on: without what is said to the gateway alone. Raises InvalidRequest and its kin."""
    body = decode_object(request.body)
    for name in REFUSED_FIELDS.intersection(body).difference(WHERE_FIELDS):
        raise RefusedField(f"{name} can't be set by a request; the gateway's configuration sets it", param=name)
    return {name: value for name, value in body.items() if name not in _DROPPED}


def where(request: HttpRequest, given: Mapping[str, str | None]) -> tuple[str | None, str | None]:
    """(model, provider) as a form, else the query, else a header says. Raises InvalidRequest."""
    query = query_of(request)
    model = given.get("model") or given.get("target_model_names") or query.get("model")
    model = model or query.get("target_model_names")
    provider = given.get("custom_llm_provider") or query.get("custom_llm_provider") or query.get("provider")
    headers = request.headers
    if model is None and b"x-litellm-model" in headers:
        model = headers[b"x-litellm-model"].decode("latin-1")
    if provider is None and b"custom-llm-provider" in headers:
        provider = headers[b"custom-llm-provider"].decode("latin-1")
    if model is not None:
        model = model.strip().strip('[]"')
        if "," in model:
            raise InvalidRequest("a file lies in one account: name one model", param="target_model_names")
    return model or None, provider or None


def targets_in(request: HttpRequest) -> list[str]:
    """Several models' names in the query."""
    return listed_names(query_of(request).get("target_model_names", ""))


def query_of(request: HttpRequest) -> dict[str, str]:
    """The parameters of a query. Raises InvalidRequest."""
    try:
        return dict(parse_qsl(request.query, max_num_fields=32))
    except ValueError:
        raise InvalidRequest("too many parameters in the query") from None


def limit_in(text: str | None, usual: int, most: int) -> int:
    """How many a list is to have at most. Raises InvalidRequest."""
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit must be a whole number from 1 to {most}", param="limit")
    return int(text)
