"""Every error a client can see, and the one function that turns them into bytes.

GatewayError
├── InvalidRequest          400   body or field not understood
│   ├── InvalidJson, MissingField, RefusedField
│   ├── ThreadsUnserved          conversations are not held by the upstream
│   ├── UnsupportedField         the chosen model's provider has no word for it
│   ├── ContextLengthExceeded, ContentPolicyViolation
│   ├── GuardrailBlocked
│   ├── UpstreamRefusedRequest   the upstream's own 400, 404 or 422, cleaned
│   ├── ModelNotFound       404
│   ├── NotFound            404   nothing stored has this id
│   ├── Conflict            409   something stored has this id or alias
│   └── FrontError          the HTTP front: 400, 404, 405, 408, 413, 414, 415, 417, 431, 501, 505
├── AuthenticationError     401
│   └── UnknownKey, ExpiredKey
├── PermissionDenied        403
│   └── ModelAccessDenied, LoginFailed
├── BudgetExceeded          429
├── RateLimited             429
│   ├── DeploymentsBusy
│   └── UpstreamRateLimited
├── ArtefactRefused         409   a router file that will not be served
├── ProviderAway            502   where people log in
├── UpstreamError           502
│   ├── UpstreamBadResponse, UpstreamAuthError
│   └── UpstreamTimeout     504
├── Unavailable             503
│   ├── UpstreamUnavailable, ShuttingDown, StorageUnavailable, GuardrailUnavailable
│   └── Overloaded
│       └── UpstreamFull         this worker's own connections to it are all in use
└── InternalError           500
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec


class GatewayError(Exception):
    """Base of every error a client can see; a subclass sets what differs."""

    status: int = 500
    type: str = "api_error"
    code: str | None = None
    param: str | None = None
    try_next: ClassVar[bool] = False
    """May the next candidate be tried?"""
    try_again: ClassVar[bool] = False
    """May the same deployment be tried once more?"""
    retry_after_s: int | None = None
    details: ClassVar[Mapping[str, object] | None] = None
    """What Anthropic's clients read of it beside the message."""
    close: bool = False
    """Must the client's connection end with this answer?"""

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if param is not None:
            self.param = param
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def extra_headers(self) -> Iterable[tuple[str, str]]:
        """Headers that belong to this error beside `Retry-After`."""
        return ()


class InvalidRequest(GatewayError):
    """The body was read, and something in it has the wrong type, range or place."""

    status, type, code = 400, "invalid_request_error", "invalid_value"


class InvalidJson(InvalidRequest):
    """The body is no JSON object that every decoder would read alike."""

    code = "invalid_json"


class MissingField(InvalidRequest):
    """A field that the endpoint can't do without is absent."""

    code = "missing_field"


class RefusedField(InvalidRequest):
    """The field would steer the gateway, its hosts or its credentials; only the configuration may."""

    code = "field_not_allowed"


class UnsupportedField(InvalidRequest):
    """The dialect of this model's provider can't say it; the next candidate's may. `drop_params` leaves it out."""

    code, try_next = "unsupported_parameter", True


class ThreadsUnserved(InvalidRequest):
    """The conversation would be held in the account behind our credential, for whichever key names it.

    Anthropic's SDK goes on without a thread when it reads these details.
    """

    code = "thread_unsupported_request"
    details = {"error_code": "thread_unsupported_request", "unsupported": ("thread",)}  # noqa: RUF012


class ContextLengthExceeded(InvalidRequest):
    """The upstream says that the prompt does not fit its context; the next candidate may have a longer one."""

    code, try_next = "context_length_exceeded", True


class ContentPolicyViolation(InvalidRequest):
    """The upstream refuses the content by its policy; a content-policy fallback may not."""

    code, try_next = "content_policy_violation", True


class GuardrailBlocked(InvalidRequest):
    """A guardrail lets this request, or its answer, not pass. The message names it, and never what it found."""

    code = "guardrail_blocked"

    def __init__(self, message: str, guardrail: str = "") -> None:
        super().__init__(message)
        self.guardrail = guardrail


class UpstreamRefusedRequest(InvalidRequest):
    """The upstream answered 400, 404 or 422: of the caller's making, so nobody else is asked."""

    def __init__(self, message: str, *, status: int, code: str | None, param: str | None) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.code = code or "invalid_value"


class ModelNotFound(InvalidRequest):
    """No deployment or route has this name."""

    status, code, param = 404, "model_not_found", "model"


class NotFound(InvalidRequest):
    """Nothing that is stored has this id, or nothing that the caller may see."""

    status, code = 404, "not_found"


class Conflict(InvalidRequest):
    """Something that is stored has this id or alias already."""

    status, code = 409, "conflict"


class FrontError(InvalidRequest):
    """The HTTP front refuses: malformed, too large, too slow, or not served here.

    `close` is set where the framing of what follows can't be trusted, or the body was not read.
    """

    def __init__(
        self, status: int, code: str, message: str, *, close: bool = True, allow: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.close, self.allow = status, code, close, allow

    def extra_headers(self) -> Iterable[tuple[str, str]]:
        return (("Allow", ", ".join(self.allow)),) if self.allow else ()


class AuthenticationError(GatewayError):
    """No key, or a key we do not know."""

    status, type, code = 401, "authentication_error", "invalid_api_key"

    def extra_headers(self) -> Iterable[tuple[str, str]]:
        return (("WWW-Authenticate", "Bearer"),)


class UnknownKey(AuthenticationError):
    """There is no such key: a slip, or a guess."""


class ExpiredKey(AuthenticationError):
    """The key was good until some time ago."""

    code = "expired_api_key"


class PermissionDenied(GatewayError):
    """The key is known and has no right to this endpoint."""

    status, type, code = 403, "permission_error", "permission_denied"


class LoginFailed(PermissionDenied):
    """Nobody is logged in to the pages by what an identity provider has said, and why."""

    code = "login_failed"


class ProviderAway(GatewayError):
    """The identity provider can't be asked, or answers what none should."""

    status, code = 502, "identity_provider_unavailable"


class ModelAccessDenied(PermissionDenied):
    """The key is known and may not use this model."""

    type, code, param = "key_model_access_denied", "model_access_denied", "model"


class RateLimited(GatewayError):
    """The key has used up its requests, tokens or parallel requests for now."""

    status, type, code = 429, "rate_limit_error", "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: int, limit_type: str, reset_at_epoch_s: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.limit_type, self.reset_at_epoch_s = limit_type, reset_at_epoch_s
        self.fields = b""
        """Header lines that tell the limits, as on a success."""

    def extra_headers(self) -> Iterable[tuple[str, str]]:
        return (("rate_limit_type", self.limit_type), ("reset_at", str(self.reset_at_epoch_s)))


class DeploymentsBusy(RateLimited):
    """Every deployment of a model is at its own limits; another candidate may not be."""

    try_next = True


class BudgetExceeded(GatewayError):
    """A budget of the caller has no room for what this request may cost."""

    status, type, code = 429, "budget_exceeded", "budget_exceeded"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        """`retry_after_s`: None where the budget is never reset, so that no client tries again by itself."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.fields = b""
        """Header lines that tell the limits, as on a success."""

    def extra_headers(self) -> Iterable[tuple[str, str]]:
        return () if self.retry_after_s is not None else (("x-should-retry", "false"),)


class UpstreamRateLimited(GatewayError):
    """The upstream answered 429 and nothing else was left to try."""

    status, type, code, retry_after_s = 429, "rate_limit_error", "upstream_rate_limited", 1
    try_next = True
    try_again = True


class ArtefactRefused(GatewayError):
    """The router file was not taken; the router that served before serves on."""

    status, type, code = 409, "invalid_request_error", "invalid_artefact"


class UpstreamError(GatewayError):
    """The upstream failed: 5xx, or its connection broke."""

    status, code, try_next, try_again = 502, "upstream_error", True, True


class UpstreamBadResponse(UpstreamError):
    """The upstream's answer can't be read: not the dialect's JSON, no events, a redirect."""

    code, try_again = "upstream_bad_response", False


class UpstreamAuthError(UpstreamError):
    """The upstream refuses *our* credential; a 401 would blame the caller's key."""

    code, try_again = "upstream_auth_error", False


class UpstreamTimeout(UpstreamError):
    """The upstream sent nothing before the deadline."""

    status, code, try_again = 504, "upstream_timeout", False


class Unavailable(GatewayError):
    """Nothing is wrong with the request; come back later."""

    status, code, retry_after_s = 503, "unavailable", 1


class UpstreamUnavailable(Unavailable):
    """No deployment could be reached, or all of them are cooling down."""

    code, try_next, try_again = "upstream_unavailable", True, True


class Overloaded(Unavailable):
    """More bytes in flight than this worker may hold."""

    code = "overloaded"


class UpstreamFull(Overloaded):
    """This worker may make no further connection to the upstream: all are in use. It says nothing of the upstream's
    health, and the next candidate may be elsewhere."""

    try_next = True


class ShuttingDown(Unavailable):
    """This process drains; another one answers the next connection."""

    code, close = "shutting_down", True


class StorageUnavailable(Unavailable):
    """A record that this request needs can't be written."""

    code = "storage_unavailable"


class GuardrailUnavailable(Unavailable):
    """A guardrail that must look at this failed, or did not answer."""

    code = "guardrail_unavailable"


class InternalError(GatewayError):
    """A fault of ours. The log line with the same request id says which."""

    code = "internal_error"


KINDS: tuple[tuple[str, tuple[type[GatewayError], ...]], ...] = (
    ("ContentPolicyViolationError", (ContentPolicyViolation,)),
    ("BadRequestError", (InvalidRequest,)),
    ("AuthenticationError", (UpstreamAuthError,)),
    ("TimeoutError", (UpstreamTimeout,)),
    ("RateLimitError", (UpstreamRateLimited, DeploymentsBusy)),
    ("InternalServerError", (UpstreamError, UpstreamUnavailable)),
)
"""LiteLLM's names for how an attempt can fail, by which policies are written; the first that fits."""


def kind_of(error: GatewayError) -> str:
    """The name in `KINDS`; empty for what is no upstream's failure."""
    return next((name for name, classes in KINDS if isinstance(error, classes)), "")


_encode = msgspec.json.Encoder().encode
_SECRET_SHAPES = re.compile(r"(?i)\b(bearer\s+)[^\s\"']{4,}|\b(?:(?:sk|pk|rk|key|gsk|xai)[-_]|AIza)[A-Za-z0-9_\-*]{6,}")
_ADDRESS_SHAPES = re.compile(
    r"(?i)\b[a-z]{2,8}://[^\s\"'<>]+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[[0-9a-f]{0,4}:[0-9a-f:.]+\](?::\d+)?"
    r"|\b[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,9}:\d{2,5}\b"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
CLEAN_TEXT_LIMIT = 500


def clean_secrets(text: str) -> str:
    """Nothing that looks like a credential; everything else as it is."""
    return _SECRET_SHAPES.sub(lambda found: f"{found.group(1) or ''}***", text)


def clean_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Make an upstream's text fit to be shown: no credential, address or control character; at most 500 characters."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = text[: 4 * CLEAN_TEXT_LIMIT]  # what follows costs more than its length
    text = _SECRET_SHAPES.sub(lambda found: f"{found.group(1) or ''}***", text)
    text = _ADDRESS_SHAPES.sub("(address)", text)
    return _CONTROL.sub(" ", text)[:CLEAN_TEXT_LIMIT].strip()


def error_object(error: GatewayError) -> dict[str, dict[str, str | None]]:
    """The one shape: `{"error": {"message", "type", "param", "code"}}`."""
    return {
        "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
    }


_ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


def anthropic_error_object(error: GatewayError, request_id: str) -> dict[str, object]:
    """What Anthropic's clients read: `{"type": "error", "error": {"type", "message"}, "request_id"}`."""
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    message = f"{error.param}: {error.message}" if error.param is not None else error.message
    said: dict[str, object] = {"type": kind, "message": message}
    if error.details is not None:
        said["details"] = error.details
    return {"type": "error", "error": said, "request_id": request_id}


_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def google_error_object(error: GatewayError) -> dict[str, object]:
    """What Google's clients read: `{"error": {"code", "message", "status"}}`."""
    kind = _GOOGLE_STATUSES.get(error.status, "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT")
    message = f"{error.param}: {error.message}" if error.param is not None else error.message
    return {"error": {"code": error.status, "message": message, "status": kind}}


def error_body(error: GatewayError, speaks: str = "openai", request_id: str = "") -> bytes:
    """The error as UTF-8 JSON, in the shape that clients of the dialect `speaks` read."""
    if speaks == "anthropic":
        return _encode(anthropic_error_object(error, request_id))
    if speaks == "gemini":
        return _encode(google_error_object(error))
    return _encode(error_object(error))


def error_headers(error: GatewayError) -> list[tuple[str, str]]:
    """`Content-Type`, `Retry-After` and what else this error's status asks for."""
    headers = [("content-type", "application/json")]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, error.retry_after_s))))
    headers.extend(error.extra_headers())
    return headers
