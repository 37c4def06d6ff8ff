"""A guardrail that is a server: it is sent the texts, and says whether they pass, and as what.

Source: LiteLLM, "Generic Guardrail API": POST with `texts`, `input_type`, `request_data`; the answer's `action` is
NONE, BLOCKED or GUARDRAIL_INTERVENED, with `blocked_reason` or `texts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from routewright.guardrails.contract import Blocked, Guardrail, Seen
from routewright.guardrails.finding import refuse_others, take
from routewright.types import Secret

Post = Callable[[str, Mapping[str, str], bytes, float], Awaitable[tuple[int, bytes]]]
"""(address, headers, body, seconds) -> (status, body). Raises GatewayError or TimeoutError."""
MAX_REASON_CHARS = 200
DEFAULT_PATH = "/beta/litellm_basic_guardrail_api"


class _Verdict(msgspec.Struct):
    action: str
    blocked_reason: str | None = None
    texts: list[str] | None = None


_decode = msgspec.json.Decoder(_Verdict).decode
_encode = msgspec.json.Encoder().encode


class Webhook(Guardrail):
    """`webhook`, LiteLLM's `generic_guardrail_api`: `api_base`, `api_key`, `headers`, `timeout` (seconds, 5)."""

    is_quick = False

    def __init__(self, name: str, params: Mapping[str, Any], post: Post) -> None:
        refuse_others(params, "api_base", "api_key", "headers", "timeout", "additional_provider_specific_params")
        super().__init__(name, {})
        address = take(params, "api_base", str, "")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ValueError("api_base: expected an http(s) address without user or query")
        self._address = address if parts.path.strip("/") else address.rstrip("/") + DEFAULT_PATH
        self._headers = {"content-type": "application/json"}
        for field, value in take(params, "headers", dict, {}).items():
            self._headers[_line(str(field).lower())] = _line(str(value))
        key = take(params, "api_key", Secret, None)
        if key is not None:
            self._headers["x-api-key"] = _line(key.reveal())
        self._timeout_s = float(take(params, "timeout", (int, float), 5.0))
        if not 0 < self._timeout_s <= 60:
            raise ValueError("timeout: expected seconds above 0, at most 60")
        self._more = take(params, "additional_provider_specific_params", dict, {})
        self._post = post

    async def look_slowly(self, seen: Seen) -> None:
        asked = {
            "texts": seen.texts,
            "input_type": "response" if seen.is_answer else "request",
            "litellm_call_id": seen.request_id,
            "request_data": {
                "model": seen.model, "user_api_key_alias": seen.key_alias, "user_api_key_team_id": seen.team_id,
                "user_api_key_end_user_id": seen.user,
            },
            "additional_provider_specific_params": self._more,
        }  # fmt: skip
        status, body = await self._post(self._address, self._headers, _encode(asked), self._timeout_s)
        if status != 200:
            raise ConnectionError(f"the guardrail's server answered {status}")
        verdict = _decode(body)
        if verdict.action == "BLOCKED":
            reason = "".join(char for char in verdict.blocked_reason or "" if char.isprintable())
            raise Blocked(reason[:MAX_REASON_CHARS] or "blocked")
        if verdict.action == "GUARDRAIL_INTERVENED" and verdict.texts is not None:
            if len(verdict.texts) != len(seen.texts):
                raise ValueError("the guardrail's server gave another number of texts than it was sent")
            if verdict.texts != seen.texts:
                seen.count("changed")
            seen.texts[:] = verdict.texts
        elif verdict.action not in ("NONE", "GUARDRAIL_INTERVENED"):
            raise ValueError("the guardrail's server gave no known action")


def _line(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("headers: visible ASCII characters only")
    return text
