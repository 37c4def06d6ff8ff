"""Files, batches and fine-tuning at providers that serve OpenAI's paths for them: where a request goes, and its head.

Source: OpenAI API reference, "Files", "Batch", "Fine-tuning"; Azure OpenAI REST reference for its paths.
"""

from __future__ import annotations

import re

from routewright.credentials import Hidden
from routewright.types import Deployment

_CHAT = b"/chat/completions"
_OF_BODY = re.compile(rb"(?i)(?:content-type|content-length):[^\r]*(?:\r\n|\Z)")


def serves_objects(deployment: Deployment) -> bool:
    """Whether OpenAI's dialect is spoken there, whose paths beside chat are the same wherever it is."""
    return "transcriptions" in deployment.request_heads and deployment.origin[2] != 0


def object_head(deployment: Deployment, method: str, path: str, query: str = "") -> bytes:
    """A request's head without its empty line; `path` begins after the account's `/v1`, `/files/file-1`. Raises
    CredentialMissing."""
    line, _, fields = deployment.request_heads["chat"].partition(b"\r\n")
    base, _, own_query = line.split(b" ")[1].partition(b"?")
    base = base.removesuffix(_CHAT)
    if b"/deployments/" in base:  # Azure's models have paths of their own, its files have not
        base = base[: base.index(b"/deployments/")]
    queries = b"&".join([part for part in (own_query, query.encode("ascii")) if part])
    target = base + path.encode("ascii") + (b"?" + queries if queries else b"")
    lines = _OF_BODY.sub(b"", fields) + bearer_line(deployment)
    return b"%b %b HTTP/1.1\r\n%b" % (method.encode("ascii"), target, lines)


def bearer_line(deployment: Deployment) -> bytes:
    """A token that expires, where the deployment's heads have no credential for good. Raises CredentialMissing."""
    secrets = deployment.secrets
    return b"authorization: Bearer %b\r\n" % secrets.credential.bearer() if isinstance(secrets, Hidden) else b""
