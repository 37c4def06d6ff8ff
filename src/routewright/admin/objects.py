"""The OpenAPI document's part on what is kept: responses, files, batches and fine-tuning, by path and method."""

from __future__ import annotations

from typing import Any

from routewright import endpoints
from routewright.types import Endpoint

_LISTED = ("after", "limit", "order")
_ABOUT: dict[tuple[str, str], tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    ("response", "GET"): ("A kept response", (), ()),
    ("response", "DELETE"): ("Forget a kept response", (), ()),
    ("response_input_items", "GET"): ("What led to a kept response: its first hundred items", (), ()),
    ("response_cancel", "POST"): ("Refused: nothing runs in the background here", (), ()),
    ("files", "GET"): ("The caller's files, newest first", (), (*_LISTED, "purpose", "model")),
    ("files", "POST"): ("Upload a file, by a form; a batch's lines name models of this gateway", ("file", "purpose"),
                        ("model",)),
    ("file", "GET"): ("A file, as its provider tells it", (), ()),
    ("file", "DELETE"): ("Delete a file at its provider", (), ()),
    ("file_content", "GET"): ("A file's content", (), ()),
    ("batches", "GET"): ("The caller's batches as they stand now, newest first", (), (*_LISTED, "model")),
    ("batches", "POST"): ("Start a batch, admitted by what its lines may cost at most",
                          ("input_file_id", "endpoint", "completion_window"), ()),
    ("batch", "GET"): ("A batch; what it used is counted once it is over", (), ()),
    ("batch_cancel", "POST"): ("Cancel a batch", (), ()),
    ("fine_tuning_jobs", "GET"): ("The caller's fine-tuning jobs, newest first", (), _LISTED),
    ("fine_tuning_jobs", "POST"): ("Start fine-tuning where the training file lies", ("model", "training_file"), ()),
    ("fine_tuning_job", "GET"): ("A fine-tuning job", (), ()),
    ("fine_tuning_job_step", "POST"): ("Cancel, pause or go on with a fine-tuning job", (), ()),
    ("fine_tuning_job_part", "GET"): ("Events or checkpoints of a fine-tuning job", (), ("after", "limit")),
}  # fmt: skip
"""Endpoint and method -> what it does, the fields of its body that it needs, and what its query may say."""
_FIELDS = {
    "file": {"type": "string", "format": "binary"},
    "purpose": {"type": "string", "description": "`batch`, `fine-tune`, `user_data`, ..."},
    "input_file_id": {"type": "string", "description": "Of a file that was uploaded with purpose `batch`"},
    "endpoint": {"type": "string", "description": "`/v1/chat/completions`, or that of the file's lines"},
    "completion_window": {"type": "string", "description": "`24h`"},
    "model": {"type": "string", "description": "A model of this gateway"},
    "training_file": {"type": "string", "description": "The id of a file"},
}


def object_paths(error: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By path. `error`: the response that stands for every refusal."""
    found: dict[str, dict[str, Any]] = {}
    for path, endpoint in endpoints.every():
        if endpoint.is_owned or (endpoint.is_kept and endpoint is not endpoints.RESPONSES):
            found["/v1" + path.replace("{}", "{name}")] = {
                method.lower(): _operation(path, endpoint, method, error)
                for method in endpoint.methods
                if method != "HEAD"
            }
    return found


def _operation(path: str, endpoint: Endpoint, method: str, error: dict[str, Any]) -> dict[str, Any]:
    summary, required, query = _ABOUT[endpoint.name, method]
    parameters: list[dict[str, Any]] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    if "{}" in path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}})
    operation: dict[str, Any] = {
        "tags": [path.split("/")[1].replace("_", " ")],
        "summary": summary,
        "description": "In OpenAI's shapes. What belongs to another key, user or team is a 404.",
        "security": [{"key": []}],
        "responses": {"200": {"description": "The object, a list of them, or content"}, "4XX": error},
    }
    if parameters:
        operation["parameters"] = parameters
    if required:
        kind = "multipart/form-data" if "file" in required else "application/json"
        schema = {
            "type": "object",
            "required": list(required),
            "properties": {name: _FIELDS[name] for name in required},
            "additionalProperties": True,
        }
        operation["requestBody"] = {"required": True, "content": {kind: {"schema": schema}}}
    return operation
