"""What the requests of all dialects have in common: the address, the header lines, and which headers come back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from routewright import __version__
from routewright.settings import DeploymentSettings
from routewright.types import Deployment, Secret

SDK_ORIGIN = ("litellm", "litellm", 0)
"""Not an address: the process beside the gateway that holds the LiteLLM SDK."""


def origin_of(settings: DeploymentSettings) -> tuple[str, str, int]:
    """Scheme, host and port of the deployment's address."""
    if settings.sdk_params is not None:
        return SDK_ORIGIN
    parts = urlsplit(settings.api_base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"deployment {settings.id}: api_base must be an http or https address")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def field_lines(settings: DeploymentSettings, own: Iterable[str]) -> str:
    """All header lines but Content-Length: those of every request, the dialect's `own`, and the configuration's."""
    lines = [f"host: {urlsplit(settings.api_base).netloc}", "content-type: application/json"]
    lines += [f"user-agent: routewright/{__version__}", "accept-encoding: identity", *own]
    for name, value in settings.extra_headers:
        lines.append(f"{name}: {value.reveal() if isinstance(value, Secret) else value}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"deployment {settings.id}: a header would hold a line break")
    return "\r\n".join(lines)


def bearer_lines(settings: DeploymentSettings, accept: str) -> str:
    """The same where the key, if there is one, is a bearer's."""
    own = [f"accept: {accept}"]
    if settings.api_key is not None:
        own.append(f"authorization: Bearer {settings.api_key.reveal()}")
    return field_lines(settings, own)


def heads(base: str, paths: Mapping[str, str], fields: str) -> dict[str, bytes]:
    """Per endpoint of a dialect, whose paths begin at `base`, the head of its requests."""
    return {endpoint: head(base + path, fields) for endpoint, path in paths.items()}


def head(target: str, fields: str) -> bytes:
    """A request's head up to and with `content-length: `."""
    return f"POST {target} HTTP/1.1\r\n{fields}\r\ncontent-length: ".encode("latin-1")


_NOT_PASSED_ON = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"content-encoding", b"content-type",
     b"set-cookie", b"set-cookie2", b"date", b"server", b"alt-svc", b"strict-transport-security", b"location"}
)  # fmt: skip
_SOUND = re.compile(rb"(?:audio/[A-Za-z0-9.+\-]{1,64}|application/octet-stream|text/event-stream)(?:;[ -~]{0,128})?")
MAX_PASSED_ON_BYTES = 8 * 1024


def is_sound(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an answer is one that no browser takes for a page."""
    return _SOUND.fullmatch(headers.get(b"content-type", b"").lower()) is not None


def sound_fields(headers: Mapping[bytes, bytes]) -> bytes:
    """The media type of sound, or of events with sound in them, as a line for the client."""
    return b"content-type: %b\r\nx-content-type-options: nosniff\r\n" % headers[b"content-type"]


def provider_fields(headers: Mapping[bytes, bytes], deployment: Deployment) -> bytes:
    """The upstream's own headers as lines for the client, each under `llm_provider-`, where none can pass for ours."""
    if headers.keys() <= _NOT_PASSED_ON:
        return b""
    lines = [b"llm_provider-%b: %b\r\n" % item for item in headers.items() if item[0] not in _NOT_PASSED_ON]
    fields = b"".join(lines)
    if len(fields) > MAX_PASSED_ON_BYTES or any(secret.encode() in fields for secret in deployment.secrets):
        return b""
    return fields
