"""The one shape of every error. Invariant E of RELIABILITY.md, section 6 of COMPAT.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.errors import (
    CLEAN_TEXT_LIMIT,
    BudgetExceeded,
    FrontError,
    GatewayError,
    RateLimited,
    UpstreamRefusedRequest,
    clean_text,
    error_body,
    error_headers,
)


def subclasses(of: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def make(kind: type[GatewayError]) -> GatewayError:
    if issubclass(kind, RateLimited):
        return kind("m", retry_after_s=3, limit_type="requests", reset_at_epoch_s=1_700_000_000)
    if issubclass(kind, UpstreamRefusedRequest):
        return kind("m", status=422, code="some_code", param="some_param")
    if issubclass(kind, FrontError):
        return kind(405, "method_not_allowed", "m", allow=("GET", "HEAD"))
    return kind("m")


ALL = sorted({GatewayError, *subclasses(GatewayError)}, key=lambda kind: kind.__name__)

# COMPAT.md, section 6: status, type, code, param.
TABLE = {
    "ArtefactRefused": (409, "invalid_request_error", "invalid_artefact", None),
    "AuthenticationError": (401, "authentication_error", "invalid_api_key", None),
    "UnknownKey": (401, "authentication_error", "invalid_api_key", None),
    "BudgetExceeded": (429, "budget_exceeded", "budget_exceeded", None),
    "Conflict": (409, "invalid_request_error", "conflict", None),
    "GuardrailBlocked": (400, "invalid_request_error", "guardrail_blocked", None),
    "GuardrailUnavailable": (503, "api_error", "guardrail_unavailable", None),
    "ContentPolicyViolation": (400, "invalid_request_error", "content_policy_violation", None),
    "ContextLengthExceeded": (400, "invalid_request_error", "context_length_exceeded", None),
    "ExpiredKey": (401, "authentication_error", "expired_api_key", None),
    "DeploymentsBusy": (429, "rate_limit_error", "rate_limit_exceeded", None),
    "FrontError": (405, "invalid_request_error", "method_not_allowed", None),
    "GatewayError": (500, "api_error", None, None),
    "InternalError": (500, "api_error", "internal_error", None),
    "InvalidJson": (400, "invalid_request_error", "invalid_json", None),
    "InvalidRequest": (400, "invalid_request_error", "invalid_value", None),
    "LoginFailed": (403, "permission_error", "login_failed", None),
    "MissingField": (400, "invalid_request_error", "missing_field", None),
    "ModelAccessDenied": (403, "key_model_access_denied", "model_access_denied", "model"),
    "ModelNotFound": (404, "invalid_request_error", "model_not_found", "model"),
    "NotFound": (404, "invalid_request_error", "not_found", None),
    "Overloaded": (503, "api_error", "overloaded", None),
    "PermissionDenied": (403, "permission_error", "permission_denied", None),
    "ProviderAway": (502, "api_error", "identity_provider_unavailable", None),
    "RateLimited": (429, "rate_limit_error", "rate_limit_exceeded", None),
    "RefusedField": (400, "invalid_request_error", "field_not_allowed", None),
    "ShuttingDown": (503, "api_error", "shutting_down", None),
    "StorageUnavailable": (503, "api_error", "storage_unavailable", None),
    "ThreadsUnserved": (400, "invalid_request_error", "thread_unsupported_request", None),
    "Unavailable": (503, "api_error", "unavailable", None),
    "UnsupportedField": (400, "invalid_request_error", "unsupported_parameter", None),
    "UpstreamAuthError": (502, "api_error", "upstream_auth_error", None),
    "UpstreamBadResponse": (502, "api_error", "upstream_bad_response", None),
    "UpstreamError": (502, "api_error", "upstream_error", None),
    "UpstreamFull": (503, "api_error", "overloaded", None),
    "UpstreamRateLimited": (429, "rate_limit_error", "upstream_rate_limited", None),
    "UpstreamRefusedRequest": (422, "invalid_request_error", "some_code", "some_param"),
    "UpstreamTimeout": (504, "api_error", "upstream_timeout", None),
    "UpstreamUnavailable": (503, "api_error", "upstream_unavailable", None),
}


@pytest.mark.parametrize("kind", ALL)
def test_error_has_the_documented_status_type_and_code(kind: type[GatewayError]) -> None:
    error = make(kind)
    assert (error.status, error.type, error.code, error.param) == TABLE[kind.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_body_has_exactly_the_four_fields(kind: type[GatewayError]) -> None:
    body = json.loads(error_body(make(kind)))
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert body["error"]["message"] == "m"


@pytest.mark.parametrize("kind", ALL)
def test_429_and_503_say_when_to_come_back(kind: type[GatewayError]) -> None:
    """R24: a whole number of seconds, at least one; a budget that is never reset says that it is no use instead."""
    error = make(kind)
    headers = error_headers(error)
    names = [name.lower() for name, _ in headers]
    assert names.count("content-type") == 1
    assert dict(headers)["content-type"] == "application/json"
    assert len(names) == len(set(names))
    if kind is BudgetExceeded:
        assert dict(headers)["x-should-retry"] == "false"
        error = BudgetExceeded("m", retry_after_s=7)
        headers = error_headers(error)
        assert "x-should-retry" not in dict(headers)
    if error.status in (429, 503):
        assert re.fullmatch(r"[1-9][0-9]*", dict(headers)["retry-after"])


@pytest.mark.parametrize("given_s", [-5, 0])
def test_retry_after_is_never_less_than_a_second(given_s: int) -> None:
    error = GatewayError("m", retry_after_s=given_s)
    assert dict(error_headers(error))["retry-after"] == "1"


def test_405_names_the_methods_and_401_the_scheme() -> None:
    assert dict(error_headers(make(FrontError)))["Allow"] == "GET, HEAD"
    unknown = next(kind for kind in ALL if kind.__name__ == "AuthenticationError")
    assert dict(error_headers(make(unknown)))["WWW-Authenticate"] == "Bearer"


def test_only_what_another_deployment_may_do_better_is_tried_elsewhere() -> None:
    """F7: an error of the caller's making is not tried again; F4, F6: one of the upstream's is."""
    elsewhere = {kind.__name__ for kind in ALL if kind.try_next}
    again = {kind.__name__ for kind in ALL if kind.try_again}
    assert elsewhere == {
        "ContentPolicyViolation", "ContextLengthExceeded", "DeploymentsBusy", "UnsupportedField", "UpstreamAuthError",
        "UpstreamBadResponse", "UpstreamError", "UpstreamFull", "UpstreamRateLimited", "UpstreamTimeout",
        "UpstreamUnavailable",
    }  # fmt: skip
    assert again == {"UpstreamError", "UpstreamRateLimited", "UpstreamUnavailable"}


OUR_KEY = "MyVeryOwnCredential/with+signs=="
HIDDEN = {
    "our key": (f"refused: {OUR_KEY}", OUR_KEY),
    "openai": ("Incorrect API key provided: sk-proj-abc_DEF-123456789.", "abc_DEF"),
    "masked openai": ("key sk-abcd******wxyz is wrong", "abcd"),
    "bearer": ("got Authorization: Bearer eyJhbGciOi.JIUzI1.NiJ9", "eyJhbGciOi"),
    "bearer in capitals": ("BEARER abcdefgh", "abcdefgh"),
    "groq": ("gsk_aBcDeFgH12345678 has no credit", "aBcDeFgH"),
    "google": ("API key AIzaSyA1234567890abcdefghij not valid", "A1234567890"),
    "xai": ("xai-abcdefghijkl1234", "abcdefghijkl"),
    "address": ("see http://10.0.0.7:8080/v1/secret?x=y now", "10.0.0.7"),
    "IPv4": ("connect to 192.168.4.20:9000 failed", "192.168"),
    "IPv6": ("connect to [fd00::17:2]:9000 failed", "fd00"),
    "host and port": ("dial vllm-7.models.internal:8000: refused", "internal"),
    "database": ("postgres://user:word@db/x is down", "word"),
}


@pytest.mark.parametrize(("text", "canary"), HIDDEN.values(), ids=HIDDEN.keys())
def test_clean_text_hides_keys_and_addresses(text: str, canary: str) -> None:
    """T16, R27, K: no credential and no inner address in what a client is told."""
    cleaned = clean_text(text, (OUR_KEY,))
    assert canary in text
    assert canary not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4.1-mini` does not exist",
        "max_tokens is too large: 5000. This model supports at most 4096",
        "Invalid value: 'risk-based'. Supported values are: 'low', 'high'.",
        "ratio 3:2 at 10:30, version 1.2.3",
    ],
)
def test_clean_text_leaves_ordinary_words_alone(text: str) -> None:
    assert clean_text(text, (OUR_KEY, "")) == text


def test_clean_text_has_no_control_characters_and_an_end() -> None:
    """T8: nothing that could begin a line of a log or a header."""
    assert clean_text("a\r\nb\x00c\x7f\n") == "a b c"
    assert len(clean_text("word " * 100_000)) <= CLEAN_TEXT_LIMIT


@settings(deadline=None)
@given(st.text(max_size=60), st.text(alphabet="abcXYZ019/+=", min_size=16, max_size=40), st.text(max_size=60))
def test_configured_secret_is_never_in_cleaned_text(before: str, secret: str, after: str) -> None:
    """T16: scrubbed by value, whatever stands around it."""
    assert secret not in clean_text(f"{before} {secret} {after}", (secret,))


def test_cleaning_takes_time_in_proportion_to_what_is_kept() -> None:
    """An error body of 64 KiB made to keep the patterns busy ends at once: its end is cut off before they look."""
    for word in ("a-", "a.", "sk-", "1.", "bearer ", "[:"):
        assert len(clean_text(word * 2_000_000)) <= CLEAN_TEXT_LIMIT
