"""`vertex_*` of a deployment: where Vertex AI is, for which project, and by whose credentials."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from routewright.config.extras import has_extra, wanted
from routewright.config.section import Section, plain
from routewright.credentials import GoogleSource
from routewright.types import Secret

USUAL_LOCATION = "us-central1"
"""LiteLLM's."""
_LOCATIONS = ("VERTEXAI_LOCATION", "VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION")
_PROJECTS = ("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT")
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,100}:)?[a-z0-9-]{1,100}\Z")
_LOCATION = re.compile(r"[a-z]+(?:-[a-z]+)*\d{0,2}\Z")
_TYPES = ("service_account", "authorized_user", "external_account")
_FIELDS = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "external_account": ("audience", "subject_token_type", "token_url", "credential_source"),
}
MAX_FILE_BYTES = 64 * 1024


def read_vertex(params: Section, given_base: str | None) -> tuple[GoogleSource | None, str | None, str | None]:
    """(credentials, address up to the location, why the deployment can't be used); faults are noted."""
    environ = params.notes.environ
    unset: list[str] = []
    project = params.text("vertex_project", on_unset=unset.append)
    location = params.text("vertex_location", on_unset=unset.append)
    found = _credentials(params, unset)
    if unset:
        return None, None, f"the variable {', '.join(unset)} is not set"
    if found is None:
        return None, None, None
    source, own_project = found
    project = project or next((environ[name] for name in _PROJECTS if environ.get(name)), None) or own_project
    location = location or next((environ[name] for name in _LOCATIONS if environ.get(name)), USUAL_LOCATION)
    if project is None:
        return None, None, "no vertex_project, and VERTEXAI_PROJECT is not set"
    if not _PROJECT.match(project):
        params.error("vertex_project", "no project of Google Cloud's is called so")
        return None, None, None
    if not _LOCATION.match(location):
        params.error("vertex_location", "no location of Google Cloud's is called so")
        return None, None, None
    if not has_extra("vertex"):
        params.error("vertex_credentials" if "vertex_credentials" in params.entries else "model",
                     f"a token of Google Cloud's {wanted('vertex')}")  # fmt: skip
        return None, None, None
    host = "aiplatform" if location == "global" else f"{location}-aiplatform"
    base = (given_base or f"https://{host}.googleapis.com").rstrip("/")
    if not urlsplit(base).path:
        base = f"{base}/v1beta1/projects/{project}/locations/{location}"
    return source, base, None


def _credentials(params: Section, unset: list[str]) -> tuple[GoogleSource, str | None] | None:
    """(source, its project). From the deployment, else from LiteLLM's variable, else Google's, else the machine."""
    node = params.take("vertex_credentials")
    key, text = "vertex_credentials", None
    if node is not None and isinstance(node.value, dict):
        text = json.dumps(plain(node, params.notes, params.field(key)))
    elif node is not None:
        value, _ = params.scalar(key, unset.append)
        if value is None:
            return (GoogleSource(), None) if unset else None
        if not isinstance(value, str):
            params.error(key, "expected the JSON of a credentials file, or its path")
            return None
        text = value
    else:
        environ = params.notes.environ
        text = environ.get("VERTEXAI_CREDENTIALS") or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not text:
        return GoogleSource(), None
    if not text.lstrip().startswith("{"):
        if node is not None and not params.notes.may_read_files:
            params.error(key, "expected the JSON itself: a stored model names no file")
            return None
        try:
            with Path(text).expanduser().open(encoding="utf-8") as file:
                text = file.read(MAX_FILE_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            params.error(key, f"the credentials file can't be read: {getattr(error, 'strerror', None) or 'not text'}")
            return None
    return _checked(params, key, text)


def _checked(params: Section, key: str, text: str) -> tuple[GoogleSource, str | None] | None:
    try:
        info: Any = json.loads(text)
    except (ValueError, RecursionError):
        params.error(key, "is no JSON")
        return None
    kind = info.get("type") if isinstance(info, dict) else None
    if kind not in _TYPES:
        params.error(key, f"expected a credentials file of type {', '.join(_TYPES)}")
        return None
    missing = [name for name in _FIELDS[kind] if not info.get(name)]
    if missing:
        params.error(key, f"a credentials file of type {kind} needs {', '.join(missing)}")
        return None
    if kind == "external_account" and not params.notes.may_read_files:
        params.error(key, "credentials that read files of this machine are no matter of a stored model")
        return None
    project = info.get("project_id") or info.get("quota_project_id")
    name = info.get("client_email") if kind == "service_account" else kind.replace("_", " ")
    source = GoogleSource(info=Secret(json.dumps(info, sort_keys=True)), name=str(name)[:128])
    return source, project if isinstance(project, str) else None
