"""What an upstream's failure means for the caller: one table for all dialects, each of which reads its own bodies.

Source: the error pages of the providers' API references; RFC 9110, Retry-After.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from routewright.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    GatewayError,
    UpstreamAuthError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefusedRequest,
    UpstreamTimeout,
    clean_text,
)
from routewright.types import Deployment

MAX_RETRY_AFTER_S = 60

_CONTEXT_CODES = {"context_length_exceeded", "string_above_max_length", "context_window_exceeded"}
_CONTEXT_WORDS = (
    "maximum context length", "context window", "context length", "context limit", "prompt is too long",
    "too many tokens", "too many input tokens", "input token count", "input is too long",
)  # fmt: skip
_POLICY_CODES = {"content_policy_violation", "content_filter", "responsible_ai_policy_violation"}
_POLICY_WORDS = (
    "content management policy", "content policy", "content filter", "content filtering policy", "safety system",
)  # fmt: skip
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def error_for(
    status: int,
    headers: Mapping[bytes, bytes],
    now_s: float,
    *,
    message: str = "",
    code: str | None = None,
    param: str | None = None,
) -> GatewayError:
    """`message`, `code` and `param` are the upstream's, cleaned. `now_s`: wall clock, for dates in Retry-After."""
    if status == 429:
        error: GatewayError = UpstreamRateLimited("the upstream's rate limit is reached")
        error.retry_after_s = retry_after_s(headers.get(b"retry-after"), now_s)
        return error
    if status in (401, 402, 403):  # 402: the account behind the credential is empty
        return UpstreamAuthError("the upstream refuses the gateway's credential")
    if status == 408:
        return UpstreamTimeout("the upstream timed out")
    if status in (400, 413, 422):
        lowered = message.lower()
        if code in _CONTEXT_CODES or any(words in lowered for words in _CONTEXT_WORDS):
            return ContextLengthExceeded(message or "the prompt is longer than the model's context", param="messages")
        if code in _POLICY_CODES or any(words in lowered for words in _POLICY_WORDS):
            return ContentPolicyViolation(message or "the upstream refuses this content by its policy")
        known = 400 if status == 413 else status
        return UpstreamRefusedRequest(
            message or "the upstream refuses this request", status=known, code=code, param=param
        )
    if status == 404:
        return UpstreamRefusedRequest(
            message or "the upstream does not know this model", status=404, code=code, param=param
        )
    if 300 <= status < 400:
        return UpstreamBadResponse("the upstream redirects elsewhere; redirects are not followed")
    if status >= 500:
        return UpstreamError("the upstream failed")
    if status >= 400:
        return UpstreamRefusedRequest(
            message or "the upstream refuses this request", status=400, code=code, param=param
        )
    return UpstreamBadResponse("the upstream answered with a status that has no meaning here")


def cleaned(message: object, code: object, param: object, deployment: Deployment) -> tuple[str, str | None, str | None]:
    """An upstream's words as they may be shown; empty or None where they are not of the kind they should be."""
    return (
        clean_text(message, deployment.secrets) if type(message) is str else "",
        code if type(code) is str and _WORD.fullmatch(code) else None,
        clean_text(param, deployment.secrets)[:128] if type(param) is str else None,
    )


def retry_after_s(value: bytes | None, now_s: float) -> int:
    """Seconds to wait, 1 to 60, from seconds or an HTTP date; 1 where neither can be read."""
    if value is None:
        return 1
    text = value.decode("latin-1").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            # A date without a zone (`-0000`) is meant as UTC, never as this machine's.
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            return 1
    if seconds != seconds:
        return 1
    return int(min(max(1.0, -(-seconds // 1)), MAX_RETRY_AFTER_S))
